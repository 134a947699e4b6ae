"""Replies that are young enough to stand for a new one, on disk or in Redis.

``requests-cache`` holds them, as JSON. A cache that is down or damaged costs requests, never an
answer: it is left alone for a minute and reported once.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache as once
from pathlib import Path
from typing import Final, Protocol

from redis import Redis, RedisError
from requests.structures import CaseInsensitiveDict
from requests_cache.backends.base import BaseStorage
from requests_cache.backends.filesystem import FileDict
from requests_cache.backends.redis import RedisDict
from requests_cache.models.request import CachedRequest
from requests_cache.models.response import CachedResponse
from requests_cache.serializers import json_serializer, utf8_encoder
from requests_cache.serializers.pipeline import SerializerPipeline

from quanta_pipelines.adapters.price_vendors.replies import Reply, Request

_LOG = logging.getLogger(__name__)
_FAULTS = (
    *(RedisError, ExceptionGroup, OSError),
    *(ValueError, TypeError, LookupError, AttributeError),
)
_PAUSE = 60.0  # seconds that a faulty cache is left alone
_REDIS_TIMEOUT = 1.0  # seconds
_KEPT_DAYS = 8.0  # no rule lets a reply stand for a new one any longer


class ReplyCache(Protocol):
    """Where young replies are looked for."""

    def get(self, request: Request, at: datetime, ttl: timedelta) -> Reply | None:
        """The reply to a request if it is younger than ``ttl`` at a moment."""
        ...

    def put(self, reply: Reply, ttl: timedelta) -> None:
        """Offer a good reply to later questions."""
        ...


class NoCache:
    """Every question is asked."""

    def get(self, request: Request, at: datetime, ttl: timedelta) -> Reply | None:  # noqa: ARG002
        """Nothing."""
        return None

    def put(self, reply: Reply, ttl: timedelta) -> None:
        """Nothing is kept."""


class StoredCache:
    """A cache in one of ``requests-cache``'s stores."""

    def __init__(self, opened: Callable[[], BaseStorage[str, CachedResponse]]) -> None:
        self._opened: Final = once(opened)  # when it is first used: it may be down
        self._rests_until = 0.0

    @classmethod
    def on_disk(cls, path: Path) -> "StoredCache":
        """A folder of JSON files, created when it is first used.

        Files rather than SQLite: a damaged one is a single miss, and ``requests-cache`` waits
        without end for a database that it cannot write to.
        """

        def opened() -> BaseStorage[str, CachedResponse]:
            path.mkdir(parents=True, exist_ok=True)
            _forget_old(path)
            return FileDict(path, serializer=json_serializer, decode_content=False)

        return cls(opened)

    @classmethod
    def in_redis(cls, url: str) -> "StoredCache":
        """A Redis server, ``redis://host:6379/0``; entries leave it an hour after their time."""

        def opened() -> BaseStorage[str, CachedResponse]:
            connection = Redis.from_url(
                url, socket_connect_timeout=_REDIS_TIMEOUT, socket_timeout=_REDIS_TIMEOUT
            )
            serializer = SerializerPipeline([*json_serializer.stages, utf8_encoder], name="json")
            return RedisDict(
                "quanta:replies", connection=connection, serializer=serializer, decode_content=False
            )

        return cls(opened)

    def get(self, request: Request, at: datetime, ttl: timedelta) -> Reply | None:
        """The reply to a request if it is younger than ``ttl`` at a moment."""
        if self._rests():
            return None
        try:
            held = self._opened()[request.digest]
            if held is None:  # not to be read: of another version, or damaged
                return None
            fresh = timedelta(0) <= at - held.created_at < ttl
            kept = Reply(
                request, held.status_code, dict(held.headers), held.content, held.created_at
            )
        except KeyError:
            return None
        except _FAULTS as fault:
            self._rest(fault)
            return None
        return kept if fresh else None

    def put(self, reply: Reply, ttl: timedelta) -> None:
        """Offer a good reply to later questions."""
        if self._rests():
            return
        try:
            self._opened()[reply.request.digest] = CachedResponse(
                content=reply.body,
                created_at=reply.fetched_at,
                expires=reply.fetched_at + ttl,
                headers=CaseInsensitiveDict(reply.headers),
                request=CachedRequest(method="GET", url=reply.request.path),
                status_code=reply.status,
                url=reply.request.path,
            )
        except _FAULTS as fault:
            self._rest(fault)

    def _rests(self) -> bool:
        return time.monotonic() < self._rests_until

    def _rest(self, fault: BaseException) -> None:
        self._rests_until = time.monotonic() + _PAUSE
        _LOG.warning("reply cache is left out for %.0f s: %s", _PAUSE, type(fault).__name__)


def _forget_old(folder: Path) -> None:
    """Remove files that nobody may use any more."""
    oldest = time.time() - _KEPT_DAYS * 86_400
    for file in folder.glob("*.json"):
        if file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)
