"""Strategies of simulated miners: honest, and blind to everything after their history.

A strategy turns a price history (sessions by the tickers that a miner watches, in its order of
preference) into positive conviction for some of them; ``positions`` makes a portfolio within the
limits of it. None of them is advice: they are simulated to give the scores something to tell
apart.
"""

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.metrics import FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.simulation.keys import simulated_rng

LEAST_NAMES = 6  # five names at a cap of 20 % leave no choice of weights

SECTORS = {
    "technology": ("AAPL", "AMD", "MSFT"),
    "financials": ("BAC", "JPM"),
    "energy": ("CVX", "RRC", "XOM"),
    "health": ("JNJ", "LLY", "MRK", "PFE", "UNH"),
    "staples": ("KO", "PEP", "PG", "WMT"),
    "cyclicals": ("BBY", "GE", "HD"),
}


@cache
def sector_of(ticker: str) -> str:
    """The sector of a recorded stock; of any other ticker a simulated one, the same for good."""
    for sector, tickers in SECTORS.items():
        if ticker in tickers:
            return sector
    return str(simulated_rng("sector", ticker, "always").choice(list(SECTORS)))


class Strategy(Protocol):
    """What a simulated miner believes, from past prices and its own dice."""

    def conviction(self, history: pd.DataFrame, rng: np.random.Generator, /) -> "pd.Series[float]":
        """Positive numbers by ticker, for 5 to 20 tickers of the history."""
        ...


@dataclass(frozen=True, slots=True)
class EqualWeight:
    """The same weight in the first tickers of the history, for good."""

    names: int

    def conviction(self, history: pd.DataFrame, _rng: np.random.Generator) -> "pd.Series[float]":
        """One for each of them."""
        return pd.Series(1.0, index=history.columns[: self.names])


@dataclass(frozen=True, slots=True)
class Momentum:
    """What rose most over a lookback, without its last sessions."""

    names: int
    lookback: int
    skip: int

    def conviction(self, history: pd.DataFrame, _rng: np.random.Generator) -> "pd.Series[float]":
        """The risen, by return over risk above the last of them."""
        past = history.iloc[: len(history) - self.skip].tail(self.lookback + 1)
        return _strongest(_growth(past) / _risk(past), self.names)


@dataclass(frozen=True, slots=True)
class MeanReversion:
    """What fell most over a lookback."""

    names: int
    lookback: int

    def conviction(self, history: pd.DataFrame, _rng: np.random.Generator) -> "pd.Series[float]":
        """The fallen, by loss over risk above the last of them."""
        past = history.tail(self.lookback + 1)
        return _strongest(-_growth(past) / _risk(history), self.names)


@dataclass(frozen=True, slots=True)
class MinimumVariance:
    """Long-only minimum variance on a covariance that is shrunk towards its diagonal."""

    lookback: int
    shrinkage: float

    def conviction(self, history: pd.DataFrame, _rng: np.random.Generator) -> "pd.Series[float]":
        """Weights of least variance; what would be sold short is left out, one by one."""
        returns = history.tail(self.lookback + 1).pct_change().iloc[1:]
        sample = returns.cov().to_numpy() + 1e-8 * np.eye(returns.shape[1])  # halted shares too
        shrunk = (1 - self.shrinkage) * sample + self.shrinkage * np.diag(np.diag(sample))
        kept = np.arange(len(shrunk))
        while True:
            weights = np.linalg.solve(shrunk[np.ix_(kept, kept)], np.ones(len(kept)))
            if weights.min() > 0 or len(kept) <= LEAST_NAMES:
                break
            kept = np.delete(kept, weights.argmin())
        floor = weights.max() / 100
        return pd.Series(np.maximum(weights, floor), index=returns.columns[kept])


@dataclass(frozen=True, slots=True)
class SectorTilt:
    """Everything, with more of one sector and less of another."""

    more: str
    less: str
    tilt: float

    def conviction(self, history: pd.DataFrame, _rng: np.random.Generator) -> "pd.Series[float]":
        """One, times or over the tilt in the two sectors."""
        belief = pd.Series(1.0, index=history.columns)
        sectors = belief.index.map(sector_of)
        belief[sectors == self.more] *= self.tilt
        belief[sectors == self.less] /= self.tilt
        return belief.nlargest(20)


@dataclass(frozen=True, slots=True)
class Dice:
    """Tickers and weights by chance, anew every epoch: what skill is measured against."""

    names: int

    def conviction(self, history: pd.DataFrame, rng: np.random.Generator) -> "pd.Series[float]":
        """Uniform numbers for tickers drawn by chance."""
        names = min(self.names, history.shape[1])
        chosen = rng.choice(history.columns.to_numpy(), size=names, replace=False)
        return pd.Series(rng.uniform(0.2, 1.0, size=names), index=chosen)


def positions(
    strategy: Strategy,
    history: pd.DataFrame,
    rng: np.random.Generator,
    params: ProtocolParams = QUANTA,
) -> tuple[tuple[str, str], ...]:
    """A portfolio as it is submitted: tickers with weights as text that sum to exactly 1."""
    return submitted(strategy.conviction(history, rng), params)


def submitted(
    conviction: "pd.Series[float]", params: ProtocolParams = QUANTA
) -> tuple[tuple[str, str], ...]:
    """Positive conviction by ticker as weights in proportion to it, as far as the cap allows."""
    belief = conviction.sort_index()
    one = 10**params.epoch.weight_decimals
    cap = int(params.epoch.max_weight * one)
    believed: FloatArray = np.asarray(belief, dtype=np.float64)
    units = _rounded(_capped(believed, cap / one) * one, one)
    return tuple(
        (str(ticker), f"{unit / one:.{params.epoch.weight_decimals}f}")
        for ticker, unit in zip(belief.index, units, strict=True)
    )


def _capped(belief: FloatArray, cap: float) -> FloatArray:
    """Shares in proportion to belief, none above the cap; what is above goes to the others."""
    shares: FloatArray = belief / belief.sum()
    full = np.zeros(len(shares), dtype=bool)
    while (over := ~full & (shares > cap + 1e-12)).any():
        full |= over
        left = 1.0 - cap * full.sum()
        shares = np.where(full, cap, belief / belief[~full].sum() * left)
    return shares


def _rounded(ideal: FloatArray, total: int) -> IntArray:
    """Whole numbers with this sum; the largest remainders are rounded up."""
    units = np.floor(ideal + 1e-6).astype(np.int64)  # a share at the cap stays there
    largest = np.argsort(units - ideal, kind="stable")
    units[largest[: total - int(units.sum())]] += 1
    return units


def _growth(prices: pd.DataFrame) -> "pd.Series[float]":
    return prices.iloc[-1] / prices.iloc[0] - 1


def _risk(prices: pd.DataFrame) -> "pd.Series[float]":
    return prices.pct_change().iloc[1:].std() + 1e-4


def _strongest(signal: "pd.Series[float]", names: int) -> "pd.Series[float]":
    """The largest signals, measured from just below the smallest of them."""
    best = signal.nlargest(names)
    return best - best.min() + (best.max() - best.min()) / names + 1e-9
