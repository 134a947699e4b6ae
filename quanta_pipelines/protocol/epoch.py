"""Epochs: ISO weeks of New York sessions, with the windows in which things may happen.

Sessions come from the vendored table ``sessions.csv``, so that every validator shares one
calendar; nothing here asks for the time. What is committed and revealed inside the windows lives
in ``portfolio`` and ``commit_reveal``.
"""

import datetime as dt
import hashlib
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple
from zoneinfo import ZoneInfo

from quanta_pipelines.protocol.errors import InvalidEpoch, ProtocolError, UnknownSessions
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

FIRST_YEAR, LAST_YEAR = 2000, 2099
_ID = re.compile(r"([0-9]{4})-Q([1-4])-W([0-9]{1,2})")
_WEEK = dt.timedelta(weeks=1)


class EpochPhase(StrEnum):
    """What an epoch is doing, in order."""

    SUBMISSION = "submission"
    COMMIT = "commit"
    REVEAL = "reveal"
    EVALUATION = "evaluation"
    CONSENSUS = "consensus"
    DISTRIBUTION = "distribution"


@dataclass(frozen=True, order=True, slots=True)
class Epoch:
    """One ISO week from 2000 to 2099; its sessions exist inside the vendored table only."""

    iso_year: int
    iso_week: int

    def __post_init__(self) -> None:
        if not FIRST_YEAR <= self.iso_year <= LAST_YEAR:
            raise InvalidEpoch(
                f"an epoch lies between {FIRST_YEAR} and {LAST_YEAR}, not in {self.iso_year}"
            )
        # 28 December always lies in the last week of its ISO year
        last = dt.date(self.iso_year, 12, 28).isocalendar().week
        if not 1 <= self.iso_week <= last:
            raise InvalidEpoch(f"{self.iso_year} has weeks 1 to {last}, not {self.iso_week}")

    @classmethod
    def parse(cls, text: str) -> "Epoch":
        """Epoch with this id; ``W1`` is read as ``W01``."""
        match = _ID.fullmatch(text)
        if match is None:
            raise InvalidEpoch(f"an epoch's id looks like 2025-Q4-W48, not {text!r}")
        epoch = cls(int(match[1]), int(match[3]))
        if epoch.quarter != int(match[2]):
            raise InvalidEpoch(f"{text}: the Thursday of that week lies in Q{epoch.quarter}")
        return epoch

    @classmethod
    def containing(cls, day: dt.date) -> "Epoch":
        """Epoch whose week holds a calendar day."""
        iso = day.isocalendar()
        return cls(iso.year, iso.week)

    @classmethod
    def range(cls, first: "Epoch | str", last: "Epoch | str") -> "tuple[Epoch, ...]":
        """All epochs from the first to the last, both included."""
        start = cls.parse(first) if isinstance(first, str) else first
        end = cls.parse(last) if isinstance(last, str) else last
        if start > end:
            raise InvalidEpoch(f"a range of epochs runs forward, not from {start} to {end}")
        epochs = [start]
        while epochs[-1] < end:
            epochs.append(epochs[-1].next())
        return tuple(epochs)

    @property
    def id(self) -> str:
        """``2025-Q4-W48``; the order of ids as text is the order in time."""
        return f"{self.iso_year}-Q{self.quarter}-W{self.iso_week:02d}"

    def __str__(self) -> str:
        return self.id

    @property
    def monday(self) -> dt.date:
        """The first day of the week."""
        return dt.date.fromisocalendar(self.iso_year, self.iso_week, 1)

    @property
    def quarter(self) -> int:
        """The calendar quarter of the week's Thursday."""
        # ISO 8601: a week belongs to the year of its Thursday, so here to its quarter too
        return (dt.date.fromisocalendar(self.iso_year, self.iso_week, 4).month + 2) // 3

    def previous(self) -> "Epoch":
        """Epoch of the week before."""
        return Epoch.containing(self.monday - _WEEK)

    def next(self) -> "Epoch":
        """Epoch of the week after."""
        return Epoch.containing(self.monday + _WEEK)

    @property
    def sessions(self) -> tuple[dt.date, ...]:
        """The week's sessions, oldest first."""
        found = sessions_between(self.monday, self.monday + dt.timedelta(days=6))
        if not found:
            raise UnknownSessions(f"{self}: a week without a session has no epoch")
        return found

    @property
    def entry_session(self) -> dt.date:
        """The last session before the week: its close is the price at which returns start."""
        return sessions_before(self.sessions[0], 1)[0]

    @property
    def opens_at(self) -> dt.datetime:
        """The close from which returns start, and the end of the commit window."""
        return session_close(self.entry_session)

    @property
    def closes_at(self) -> dt.datetime:
        """The close of the week's last session."""
        return session_close(self.sessions[-1])

    @property
    def settles_at(self) -> dt.datetime:
        """When prices are taken, by the protocol's own rule set."""
        return settles_at(self)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time ``[opens, closes)``; ``closed`` lets the last moment belong to it."""

    opens: dt.datetime
    closes: dt.datetime
    closed: bool = field(default=False, kw_only=True)

    def contains(self, moment: dt.datetime) -> bool:
        """Whether a moment lies inside."""
        _require_aware(moment)
        return self.opens <= moment < self.closes or (self.closed and moment == self.closes)


class _Sessions(NamedTuple):
    """The vendored table, column by column."""

    days: tuple[dt.date, ...]
    opens: dict[dt.date, dt.datetime]
    closes: dict[dt.date, dt.datetime]


@lru_cache(maxsize=1)
def _table() -> _Sessions:
    text = files("quanta_pipelines.protocol").joinpath("sessions.csv").read_text("ascii")
    rows = [line.split(",") for line in text.splitlines()[2:]]
    days = tuple(dt.date.fromisoformat(row[0]) for row in rows)
    opens, closes = ([dt.datetime.fromisoformat(row[at]) for row in rows] for at in (1, 2))
    return _Sessions(
        days, dict(zip(days, opens, strict=True)), dict(zip(days, closes, strict=True))
    )


def session_open(session: dt.date) -> dt.datetime:
    """When the market opens, UTC."""
    return _moment_of(session, _table().opens)


def session_close(session: dt.date) -> dt.datetime:
    """When the market closes, UTC: 13:00 New York on half days."""
    return _moment_of(session, _table().closes)


def _moment_of(session: dt.date, moments: dict[dt.date, dt.datetime]) -> dt.datetime:
    if session not in moments:
        raise UnknownSessions(f"{session} is no session of the table, {_coverage()}")
    return moments[session]


def sessions_between(first: dt.date, last: dt.date) -> tuple[dt.date, ...]:
    """All sessions from a day to a day, both included, oldest first."""
    days = _table().days
    # The table ends on a Friday; the weekend behind it is known to hold no session
    if first < days[0] or last > days[-1] + dt.timedelta(days=2):
        raise UnknownSessions(f"{first} to {last} leaves the table of sessions, {_coverage()}")
    return days[bisect_left(days, first) : bisect_right(days, last)]


def sessions_before(session: dt.date, count: int) -> tuple[dt.date, ...]:
    """As many sessions as ``count`` says that end right before ``session``, oldest first."""
    days = _table().days
    end = bisect_left(days, session)
    if session > days[-1] or not 0 <= count <= end:
        raise UnknownSessions(f"{count} sessions before {session}: the table holds {_coverage()}")
    return days[end - count : end]


def _coverage() -> str:
    days = _table().days
    return f"{days[0]} to {days[-1]}"


def prices_taken_at(session: dt.date, params: ProtocolParams = QUANTA) -> dt.datetime:
    """The evening of a session, half days included: vendors have stopped correcting it by then."""
    time = dt.time.fromisoformat(params.epoch.settle_time)
    local = dt.datetime.combine(session, time, tzinfo=ZoneInfo(params.epoch.timezone))
    return local.astimezone(dt.UTC)


def settles_at(epoch: Epoch, params: ProtocolParams = QUANTA) -> dt.datetime:
    """When prices are taken: in the evening of the last session, half days included."""
    return prices_taken_at(epoch.sessions[-1], params)


def first_evening(epoch: Epoch, params: ProtocolParams = QUANTA) -> dt.datetime:
    """When the prices of the epoch's first session may be taken, for a provisional score."""
    return prices_taken_at(epoch.sessions[0], params)


def finished_sessions(
    epoch: Epoch, moment: dt.datetime, params: ProtocolParams = QUANTA
) -> tuple[dt.date, ...]:
    """The epoch's sessions whose prices may be taken at a moment, oldest first."""
    _require_aware(moment)
    return tuple(day for day in epoch.sessions if prices_taken_at(day, params) <= moment)


def voting_closes(epoch: Epoch, params: ProtocolParams = QUANTA) -> dt.datetime:
    """When votes are no longer taken: a later one abstains."""
    voting = dt.timedelta(minutes=params.consensus.score_submission_window_minutes)
    return settles_at(epoch, params) + voting


def distribution_starts(epoch: Epoch, params: ProtocolParams = QUANTA) -> dt.datetime:
    """When the dispute window has passed and the epoch may be paid."""
    dispute = dt.timedelta(hours=params.consensus.dispute_window_hours)
    return voting_closes(epoch, params) + dispute


def commit_window(epoch: Epoch, params: ProtocolParams = QUANTA) -> Window:
    """When commitments are taken: it ends with the close from which returns start."""
    length = dt.timedelta(hours=params.epoch.commit_window_hours)
    return Window(epoch.opens_at - length, epoch.opens_at)


def reveal_window(epoch: Epoch, params: ProtocolParams = QUANTA) -> Window:
    """When portfolios may be revealed at all."""
    length = dt.timedelta(hours=params.epoch.reveal_window_hours)
    return Window(epoch.opens_at, epoch.opens_at + length)


def reveals_close(epoch: Epoch, params: ProtocolParams = QUANTA) -> dt.datetime:
    """When no commitment can be revealed any more."""
    return reveal_window(epoch, params).closes


def reveal_window_of(
    committed_at: dt.datetime, epoch: Epoch, params: ProtocolParams = QUANTA
) -> Window:
    """When one commitment may be revealed; its last moment belongs to the window."""
    _require_aware(committed_at)
    delay = dt.timedelta(hours=params.consensus.commit_reveal_delay_hours)
    life = dt.timedelta(hours=params.consensus.commitment_expiry_hours)
    opens = max(committed_at + delay, epoch.opens_at)
    return Window(opens, committed_at + life, closed=True)


def phase_at(
    epoch: Epoch, moment: dt.datetime, params: ProtocolParams = QUANTA
) -> EpochPhase | None:
    """Phase of an epoch at a moment, or None before it takes submissions.

    Distribution does not end. Where parameters let two phases overlap, the later one holds.
    """
    _require_aware(moment)
    commit, reveal = commit_window(epoch, params), reveal_window(epoch, params)
    starts = (
        (EpochPhase.SUBMISSION, epoch.previous().opens_at),
        (EpochPhase.COMMIT, commit.opens),
        (EpochPhase.REVEAL, reveal.opens),
        (EpochPhase.EVALUATION, reveal.closes),
        (EpochPhase.CONSENSUS, settles_at(epoch, params)),
        (EpochPhase.DISTRIBUTION, distribution_starts(epoch, params)),
    )
    begun = [phase for phase, start in starts if start <= moment]
    return begun[-1] if begun else None


def submission_offset(hotkey: str, epoch: Epoch, params: ProtocolParams = QUANTA) -> dt.timedelta:
    """How long after ``settles_at`` a validator submits: whole seconds inside the window.

    Drawn from SHA-256 of hotkey and epoch id, so that validators spread and anyone can check.
    """
    digest = hashlib.sha256(f"{hotkey}{epoch.id}".encode()).digest()
    seconds = params.consensus.score_submission_window_minutes * 60
    return dt.timedelta(seconds=int.from_bytes(digest, "big") % seconds)


def block_at(moment: dt.datetime, genesis: dt.datetime, params: ProtocolParams = QUANTA) -> int:
    """Block that a moment falls into when block 0 starts at ``genesis`` and none is late."""
    _require_aware(moment)
    _require_aware(genesis)
    if moment < genesis:
        raise ProtocolError(f"{moment} lies before block 0 at {genesis}")
    return (moment - genesis) // dt.timedelta(seconds=params.epoch.block_seconds)


def _require_aware(moment: dt.datetime) -> None:
    if moment.utcoffset() is None:
        raise ProtocolError(f"a moment carries its time zone, {moment.isoformat()} has none")
