"""Questions to the parts of a deployment, and what they answered."""

import datetime as dt
import time
from typing import Literal

import duckdb

from quanta_pipelines.adapters.daemon_heartbeat import NotReachable, last_heartbeat
from quanta_pipelines.adapters.published_marts import NothingPublished, OutdatedMarts
from quanta_pipelines.adapters.signal_store import StoreUnavailable
from quanta_pipelines.api.responses import Component, DetailedHealthResponse, EpochPhaseNow
from quanta_pipelines.api.services import Services
from quanta_pipelines.protocol.epoch import Epoch, EpochPhase, phase_at
from quanta_pipelines.protocol.errors import UnknownSessions

HEARTBEAT_SECONDS = 300.0  # Dagster's daemon beats every 30
_SEEN = 5  # weeks up to two ahead: antes are taken from an epoch's previous opening on


def detailed_health(services: Services) -> DetailedHealthResponse:
    """Every component's state; unhealthy where the store or the lake does not answer."""
    settled, warehouse = _warehouse(services)
    prices, lake = _lake(services)
    components = {
        "database": _database(services),
        "redis": _redis(services),
        "market_data": _market_data(prices),
        "scoring_engine": _scoring_engine(services),
        "lake": lake,
        "warehouse": warehouse,
    }
    phases = current_phases(services)
    begun = [each for each in phases if each.phase not in ("submission", "commit")]
    return DetailedHealthResponse(
        status=_overall(components),
        timestamp=dt.datetime.now(dt.UTC),
        components=components,
        current_epoch=begun[-1].epoch_id if begun else None,
        epoch_phase=begun[-1].phase if begun else None,
        epochs=[each for each in phases if each.phase != EpochPhase.DISTRIBUTION],
        last_closed_epoch=_last_closed(services, phases),
        last_settled_epoch=settled[-1] if settled else None,
    )


def current_phases(services: Services) -> list[EpochPhaseNow]:
    """Epochs of the weeks around now and their phases, oldest first."""
    now = services.now()
    week = Epoch.containing(now.date()).next().next()
    found: list[EpochPhaseNow] = []
    for _ in range(_SEEN):
        try:
            phase = phase_at(week, now, services.params)
        except UnknownSessions:  # outside the table, or a week without a session
            phase = None
        if phase is not None:
            found.insert(0, EpochPhaseNow(epoch_id=week.id, phase=phase.value))
        week = week.previous()
    return found


def _last_closed(services: Services, phases: list[EpochPhaseNow]) -> str | None:
    now = services.now()
    closed = [each.epoch_id for each in phases if Epoch.parse(each.epoch_id).closes_at <= now]
    return closed[-1] if closed else None


def _overall(
    components: dict[str, Component],
) -> Literal["healthy", "degraded", "unhealthy"]:
    states = {component.status for component in components.values()}
    if "unhealthy" in states:
        return "unhealthy"
    return "degraded" if states & {"degraded", "not_reachable"} else "healthy"


def _database(services: Services) -> Component:
    started = time.perf_counter()
    try:
        services.store.ping()
    except StoreUnavailable as error:
        return Component(status="unhealthy", detail=str(error))
    milliseconds = (time.perf_counter() - started) * 1000
    return Component(status="healthy", detail=f"answered in {milliseconds:.1f} ms")


def _redis(services: Services) -> Component:
    state = services.limits.redis_state()
    detail = {
        "not_configured": "rate limits are counted in memory",
        "healthy": "rate limits are counted in Redis",
        "degraded": "cannot be reached: each worker counts rate limits in memory",
    }
    return Component.model_validate({"status": state, "detail": detail[state]})


def _lake(services: Services) -> tuple[tuple[str, ...], Component]:
    try:
        epochs = services.lake.epochs("validated_prices")
    except OSError as error:
        return (), Component(status="unhealthy", detail=f"cannot be read: {type(error).__name__}")
    return epochs, Component(status="healthy", detail=f"{len(epochs)} epochs of validated prices")


def _market_data(prices: tuple[str, ...]) -> Component:
    if not prices:
        return Component(status="degraded", detail="no epoch's prices have been validated yet")
    return Component(status="healthy", detail=f"validated prices up to {prices[-1]}")


def _warehouse(services: Services) -> tuple[tuple[str, ...], Component]:
    try:
        publication = services.publication()
    except NothingPublished as absent:
        return (), Component(status="degraded", detail=str(absent))
    except OutdatedMarts as outdated:
        return (), Component(status="unhealthy", detail=str(outdated))
    except (OSError, duckdb.IOException) as error:
        return (), Component(status="unhealthy", detail=f"cannot be read: {type(error).__name__}")
    settled = publication.settled
    said = f"{len(settled)} settled epochs, published {publication.published_at.isoformat()}"
    return settled, Component(status="healthy", detail=said)


def _scoring_engine(services: Services) -> Component:
    """Dagster's daemon, whose schedules score and settle."""
    address = services.settings.dagster_postgres_url.get_secret_value()
    try:
        beat = last_heartbeat(services.settings.dagster_home, address)
    except NotReachable as error:
        return Component(status="not_reachable", detail=str(error))
    age = (dt.datetime.now(dt.UTC) - beat).total_seconds()
    state = "healthy" if age <= HEARTBEAT_SECONDS else "degraded"
    return Component.model_validate(
        {"status": state, "detail": f"Dagster's daemon gave its last heartbeat {age:.0f} s ago"}
    )
