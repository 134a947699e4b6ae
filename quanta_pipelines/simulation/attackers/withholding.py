"""A miner that commits to several portfolios and opens the one that turns out well."""

from collections.abc import Sequence
from dataclasses import dataclass

from quanta_pipelines.simulation.attackers.scene import Scene, own_positions, signal
from quanta_pipelines.simulation.miners import Plan
from quanta_pipelines.simulation.population import SimulatedMiner


@dataclass
class NonRevealer:
    """Three names, three portfolios, one reveal.

    Reveals close before the market opens, so that all it could go by is the news of a weekend. It
    is granted more: it knows the returns of the first session, which nobody does.
    """

    seats: int = 3

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """Three commitments, and the reveal of the portfolio with the best first session."""
        held = [own_positions(seat, scene) for seat in seats]
        gains = [
            sum(
                float(weight) * float(scene.first_session.get(ticker, 0.0))
                for ticker, weight in one
            )
            for one in held
        ]
        best = gains.index(max(gains))
        return [
            signal(seat, scene, one, reveals=at == best)
            for at, (seat, one) in enumerate(zip(seats, held, strict=True))
        ]
