"""The clock by which windows are judged, for scripts that play a week: refused in production."""

from fastapi import APIRouter, Depends

from quanta_pipelines.api.documents import ON_BODIES, refused
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.requests import ClockRequest
from quanta_pipelines.api.responses import ClockResponse
from quanta_pipelines.api.services import Services, Using


def development_only(services: Using) -> None:
    """Lets a request through in development alone."""
    if services.settings.environment != "development":
        raise Problem("not_in_production", "the clock may be set in development alone")


router = APIRouter(prefix="/v1/dev", tags=["Development"], dependencies=[Depends(development_only)])


@router.get("/clock", responses=refused("not_in_production"))
def clock(services: Using) -> ClockResponse:
    """The time by which windows are judged."""
    return _clock(services)


@router.post("/clock", responses=refused("not_in_production", *ON_BODIES))
def set_clock(body: ClockRequest, services: Using) -> ClockResponse:
    """Continue from a moment. Signatures are still judged by the system's time."""
    services.clock.set(body.now)
    return _clock(services)


@router.delete("/clock", responses=refused("not_in_production"))
def reset_clock(services: Using) -> ClockResponse:
    """Continue with the system's time."""
    services.clock.reset()
    return _clock(services)


def _clock(services: Services) -> ClockResponse:
    return ClockResponse(now=services.now(), set=services.clock.is_set)
