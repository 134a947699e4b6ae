"""Signal store: commitments, reveals, universes, snapshots and votes in SQLite or PostgreSQL."""

from quanta_pipelines.adapters.signal_store.errors import (
    ContradictsRecord,
    NotPermitted,
    NotRecorded,
    OutsideWindow,
)
from quanta_pipelines.adapters.signal_store.records import CommitReceipt, Snapshot, Source
from quanta_pipelines.adapters.signal_store.store import SignalStore

__all__ = [
    "CommitReceipt",
    "ContradictsRecord",
    "NotPermitted",
    "NotRecorded",
    "OutsideWindow",
    "SignalStore",
    "Snapshot",
    "Source",
]
