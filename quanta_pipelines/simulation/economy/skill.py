"""Portfolios of simulated miners with a stated skill: declared hindsight, and nothing else.

Every week and miner, each ticker gets the signal ``s = IC z + sqrt(1 - IC^2) x``. ``z`` is the
normal score of the ticker's total return in the week to come among all tickers: what a real miner
can not know. ``x`` is the miner's own taste, standard normal, which moves slowly (an AR(1) with
weekly autocorrelation ``PERSISTENCE``) and knows nothing. So the correlation of the signal with the
coming ranks is the information coefficient IC, 0 for a miner without skill. The miner holds its
``names`` strongest tickers, weighted by ``exp(TILT s)`` under the cap of a portfolio.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from quanta_pipelines.protocol.metrics import FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.simulation.keys import simulated_rng

PERSISTENCE = 0.9
TILT = 0.5
FEWEST_NAMES, MOST_NAMES = 8, 20


@dataclass
class Tastes:
    """What the seats of one seed prefer; the same whatever happens to their miners' wallets."""

    seed: int
    coefficients: FloatArray  # IC by seat
    tickers: int

    def __post_init__(self) -> None:
        seats = len(self.coefficients)
        start = simulated_rng("economy", f"seed {self.seed}", "always")
        most = min(MOST_NAMES, self.tickers)
        self.names = start.integers(min(FEWEST_NAMES, most), most + 1, size=seats)
        self.taste = start.standard_normal((seats, self.tickers))

    def renew(self, seats: npt.NDArray[np.intp], when: str) -> None:
        """Newcomers take these seats, with a taste of their own."""
        if len(seats):
            fresh = simulated_rng("economy newcomers", f"seed {self.seed}", when)
            self.taste[seats] = fresh.standard_normal(self.taste.shape)[seats]

    def portfolios(
        self, coming: FloatArray, when: str, params: ProtocolParams = QUANTA
    ) -> FloatArray:
        """Weights ``[seats, tickers]`` for a week with these total returns by ticker."""
        drawn = simulated_rng("economy tastes", f"seed {self.seed}", when)
        news = drawn.standard_normal(self.taste.shape)
        self.taste = PERSISTENCE * self.taste + np.sqrt(1 - PERSISTENCE**2) * news
        skill = self.coefficients[:, None]
        signal = skill * normal_scores(coming) + np.sqrt(1 - skill**2) * self.taste
        return _weights(signal, self.names, float(params.epoch.max_weight))


def normal_scores(values: FloatArray) -> FloatArray:
    """Normal scores of a cross-section (van der Waerden): mean 0, about standard deviation 1."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return np.asarray(ndtri((ranks + 1) / (len(values) + 1)))


def _weights(signal: FloatArray, names: npt.NDArray[np.int64], cap: float) -> FloatArray:
    """The strongest names of each row, by ``exp(TILT s)``; what is above the cap is spread."""
    strongest = np.argsort(np.argsort(-signal, axis=1, kind="stable"), axis=1, kind="stable")
    conviction = np.where(strongest < names[:, None], np.exp(TILT * signal), 0.0)
    full = np.zeros_like(conviction, dtype=bool)
    while True:
        free = np.where(full, 0.0, conviction)
        left = 1.0 - cap * full.sum(axis=1, keepdims=True)
        weights = np.where(full, cap, free / free.sum(axis=1, keepdims=True) * left)
        over = ~full & (weights > cap + 1e-12)
        if not over.any():
            return np.asarray(weights)
        full |= over
