"""Computes an old epoch again from what it recorded, and says where the result differs.

Prices, commitments, reveals and the votes of other validators come from the published tables,
stakes and emission from the signal store's snapshot, the state of earlier epochs from the lake.
The steps are those of the assets. Nothing is published.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import MissingTable, Version, content_hash
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.adapters.signal_store.records import Snapshot
from quanta_pipelines.adapters.table_format import from_parquet, to_parquet
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import EpochRun, Platform
from quanta_pipelines.steps import steps_in_order
from quanta_pipelines.table_difference import CellDifference, cell_in_words, first_difference

__all__ = [
    "CellDifference",
    "StoredVotes",
    "TableComparison",
    "comparison_lines",
    "first_difference",
    "rescore",
]

VOTES = "validator_weights"


@dataclass(frozen=True)
class TableComparison:
    """One table of an epoch, as it is published and as it is computed now."""

    table: str
    epoch_id: str
    rows: int
    recomputed_hash: str
    stored_hash: str | None = None
    identical: bool = False
    difference: CellDifference | None = None
    reason: str = ""


class StoredVotes(SignalStore):
    """A signal store whose votes are those of a published table; snapshots are the store's own."""

    def __init__(self, store: SignalStore, votes: pd.DataFrame) -> None:
        self._store, self._votes = store, votes
        self.corrections = store.corrections
        self.disputes = store.disputes
        self.participants = store.participants
        self.cases = store.cases
        self.pools = store.pools

    def snapshot(self, epoch_id: str) -> Snapshot:
        """What an epoch is settled with."""
        return self._store.snapshot(epoch_id)

    def validator_weights(self, epoch_id: str) -> pd.DataFrame:
        """The votes of the one epoch that is computed again."""
        return self._votes[self._votes["epoch_id"] == epoch_id]


def rescore(platform: Platform, epoch: Epoch) -> list[TableComparison]:
    """Every table of ``epoch`` that follows from its inputs, in the order of computation.

    Raises ``MissingTable`` or ``GateNotPassed`` where an input, or the state of an earlier epoch,
    is not there to be read.
    """
    run = _run_on_stored_votes(platform, epoch)
    tables: dict[str, pd.DataFrame] = {}
    comparisons = []
    for step in steps_in_order():
        if not step.inputs:  # looks at the outside world; what it saw is stored
            for name in step.tables:
                gates = CONTRACTS[name].gates()
                tables[name] = platform.lake.read(name, epoch.id, gates=gates)
            continue
        for name, frame in step(run, tables).items():
            tables[name] = from_parquet(to_parquet(frame, name, {}))  # as the next step reads it
            comparisons.append(compare(platform, epoch, name, tables[name]))
    return comparisons


def compare(
    platform: Platform, epoch: Epoch, table: str, recomputed: pd.DataFrame
) -> TableComparison:
    """One recomputed table beside the published one."""
    lake, computed = platform.lake, content_hash(recomputed, table)
    found = TableComparison(
        table=table, epoch_id=epoch.id, rows=len(recomputed), recomputed_hash=computed
    )
    try:
        version, stored = lake.version(table, epoch.id), lake.read(table, epoch.id)
    except MissingTable as missing:
        return replace(found, reason=str(missing))
    held = content_hash(stored, table)
    found = replace(found, stored_hash=held)
    if held != version.content_hash:
        said = f"the file holds {held[:12]} and says that it holds {version.content_hash[:12]}"
        found = replace(found, reason=said)
    if held == computed:
        return replace(found, identical=not found.reason)
    reasons = [found.reason, *_other_rules(version, platform.stamp())]
    difference = first_difference(stored, recomputed, CONTRACTS[table].key())
    if difference is None:
        reasons.append("the same cells in another order, of another type, or more than once")
    return replace(found, difference=difference, reason="; ".join(filter(None, reasons)))


def comparison_lines(comparisons: Sequence[TableComparison]) -> list[str]:
    """One line a table, for people; ``dataclasses.asdict`` gives the same for machines."""
    width = max((len(found.table) for found in comparisons), default=0)
    return [f"{found.table:<{width}}  {_verdict(found)}" for found in comparisons]


def _verdict(found: TableComparison) -> str:
    if found.identical:
        return f"identical  {found.rows} rows  {found.recomputed_hash[:12]}"
    parts = ["differs"]
    if (cell := found.difference) is not None:
        parts.append(cell_in_words(cell))
    return "  ".join([*parts, *([f"({found.reason})"] if found.reason else [])])


def _run_on_stored_votes(platform: Platform, epoch: Epoch) -> EpochRun:
    """The epoch on a platform whose store gives the votes that the epoch was settled with."""
    votes = platform.lake.read(VOTES, epoch.id)  # an audit reads what stands there
    others = votes[votes["validator"] != platform.own_validator]
    recorded = replace(platform, store=StoredVotes(platform.store, others))
    return EpochRun(recorded, epoch, replays=True)


def _other_rules(version: Version, stamp: Mapping[str, str]) -> list[str]:
    """Why a difference was to be expected: parameters or code that are not those of today."""
    stored = {"params_version": version.params_version, "code_version": version.code_version}
    return [
        f"stored under {name} {stored[name][:12]}, recomputed under {stamp[name][:12]}"
        for name in stored
        if stored[name] != stamp[name]
    ]
