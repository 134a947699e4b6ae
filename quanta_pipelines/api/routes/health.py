"""Whether the service lives, what its parts say, and numbers for Prometheus."""

import datetime as dt
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from quanta_pipelines.api.documents import refused
from quanta_pipelines.api.probes import detailed_health
from quanta_pipelines.api.responses import DetailedHealthResponse, HealthResponse
from quanta_pipelines.api.services import Using

router = APIRouter(tags=["Health"])

_UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"model": DetailedHealthResponse, "description": "A part that is needed does not answer."}
}


@router.get("/health")
async def health() -> HealthResponse:
    """Liveness: the process answers."""
    return HealthResponse(timestamp=dt.datetime.now(dt.UTC))


@router.get("/health/detailed", responses={**refused(), **_UNHEALTHY})
def detailed(response: Response, services: Using) -> DetailedHealthResponse:
    """Ask every part; 503 when one that is needed does not answer."""
    found = detailed_health(services)
    if found.status == "unhealthy":
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return found


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def exposition(services: Using) -> Response:
    """Counts, durations and how the platform stands, in Prometheus' text format."""
    return Response(services.monitoring.text(), media_type=CONTENT_TYPE_LATEST)
