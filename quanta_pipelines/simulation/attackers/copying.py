"""Miners that hold what another one found: exactly, blurred, late, padded, or just before it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from quanta_pipelines.simulation.attackers.scene import (
    Positions,
    Scene,
    own_positions,
    signal,
)
from quanta_pipelines.simulation.keys import simulated_rng
from quanta_pipelines.simulation.miners import Plan
from quanta_pipelines.simulation.population import SimulatedMiner
from quanta_pipelines.simulation.strategies import submitted

MOST_NAMES = 30


@dataclass
class Copier:
    """Chooses a leader of the board when it starts, and sends what ``copied`` makes of it.

    Where there is nothing to copy it plays its own portfolio. ``place`` tells several copiers of
    one season apart: each copies another leader.
    """

    place: int = 0
    seats: int = 1
    target: str = field(default="", init=False)

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """One signal: the copy."""
        if not self.target:
            leaders = scene.leaders()
            self.target = leaders[min(self.place, len(leaders) - 1)] if leaders else ""
        copy = self.copied(scene, seats[0]) or own_positions(seats[0], scene)
        return [signal(seats[0], scene, copy, at=self.moment(scene))]

    def copied(self, scene: Scene, _seat: SimulatedMiner, /) -> Positions:
        """The target's portfolio of this epoch, which has leaked."""
        leak = scene.leaks.get(self.target)
        return leak.positions if leak else ()

    def moment(self, _scene: Scene, /) -> dt.datetime | None:
        """When it commits; the last minutes of the window unless something else is said."""
        return None


@dataclass
class NoisyCopier(Copier):
    """Blurs each weight of the leaked portfolio by a tenth."""

    noise: float = 0.10

    def copied(self, scene: Scene, seat: SimulatedMiner, /) -> Positions:
        """The weights times one plus noise, brought back to a sum of 1."""
        exact = Copier.copied(self, scene, seat)
        rng = simulated_rng("blur", seat.name, scene.epoch.id)
        blurred = {
            ticker: float(weight) * max(0.05, 1 + self.noise * rng.standard_normal())
            for ticker, weight in exact
        }
        return submitted(pd.Series(blurred), scene.params) if exact else ()


@dataclass
class LaggedCopier(Copier):
    """Sends what the target revealed some epochs ago, which anybody may read."""

    lag: int = 1

    def copied(self, scene: Scene, _seat: SimulatedMiner, /) -> Positions:
        """The target's accepted portfolio of ``lag`` epochs before."""
        earlier = scene.epoch
        for _ in range(self.lag):
            earlier = earlier.previous()
        public = scene.revealed.get(earlier.id)
        if public is None:
            return ()
        held = public[public["hotkey"] == self.target].set_index("ticker")["weight"]
        known = held[held.index.isin(scene.closes.columns)]
        least = int(scene.params.epoch.min_positions)
        return submitted(known, scene.params) if len(known) >= least else ()


@dataclass
class PaddedCopier(Copier):
    """Pads the leaked portfolio with as many names as may be held, at the smallest weight."""

    def copied(self, scene: Scene, seat: SimulatedMiner, /) -> Positions:
        """The portfolio, its largest weight less what the padding takes."""
        exact = dict(Copier.copied(self, scene, seat))
        if not exact:
            return ()
        one = 10**scene.params.epoch.weight_decimals
        rng = simulated_rng("padding", seat.name, scene.epoch.id)
        others = [ticker for ticker in scene.closes.columns if ticker not in exact]
        count = min(MOST_NAMES - len(exact), len(others))
        padding = [str(name) for name in rng.choice(np.array(others), size=count, replace=False)]
        units = {ticker: round(float(weight) * one) for ticker, weight in exact.items()}
        units[max(units, key=lambda name: units[name])] -= len(padding)
        units |= dict.fromkeys(padding, 1)
        return tuple((ticker, f"{unit / one:.6f}") for ticker, unit in sorted(units.items()))


@dataclass
class FrontRunner(Copier):
    """Commits a leaked portfolio an hour before its owner does."""

    def moment(self, scene: Scene, /) -> dt.datetime | None:
        """An hour before the owner's commitment, or as early as the window allows."""
        leak = scene.leaks.get(self.target)
        return leak.committed_at - dt.timedelta(hours=1) if leak else None
