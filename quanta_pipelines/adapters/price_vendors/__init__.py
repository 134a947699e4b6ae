"""Who observes prices: one small interface, the recorded vendor, and vendors over HTTP."""

from quanta_pipelines.adapters.price_vendors.epoch import (
    NoObservations,
    ask_vendors,
    loss_report,
    observe_epoch,
    raw_rows,
)
from quanta_pipelines.adapters.price_vendors.interface import (
    OBSERVATION_TYPES,
    QUOTE_TYPES,
    ArchivedVendor,
    Loss,
    Outcome,
    PriceVendor,
    QuoteVendor,
)
from quanta_pipelines.adapters.price_vendors.recorded import (
    RECORDED_AT,
    RecordedVendor,
    recorded_closes,
)

__all__ = [
    "OBSERVATION_TYPES",
    "QUOTE_TYPES",
    "RECORDED_AT",
    "ArchivedVendor",
    "Loss",
    "NoObservations",
    "Outcome",
    "PriceVendor",
    "QuoteVendor",
    "RecordedVendor",
    "ask_vendors",
    "loss_report",
    "observe_epoch",
    "raw_rows",
    "recorded_closes",
]
