"""Massive, until October 2025 Polygon.io: daily bars as traded, dividends, splits, snapshots.

https://massive.com/docs/rest/stocks. The rules know it by its older name.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import Field, TypeAdapter

from quanta_pipelines.adapters.price_vendors.errors import ReplyRefused
from quanta_pipelines.adapters.price_vendors.reading import Answer
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
    Bid,
    Cash,
    Price,
    Ratio,
    Shares,
    Wire,
    known,
    own_sessions,
    own_ticker,
    parsed,
    quote_time,
)

NAME: Final = "polygon"
SYMBOLS: Final = SymbolMap(NAME, ".")
_NEW_YORK: Final = ZoneInfo("America/New_York")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PAGES: Final = 50  # more than any question here needs; a chain without end is refused
_SECRET_PARAMS: Final = ("apiKey", "apikey")

_Status = Literal["OK", "DELAYED"]


class Bar(Wire):
    """One day; ``t`` is midnight in New York."""

    t: int = Field(ge=0, le=10**14)  # milliseconds since 1970
    o: Price | None = None
    h: Price | None = None
    l: Price | None = None  # noqa: E741 - the vendor's spelling
    c: Price | None
    v: Shares | None = None
    vw: Price | None = None


class Page(Wire):
    """What every list of this vendor says about itself."""

    status: _Status
    next_url: str | None = None


class Bars(Page):
    """A page of daily bars of one ticker."""

    ticker: str
    adjusted: bool
    resultsCount: int | None = None  # noqa: N815
    results: list[Bar] = Field(default_factory=list)


class Dividend(Wire):
    """One cash dividend."""

    ticker: str
    ex_dividend_date: date
    cash_amount: Cash
    currency: Literal["USD"] | None = None


class Dividends(Page):
    """A page of dividends."""

    results: list[Dividend] = Field(default_factory=list)


class Split(Wire):
    """One split: ``split_to`` new shares for ``split_from`` old ones."""

    ticker: str
    execution_date: date
    split_from: Ratio
    split_to: Ratio


class Splits(Page):
    """A page of splits."""

    results: list[Split] = Field(default_factory=list)


class Trade(Wire):
    """The last trade: price, and nanoseconds since 1970."""

    p: Price | None = None
    t: int | None = Field(default=None, ge=0, le=2**62)


class BidAsk(Wire):
    """The last quote: bid ``p``, ask ``P``."""

    p: Bid | None = None
    P: Bid | None = None


class DaySoFar(Wire):
    """The day up to now: last price and volume, 0 before the first trade."""

    c: Bid | None = None
    v: Shares | None = None


class Snapshot(Wire):
    """One ticker's snapshot; trades and quotes are left out of cheaper plans."""

    ticker: str
    updated: int | None = Field(default=None, ge=0, le=2**62)
    day: DaySoFar | None = None
    lastTrade: Trade | None = None  # noqa: N815
    lastQuote: BidAsk | None = None  # noqa: N815


class Snapshots(Page):
    """Snapshots of the tickers that were asked for."""

    tickers: list[Any] = Field(default_factory=list)


PageT = TypeVar("PageT", bound=Page)
_BARS: Final = TypeAdapter(Bars)
_DIVIDENDS: Final = TypeAdapter(Dividends)
_SPLITS: Final = TypeAdapter(Splits)
_SNAPSHOTS: Final = TypeAdapter(Snapshots)


@dataclass(frozen=True, slots=True, kw_only=True)
class MassiveVendor(AskedVendor):
    """Asks three questions per ticker for days, one per hundred tickers for live prices."""

    name: str = NAME
    symbols: SymbolMap = SYMBOLS

    def ask_days(self, ticker: str, first: date, last: date, reading: Reading) -> Days:
        """The days of one ticker, as traded; lost as a whole where one of three replies is."""
        symbol = SYMBOLS.symbol(ticker)
        bars = _pages(
            Request(
                NAME,
                f"/v2/aggs/ticker/{symbol}/range/1/day/{first}/{last}",
                {"adjusted": "false", "sort": "asc", "limit": "50000"},
            ),
            partial(bars_page, ticker=ticker),
            reading,
        )
        dividends = _pages(
            _events("dividends", "ex_dividend_date", symbol, first, last),
            partial(dividends_page, ticker=ticker),
            reading,
        )
        splits = _pages(
            _events("splits", "execution_date", symbol, first, last),
            partial(splits_page, ticker=ticker),
            reading,
        )
        rows = merged(
            [bar for page in bars for bar in page.value.results],
            [paid for page in dividends for paid in page.value.results],
            [split for page in splits for split in page.value.results],
            first,
            last,
        )
        fetched_at = max(page.fetched_at for pages in (bars, dividends, splits) for page in pages)
        return Days(rows, "as_traded", fetched_at)

    def ask_quotes(self, tickers: Sequence[str], reading: Reading) -> QuoteSheet:
        """The newest prices of up to a hundred tickers."""
        symbols = ",".join(SYMBOLS.symbol(ticker) for ticker in tickers)
        request = Request(
            NAME, "/v2/snapshot/locale/us/markets/stocks/tickers", {"tickers": symbols}
        )
        return reading.read(request, lambda reply: snapshot_quotes(reply, tickers)).value


def bars_page(reply: Reply, ticker: str) -> Bars:
    """A page of as-traded bars of a ticker; raises ``VendorError``."""
    page = parsed(_BARS, reply)
    own_ticker(page.ticker, SYMBOLS, (ticker,))
    if page.adjusted:
        raise ReplyRefused("bars are adjusted, although asked as traded")
    if page.resultsCount is not None and page.resultsCount != len(page.results):
        raise ReplyRefused(f"{len(page.results)} bars, but resultsCount {page.resultsCount}")
    return page


def dividends_page(reply: Reply, ticker: str) -> Dividends:
    """A page of dividends of a ticker; raises ``VendorError``."""
    page = parsed(_DIVIDENDS, reply)
    for row in page.results:
        own_ticker(row.ticker, SYMBOLS, (ticker,))
    return page


def splits_page(reply: Reply, ticker: str) -> Splits:
    """A page of splits of a ticker; raises ``VendorError``."""
    page = parsed(_SPLITS, reply)
    for row in page.results:
        own_ticker(row.ticker, SYMBOLS, (ticker,))
    return page


def merged(
    bars: Sequence[Bar],
    dividends: Sequence[Dividend],
    splits: Sequence[Split],
    first: date,
    last: date,
) -> list[Day]:
    """Bars with the dividends and the split of their day; raises ``ReplyRefused``.

    Different dividends of one day add up. One on a day without a bar would be lost with the day, so
    that it refuses the ticker.
    """
    sessions = own_sessions((_session(bar) for bar in bars), first, last)
    told = [(dividend.ex_dividend_date, dividend.cash_amount) for dividend in dividends]
    if len(set(told)) < len(told):
        raise ReplyRefused("a dividend comes twice")
    paid: dict[date, float] = defaultdict(float)
    for ex_date, cash in sorted(told):
        paid[ex_date] += cash
    ratios = {split.execution_date: split.split_to / split.split_from for split in splits}
    if len(ratios) < len(splits):
        raise ReplyRefused("two splits on one day")
    if strangers := sorted((set(paid) | set(ratios)) - set(sessions)):
        raise ReplyRefused(f"a dividend or split on {strangers[0]}, a day without a bar")
    return [
        Day(
            session=session,
            open=known(bar.o),
            high=known(bar.h),
            low=known(bar.l),
            close=known(bar.c),
            volume=known(bar.v),
            vwap=known(bar.vw),
            dividend=paid.get(session, 0.0),
            split=ratios.get(session, 1.0),
        )
        for session, bar in zip(sessions, bars, strict=True)
    ]


def snapshot_quotes(reply: Reply, asked: Sequence[str]) -> QuoteSheet:
    """The newest prices of a reply, and the tickers whose rows are wrong."""
    page = parsed(_SNAPSHOTS, reply)
    return sheet(page.tickers, Snapshot, asked, SYMBOLS, partial(_quote, reply=reply))


def _quote(ticker: str, row: Snapshot, *, reply: Reply) -> Quote | None:
    """The last trade where the plan shows it, else the day's last price."""
    day, quote = row.day or DaySoFar(), row.lastQuote or BidAsk()
    if row.lastTrade is not None and row.lastTrade.p is not None:
        found: tuple[float | None, int | None] = (row.lastTrade.p, row.lastTrade.t)
    else:
        found = (day.c or None, row.updated)
    price, at = found
    if price is None:
        return None
    if at is None:
        raise ReplyRefused("a price without its time")
    moment = _EPOCH + timedelta(microseconds=at // 1000)
    return Quote(
        ticker=ticker,
        at=quote_time(moment, reply.fetched_at),
        price=price,
        bid=quote.p or np.nan,
        ask=quote.P or np.nan,
        volume=known(day.v),
        fetched_at=reply.fetched_at,
    )


def _session(bar: Bar) -> date:
    at = datetime.fromtimestamp(bar.t / 1000, _NEW_YORK)
    if at.time() != time():
        raise ReplyRefused(f"a bar of {at.isoformat()}, no midnight in New York")
    return at.date()


def _events(kind: str, day: str, symbol: str, first: date, last: date) -> Request:
    span = {f"{day}.gte": f"{first}", f"{day}.lte": f"{last}"}
    params = {"ticker": symbol, **span, "limit": "1000", "sort": day, "order": "asc"}
    return Request(NAME, f"/v3/reference/{kind}", params)


def _pages(
    request: Request, parse: Callable[[Reply], PageT], reading: Reading
) -> list[Answer[PageT]]:
    """Every page, in order; raises ``ReplyRefused`` for a chain without an end."""
    seen: set[str] = set()
    pages: list[Answer[PageT]] = []
    following: Request | None = request
    while following is not None:
        if following.digest in seen or len(seen) == _PAGES:
            raise ReplyRefused("pages without an end")
        seen.add(following.digest)
        pages.append(reading.read(following, parse))
        following = _next(request, pages[-1].value.next_url)
    return pages


def _next(request: Request, next_url: str | None) -> Request | None:
    """The question for the next page, at our own address: the reply's host gets no key."""
    if not next_url:
        return None
    try:
        url = urlsplit(next_url)
        params: Mapping[str, str] = dict(parse_qsl(url.query, strict_parsing=True))
    except ValueError:
        raise ReplyRefused("next_url is no address") from None
    # The vendor writes the rest of a span of days into the path of bars.
    if not url.path.startswith(request.path.rpartition("/day/")[0] or request.path):
        raise ReplyRefused(f"next_url leads from {request.path} to {url.path[:100]}")
    return Request(
        NAME, url.path, {name: text for name, text in params.items() if name not in _SECRET_PARAMS}
    )
