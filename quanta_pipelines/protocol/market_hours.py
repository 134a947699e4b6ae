"""Whether the market is open at a moment, and when it last closed and next opens.

Sessions, half days and daylight saving are those of the vendored table (``epoch``); the moment is
an argument.
"""

import datetime as dt
from dataclasses import dataclass

from quanta_pipelines.protocol.epoch import session_close, session_open, sessions_between
from quanta_pipelines.protocol.errors import ProtocolError, UnknownSessions

# The exchange never stood still longer: from 10 to 17 September 2001
_LONGEST_CLOSURE = dt.timedelta(days=10)


@dataclass(frozen=True, slots=True)
class MarketClock:
    """What the market does at ``now``; a session lasts from its open to before its close."""

    now: dt.datetime
    session: dt.date
    """The session that runs, else the last one that closed."""

    @classmethod
    def at(cls, now: dt.datetime) -> "MarketClock":
        """The clock at a moment with a time zone; raises ``UnknownSessions`` outside the table."""
        if now.utcoffset() is None:
            raise ProtocolError(f"a moment carries its time zone, {now.isoformat()} has none")
        now = now.astimezone(dt.UTC)
        today = now.date()  # no session opens or closes on another day in UTC than in New York
        recent = sessions_between(today - _LONGEST_CLOSURE, today)
        begun = [session for session in recent if session_open(session) <= now]
        return cls(now, begun[-1])

    @property
    def is_open(self) -> bool:
        """Whether trading goes on."""
        return self.now < session_close(self.session)

    @property
    def reference(self) -> dt.datetime:
        """The moment that ages are measured against: now, or the last close while it is shut."""
        return min(self.now, session_close(self.session))

    @property
    def next_open(self) -> dt.datetime:
        """When the next session opens, after the one that runs."""
        first = self.session + dt.timedelta(days=1)
        for days in range(_LONGEST_CLOSURE.days):
            day = first + dt.timedelta(days=days)
            if sessions_between(day, day):
                return session_open(day)
        raise UnknownSessions(f"no session within {_LONGEST_CLOSURE.days} days of {self.session}")
