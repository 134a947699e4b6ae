"""An epoch's observations: every vendor is asked side by side, and none takes another down."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from functools import partial

import pandas as pd

from quanta_pipelines.adapters.price_vendors.interface import (
    ArchivedVendor,
    Loss,
    Outcome,
    PriceVendor,
    observations,
)
from quanta_pipelines.protocol.epoch import Epoch, prices_taken_at
from quanta_pipelines.protocol.observations import first_observed
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


class NoObservations(RuntimeError):
    """Every vendor that was asked lost every ticker."""


def observe_epoch(
    vendors: Sequence[PriceVendor], epoch: Epoch, params: ProtocolParams = QUANTA
) -> pd.DataFrame:
    """The table ``raw_prices``: every vendor's rows of the epoch and of the lookback before it."""
    return raw_rows(ask_vendors(vendors, epoch, params), epoch)


def ask_vendors(
    vendors: Sequence[PriceVendor],
    epoch: Epoch,
    params: ProtocolParams = QUANTA,
    *,
    last: date | None = None,
    refetch: bool = False,
) -> tuple[Outcome, ...]:
    """Each vendor's answer for the epoch and the lookback, in the order of ``vendors``.

    The lookback holds the returns and volumes that flags are measured against, and the entry close.
    ``last`` is the last session so far of an epoch that still runs. Replies that were kept since
    the evening of the last session are used again, unless ``refetch``.
    """
    last = last or epoch.sessions[-1]
    ask = partial(
        _ask,
        first=first_observed(epoch, params),
        last=last,
        since=prices_taken_at(last, params),
        refetch=refetch,
    )
    with ThreadPoolExecutor(max(len(vendors), 1), thread_name_prefix="vendor") as threads:
        return tuple(threads.map(ask, vendors))


def raw_rows(outcomes: Sequence[Outcome], epoch: Epoch) -> pd.DataFrame:
    """What the vendors answered as one table, by vendor, ticker and session, and who was asked.

    Raises ``NoObservations`` where something was lost and nothing is left.
    """
    lost = [outcome for outcome in outcomes if outcome.losses]
    if lost and all(outcome.rows.empty for outcome in outcomes):
        reasons = "; ".join(f"{one.vendor}: {one.losses[0].reason}" for one in lost)
        raise NoObservations(f"{epoch}: no vendor answered for any ticker: {reasons}")
    filled = [outcome.rows for outcome in outcomes if not outcome.rows.empty]
    rows = pd.concat(filled or [observations(pd.DataFrame())], ignore_index=True)
    rows.insert(0, "epoch_id", epoch.id)
    rows["asked"] = ",".join(sorted(outcome.vendor for outcome in outcomes))
    return rows.sort_values(["vendor", "ticker", "session"], ignore_index=True)


def loss_report(outcomes: Sequence[Outcome]) -> dict[str, dict[str, object]]:
    """Per vendor how many rows came, and which tickers were lost for which reason."""
    report: dict[str, dict[str, object]] = {}
    for outcome in outcomes:
        lost: dict[str, list[str]] = {}
        for loss in outcome.losses:
            lost.setdefault(loss.reason, []).append(loss.ticker)
        report[outcome.vendor] = {"rows": len(outcome.rows), "lost": lost}
    return report


def _ask(
    vendor: PriceVendor, *, first: date, last: date, since: datetime, refetch: bool
) -> Outcome:
    tickers: tuple[str, ...] = ()
    try:
        tickers = vendor.tickers()
        if isinstance(vendor, ArchivedVendor):
            return vendor.ask(tickers, first, last, since=since, refetch=refetch)
        return Outcome(vendor.name, vendor.observe(tickers, first, last))
    except Exception as error:  # a vendor's fault is its own outage, never another's
        reason = f"{type(error).__name__}: {error}"
        losses = tuple(Loss(ticker, reason) for ticker in tickers or ("*",))
        return Outcome(vendor.name, observations(pd.DataFrame()), losses)
