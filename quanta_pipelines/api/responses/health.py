"""Answers about the service itself, and what an error looks like."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quanta_pipelines.api.fields import Moment
from quanta_pipelines.api.responses.examples import RECEIVED, example


class ProblemDocument(BaseModel):
    """An error (RFC 9457); ``code`` is stable, texts are for people."""

    model_config = example(
        type="urn:quanta:problem:too_early",
        title="It is too early to reveal",
        status=425,
        code="too_early",
        detail="received 2019-07-26T13:00:00+00:00, must be within 2019-07-27T02:00:00+00:00 and …",
        instance="urn:quanta:request:0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    )

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    errors: list[dict[str, str]] = Field(default_factory=list)


class HealthResponse(BaseModel):
    """The process answers."""

    model_config = example(status="healthy", timestamp=RECEIVED)

    status: Literal["healthy"] = "healthy"
    timestamp: Moment


class Component(BaseModel):
    """What a probe found."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["healthy", "degraded", "unhealthy", "not_configured", "not_reachable"]
    detail: str


class EpochPhaseNow(BaseModel):
    """An epoch and its phase."""

    model_config = ConfigDict(extra="forbid")

    epoch_id: str
    phase: str


class DetailedHealthResponse(BaseModel):
    """What each part said when it was asked."""

    model_config = example(
        status="degraded",
        timestamp=RECEIVED,
        components={
            "database": {"status": "healthy", "detail": "answered in 0.4 ms"},
            "redis": {"status": "not_configured", "detail": "limits are counted in memory"},
            "market_data": {"status": "healthy", "detail": "prices up to 2019-Q3-W31"},
            "scoring_engine": {"status": "not_reachable", "detail": "no daemon has run yet"},
            "lake": {"status": "healthy", "detail": "9 epochs of prices"},
            "warehouse": {"status": "healthy", "detail": "9 settled epochs, the last 2019-Q3-W31"},
        },
        current_epoch="2019-Q3-W30",
        epoch_phase="evaluation",
        epochs=[
            {"epoch_id": "2019-Q3-W30", "phase": "evaluation"},
            {"epoch_id": "2019-Q3-W31", "phase": "commit"},
        ],
        last_closed_epoch="2019-Q3-W29",
        last_settled_epoch="2019-Q3-W31",
    )

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: Moment
    components: dict[str, Component]
    current_epoch: str | None
    epoch_phase: str | None
    epochs: list[EpochPhaseNow]
    last_closed_epoch: str | None
    last_settled_epoch: str | None
