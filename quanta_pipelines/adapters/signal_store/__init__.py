"""Signal store: the intake's and the service's records in SQLite or PostgreSQL."""

from quanta_pipelines.adapters.signal_store.admin_log import AdminAction
from quanta_pipelines.adapters.signal_store.cases import CaseEvent, OpenCase
from quanta_pipelines.adapters.signal_store.corrections import PriceCorrections
from quanta_pipelines.adapters.signal_store.disputes import Dispute, DisputeEvent
from quanta_pipelines.adapters.signal_store.errors import (
    ContradictsRecord,
    InvalidRecord,
    NewerSchema,
    NotPermitted,
    NotRecorded,
    OlderSchema,
    OutsideWindow,
    ReplayedNonce,
    SchemaMismatch,
    StoreUnavailable,
)
from quanta_pipelines.adapters.signal_store.nonces import NONCE_WINDOW
from quanta_pipelines.adapters.signal_store.participants import Participant, Role
from quanta_pipelines.adapters.signal_store.records import (
    CommitReceipt,
    Json,
    SignalState,
    SignalStatus,
    Snapshot,
    Source,
)
from quanta_pipelines.adapters.signal_store.store import SignalStore

__all__ = [
    "NONCE_WINDOW",
    "AdminAction",
    "CaseEvent",
    "CommitReceipt",
    "ContradictsRecord",
    "Dispute",
    "DisputeEvent",
    "InvalidRecord",
    "Json",
    "NewerSchema",
    "NotPermitted",
    "NotRecorded",
    "OlderSchema",
    "OpenCase",
    "OutsideWindow",
    "Participant",
    "PriceCorrections",
    "ReplayedNonce",
    "Role",
    "SchemaMismatch",
    "SignalState",
    "SignalStatus",
    "SignalStore",
    "Snapshot",
    "Source",
    "StoreUnavailable",
]
