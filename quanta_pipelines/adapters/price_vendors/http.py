"""Questions over HTTP: one session per vendor that waits, retries and limits itself.

Every attempt is one reply in the archive, whatever its status. The key travels in one header, is
added to no address, follows no redirect, and is blanked out wherever a vendor echoes it.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException
from typing import Final

import requests
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import HTTPResponse, Retry
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError

from quanta_pipelines.adapters.price_vendors.errors import VendorClosed, VendorOutage
from quanta_pipelines.adapters.price_vendors.reading import utc_now
from quanta_pipelines.adapters.price_vendors.replies import Reply, ReplyArchive, Request

_LOG = logging.getLogger(__name__)
_TRANSIENT = (429, 500, 502, 503, 504)
_KEPT_HEADERS = frozenset(
    ("content-type", "date", "etag", "last-modified", "retry-after", "x-request-id")
)
_CHUNK = 65_536  # bytes
_BLANK = b"***"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often a vendor is waited for; times in seconds."""

    connect: float = 5.0
    read: float = 20.0  # between two pieces of a reply
    whole: float = 60.0  # for one reply
    retries: int = 3
    backoff: float = 0.5  # doubled before the second retry and before each one after it
    longest_wait: float = 120.0  # for a rate limit or as Retry-After says; beyond it is a refusal
    largest_reply: int = 32 * 2**20  # bytes, unpacked


PATIENCE: Final = Patience()


class RateLimit:
    """At most so many requests in any window of time, as ``5 per minute; 100 per day`` says."""

    def __init__(self, said: str, *, longest_wait: float = PATIENCE.longest_wait) -> None:
        self.said: Final = said
        self._items: tuple[RateLimitItem, ...] = tuple(parse_many(said))
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._longest_wait = longest_wait
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when a request may be sent; raises ``VendorClosed`` if that is too far away."""
        while (pause := self._pause()) > 0.0:
            if pause > self._longest_wait:
                raise VendorClosed(f"own limit of {self.said} is used up for {pause:.0f} s")
            time.sleep(pause)

    def _pause(self) -> float:
        """Seconds until the next request, which is counted when there is nothing to wait for."""
        with self._lock:
            full = [item for item in self._items if not self._limiter.test(item)]
            if not full:
                for item in self._items:
                    self._limiter.hit(item)
                return 0.0
            resets = max(self._limiter.get_window_stats(item).reset_time for item in full)
            return max(resets - time.time(), 0.01)


@dataclass(frozen=True, slots=True)
class HeaderKey(AuthBase):
    """A key in one header, ``Authorization: Token ...``."""

    scheme: str
    key: SecretStr

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Signs a request."""
        request.headers["Authorization"] = f"{self.scheme} {self.key.get_secret_value()}"
        return request

    def blanked(self, data: bytes) -> bytes:
        """What a vendor sent, without the key."""
        return data.replace(self.key.get_secret_value().encode(), _BLANK)


@dataclass(frozen=True, slots=True)
class HttpSource:
    """One vendor's address, key, limits and the archive that its replies go to."""

    base_url: str
    key: HeaderKey
    rate: RateLimit
    archive: ReplyArchive
    patience: Patience = PATIENCE
    clock: Callable[[], datetime] = utc_now
    _session: requests.Session = field(default_factory=requests.Session, init=False)

    def __post_init__(self) -> None:
        self._session.auth = self.key  # also keeps requests from looking into .netrc
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=16))

    def fetch(self, request: Request) -> Reply:
        """The last reply to a request, after retries where it or the connection was transient.

        Raises ``VendorOutage`` where no reply came.
        """
        retries = Retry(
            total=self.patience.retries,
            status_forcelist=_TRANSIENT,
            backoff_factor=self.patience.backoff,
        )
        while True:
            self.rate.wait()
            try:
                reply = self._once(request)
            except ProtocolError as error:
                retries = self._again(retries, request, error)
                retries.sleep()
                continue
            self.archive.add(reply)
            if not retries.is_retry("GET", reply.status) or retries.total == 0:
                return reply
            pause = _retry_after(retries, reply)
            if pause is not None and pause > self.patience.longest_wait:
                return reply
            retries = retries.increment("GET", request.path, _as_urllib3(reply, with_wait=False))
            if pause:
                time.sleep(pause)
            else:
                retries.sleep()

    def _again(self, retries: Retry, request: Request, error: ProtocolError) -> Retry:
        try:
            return retries.increment("GET", request.path, error=error)
        except MaxRetryError:
            attempts = self.patience.retries + 1
            raise VendorOutage(f"no reply after {attempts} attempts: {error.args[0]}") from None

    def _once(self, request: Request) -> Reply:
        """One attempt; raises ``ProtocolError`` where no whole reply came."""
        try:
            with self._session.get(
                self.base_url.rstrip("/") + request.path,
                params=dict(request.params),
                timeout=(self.patience.connect, self.patience.read),
                stream=True,
                allow_redirects=False,
            ) as response:
                body = self._body(response)
                headers = {
                    name.lower(): self._blank(value)
                    for name, value in response.headers.items()
                    if name.lower() in _KEPT_HEADERS or name.lower().startswith("x-ratelimit")
                }
                return Reply(
                    request, response.status_code, headers, self.key.blanked(body), self.clock()
                )
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            # The message may hold the whole address, or what the server sent: its kind is enough.
            _LOG.debug("%s %s: %s", request.vendor, request.path, type(error).__name__)
            raise ProtocolError(_kind(error)) from None

    def _body(self, response: requests.Response) -> bytes:
        """The unpacked body, as long as it is neither too long nor too slow."""
        deadline = time.monotonic() + self.patience.whole
        parts, size = [], 0
        while part := response.raw.read1(_CHUNK, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > self.patience.largest_reply:
                raise ProtocolError(f"reply of more than {self.patience.largest_reply} bytes")
            if time.monotonic() > deadline:
                raise ProtocolError(f"reply was not whole after {self.patience.whole:g} s")
        return b"".join(parts)

    def _blank(self, text: str) -> str:
        return self.key.blanked(text.encode()).decode()


def _kind(error: Exception) -> str:
    """What went wrong on the way, in words that hold nothing of the request."""
    if isinstance(error, ProtocolError) and error.args and type(error.args[0]) is str:
        return error.args[0].partition(":")[0]
    return type(error).__name__


def _retry_after(retries: Retry, reply: Reply) -> float | None:
    """Seconds that the vendor asks to wait, ``None`` where it does not say, or not in words."""
    try:
        return retries.get_retry_after(_as_urllib3(reply, with_wait=True))
    except (HTTPError, ValueError, OverflowError):
        return None


def _as_urllib3(reply: Reply, *, with_wait: bool) -> HTTPResponse:
    kept = dict(reply.headers) if with_wait else {}
    return HTTPResponse(status=reply.status, headers=kept, body=b"")
