"""Counts of fixed windows in this process, as a storage of ``limits``.

The library's own memory storage starts a timer thread about every ten milliseconds under load, to
forget windows that ended. Here the request that comes after a while forgets them on its way.
"""

import time
from threading import Lock

from limits.storage import Storage

SWEEP_SECONDS = 30.0


class WindowCounts(Storage):
    """Counters that end with their window; threads may share one."""

    STORAGE_SCHEME = None  # made by hand, never named by an address

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[str, tuple[int, float]] = {}  # count, and when it ends
        self._lock = Lock()
        self._next_sweep = time.time() + SWEEP_SECONDS

    @property
    def base_exceptions(self) -> type[Exception]:
        """What counting here fails with: nothing of its own."""
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Counts; the first count after a window opens the next one, ``expiry`` seconds long."""
        now = time.time()
        with self._lock:
            if now >= self._next_sweep:
                self._sweep(now)
            count, ends = self._windows.get(key, (0, 0.0))
            if ends <= now:
                count, ends = 0, now + expiry
            self._windows[key] = (count + amount, ends)
            return count + amount

    def get(self, key: str) -> int:
        """The count of the window that is open; 0 where none is."""
        count, ends = self._windows.get(key, (0, 0.0))
        return count if ends > time.time() else 0

    def get_expiry(self, key: str) -> float:
        """When the window ends, in seconds since 1970; now where none is open."""
        return max(self._windows.get(key, (0, 0.0))[1], time.time())

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int:
        """Forgets everything; says how many windows."""
        with self._lock:
            forgotten = len(self._windows)
            self._windows.clear()
            return forgotten

    def clear(self, key: str) -> None:
        """Forgets one window."""
        with self._lock:
            self._windows.pop(key, None)

    def _sweep(self, now: float) -> None:
        self._windows = {key: kept for key, kept in self._windows.items() if kept[1] > now}
        self._next_sweep = now + SWEEP_SECONDS
