"""What surrounds every request: its id, its log line and count, its limits, the last handler.

Plain ASGI, since these run on the way of every byte.
"""

import asyncio
import re
import secrets
import time
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from quanta_pipelines.api.monitoring import Monitoring
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.rate_limits import RateLimits

REQUEST_ID = "X-Request-Id"
BODY_SECONDS = 20.0

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_UNLIMITED = frozenset(("/health", "/metrics"))  # whoever watches the service must not be refused


@dataclass(frozen=True)
class RequestRecord:
    """Gives each request an id, counts and logs it, and answers for what nobody handled."""

    app: ASGIApp
    monitoring: Monitoring
    log: FilteringBoundLogger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception:  # the last handler: what no one foresaw is an answer and a log line
            self.log.exception("unhandled", request_id=request_id, path=scope["path"])
            if not status:
                failure = Problem("internal_error", "the log holds it under this request's id")
                await failure.response(request_id)(scope, receive, sending)
        finally:
            self._note(scope, status, request_id, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, request_id: str, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self.monitoring.count(route, scope["method"], status, seconds)
        self.log.info(
            "request",
            request_id=request_id,
            method=scope["method"],
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 3),
            address=_address(scope),
            hotkey=scope["state"].get("hotkey"),
        )


@dataclass(frozen=True)
class AddressLimit:
    """Refuses addresses that ask too often."""

    app: ASGIApp
    limits: RateLimits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in _UNLIMITED:
            try:
                if self.limits.remote:
                    await run_in_threadpool(self.limits.check_address, _address(scope))
                else:
                    self.limits.check_address(_address(scope))
            except Problem as refusal:
                await refusal.response(scope["state"]["request_id"])(scope, receive, send)
                return
        await self.app(scope, receive, send)


@dataclass(frozen=True)
class BodyLimit:
    """Reads a body whole before anyone else does: within its size and its time, or not at all."""

    app: ASGIApp
    most: int
    seconds: float = BODY_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http" or not _has_body(scope):
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self.seconds):
                body = await self._whole(scope, receive)
        except TimeoutError:
            refusal = Problem("request_timeout", f"a body arrives within {self.seconds:g} s")
            await refusal.response(scope["state"]["request_id"])(scope, receive, send)
        except Problem as refusal:
            await refusal.response(scope["state"]["request_id"])(scope, receive, send)
        else:
            if body is not None:
                await self.app(scope, _replayed(body, receive), send)

    async def _whole(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body, ``None`` when its sender went away; raises ``body_too_large``."""
        if _declared(scope) > self.most:
            raise self._too_large()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self.most:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Problem:
        close = {"Connection": "close"}
        return Problem("body_too_large", f"a body has at most {self.most} bytes", headers=close)


@dataclass(frozen=True)
class SecurityHeaders:
    """Answers are data: no sniffing, no framing, no caching unless a route says so."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives the body once, then whatever comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _has_body(scope: Scope) -> bool:
    return any(key in (b"content-length", b"transfer-encoding") for key, _ in scope["headers"])


def _declared(scope: Scope) -> int:
    length = _header(scope, b"content-length") or b""
    return int(length) if length.isdigit() and len(length) < 20 else 0


def _request_id(scope: Scope) -> str:
    given = _header(scope, b"x-request-id")
    if given is not None and _GIVEN_ID.fullmatch(given):
        return given.decode()
    return secrets.token_hex(16)


def _address(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else "none"
