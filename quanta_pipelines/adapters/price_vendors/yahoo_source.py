"""Questions to Yahoo through yfinance, which knows how to be let in: cookie, crumb, consent, TLS.

yfinance asks and reads, but its reading is not ours: replies are taken from its session as they
came. It refuses sessions that cache, and keeps past replies in memory itself, which is emptied
before each question.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import yfinance
from curl_cffi import CurlOpt
from curl_cffi.requests import Response, Session
from yfinance.const import _QUERY1_URL_
from yfinance.data import YfData
from yfinance.exceptions import YFRateLimitError

from quanta_pipelines.adapters.price_vendors.errors import VendorOutage
from quanta_pipelines.adapters.price_vendors.http import PATIENCE, Patience, RateLimit
from quanta_pipelines.adapters.price_vendors.reading import utc_now
from quanta_pipelines.adapters.price_vendors.replies import Reply, ReplyArchive, Request

_LOG = logging.getLogger(__name__)
CHART: Final = "/v8/finance/chart/"
QUOTE: Final = "/v7/finance/quote"
NEW_YORK: Final = ZoneInfo("America/New_York")
_ONE_AT_A_TIME: Final = threading.Lock()  # yfinance has one session for the whole process


class WatchedSession(Session[Response]):
    """yfinance's session, which notes every reply with prices; it can be led to another address."""

    def __init__(self, base_url: str, patience: Patience) -> None:
        limit = {CurlOpt.MAXFILESIZE_LARGE: patience.largest_reply}
        super().__init__(impersonate="chrome", curl_options=limit)
        self._base = urlsplit(base_url)
        self._whole = patience.whole
        self.noted: list[Response] = []

    def request(self, method: Any, url: str, *args: Any, **options: Any) -> Response:
        """As the session's own, with the reply noted."""
        options["timeout"] = self._whole
        response = super().request(method, self._led(url), *args, **options)
        if urlsplit(url).path.startswith((CHART, QUOTE)):
            self.noted.append(response)
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
        """The last reply to a chart or quote question; raises ``VendorOutage`` where none came."""
        self.rate.wait()
        with _ONE_AT_A_TIME:
            replies, failure = self._replies(request)
        kept = [self._reply(request, reply) for reply in replies]
        for reply in kept:
            self.archive.add(reply)
        if not kept:
            raise VendorOutage(f"no reply: {failure}")
        return kept[-1]

    def _replies(self, request: Request) -> tuple[list[Response], str]:
        """What came through the session while yfinance asked, and how yfinance ended."""
        session = self._opened()
        session.noted.clear()
        ended = "without an answer"
        ask = self._ask_quotes if request.path == QUOTE else self._ask_chart
        try:
            ask(request, session)
        except YFRateLimitError:
            ended = "too many requests"
        except Exception as error:  # its reading of the reply is not ours; the reply is kept
            ended = type(error).__name__
            _LOG.debug("yfinance ended with %s on %s", ended, request.path)
        return _own(request, session.noted), ended

    def _ask_chart(self, request: Request, session: WatchedSession) -> None:
        """A ticker's days, as ``history`` asks for them: up to the day of the fetch."""
        YfData.cache_get.cache_clear()
        end = self.clock().astimezone(NEW_YORK).date() + timedelta(days=1)
        stock = yfinance.Ticker(request.path.removeprefix(CHART), session=session)
        stock.history(actions=True, auto_adjust=False, start=request.params["start"], end=f"{end}")

    def _ask_quotes(self, request: Request, session: WatchedSession) -> None:
        """Newest prices of many tickers, as ``Ticker.info`` asks for those of one."""
        YfData(session=session).get_raw_json(_QUERY1_URL_ + QUOTE, params=dict(request.params))

    def _opened(self) -> WatchedSession:
        if not self._session:
            self.own_files.mkdir(parents=True, exist_ok=True)
            yfinance.set_tz_cache_location(str(self.own_files))
            self._session.append(WatchedSession(self.base_url, self.patience))
        return self._session[0]

    def _reply(self, request: Request, response: Response) -> Reply:
        kept = {"content-type", "date", "retry-after"}
        headers = {
            name.lower(): str(value)
            for name, value in response.headers.items()
            if name.lower() in kept
        }
        return Reply(request, response.status_code, headers, response.content, self.clock())


def _own(request: Request, noted: list[Response]) -> list[Response]:
    """The replies to a question, without those to yfinance's look-up of the stock's time zone.

    Where that was refused the question was never asked: its error stands for the answer.
    """
    if request.path == QUOTE:
        return list(noted)
    own = [reply for reply in noted if "period1=" in str(reply.url)]
    return own or [reply for reply in noted if reply.status_code != 200]
