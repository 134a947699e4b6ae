"""Yahoo: daily prices adjusted for splits, with dividends and splits apart, and live prices.

Days come from the chart of one ticker, live prices from one quote reply for many. Both are read
as they came: yfinance, which asks (``yahoo_source``), returns a frame that holds 0 for an unknown
volume and one row where two came.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Annotated, Final

import numpy as np
from pydantic import Field, TypeAdapter

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
    own_ticker,
    parsed,
    quote_time,
)
from quanta_pipelines.adapters.price_vendors.yahoo_source import CHART, NEW_YORK, QUOTE

NAME: Final = "yahoo"
SYMBOLS: Final = SymbolMap(NAME, "-")
_WORDING: Final = {"formatted": "false", "lang": "en-US", "region": "US"}  # as yfinance asks

Seconds = Annotated[int, Field(ge=0, le=10**11)]  # since 1970 UTC


class Listing(Wire):
    """Whose prices are shown, in what, and where they are made."""

    symbol: str
    currency: str
    exchangeTimezoneName: str  # noqa: N815 - the vendor's spelling


class QuoteRow(Listing):
    """The newest price of one stock; bid and ask are 0 or absent while the market is shut."""

    regularMarketPrice: Price | None = None  # noqa: N815
    regularMarketTime: Seconds | None = None  # noqa: N815
    regularMarketVolume: Shares | None = None  # noqa: N815
    bid: Bid | None = None
    ask: Bid | None = None


class Columns(Wire):
    """One list per number, a place per timestamp."""

    open: list[Price | None] = Field(default_factory=list)
    high: list[Price | None] = Field(default_factory=list)
    low: list[Price | None] = Field(default_factory=list)
    close: list[Price | None] = Field(default_factory=list)
    volume: list[Shares | None] = Field(default_factory=list)


class AdjustedColumn(Wire):
    """Closes less the dividends that were paid later."""

    adjclose: list[Adjusted | None] = Field(default_factory=list)


class Indicators(Wire):
    """The columns; Yahoo puts them into lists of one. That of adjusted closes may be absent."""

    quote: list[Columns] = Field(min_length=1, max_length=1)
    adjclose: list[AdjustedColumn] = Field(default_factory=list, max_length=1)


class PaidDividend(Wire):
    """Cash a share, adjusted for later splits."""

    date: Seconds
    amount: Cash


class DoneSplit(Wire):
    """``numerator`` new shares for ``denominator`` old ones."""

    date: Seconds
    numerator: Ratio
    denominator: Ratio


class Events(Wire):
    """Dividends and splits, by the text of their timestamp."""

    dividends: dict[str, PaidDividend] = Field(default_factory=dict)
    splits: dict[str, DoneSplit] = Field(default_factory=dict)


class Chart(Wire):
    """One ticker's days."""

    meta: Listing
    timestamp: list[Seconds] = Field(default_factory=list)
    indicators: Indicators
    events: Events = Events()


class _Result(Wire):
    result: list[Chart] = Field(min_length=1, max_length=1)


class _Envelope(Wire):
    chart: _Result


class _Rows(Wire):
    result: list[object]


class _QuoteEnvelope(Wire):
    quoteResponse: _Rows  # noqa: N815


_ENVELOPE: Final = TypeAdapter(_Envelope)
_QUOTES: Final = TypeAdapter(_QuoteEnvelope)


@dataclass(frozen=True, slots=True, kw_only=True)
class YahooVendor(AskedVendor):
    """Asks one question per ticker for days, one per hundred tickers for live prices.

    One question at a time. Closes are adjusted for every split up to the day of the fetch. A span
    that ended earlier therefore brings the rows of the later splits too: its level rests on them.
    """

    name: str = NAME
    symbols: SymbolMap = SYMBOLS
    workers: int = 1

    def ask_days(self, ticker: str, first: date, last: date, reading: Reading) -> Days:
        """The days of one ticker up to ``last``, and those of its later splits."""
        request = Request(
            NAME, CHART + SYMBOLS.symbol(ticker), {"start": f"{first}", "last": f"{last}"}
        )
        answer = reading.read(request, lambda reply: chart_days(reply, ticker, first))
        rows = [day for day in answer.value if day.session <= last]
        # Of the days beside a later split nothing is kept that its adjusted close compares with.
        rows += [
            replace(day, adjusted_close=np.nan)
            for day in answer.value
            if day.session > last and day.split != 1.0
        ]
        return Days(rows, "split_adjusted", answer.fetched_at)

    def ask_quotes(self, tickers: Sequence[str], reading: Reading) -> QuoteSheet:
        """The newest prices of up to a hundred tickers."""
        symbols = ",".join(SYMBOLS.symbol(ticker) for ticker in tickers)
        request = Request(NAME, QUOTE, {"symbols": symbols, **_WORDING})
        return reading.read(request, lambda reply: quote_rows(reply, tickers)).value


def chart_days(reply: Reply, ticker: str, first: date) -> list[Day]:
    """The days of a reply from ``first`` to its fetch; raises ``VendorError``."""
    chart = _chart(reply, ticker)
    last = reply.fetched_at.astimezone(NEW_YORK).date()
    sessions = own_sessions((_day(at) for at in chart.timestamp), first, last)
    columns = chart.indicators.quote[0]
    none: list[float | None] = [None] * len(sessions)
    adjusted = chart.indicators.adjclose[0].adjclose if chart.indicators.adjclose else none
    lists = (columns.open, columns.high, columns.low, columns.close, columns.volume, adjusted)
    if any(len(numbers) != len(sessions) for numbers in lists):
        raise ReplyRefused("columns are not as long as their timestamps")
    paid = {_day(one.date): one.amount for one in chart.events.dividends.values()}
    ratios = {
        _day(one.date): one.numerator / one.denominator for one in chart.events.splits.values()
    }
    if len(paid) < len(chart.events.dividends) or len(ratios) < len(chart.events.splits):
        raise ReplyRefused("two dividends or two splits on one day")
    if strangers := sorted((set(paid) | set(ratios)) - set(sessions)):
        raise ReplyRefused(f"a dividend or split on {strangers[0]}, a day without a price")
    return [
        Day(
            session=session,
            open=known(opened),
            high=known(high),
            low=known(low),
            close=known(close),
            volume=known(volume),
            dividend=paid.get(session, 0.0),
            split=ratios.get(session, 1.0),
            adjusted_close=known_adjusted(after),
        )
        for session, opened, high, low, close, volume, after in zip(sessions, *lists, strict=True)
    ]


def quote_rows(reply: Reply, asked: Sequence[str]) -> QuoteSheet:
    """The newest prices of a reply, and the tickers whose rows are wrong or missing."""
    rows = parsed(_QUOTES, reply).quoteResponse.result
    return sheet(rows, QuoteRow, asked, SYMBOLS, partial(_quote, reply=reply), named="symbol")


def _quote(ticker: str, row: QuoteRow, *, reply: Reply) -> Quote | None:
    """The last price of regular trading, whatever was paid before and after it."""
    _require_new_york(row)
    if row.regularMarketPrice is None:
        return None
    if row.regularMarketTime is None:
        raise ReplyRefused("a price without its time")
    at = datetime.fromtimestamp(row.regularMarketTime, UTC)
    return Quote(
        ticker=ticker,
        at=quote_time(at, reply.fetched_at),
        price=row.regularMarketPrice,
        bid=row.bid or np.nan,
        ask=row.ask or np.nan,
        volume=known(row.regularMarketVolume),
        fetched_at=reply.fetched_at,
    )


def _chart(reply: Reply, ticker: str) -> Chart:
    chart = parsed(_ENVELOPE, reply).chart.result[0]
    own_ticker(chart.meta.symbol, SYMBOLS, (ticker,))
    _require_new_york(chart.meta)
    return chart


def _require_new_york(listing: Listing) -> None:
    if listing.currency != "USD" or listing.exchangeTimezoneName != NEW_YORK.key:
        raise ReplyRefused(
            f"prices in {listing.currency} of {listing.exchangeTimezoneName}, not in New York"
        )


def _day(at: Seconds) -> date:
    return datetime.fromtimestamp(at, NEW_YORK).date()
