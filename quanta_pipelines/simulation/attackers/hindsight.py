"""A miner that buys what it should have bought before."""

from collections.abc import Sequence
from dataclasses import dataclass

from quanta_pipelines.simulation.attackers.scene import Scene, signal
from quanta_pipelines.simulation.miners import Plan
from quanta_pipelines.simulation.population import SimulatedMiner
from quanta_pipelines.simulation.strategies import submitted


@dataclass
class HindsightPicker:
    """The ten names with the best return over risk of the last 60 sessions, in equal parts.

    Where today's weights are scored on past returns, as the specification does, nothing beats it.
    """

    seats: int = 1
    names: int = 10

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """The past winners."""
        past = scene.closes.drop(columns=list(scene.near_cash)).pct_change().iloc[1:]
        won = (past.mean() / (past.std() + 1e-6)).nlargest(self.names)
        return [signal(seats[0], scene, submitted(won * 0 + 1.0, scene.params))]
