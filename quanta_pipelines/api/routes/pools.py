"""Who belongs to which pool. A member joins and leaves by its own signature."""

from fastapi import APIRouter

from quanta_pipelines.adapters.signal_store import Role
from quanta_pipelines.api.authentication import Signer
from quanta_pipelines.api.documents import ON_BODIES, ON_SIGNED, SIGNED, refused
from quanta_pipelines.api.fields import Hotkey
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.requests import JoinRequest
from quanta_pipelines.api.responses import PoolResponse
from quanta_pipelines.api.services import Services, Using

router = APIRouter(prefix="/v1/pools", tags=["Pools"])

_ON_MEMBERSHIP = (
    *ON_SIGNED,
    *ON_BODIES,
    "not_signed",
    "not_the_signer",
    "unknown_pool",
    "contradicts_record",
)


@router.get("/{operator_hotkey}/members", responses=refused("unknown_pool", "store_unavailable"))
def members(operator_hotkey: Hotkey, services: Using) -> PoolResponse:
    """The members of a pool now."""
    _require_pool(services, operator_hotkey)
    return _pool(services, operator_hotkey)


@router.post("/{operator_hotkey}/members", openapi_extra=SIGNED, responses=refused(*_ON_MEMBERSHIP))
def join(
    operator_hotkey: Hotkey, body: JoinRequest, signer: Signer, services: Using
) -> PoolResponse:
    """Join a pool; one at a time."""
    signer.must_be(body.member_hotkey)
    _require_pool(services, operator_hotkey)
    services.store.pools.join(body.member_hotkey, operator_hotkey, at=services.now())
    return _pool(services, operator_hotkey)


@router.delete(
    "/{operator_hotkey}/members/{member_hotkey}",
    openapi_extra=SIGNED,
    responses=refused(*_ON_MEMBERSHIP),
)
def leave(
    operator_hotkey: Hotkey, member_hotkey: Hotkey, signer: Signer, services: Using
) -> PoolResponse:
    """Leave a pool."""
    signer.must_be(member_hotkey)
    services.store.pools.leave(member_hotkey, operator_hotkey, at=services.now())
    return _pool(services, operator_hotkey)


def _require_pool(services: Services, operator: str) -> None:
    found = services.store.participants.find(operator, at=services.now())
    if found is None or found.role is not Role.POOL_OPERATOR:
        raise Problem("unknown_pool", f"{operator} operates no pool")


def _pool(services: Services, operator: str) -> PoolResponse:
    now = services.now()
    found = services.store.pools.members(operator, at=now)
    return PoolResponse(operator_hotkey=operator, members=list(found), at=now)
