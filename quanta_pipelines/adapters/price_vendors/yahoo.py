"""Yahoo through yfinance: daily prices adjusted for splits, with dividends and splits apart.

yfinance knows how to be let in (cookie, crumb, consent, a browser's TLS), so its ``history`` asks.
Rows are read from the chart reply that came through its session, not from the frame it returns:
that frame holds 0 for an unknown volume and one row where two came. yfinance refuses sessions that
cache, and keeps past replies in memory itself, which is emptied before each question.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import yfinance
from curl_cffi import CurlOpt
from curl_cffi.requests import Response, Session
from pydantic import Field, TypeAdapter
from yfinance.data import YfData
from yfinance.exceptions import YFRateLimitError

from quanta_pipelines.adapters.price_vendors.errors import ReplyRefused, VendorOutage
from quanta_pipelines.adapters.price_vendors.http import PATIENCE, Patience, RateLimit
from quanta_pipelines.adapters.price_vendors.reading import utc_now
from quanta_pipelines.adapters.price_vendors.replies import Reply, ReplyArchive, Request
from quanta_pipelines.adapters.price_vendors.symbols import SymbolMap
from quanta_pipelines.adapters.price_vendors.vendor import (
    AskedVendor,
    Day,
    Days,
    Quote,
    QuoteSheet,
    Reading,
)
from quanta_pipelines.adapters.price_vendors.wire_types import (
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

_LOG = logging.getLogger(__name__)
NAME: Final = "yahoo"
SYMBOLS: Final = SymbolMap(NAME, "-")
_NEW_YORK: Final = ZoneInfo("America/New_York")
_CHART: Final = "/v8/finance/chart/"
_ONE_AT_A_TIME: Final = threading.Lock()  # yfinance has one session for the whole process

Seconds = int


class ChartMeta(Wire):
    """Whose prices a chart shows, in what, and the newest one."""

    symbol: str
    currency: str
    exchangeTimezoneName: str  # noqa: N815 - the vendor's spelling
    regularMarketPrice: Price | None = None  # noqa: N815
    regularMarketTime: Seconds | None = Field(default=None, ge=0, le=10**11)  # noqa: N815
    regularMarketVolume: Shares | None = None  # noqa: N815


class Columns(Wire):
    """One list per number, a place per timestamp."""

    open: list[Price | None] = Field(default_factory=list)
    high: list[Price | None] = Field(default_factory=list)
    low: list[Price | None] = Field(default_factory=list)
    close: list[Price | None] = Field(default_factory=list)
    volume: list[Shares | None] = Field(default_factory=list)


class Indicators(Wire):
    """The columns; Yahoo puts them into a list of one."""

    quote: list[Columns] = Field(min_length=1, max_length=1)


class PaidDividend(Wire):
    """Cash a share, adjusted for later splits."""

    date: Seconds = Field(ge=0, le=10**11)
    amount: Cash


class DoneSplit(Wire):
    """``numerator`` new shares for ``denominator`` old ones."""

    date: Seconds = Field(ge=0, le=10**11)
    numerator: Ratio
    denominator: Ratio


class Events(Wire):
    """Dividends and splits, by the text of their timestamp."""

    dividends: dict[str, PaidDividend] = Field(default_factory=dict)
    splits: dict[str, DoneSplit] = Field(default_factory=dict)


class Chart(Wire):
    """One ticker's days."""

    meta: ChartMeta
    timestamp: list[Seconds] = Field(default_factory=list)
    indicators: Indicators
    events: Events = Events()


class _Result(Wire):
    result: list[Chart] = Field(min_length=1, max_length=1)


class _Envelope(Wire):
    chart: _Result


_ENVELOPE: Final = TypeAdapter(_Envelope)


class WatchedSession(Session[Response]):
    """yfinance's session, which hands on every chart reply; it can be led to another address."""

    def __init__(self, base_url: str, patience: Patience) -> None:
        limit = {CurlOpt.MAXFILESIZE_LARGE: patience.largest_reply}
        super().__init__(impersonate="chrome", curl_options=limit)
        self._base = urlsplit(base_url)
        self._whole = patience.whole
        self.charts: list[Response] = []

    def request(self, method: Any, url: str, *args: Any, **options: Any) -> Response:
        """As the session's own, with the reply noted."""
        options["timeout"] = self._whole
        response = super().request(method, self._led(url), *args, **options)
        if urlsplit(url).path.startswith(_CHART):
            self.charts.append(response)
        return response

    def _led(self, url: str) -> str:
        if not self._base.netloc:
            return url
        return urlunsplit(
            urlsplit(url)._replace(scheme=self._base.scheme, netloc=self._base.netloc)
        )


@dataclass(frozen=True, slots=True)
class YahooSource:
    """yfinance with a rate limit, an archive, and no memory between questions.

    ``base_url`` is empty for Yahoo itself; another address stands for all of Yahoo's hosts.
    """

    rate: RateLimit
    archive: ReplyArchive
    own_files: Path  # folder of yfinance's cookie and time zones
    base_url: str = ""
    patience: Patience = PATIENCE
    clock: Callable[[], datetime] = utc_now
    _session: list[WatchedSession] = field(default_factory=list, init=False)

    def fetch(self, request: Request) -> Reply:
        """The last chart reply to a question; raises ``VendorOutage`` where none came."""
        self.rate.wait()
        with _ONE_AT_A_TIME:
            charts, failure = self._charts(request)
        kept = [self._reply(request, chart) for chart in charts]
        for reply in kept:
            self.archive.add(reply)
        if not kept:
            raise VendorOutage(f"no reply: {failure}")
        return kept[-1]

    def _charts(self, request: Request) -> tuple[list[Response], str]:
        """What came through the session while yfinance asked, and how yfinance ended."""
        session = self._opened()
        session.charts.clear()
        YfData.cache_get.cache_clear()
        options: dict[str, Any] = dict(request.params)
        if "start" in options:
            del options["last"]
            options["end"] = f"{self.clock().astimezone(_NEW_YORK).date() + timedelta(days=1)}"
        ended = "without an answer"
        try:
            stock = yfinance.Ticker(request.path.removeprefix(_CHART), session=session)
            stock.history(actions=True, auto_adjust=False, **options)
        except YFRateLimitError:
            ended = "too many requests"
        except Exception as error:  # its reading of the reply is not ours; the reply is kept
            ended = type(error).__name__
            _LOG.debug("yfinance ended with %s on %s", ended, request.path)
        # A refused look-up of the stock's time zone ends the question before it is asked.
        asked = "period1=" if "start" in request.params else "range="
        own = [chart for chart in session.charts if asked in str(chart.url)]
        return own or [chart for chart in session.charts if chart.status_code != 200], ended

    def _opened(self) -> WatchedSession:
        if not self._session:
            self.own_files.mkdir(parents=True, exist_ok=True)
            yfinance.set_tz_cache_location(str(self.own_files))
            self._session.append(WatchedSession(self.base_url, self.patience))
        return self._session[0]

    def _reply(self, request: Request, chart: Response) -> Reply:
        kept = {"content-type", "date", "retry-after"}
        headers = {
            name.lower(): str(value)
            for name, value in chart.headers.items()
            if name.lower() in kept
        }
        return Reply(request, chart.status_code, headers, chart.content, self.clock())


@dataclass(frozen=True, slots=True, kw_only=True)
class YahooVendor(AskedVendor):
    """Asks one question per ticker, one at a time.

    Closes are adjusted for every split up to the day of the fetch. A span that ended earlier
    therefore brings the rows of the later splits too: its level rests on them.
    """

    name: str = NAME
    symbols: SymbolMap = SYMBOLS
    workers: int = 1
    batch: int = 1

    def ask_days(self, ticker: str, first: date, last: date, reading: Reading) -> Days:
        """The days of one ticker up to ``last``, and those of its later splits."""
        request = Request(
            NAME, _CHART + SYMBOLS.symbol(ticker), {"start": f"{first}", "last": f"{last}"}
        )
        answer = reading.read(request, lambda reply: chart_days(reply, ticker, first))
        rows = [day for day in answer.value if day.session <= last or day.split != 1.0]
        return Days(rows, "split_adjusted", answer.fetched_at)

    def ask_quotes(self, tickers: Sequence[str], reading: Reading) -> QuoteSheet:
        """The newest price of one ticker."""
        (ticker,) = tickers
        request = Request(NAME, _CHART + SYMBOLS.symbol(ticker), {"period": "1d"})
        return reading.read(request, lambda reply: chart_quote(reply, ticker)).value


def chart_days(reply: Reply, ticker: str, first: date) -> list[Day]:
    """The days of a reply from ``first`` to its fetch; raises ``VendorError``."""
    chart = _chart(reply, ticker)
    last = reply.fetched_at.astimezone(_NEW_YORK).date()
    sessions = own_sessions((_day(at) for at in chart.timestamp), first, last)
    columns = chart.indicators.quote[0]
    lists = (columns.open, columns.high, columns.low, columns.close, columns.volume)
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
        )
        for session, opened, high, low, close, volume in zip(sessions, *lists, strict=True)
    ]


def chart_quote(reply: Reply, ticker: str) -> QuoteSheet:
    """The newest price that a chart names; Yahoo's chart has no bid and no ask."""
    meta = _chart(reply, ticker).meta
    if meta.regularMarketPrice is None:
        return QuoteSheet([], [])
    if meta.regularMarketTime is None:
        raise ReplyRefused("a price without its time")
    at = datetime.fromtimestamp(meta.regularMarketTime, UTC)
    quote = Quote(
        ticker=ticker,
        at=quote_time(at, reply.fetched_at),
        price=meta.regularMarketPrice,
        volume=known(meta.regularMarketVolume),
        fetched_at=reply.fetched_at,
    )
    return QuoteSheet([quote], [])


def _chart(reply: Reply, ticker: str) -> Chart:
    chart = parsed(_ENVELOPE, reply).chart.result[0]
    own_ticker(chart.meta.symbol, SYMBOLS, (ticker,))
    if chart.meta.currency != "USD" or chart.meta.exchangeTimezoneName != _NEW_YORK.key:
        raise ReplyRefused(
            f"prices in {chart.meta.currency} of {chart.meta.exchangeTimezoneName}, not in New York"
        )
    return chart


def _day(at: Seconds) -> date:
    return datetime.fromtimestamp(at, _NEW_YORK).date()
