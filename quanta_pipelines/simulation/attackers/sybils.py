"""One hand behind many names: the same bet five times, or both sides of a bet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quanta_pipelines.simulation.attackers.scene import Scene, own_positions, signal
from quanta_pipelines.simulation.keys import simulated_rng
from quanta_pipelines.simulation.miners import Plan
from quanta_pipelines.simulation.population import SimulatedMiner
from quanta_pipelines.simulation.strategies import submitted

JITTER = 0.02  # of a weight, so that no two portfolios have one hash
SIDE = 15  # names on each side of the hedge


@dataclass
class SybilSplit:
    """Five identities that hold one portfolio, each with weights moved a little."""

    seats: int = 5

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """The first seat's portfolio, five times."""
        held = pd.Series({name: float(w) for name, w in own_positions(seats[0], scene)})
        plans = []
        for seat in seats:
            rng = simulated_rng("jitter", seat.name, scene.epoch.id)
            moved = held * (1 + JITTER * rng.uniform(-1, 1, len(held)))
            plans.append(signal(seat, scene, submitted(moved, scene.params)))
        return plans


@dataclass
class HedgedPair:
    """Two identities on the two sides of the market's largest bet beside the market itself.

    One of them wins whatever happens, and the power law pays winners more than losers lose.
    """

    seats: int = 2

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """The names that load most on the first principal component, and those that load least."""
        returns = scene.closes.drop(columns=list(scene.near_cash)).pct_change().iloc[1:]
        apart = returns.sub(returns.mean(axis=1), axis=0)
        _, _, directions = np.linalg.svd((apart - apart.mean()).to_numpy(), full_matrices=False)
        loading = pd.Series(directions[0] * np.sign(directions[0][0]), index=apart.columns)
        count = min(SIDE, len(loading) // 2)
        sides = (loading.nlargest(count), -loading.nsmallest(count))
        return [
            signal(seat, scene, submitted(side.clip(lower=1e-3), scene.params))
            for seat, side in zip(seats, sides, strict=True)
        ]
