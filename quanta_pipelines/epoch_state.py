"""How far each epoch has come, read from the lake alone."""

from dataclasses import dataclass

from data_contracts.tables import CONTRACTS
from quanta_pipelines.resources import Platform


@dataclass(frozen=True)
class EpochState:
    """One epoch that has at least one table."""

    epoch_id: str
    tables: int
    expected: int
    settled: bool
    waiting_for: str


def epoch_states(platform: Platform) -> list[EpochState]:
    """Every epoch with a table, oldest first, with the first gate that stands in its way."""
    lake = platform.lake
    known = sorted({epoch for table in CONTRACTS for epoch in lake.epochs(table)})
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
                tables=sum(lake.exists(table, epoch_id) for table in CONTRACTS),
                expected=len(CONTRACTS),
                settled=not refusals,
                waiting_for=refusals[0] if refusals else "",
            )
        )
    return states
