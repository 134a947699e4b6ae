"""Where a reply comes from: the archive, else the cache, else the vendor; and who is asked first.

A reply counts only once it was read without an error. Only such replies enter the cache.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from quanta_pipelines.adapters.price_vendors.cache import NoCache, ReplyCache
from quanta_pipelines.adapters.price_vendors.errors import (
    VendorClosed,
    VendorError,
    VendorOutage,
)
from quanta_pipelines.adapters.price_vendors.interface import Loss
from quanta_pipelines.adapters.price_vendors.replies import Reply, ReplyArchive, Request

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
OUTAGES_IN_A_ROW = 3  # questions without any reply after which a vendor is given up


def utc_now() -> datetime:
    """The clock of whoever does not bring one."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Freshness:
    """Which earlier replies may answer.

    Kept replies fetched at ``since`` or later do; without ``since`` and beyond the archive, cached
    ones younger than ``ttl``. With ``refetch`` none does.
    """

    ttl: timedelta
    since: datetime | None = None
    refetch: bool = False

    def allows(self, fetched_at: datetime) -> bool:
        """Whether a reply of that moment is late enough."""
        return self.since is None or fetched_at >= self.since


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a reply says, and when it was really fetched."""

    value: T
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class ReplyReader:
    """One deployment's archive, cache and clock."""

    archive: ReplyArchive
    cache: ReplyCache = field(default_factory=NoCache)
    clock: Callable[[], datetime] = utc_now

    def read(
        self,
        request: Request,
        fetch: Callable[[Request], Reply],
        parse: Callable[[Reply], T],
        freshness: Freshness,
    ) -> Answer[T]:
        """What the first good reply says; raises ``VendorError`` where there is none.

        ``parse`` raises ``VendorError`` for a reply that is not good. ``fetch`` keeps what it gets.
        """
        for reply in self._earlier(request, freshness):
            try:
                return Answer(parse(reply), reply.fetched_at)
            except VendorError:
                continue  # an error that was kept; the vendor may do better now
        reply = fetch(request)
        value = parse(reply)
        self.cache.put(reply, freshness.ttl)
        return Answer(value, reply.fetched_at)

    def _earlier(self, request: Request, freshness: Freshness) -> Iterable[Reply]:
        if freshness.refetch:
            return
        if freshness.since is not None:
            yield from self.archive.newest(request, freshness.since)
        cached = self.cache.get(request, self.clock(), freshness.ttl)
        if cached is not None and freshness.allows(cached.fetched_at):
            self.archive.add(cached)  # the archive may be another one than it was fetched for
            yield cached


class Round:
    """One pass over the questions to a vendor: it ends early where asking on is pointless."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outages = 0
        self._closed: str | None = None

    def ask_each(
        self, subjects: Sequence[str], ask: Callable[[str], T], *, workers: int
    ) -> tuple[list[T], tuple[Loss, ...]]:
        """Answers in the order of ``subjects``, and those without one with the reason."""

        def one(subject: str) -> T | Loss:
            return self._ask(subject, ask)

        with ThreadPoolExecutor(workers, thread_name_prefix="question") as threads:
            found = list(threads.map(one, subjects))
        answers = [one for one in found if not isinstance(one, Loss)]
        return answers, tuple(one for one in found if isinstance(one, Loss))

    def _ask(self, subject: str, ask: Callable[[str], T]) -> T | Loss:
        if self._closed is not None:
            return Loss(subject, f"not asked: {self._closed}")
        try:
            answer = ask(subject)
        except VendorError as error:
            self._note(error)
            return Loss(subject, str(error))
        except Exception as error:  # what a vendor sends must never end the run
            where = traceback.extract_tb(error.__traceback__)[-1]
            # Without the message: it may quote what was sent or received.
            _LOG.error("%s at %s:%s", type(error).__name__, where.filename, where.lineno)
            return Loss(subject, f"{type(error).__name__} while reading the reply")
        with self._lock:
            self._outages = 0
        return answer

    def _note(self, error: VendorError) -> None:
        with self._lock:
            self._outages = self._outages + 1 if isinstance(error, VendorOutage) else 0
            if isinstance(error, VendorClosed) or self._outages >= OUTAGES_IN_A_ROW:
                self._closed = self._closed or str(error)
