"""A miner that throws away a bad name, and one that risks more than all others."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from quanta_pipelines.protocol.ranking import PerformanceTier
from quanta_pipelines.simulation.attackers.scene import Scene, own_positions, signal
from quanta_pipelines.simulation.keys import simulated_key
from quanta_pipelines.simulation.miners import Plan
from quanta_pipelines.simulation.population import SimulatedMiner


@dataclass
class ReRegistration:
    """Comes back under a new name after each epoch in the penalty band."""

    seats: int = 1
    lives: int = field(default=0, init=False)
    hotkey: str = field(default="", init=False)

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """Its honest portfolio, under the name of its present life."""
        lost = scene.board[scene.board["final_tier"] == PerformanceTier.PENALTY_BAND.value]
        if (self.hotkey or seats[0].hotkey) in set(lost["hotkey"]):
            self.lives += 1
            self.hotkey = simulated_key(f"{seats[0].name} again {self.lives}").hotkey
        name = replace(seats[0], hotkey=self.hotkey or seats[0].hotkey)
        return [signal(name, scene, own_positions(seats[0], scene))]


@dataclass
class WhaleAnte:
    """Posts the largest ante there may be on an ordinary portfolio."""

    seats: int = 1

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """Its honest portfolio."""
        most = Decimal(scene.params.tokenomics.maximum_ante)
        whale = replace(seats[0], ante=most)
        return [signal(whale, scene, own_positions(seats[0], scene))]
