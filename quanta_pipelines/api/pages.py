"""Pages of the leaderboard, kept as encoded bytes with their ETag until the next publication.

A page that was made is answered in front of the routes: nothing is parsed that was parsed before.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from quanta_pipelines.adapters.published_marts import NothingPublished, PublishedMarts

KEPT_PAGES = 128

_CACHED = {"Cache-Control": "public, max-age=0, must-revalidate"}


@dataclass(frozen=True, slots=True)
class Page:
    """An encoded answer, and its headers as they are sent."""

    etag: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def of(
        cls,
        body: bytes,
        *,
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> "Page":
        """The page with these bytes, and with further headers."""
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        said = {"ETag": etag, **_CACHED, **(headers or {})}
        made = Response(body, headers=said, media_type=media_type)
        return cls(etag, body, tuple(made.raw_headers))

    def answer(self, asked_for: str | None) -> Response:
        """The page, or 304 where the caller holds it."""
        if asked_for is not None and _holds(asked_for, self.etag):
            return Response(status_code=304, headers={"ETag": self.etag, **_CACHED})
        found = Response(self.body)
        found.raw_headers = list(self.headers)
        return found

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request for the page."""
        asked_for = Headers(scope=scope).get("If-None-Match")
        if asked_for is not None:
            await self.answer(asked_for)(scope, receive, send)
            return
        start = {"type": "http.response.start", "status": 200, "headers": list(self.headers)}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


@dataclass
class Pages:
    """Encoded pages of one publication, the least used forgotten first."""

    making: Lock = field(default_factory=Lock)
    _version: str = ""
    _pages: OrderedDict[str, Page] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def find(self, version: str, query: str) -> Page | None:
        """The page of a query under a publication, if it was made."""
        with self._lock:
            if version != self._version or query not in self._pages:
                return None
            self._pages.move_to_end(query)
            return self._pages[query]

    def keep(self, version: str, query: str, page: Page) -> None:
        """Remembers a page; those of an earlier publication go."""
        with self._lock:
            if version != self._version:
                self._pages.clear()
                self._version = version
            self._pages[query] = page
            while len(self._pages) > KEPT_PAGES:
                self._pages.popitem(last=False)


@dataclass(frozen=True)
class KeptPages:
    """Answers requests of one route whose page is kept; passes on all others."""

    app: ASGIApp
    pages: Pages
    marts: PublishedMarts
    route: BaseRoute  # what its answers are counted under
    path: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        page = self._kept(scope)
        if page is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = self.route
        await page.send(scope, receive, send)

    def _kept(self, scope: Scope) -> Page | None:
        if scope["type"] != "http" or scope["path"] != self.path or scope["method"] != "GET":
            return None
        try:
            version = self.marts.version()
        except NothingPublished:
            return None
        return self.pages.find(version, query_of(scope))


def query_of(scope: Scope) -> str:
    """What pages are kept by: the query exactly as sent, each byte a character."""
    return bytes(scope["query_string"]).decode("latin-1")


def _holds(asked_for: str, etag: str) -> bool:
    """Whether If-None-Match names the page; comparison is weak (RFC 9110, 13.1.2)."""
    named = (part.strip().removeprefix("W/") for part in asked_for.split(","))
    return any(part in ("*", etag) for part in named)
