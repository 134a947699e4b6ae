"""How often one address and one hotkey may ask: counted in memory, or in Redis for all workers.

While Redis cannot be reached every worker counts for itself, and health says so.
"""

import time
from dataclasses import dataclass, field
from threading import Lock

from limits import RateLimitItem, parse
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.window_counts import WindowCounts

RETRY_REDIS_SECONDS = 10.0
_REDIS_TIMEOUT = 0.5  # seconds


@dataclass
class RateLimits:
    """Counts against two limits; raises ``rate_limited`` with the seconds to wait."""

    per_address: RateLimitItem
    per_hotkey: RateLimitItem
    redis_url: str = ""
    _memory: FixedWindowRateLimiter = field(init=False)
    _redis: FixedWindowRateLimiter | None = field(init=False, default=None)
    _redis_errors: tuple[type[Exception], ...] = field(init=False, default=())
    _memory_until: float = field(init=False, default=0.0)
    _lock: Lock = field(init=False, default_factory=Lock)

    @classmethod
    def of(cls, per_address: str, per_hotkey: str, redis_url: str) -> "RateLimits":
        """Limits from text such as ``60/minute``; an error names what cannot be read."""
        return cls(parse(per_address), parse(per_hotkey), redis_url)

    def __post_init__(self) -> None:
        self._memory = FixedWindowRateLimiter(WindowCounts())
        if self.redis_url:
            storage = self._connected()
            self._redis = FixedWindowRateLimiter(storage)
            errors = storage.base_exceptions
            self._redis_errors = errors if isinstance(errors, tuple) else (errors,)

    def _connected(self) -> Storage:
        timeouts = {"socket_timeout": _REDIS_TIMEOUT, "socket_connect_timeout": _REDIS_TIMEOUT}
        storage = storage_from_string(self.redis_url, **timeouts)
        if not isinstance(storage, Storage):
            raise TypeError("REDIS_URL names no storage that is asked synchronously")
        return storage

    @property
    def remote(self) -> bool:
        """Whether counting waits for another machine."""
        return self._redis is not None

    def check_address(self, address: str) -> None:
        """Counts a request of an address."""
        self._check(self.per_address, "address", address)

    def check_hotkey(self, hotkey: str) -> None:
        """Counts a request that a hotkey signed."""
        self._check(self.per_hotkey, "hotkey", hotkey)

    def redis_state(self) -> str:
        """``not_configured``, ``healthy``, or ``degraded`` while it cannot be reached."""
        if self._redis is None:
            return "not_configured"
        try:
            reachable = self._redis.storage.check()
        except self._redis_errors:
            reachable = False
        return "healthy" if reachable else "degraded"

    def _check(self, limit: RateLimitItem, kind: str, who: str) -> None:
        limiter, allowed = self._hit(limit, kind, who)
        if allowed:
            return
        reset = limiter.get_window_stats(limit, kind, who).reset_time
        wait = max(1, round(reset - time.time()))
        raise Problem(
            "rate_limited",
            f"an {kind} may ask {limit}" if kind == "address" else f"a {kind} may ask {limit}",
            headers={"Retry-After": str(wait)},
        )

    def _hit(
        self, limit: RateLimitItem, kind: str, who: str
    ) -> tuple[FixedWindowRateLimiter, bool]:
        """The count of Redis, or that of memory while Redis is away."""
        if self._redis is not None and time.monotonic() >= self._memory_until:
            try:
                return self._redis, self._redis.hit(limit, kind, who)
            except self._redis_errors:
                with self._lock:
                    self._memory_until = time.monotonic() + RETRY_REDIS_SECONDS
        return self._memory, self._memory.hit(limit, kind, who)
