"""Miners that play the score and not the market: hardly any risk, or as much as there is."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from quanta_pipelines.simulation.attackers.scene import Scene, own_positions, signal
from quanta_pipelines.simulation.miners import Plan
from quanta_pipelines.simulation.population import SimulatedMiner
from quanta_pipelines.simulation.strategies import submitted


@dataclass
class CashLike:
    """Holds nothing but tickers that hardly move, which the list of denied funds does not know."""

    seats: int = 1

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """Equal weights in the near-cash tickers."""
        flat = pd.Series(1.0, index=list(scene.near_cash))
        return [signal(seats[0], scene, submitted(flat, scene.params))]


@dataclass
class DilutedCash:
    """Its own portfolio and just so much near-cash that its volatility stays above the limit."""

    seats: int = 1
    share: float = 0.40  # the rest moves with at least half of the benchmark's volatility

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """Own weights times what the near-cash leaves."""
        held = pd.Series({name: float(w) for name, w in own_positions(seats[0], scene)})
        flat = pd.Series(self.share / len(scene.near_cash), index=list(scene.near_cash))
        mixed = pd.concat([held * (1 - self.share), flat])
        return [signal(seats[0], scene, submitted(mixed, scene.params))]


@dataclass
class LotteryTicket:
    """The five names that swing most, a fifth of the portfolio each."""

    seats: int = 1

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """The largest deviations of the past returns."""
        swings = scene.closes.pct_change().iloc[1:].std()
        chosen = swings.nlargest(scene.params.epoch.min_positions)
        return [signal(seats[0], scene, submitted(chosen * 0 + 1.0, scene.params))]
