"""The application: parts, layers and routes put together, and what is refused at the start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from quanta_pipelines.adapters.request_signing import EPISTULA_HEADERS, SIGNING_HEADERS
from quanta_pipelines.adapters.signal_store import StoreUnavailable
from quanta_pipelines.api.documents import describe
from quanta_pipelines.api.middleware import (
    REQUEST_ID,
    AddressLimit,
    BodyLimit,
    RequestRecord,
    SecurityHeaders,
)
from quanta_pipelines.api.monitoring import service_log
from quanta_pipelines.api.pages import KeptPages, Pages
from quanta_pipelines.api.platform_figures import PlatformFigures
from quanta_pipelines.api.problems import HANDLED, answer
from quanta_pipelines.api.rate_limits import RateLimits
from quanta_pipelines.api.routes import (
    admin,
    development,
    explanations,
    health,
    leaderboard,
    metrics,
    peers,
    pools,
    signals,
    validators,
    web,
)
from quanta_pipelines.api.services import Services
from quanta_pipelines.settings import Settings, current_settings

MIN_TOKEN = 32  # characters of the admin token in production

ROUTERS = (
    leaderboard.router,
    explanations.router,
    signals.router,
    metrics.router,
    validators.router,
    peers.router,
    pools.router,
    admin.router,
    development.router,
    health.router,
    web.router,
)


class RefusedSettings(RuntimeError):
    """Settings under which the service may not start."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service for these settings, those of the process where none are given.

    Raises ``RefusedSettings`` for conveniences of development in production.
    """
    chosen = settings or current_settings()
    _check(chosen)
    limits = RateLimits.of(
        chosen.rate_per_address, chosen.rate_per_hotkey, chosen.redis_url.get_secret_value()
    )
    services = Services(chosen, limits, service_log(chosen.log_level))
    services.monitoring.registry.register(PlatformFigures(services))
    # a redirect would be built from whatever Host a caller names, and break its signature
    app = FastAPI(title="QUANTA API", version="1.0.0", lifespan=_lifespan, redirect_slashes=False)
    app.state.services = services
    app.state.pages = Pages()
    for router in ROUTERS:
        app.include_router(router)
    for error in HANDLED:
        app.add_exception_handler(error, answer)
    _add_layers(app, services)
    describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    try:
        services.store.ping()
    except StoreUnavailable as error:  # it may come back: until then requests are told so
        services.log.warning("store_unavailable", detail=str(error))
    yield
    services.close()


def _add_layers(app: FastAPI, services: Services) -> None:
    """Layers around the routes; the one that is added last is the outermost."""
    app.add_middleware(
        KeptPages,
        pages=app.state.pages,
        marts=services.marts,
        route=leaderboard.router.routes[0],
        path=leaderboard.router.prefix,
    )
    app.add_middleware(BodyLimit, most=services.settings.max_body_bytes)
    app.add_middleware(AddressLimit, limits=services.limits)
    if services.settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=services.settings.origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=(*SIGNING_HEADERS, *EPISTULA_HEADERS, "If-None-Match", REQUEST_ID),
            expose_headers=("ETag", "Retry-After", REQUEST_ID),
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestRecord, monitoring=services.monitoring, log=services.log)


def _check(settings: Settings) -> None:
    if not settings.production:
        return
    if settings.allow_unsigned:
        raise RefusedSettings("QUANTA_ALLOW_UNSIGNED is set, and this is production")
    if "*" in settings.origins:
        raise RefusedSettings("QUANTA_CORS_ORIGINS names origins, not *, in production")
    token = settings.admin_token.get_secret_value()
    if token and len(token) < MIN_TOKEN:
        raise RefusedSettings(
            f"QUANTA_ADMIN_TOKEN has at least {MIN_TOKEN} characters in production, "
            f"not {len(token)}"
        )
