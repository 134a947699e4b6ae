"""What the operator does: register participants, correct prices, open and decide disputes.

Each is logged in the transaction that does it.
"""

from typing import Annotated

from fastapi import APIRouter, Path

from quanta_pipelines.adapters.signal_store import AdminAction, DisputeEvent
from quanta_pipelines.api.authentication import Admin
from quanta_pipelines.api.documents import ADMIN, ON_BODIES, refused
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.requests import (
    CorrectionRequest,
    DisputeEventRequest,
    DisputeRequest,
    ParticipantRequest,
)
from quanta_pipelines.api.responses import CorrectionResponse, DisputeResponse, ParticipantResponse
from quanta_pipelines.api.services import Services, Using
from quanta_pipelines.price_correction import Cell, correct_price
from quanta_pipelines.protocol.epoch import Epoch, Window, distribution_starts, settles_at

router = APIRouter(prefix="/v1/admin", tags=["Admin"], dependencies=[Admin])

_ON_ADMIN = (*ON_BODIES, "not_admin", "admin_disabled", "contradicts_record", "store_unavailable")
ACTOR = "admin"

DisputeId = Annotated[int, Path(ge=1, le=2**31 - 1, examples=[3])]


@router.post("/participants", openapi_extra=ADMIN, responses=refused(*_ON_ADMIN))
def register(body: ParticipantRequest, services: Using) -> ParticipantResponse:
    """Register a participant, or change its role, from a moment on."""
    now = services.now()
    since = body.since or now
    audit = AdminAction(ACTOR, "register_participant", body.model_dump(mode="json"), now)
    services.store.participants.register(
        body.hotkey, body.role, since=since, coldkey=body.coldkey, audit=audit
    )
    return ParticipantResponse(
        hotkey=body.hotkey, coldkey=body.coldkey, role=body.role.value, since=since
    )


@router.post(
    "/corrections",
    openapi_extra=ADMIN,
    responses=refused(*_ON_ADMIN, "epoch_not_settled", "invalid_correction", "invalid_epoch"),
)
def correct(body: CorrectionRequest, services: Using) -> CorrectionResponse:
    """Record that a settled price is another, whatever vendors say. Nothing runs again by it."""
    now = services.now()
    found = correct_price(
        services,
        Epoch.parse(body.epoch_id),
        Cell(body.ticker.strip().upper().replace("-", "."), body.session, body.field),
        value=body.value,
        author=body.author,
        reason=body.reason,
        evidence=body.evidence,
        recorded_at=now,
        old=body.old,
        audit=AdminAction(ACTOR, "correct_price", body.model_dump(mode="json"), now),
    )
    one = found.correction
    return CorrectionResponse(
        correction_id=found.correction_id,
        ticker=one.ticker,
        session=one.session,
        field=one.field,
        old_value=one.old_value,
        new_value=one.new_value,
        epochs=list(found.epochs),
    )


@router.post(
    "/disputes",
    openapi_extra=ADMIN,
    responses=refused(*_ON_ADMIN, "window_closed", "invalid_epoch"),
)
def open_dispute(body: DisputeRequest, services: Using) -> DisputeResponse:
    """Open a dispute, from the settlement of prices until the epoch may be paid."""
    epoch, now = Epoch.parse(body.epoch_id), services.now()
    window = Window(settles_at(epoch, services.params), distribution_starts(epoch, services.params))
    if not window.contains(now):
        raise Problem(
            "window_closed",
            f"disputes of {epoch} are taken from {window.opens.isoformat()} to "
            f"{window.closes.isoformat()}, this one came at {now.isoformat()}",
        )
    audit = AdminAction(ACTOR, "open_dispute", {}, now)
    number = services.store.disputes.open(
        body.opened_by, epoch, body.reason, body.evidence, at=now, audit=audit
    )
    return _dispute(services, number)


@router.get(
    "/disputes/{dispute_id}", openapi_extra=ADMIN, responses=refused(*_ON_ADMIN, "not_recorded")
)
def dispute(dispute_id: DisputeId, services: Using) -> DisputeResponse:
    """A dispute and what became of it."""
    return _dispute(services, dispute_id)


@router.post(
    "/disputes/{dispute_id}/events",
    openapi_extra=ADMIN,
    responses=refused(*_ON_ADMIN, "not_recorded"),
)
def decide(dispute_id: DisputeId, body: DisputeEventRequest, services: Using) -> DisputeResponse:
    """Comment on a dispute, or close it."""
    now = services.now()
    payload = {"dispute_id": dispute_id, **body.model_dump()}
    audit = AdminAction(ACTOR, "decide_dispute", payload, now)
    services.store.disputes.record(
        dispute_id, DisputeEvent(body.event), ACTOR, body.note, at=now, audit=audit
    )
    return _dispute(services, dispute_id)


def _dispute(services: Services, number: int) -> DisputeResponse:
    found = services.store.disputes.find(number, at=services.now())
    return DisputeResponse(
        dispute_id=number,
        epoch_id=found.epoch_id,
        opened_by=found.opened_by,
        reason=found.reason,
        status=found.status,
        opened_at=found.opened_at,
    )
