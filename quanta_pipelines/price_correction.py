"""Records an operator's correction of a settled price, after looking up what is settled now.

Nothing runs again by it. What it would change says ``price_impact``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Protocol

import numpy as np
import pandas as pd

from data_contracts.market_data import RawPrices
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.signal_store import AdminAction, ContradictsRecord, SignalStore
from quanta_pipelines.protocol import oracle
from quanta_pipelines.protocol.corrections import Field, PriceCorrection, check_correction
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidCorrection
from quanta_pipelines.protocol.observations import first_observed
from quanta_pipelines.protocol.params import ProtocolParams


class PriceRecords(Protocol):
    """Where prices and corrections are kept, and the rules they are settled by."""

    @property
    def lake(self) -> Lake:
        """Published tables."""

    @property
    def store(self) -> SignalStore:
        """Corrections and the log of administrators."""

    @property
    def params(self) -> ProtocolParams:
        """The rule set."""


NOTHING = "none"  # what an operator calls a value that is not settled


@dataclass(frozen=True, slots=True)
class Cell:
    """What is corrected."""

    ticker: str
    session: date
    field: Field


@dataclass(frozen=True, slots=True)
class Recorded:
    """A correction with its number, and the published epochs that look at its session."""

    correction_id: int
    correction: PriceCorrection
    epochs: tuple[str, ...]


def correct_price(
    records: PriceRecords,
    epoch: Epoch,
    cell: Cell,
    *,
    value: float,
    author: str,
    reason: str,
    evidence: str,
    recorded_at: datetime,
    old: str | None = None,
    audit: AdminAction | None = None,
) -> Recorded:
    """Records that ``value`` holds in ``cell``, which ``epoch`` looks at.

    ``old`` is what the operator expects to be settled now, ``none`` for nothing; ``audit`` is
    logged in the transaction that records. Raises
    ``InvalidCorrection``, ``ContradictsRecord`` or, where the epoch never asked its vendors,
    ``MissingTable``.
    """
    correction = PriceCorrection(
        ticker=cell.ticker,
        session=cell.session,
        field=cell.field,
        old_value=None,
        new_value=value,
        author=author,
        reason=reason,
        evidence=evidence,
        recorded_at=recorded_at,
    )
    check_correction(correction)
    settled = _settled_now(records, epoch, cell)
    if old is not None and _number(old) != settled:
        raise ContradictsRecord(
            f"the {cell.field} of {cell.ticker} on {cell.session} is settled at "
            f"{_shown(settled)}, not {old}"
        )
    known = replace(correction, old_value=settled)
    number = records.store.corrections.record(known, audit=audit)
    return Recorded(number, known, _epochs_with(records, cell.session))


def standing_corrections(records: PriceRecords, epoch: Epoch) -> pd.DataFrame:
    """The table ``price_corrections``: what stands for the sessions that vendors observe."""
    first = first_observed(epoch, records.params)
    standing = records.store.corrections.standing(first, epoch.sessions[-1])
    standing.insert(0, "epoch_id", epoch.id)
    return standing


def _settled_now(records: PriceRecords, epoch: Epoch, cell: Cell) -> float | None:
    """What the epoch's observations and the corrections so far give; None where nothing is."""
    first, last = first_observed(epoch, records.params), epoch.sessions[-1]
    if not first <= cell.session <= last:
        raise InvalidCorrection(f"{epoch} looks at {first} to {last}, not at {cell.session}")
    seen = records.lake.read("raw_prices", epoch.id, gates=RawPrices.gates())
    if cell.ticker not in set(seen["ticker"]):
        raise InvalidCorrection(f"no vendor reports {cell.ticker} from {first} to {last}")
    values = oracle.settled_values(
        seen, records.params, corrections=standing_corrections(records, epoch)
    ).set_index(["ticker", "session"])[cell.field]
    found = values.get((cell.ticker, pd.Timestamp(cell.session)), np.nan)
    return None if np.isnan(found) else float(found)


def _number(text: str) -> float | None:
    if text.strip().lower() == NOTHING:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InvalidCorrection(f"an old value is a number or {NOTHING}, not {text!r}") from error


def _epochs_with(records: PriceRecords, session: date) -> tuple[str, ...]:
    """Epochs with settled prices whose sessions or lookback hold a session."""
    return tuple(
        epoch_id
        for epoch_id in records.lake.epochs("validated_prices")
        for epoch in [Epoch.parse(epoch_id)]
        if first_observed(epoch, records.params) <= session <= epoch.sessions[-1]
    )


def recorded_lines(recorded: Recorded) -> Sequence[str]:
    """What was recorded and what to do next, for people."""
    one = recorded.correction
    lines = [
        f"correction {recorded.correction_id}: the {one.field} of {one.ticker} on {one.session} is "
        f"{one.new_value:.12g}, was {_shown(one.old_value)}"
    ]
    if recorded.epochs:
        first, last = recorded.epochs[0], recorded.epochs[-1]
        lines.append(f"{len(recorded.epochs)} epochs with prices look at it, {first} to {last}")
        lines.append(f"see what it changes: quanta prices impact {first}")
        lines.append(f"run them again:      quanta backfill {first}..{last}")
    return lines


def _shown(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.12g}"
