"""An operator's correction of a settled price: what one is, what is refused, what it changes.

A correction is data with its author and reason, never code. It says what holds for one ticker,
session and field whatever vendors say. Who may record one, and where, is not this module's.
"""

from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.epoch import sessions_between
from quanta_pipelines.protocol.errors import InvalidCorrection
from quanta_pipelines.protocol.observations import BoolArray, FloatArray
from quanta_pipelines.protocol.portfolio import canonical_ticker

CORRECTION = "correction"  # stands among the sources of a price
Field = Literal["close", "dividend", "split"]
FIELDS: tuple[Field, ...] = get_args(Field)
LARGEST: dict[Field, float] = {"close": 1e9, "dividend": 1e9, "split": 1e6}  # as the contracts say


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceCorrection:
    """One field of one ticker and session, by whom and why; ``old_value`` None: not settled."""

    ticker: str
    session: date
    field: Field
    old_value: float | None
    new_value: float
    author: str
    reason: str
    evidence: str
    recorded_at: datetime


def check_correction(correction: PriceCorrection) -> None:
    """Raises ``InvalidCorrection`` that names what is wrong; says nothing about ``old_value``."""
    place = f"{correction.field} of {correction.ticker} on {correction.session}"
    if correction.field not in FIELDS:
        raise InvalidCorrection(f"{', '.join(FIELDS)} can be corrected, not {correction.field!r}")
    if canonical_ticker(correction.ticker) != correction.ticker:
        raise InvalidCorrection(f"{correction.ticker!r} is no ticker as the exchange writes it")
    for name in ("author", "reason", "evidence"):
        if not getattr(correction, name).strip():
            raise InvalidCorrection(f"a correction has its {name}; that of the {place} has none")
    if not sessions_between(correction.session, correction.session):
        raise InvalidCorrection(f"{correction.session} is no session: the exchange was closed")
    if correction.recorded_at.utcoffset() is None:
        raise InvalidCorrection(f"{correction.recorded_at.isoformat()} has no time zone")
    _check_value(correction, place)


def _check_value(correction: PriceCorrection, place: str) -> None:
    value, most = correction.new_value, LARGEST[correction.field]
    fits = value >= 0 if correction.field == "dividend" else value > 0
    if not isfinite(value) or not fits or value > most:
        least = "at least zero" if correction.field == "dividend" else "above zero"
        raise InvalidCorrection(f"the {place} is finite, {least} and at most {most:g}, not {value}")


@dataclass(frozen=True, slots=True)
class Corrected:
    """Corrections beside the rows that they belong to."""

    fields: MappingProxyType[str, FloatArray]  # by field, NaN where nothing is corrected
    rows: BoolArray  # any field of the row

    def over(self, field: Field, values: FloatArray) -> FloatArray:
        """``values``, and the corrected ones in their place."""
        own = self.fields[field]
        return np.where(np.isfinite(own), own, values)


def corrected_cells(corrections: pd.DataFrame | None, rows: pd.MultiIndex) -> Corrected:
    """What ``corrections`` (ticker, session, field, new_value) say of ``rows``.

    Raises ``InvalidCorrection`` where two stand for one cell.
    """
    if corrections is None or corrections.empty:
        nothing: FloatArray = np.full(len(rows), np.nan)
        none: dict[str, FloatArray] = {str(field): nothing for field in FIELDS}
        return Corrected(MappingProxyType(none), np.zeros(len(rows), dtype=bool))
    given = corrections
    twice = given[given.duplicated(["ticker", "session", "field"])]
    for row in twice.head(1).itertuples():
        raise InvalidCorrection(
            f"two corrections stand for the {row.field} of {row.ticker} on {row.session:%Y-%m-%d}"
        )
    fields: dict[str, FloatArray] = {
        field: given[given["field"] == field]
        .set_index(["ticker", "session"])["new_value"]
        .reindex(rows)
        .to_numpy(dtype=np.float64)
        for field in FIELDS
    }
    touched = np.isfinite(np.column_stack(list(fields.values()))).any(axis=1)
    return Corrected(MappingProxyType(fields), np.asarray(touched))
