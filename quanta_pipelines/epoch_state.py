"""How far each epoch has come, read from the lake alone."""

from dataclasses import dataclass

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake, glanced
from quanta_pipelines.resources import Platform


@dataclass(frozen=True)
class EpochState:
    """One epoch that has at least one table.

    ``published`` epochs have every table with every gate passed; without ``consensus`` too little
    stake voted, antes went back and the epoch is not settled.
    """

    epoch_id: str
    tables: int
    expected: int
    published: bool
    consensus: bool
    waiting_for: str

    @property
    def settled(self) -> bool:
        """Whether the epoch was paid as the rules want it."""
        return self.published and self.consensus

    def in_words(self) -> str:
        """The state in one line."""
        if not self.published:
            return f"open: {self.waiting_for}"
        return "settled" if self.consensus else "no consensus: antes went back, emission is carried"


def epoch_states(platform: Platform) -> list[EpochState]:
    """Every epoch with a table, oldest first, with the first gate that stands in its way."""
    lake = glanced(platform.lake)
    held = {table: frozenset(lake.epochs(table)) for table in CONTRACTS}
    known = sorted(frozenset().union(*held.values()))
    states = []
    for epoch_id in known:
        refusals = [
            refusal
            for table, contract in CONTRACTS.items()
            if (refusal := lake.refusal(table, epoch_id, contract.gates())) is not None
        ]
        states.append(
            EpochState(
                epoch_id=epoch_id,
                tables=sum(epoch_id in epochs for epochs in held.values()),
                expected=len(CONTRACTS),
                published=not refusals,
                consensus=not refusals and _has_consensus(lake, epoch_id),
                waiting_for=refusals[0] if refusals else "",
            )
        )
    return states


def _has_consensus(lake: Lake, epoch_id: str) -> bool:
    """Whether the votes ranked anyone, or nobody was there to vote for."""
    votes = lake.version("validator_weights", epoch_id).rows
    return votes == 0 or lake.version("consensus", epoch_id).rows > 0
