"""Miners that send portfolios outside the limits, in the hope that nobody looks."""

from collections.abc import Sequence
from dataclasses import dataclass

from quanta_pipelines.simulation.attackers.scene import Scene, own_positions, signal
from quanta_pipelines.simulation.miners import Plan
from quanta_pipelines.simulation.population import SimulatedMiner


@dataclass
class DuplicateTickers:
    """Holds its largest position twice, the second time spelled in lower case: over the cap."""

    seats: int = 1

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """One signal whose largest name stands twice in place of the smallest ones."""
        held = sorted(own_positions(seats[0], scene), key=lambda one: (-float(one[1]), one[0]))
        ticker, weight = held[0]
        doubled = [(ticker, weight), (ticker.lower(), weight)]
        left = 1 - 2 * float(weight)
        rest = held[1:]
        scale = left / sum(float(one) for _, one in rest)
        doubled += [(name, f"{float(one) * scale:.6f}") for name, one in rest]
        return [signal(seats[0], scene, tuple(doubled))]
