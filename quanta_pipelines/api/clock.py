"""The time by which windows are judged: the system's, or one that a developer set."""

import datetime as dt
from threading import Lock


class Clock:
    """Now, in UTC; in development a moment may be set, from which it runs on.

    One per process: with several workers each has its own, so a set clock needs one worker.
    """

    def __init__(self) -> None:
        self._ahead = dt.timedelta()
        self._lock = Lock()

    def now(self) -> dt.datetime:
        """The current moment."""
        with self._lock:
            return dt.datetime.now(dt.UTC) + self._ahead

    def set(self, moment: dt.datetime) -> None:
        """Continues from a moment."""
        with self._lock:
            self._ahead = moment.astimezone(dt.UTC) - dt.datetime.now(dt.UTC)

    def reset(self) -> None:
        """Continues with the system's time."""
        with self._lock:
            self._ahead = dt.timedelta()

    @property
    def is_set(self) -> bool:
        """Whether the moment is one that was set."""
        with self._lock:
            return self._ahead != dt.timedelta()
