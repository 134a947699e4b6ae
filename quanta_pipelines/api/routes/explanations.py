"""Settled epochs, who took part in each, and why each miner got what it got."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from quanta_pipelines.api import explanations
from quanta_pipelines.api.authentication import MaybeSigner
from quanta_pipelines.api.documents import ON_SIGNED, OPTIONALLY_SIGNED, refused
from quanta_pipelines.api.fields import EpochId, Hotkey
from quanta_pipelines.api.pages import Page
from quanta_pipelines.api.responses import (
    EpochsResponse,
    ExplanationResponse,
    StandingsResponse,
)
from quanta_pipelines.api.services import Using

router = APIRouter(prefix="/v1", tags=["Leaderboard"])

_OF_EPOCH = (
    "unknown_epoch",
    "epoch_not_settled",
    "nothing_published",
    "tables_unavailable",
    "invalid_epoch",
    "not_explained",
)
_UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What If-None-Match names is still current."}
}


@router.get(
    "/epochs",
    response_model=EpochsResponse,
    responses={**_UNCHANGED, **refused("nothing_published", "tables_unavailable")},
)
def epochs(request: Request, services: Using) -> Response:
    """Every settled epoch, the newest first."""
    found = explanations.epochs(services, services.publication())
    page = Page.of(found.model_dump_json().encode())
    return page.answer(request.headers.get("If-None-Match"))


@router.get(
    "/standings/{epoch_id}",
    response_model=StandingsResponse,
    responses={**_UNCHANGED, **refused(*_OF_EPOCH)},
)
def standings(epoch_id: EpochId, request: Request, services: Using) -> Response:
    """Everyone who took part in a settled epoch, ranked or not, with the reason."""
    found = explanations.standings(services, epoch_id)
    page = Page.of(found.model_dump_json().encode())
    return page.answer(request.headers.get("If-None-Match"))


@router.get(
    "/explanations/{epoch_id}/{miner_hotkey}",
    response_model=ExplanationResponse,
    openapi_extra=OPTIONALLY_SIGNED,
    responses={**_UNCHANGED, **refused(*ON_SIGNED, *_OF_EPOCH, "unknown_miner")},
)
def explanation(
    epoch_id: EpochId,
    miner_hotkey: Hotkey,
    request: Request,
    services: Using,
    signer: MaybeSigner,
) -> Response:
    """Why a miner got what it got, each number with its row; positions to the miner itself."""
    is_owner = signer is not None and signer.hotkey == miner_hotkey
    body = explanations.explanation(services, epoch_id, miner_hotkey, is_owner=is_owner)
    if is_owner:
        return Response(body, media_type="application/json")  # never in a shared cache
    return Page.of(body).answer(request.headers.get("If-None-Match"))
