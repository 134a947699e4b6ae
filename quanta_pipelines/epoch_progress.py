"""What an epoch still owes, and since when: read from the lake and the signal store alone.

An epoch with a ledger counts as paid, whatever happened to the tables behind it since: nothing here
ever asks for a second payout. Only a settlement that was killed before the last of its tables was
judged is taken up again, since the same inputs give the same ledger.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from data_contracts.tables import CONTRACTS, STAGE_OF
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.signal_store import NotRecorded
from quanta_pipelines.protocol.epoch import (
    Epoch,
    distribution_starts,
    prices_taken_at,
    reveals_close,
    settles_at,
)
from quanta_pipelines.protocol.errors import UnknownSessions
from quanta_pipelines.resources import Platform

LEDGER, SCORES = "ledger_entries", "scores"
PRICED = ("portfolios", "held_tickers_are_priced")
LATE_AFTER = dt.timedelta(hours=1)
# Signals wait for the evening tick of the day on which reveals end: up to 25 hours on two changes
SIGNALS_LATE_AFTER = dt.timedelta(hours=26)
WEEKS_LOOKED_AT = 4
CLOSING = tuple(
    name
    for name in CONTRACTS
    if STAGE_OF[name] in ("market_data", "signals", "scoring", "integrity")
)
SETTLING = tuple(name for name in CONTRACTS if STAGE_OF[name] in ("consensus", "rewards"))


@dataclass(frozen=True, slots=True)
class Overdue:
    """A step of an epoch that should have been done by a moment, and was not."""

    epoch_id: str
    step: str
    due: dt.datetime

    def in_words(self) -> str:
        """One line that names step, epoch and moment."""
        return f"{self.step} of {self.epoch_id} was due by {self.due.isoformat(timespec='minutes')}"


def is_paid(platform: Platform, epoch: Epoch) -> bool:
    """Whether the epoch has a ledger and its settlement was judged, as ``was_paid`` says it."""
    return was_paid(platform.lake, epoch)


def was_paid(lake: Lake, epoch: Epoch) -> bool:
    """Whether a ledger stands and each table of the settlement was judged, passed or not.

    A settlement that was killed before its last verdict would keep its epoch out of the marts for
    ever. A ledger of more than one version is an operator's business, and counts as paid.
    """
    if not lake.exists(LEDGER, epoch.id):
        return False
    judged = all(
        lake.verdict(table, epoch.id, gate) is not None
        for table in SETTLING
        for gate in CONTRACTS[table].gates()
    )
    return judged or len(lake.versions(LEDGER, epoch.id)) > 1


def is_scored(platform: Platform, epoch: Epoch) -> bool:
    """Whether the own scores are published and every gate of theirs has passed."""
    return platform.lake.refusal(SCORES, epoch.id, CONTRACTS[SCORES].gates()) is None


def has_snapshot(platform: Platform, epoch: Epoch) -> bool:
    """Whether the stakes that the epoch is settled with were recorded."""
    try:
        platform.store.snapshot(epoch.id)
    except NotRecorded:
        return False
    return True


def has_universe(platform: Platform, epoch: Epoch) -> bool:
    """Whether it was fixed what may be held."""
    try:
        platform.store.universe(epoch.id)
    except NotRecorded:
        return False
    return True


def oldest_unpaid(platform: Platform, now: dt.datetime) -> Epoch | None:
    """The first of the closed epochs without a ledger, nothing where the newest is paid.

    Epochs rest on the one before, so those without a ledger are the newest ones.
    """
    found = None
    for epoch in _back_from(Epoch.containing(now.date()), platform.genesis):
        if settles_at(epoch, platform.params) > now:
            continue
        if is_paid(platform, epoch):
            break
        found = epoch
    return found


def unpaid(platform: Platform, now: dt.datetime) -> tuple[Epoch, ...]:
    """Epochs whose dispute window is over and that have no ledger, oldest first."""
    oldest, newest = oldest_unpaid(platform, now), newest_closed(platform, now)
    if oldest is None or newest is None:
        return ()
    weeks = [epoch for epoch in Epoch.range(oldest, newest) if _has_sessions(epoch)]
    return tuple(each for each in weeks if distribution_starts(each, platform.params) <= now)


def newest_closed(platform: Platform, now: dt.datetime) -> Epoch | None:
    """The newest epoch whose prices may be taken."""
    weeks = _back_from(Epoch.containing(now.date()), platform.genesis)
    return next((epoch for epoch in weeks if settles_at(epoch, platform.params) <= now), None)


def newest_paid(platform: Platform, now: dt.datetime) -> Epoch | None:
    """The newest epoch with a ledger."""
    weeks = _back_from(Epoch.containing(now.date()), platform.genesis)
    return next((epoch for epoch in weeks if is_paid(platform, epoch)), None)


def broken_by_rule(platform: Platform, epoch: Epoch) -> str | None:
    """The first failed gate of closing that no other answer of a vendor can heal."""
    for table in CLOSING:
        for gate in CONTRACTS[table].gates():
            verdict = platform.lake.verdict(table, epoch.id, gate)
            vendors = STAGE_OF[table] == "market_data" or (table, gate) == PRICED
            if verdict is not None and not verdict.passed and not vendors:
                return f"{table} {epoch.id}: {gate}: {verdict.detail}"
    return None


def overdue(platform: Platform, now: dt.datetime) -> list[Overdue]:
    """The first step that each epoch of the last weeks is late with, oldest epoch first."""
    weeks = _back_from(Epoch.containing(now.date()).next(), platform.genesis)
    found = []
    for epoch, _ in zip(weeks, range(WEEKS_LOOKED_AT + 2), strict=False):
        late = next(_late(platform, epoch, now), None)
        found += [late] if late else []
    return found[::-1]


def _late(platform: Platform, epoch: Epoch, now: dt.datetime) -> Iterator[Overdue]:
    if is_paid(platform, epoch):
        return
    params = platform.params
    evening = prices_taken_at(epoch.entry_session, params)
    steps: tuple[tuple[str, dt.datetime, Callable[[], bool]], ...] = (
        ("the snapshot", epoch.opens_at + LATE_AFTER, lambda: has_snapshot(platform, epoch)),
        ("the universe", evening + LATE_AFTER, lambda: has_universe(platform, epoch)),
        (
            "taking the signals",
            reveals_close(epoch, params) + SIGNALS_LATE_AFTER,
            lambda: platform.lake.exists("portfolios", epoch.id),
        ),
        ("closing", settles_at(epoch, params) + LATE_AFTER, lambda: is_scored(platform, epoch)),
        ("settlement", distribution_starts(epoch, params) + LATE_AFTER, lambda: False),
    )
    for step, due, done in steps:
        if due <= now and not done():
            yield Overdue(epoch.id, step, due)


def _back_from(newest: Epoch, genesis: Epoch) -> Iterator[Epoch]:
    """Epochs with sessions, newest first, down to the first one that is settled."""
    epoch = newest
    while epoch >= genesis:
        if _has_sessions(epoch):
            yield epoch
        epoch = epoch.previous()


def _has_sessions(epoch: Epoch) -> bool:
    try:
        return bool(epoch.sessions)
    except UnknownSessions:
        return False
