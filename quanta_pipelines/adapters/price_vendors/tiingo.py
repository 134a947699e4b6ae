"""Tiingo: daily prices as traded with dividends and splits, and live prices from IEX.

https://www.tiingo.com/documentation/end-of-day and /iex. A daily reply does not name its ticker,
so rows of another stock under the right address cannot be told from right ones here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, time
from functools import partial
from typing import Final

import numpy as np
from pydantic import AwareDatetime, TypeAdapter

from quanta_pipelines.adapters.price_vendors.errors import ReplyRefused
from quanta_pipelines.adapters.price_vendors.replies import Reply, Request
from quanta_pipelines.adapters.price_vendors.symbols import SymbolMap
from quanta_pipelines.adapters.price_vendors.vendor import (
    AskedVendor,
    Day,
    Days,
    Quote,
    QuoteSheet,
    Reading,
    sheet,
)
from quanta_pipelines.adapters.price_vendors.wire_types import (
    Adjusted,
    Bid,
    Cash,
    Price,
    Ratio,
    Shares,
    Wire,
    known,
    known_adjusted,
    own_sessions,
    parsed,
    quote_time,
)

NAME: Final = "tiingo"
SYMBOLS: Final = SymbolMap(NAME, "-")


class DailyRow(Wire):
    """One day; prices as traded but for ``adjClose``, events are those of that day."""

    date: AwareDatetime
    open: Price | None = None
    high: Price | None = None
    low: Price | None = None
    close: Price | None
    volume: Shares | None = None
    adjClose: Adjusted | None = None  # noqa: N815 - the vendor's spelling
    divCash: Cash  # noqa: N815
    splitFactor: Ratio  # noqa: N815


class IexRow(Wire):
    """The newest price of one stock; most fields are null without an agreement with IEX."""

    ticker: str
    timestamp: AwareDatetime | None = None
    lastSaleTimestamp: AwareDatetime | None = None  # noqa: N815
    last: Price | None = None
    tngoLast: Price | None = None  # noqa: N815
    bidPrice: Bid | None = None  # noqa: N815
    askPrice: Bid | None = None  # noqa: N815
    volume: Shares | None = None


_DAILY: Final = TypeAdapter(list[DailyRow])
_IEX: Final[TypeAdapter[Sequence[object]]] = TypeAdapter(list[object])


@dataclass(frozen=True, slots=True, kw_only=True)
class TiingoVendor(AskedVendor):
    """Asks one question per ticker for days, one per hundred tickers for live prices."""

    name: str = NAME
    symbols: SymbolMap = SYMBOLS

    def ask_days(self, ticker: str, first: date, last: date, reading: Reading) -> Days:
        """The days of one ticker, as traded."""
        request = Request(
            NAME,
            f"/tiingo/daily/{SYMBOLS.symbol(ticker)}/prices",
            {"startDate": f"{first}", "endDate": f"{last}", "format": "json"},
        )
        answer = reading.read(request, lambda reply: daily_rows(reply, first, last))
        return Days(answer.value, "as_traded", answer.fetched_at)

    def ask_quotes(self, tickers: Sequence[str], reading: Reading) -> QuoteSheet:
        """The newest prices of up to a hundred tickers."""
        symbols = ",".join(SYMBOLS.symbol(ticker) for ticker in tickers)
        request = Request(NAME, "/iex/", {"tickers": symbols})
        return reading.read(request, lambda reply: iex_quotes(reply, tickers)).value


def daily_rows(reply: Reply, first: date, last: date) -> list[Day]:
    """The days of a reply; raises ``VendorError`` for a reply that is not wholly right."""
    rows = parsed(_DAILY, reply)
    if odd := [row.date for row in rows if row.date.astimezone(UTC).time() != time()]:
        raise ReplyRefused(f"{odd[0].isoformat()} is no midnight UTC")
    sessions = own_sessions((row.date.astimezone(UTC).date() for row in rows), first, last)
    return [
        Day(
            session=session,
            open=known(row.open),
            high=known(row.high),
            low=known(row.low),
            close=known(row.close),
            volume=known(row.volume),
            dividend=row.divCash,
            split=row.splitFactor,
            adjusted_close=known_adjusted(row.adjClose),
        )
        for session, row in zip(sessions, rows, strict=True)
    ]


def iex_quotes(reply: Reply, asked: Sequence[str]) -> QuoteSheet:
    """The newest prices of a reply, and the tickers whose rows are wrong."""
    return sheet(parsed(_IEX, reply), IexRow, asked, SYMBOLS, partial(_quote, reply=reply))


def _quote(ticker: str, row: IexRow, *, reply: Reply) -> Quote | None:
    """IEX's last sale where it may be shown, else Tiingo's own newest price."""
    own = row.last is None
    price, at = (row.tngoLast if own else row.last), row.timestamp
    if not own and row.lastSaleTimestamp is not None:
        at = row.lastSaleTimestamp
    if price is None:
        return None
    if at is None:
        raise ReplyRefused("a price without its time")
    return Quote(
        ticker=ticker,
        at=quote_time(at, reply.fetched_at),
        price=price,
        bid=row.bidPrice or np.nan,
        ask=row.askPrice or np.nan,
        volume=known(row.volume),
        fetched_at=reply.fetched_at,
    )
