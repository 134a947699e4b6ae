"""The ranking of an epoch and the record of one miner.

Pages that were made are answered before a request comes here: see ``pages``.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from quanta_pipelines.api.authentication import MaybeSigner
from quanta_pipelines.api.boards import board
from quanta_pipelines.api.documents import ON_SIGNED, OPTIONALLY_SIGNED, refused
from quanta_pipelines.api.fields import EpochId, Hotkey
from quanta_pipelines.api.integrity import miner_integrity
from quanta_pipelines.api.miners import miner_record
from quanta_pipelines.api.pages import Page, Pages, query_of
from quanta_pipelines.api.responses import (
    IntegrityResponse,
    LeaderboardResponse,
    MinerResponse,
    Tier,
)
from quanta_pipelines.api.services import Using

router = APIRouter(prefix="/v1/leaderboard", tags=["Leaderboard"])


@router.get(
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
    query = query_of(request.scope)

    def made() -> Page:
        publication = services.publication()
        with pages.making:  # who asks for the same page meanwhile waits for it
            page = pages.find(publication.version, query)
            if page is None:
                answer = board(services, publication, epoch_id, tier=tier, rows=rows)
                page = Page.of(answer.model_dump_json().encode())
                pages.keep(publication.version, query, page)
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


@router.get(
    "/{miner_hotkey}/integrity",
    openapi_extra=OPTIONALLY_SIGNED,
    responses=refused(
        *ON_SIGNED, "unknown_miner", "nothing_published", "tables_unavailable", "epoch_not_settled"
    ),
)
def integrity(miner_hotkey: Hotkey, services: Using, signer: MaybeSigner) -> IntegrityResponse:
    """What integrity says of a miner, with portfolios, sessions, numbers and thresholds."""
    is_owner = signer is not None and signer.hotkey == miner_hotkey
    return miner_integrity(services, miner_hotkey, is_owner=is_owner)
