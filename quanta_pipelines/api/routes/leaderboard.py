"""The ranking of an epoch and the record of one miner.

Pages of the leaderboard are kept as encoded bytes with their ETag until the next publication.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from quanta_pipelines.adapters.published_marts import NothingPublished
from quanta_pipelines.api.authentication import MaybeSigner
from quanta_pipelines.api.boards import board
from quanta_pipelines.api.documents import ON_SIGNED, OPTIONALLY_SIGNED, refused
from quanta_pipelines.api.fields import EpochId, Hotkey
from quanta_pipelines.api.miners import miner_record
from quanta_pipelines.api.responses import LeaderboardResponse, MinerResponse, Tier
from quanta_pipelines.api.services import Services, Using

KEPT_PAGES = 128

_CACHED = {"Cache-Control": "public, max-age=0, must-revalidate"}


@dataclass(frozen=True, slots=True)
class Page:
    """An encoded answer."""

    etag: str
    body: bytes

    @classmethod
    def of(cls, body: bytes) -> "Page":
        """The page with these bytes."""
        return cls(f'"{hashlib.sha256(body).hexdigest()[:32]}"', body)

    def answer(self, asked_for: str | None) -> Response:
        """The page, or 304 where the caller holds it."""
        headers = {"ETag": self.etag, **_CACHED}
        if asked_for is not None and _holds(asked_for, self.etag):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type="application/json")


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


class KeptRoute(APIRoute):
    """A route that answers from its pages before a parameter is parsed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The kept bytes, else what the route makes of the request."""
        made = super().get_route_handler()

        async def handle(request: Request) -> Response:
            services: Services = request.app.state.services
            try:
                version = services.marts.version()
            except NothingPublished:
                return await made(request)
            page = request.app.state.pages.find(version, request.url.query)
            if page is None:
                return await made(request)
            answer: Response = page.answer(request.headers.get("If-None-Match"))
            return answer

        return handle


router = APIRouter(prefix="/v1/leaderboard", tags=["Leaderboard"])
kept = APIRouter(prefix="/v1/leaderboard", tags=["Leaderboard"], route_class=KeptRoute)


@kept.get(
    "",
    response_model=LeaderboardResponse,
    responses={
        304: {"description": "The page that If-None-Match names is still the current one."},
        **refused(
            "unknown_epoch",
            "epoch_not_settled",
            "nothing_published",
            "tables_unavailable",
            "invalid_epoch",
        ),
    },
)
async def leaderboard(
    request: Request,
    services: Using,
    epoch_id: Annotated[
        EpochId | None, Query(description="The last settled epoch, if left out.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    tier: Annotated[Tier | None, Query(description="Entries of one tier alone.")] = None,
) -> Response:
    """The ranking of a settled epoch: rank and tier by the validators' consensus."""
    rows = slice(offset, offset + limit)
    pages: Pages = request.app.state.pages

    def made() -> Page:
        publication = services.publication()
        with pages.making:  # who asks for the same page meanwhile waits for it
            page = pages.find(publication.version, request.url.query)
            if page is None:
                answer = board(services, publication, epoch_id, tier=tier, rows=rows)
                page = Page.of(answer.model_dump_json().encode())
                pages.keep(publication.version, request.url.query, page)
        return page

    page = await run_in_threadpool(made)
    return page.answer(request.headers.get("If-None-Match"))


@router.get(
    "/{miner_hotkey}",
    openapi_extra=OPTIONALLY_SIGNED,
    responses=refused(
        *ON_SIGNED, "unknown_miner", "nothing_published", "tables_unavailable", "epoch_not_settled"
    ),
)
def miner(miner_hotkey: Hotkey, services: Using, signer: MaybeSigner) -> MinerResponse:
    """A miner's record; its positions in buckets once their epoch closed, exact to itself."""
    is_owner = signer is not None and signer.hotkey == miner_hotkey
    return miner_record(services, miner_hotkey, is_owner=is_owner)


def _holds(asked_for: str, etag: str) -> bool:
    """Whether If-None-Match names the page; comparison is weak (RFC 9110, 13.1.2)."""
    named = (part.strip().removeprefix("W/") for part in asked_for.split(","))
    return any(part in ("*", etag) for part in named)
