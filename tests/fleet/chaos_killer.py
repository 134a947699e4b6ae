"""Who is killed when: random kills that are paced by what a backfill gets done.

A kill is due once the backfill has moved on by an amount drawn for it, so kills spread over its
whole life however slow the machine is. Each is kept with the moment at which it fell.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psycopg2

from data_contracts.tables import STAGE_OF, TABLES
from tests.fleet.chaos_box import Box

RUNS = "run worker"
KINDS = (RUNS, "daemon", "webserver", "code server", "postgresql")
FATAL = (RUNS, "postgresql")  # to the run under way; the others meet whoever starts the next one
IDLE, FIRST = "no step under way", "before a table"
UNKNOWN = "PostgreSQL down"
WORKING = ("prices, signals", "scores, integrity", "settlement", "marts")
PHASES = (FIRST, *WORKING, IDLE, UNKNOWN)
PHASE_OF = {
    "market_data": "prices, signals",
    "signals": "prices, signals",
    "scoring": "scores, integrity",
    "integrity": "scores, integrity",
    "consensus": "settlement",
    "rewards": "settlement",
    "marts": "marts",
}
AT_ONCE = 0.15  # chance that a kill waits for nothing: two are down together
POLL = 0.3  # seconds
NEWEST = """
select r.run_id, r.partition,
  (select step_key from event_logs e
   where e.run_id = r.run_id and dagster_event_type = 'STEP_START' order by e.id desc limit 1),
  (select count(*) from event_logs
   where dagster_event_type in ('PIPELINE_START', 'STEP_START', 'STEP_SUCCESS'))
from (select 1) as always
left join (select * from runs where status = 'STARTED' order by id desc limit 1) as r on true
"""


@dataclass(frozen=True)
class Moment:
    """How far a backfill was: the run that a living process executes, and the lake's tables."""

    tables: int  # that the lake holds
    epoch: str  # "" where no run is under way, or the run is that of the marts
    step: str  # the newest one that had begun; "" where none had, or nobody could say
    happened: int  # runs and steps that have begun, and steps that have ended

    @property
    def phase(self) -> str:
        """Before the first table, or the stage whose step had begun last."""
        if not self.tables:
            return FIRST
        return PHASE_OF[stage_of(self.step)] if self.step else IDLE


def stage_of(step: str) -> str:
    """Stage of a step by its name: a table's own, a check's after its table, or the marts'."""
    if step in ("dbt_marts", "epoch_pages"):
        return "marts"
    return STAGE_OF[max((t for t in TABLES if f"{step}_".startswith(f"{t}_")), key=len)]


def moment_of(box: Box) -> Moment | None:
    """Where the backfill is; nothing while PostgreSQL does not answer."""
    try:
        connection = psycopg2.connect(
            box.environment["QUANTA_DAGSTER_POSTGRES_URL"], connect_timeout=5
        )
    except psycopg2.Error:
        return None
    try:
        with connection.cursor() as cursor:
            cursor.execute(NEWEST)
            run, epoch, step, happened = cursor.fetchone() or (None, None, None, 0)
    except psycopg2.Error:
        return None
    finally:
        connection.close()
    lives = run is not None and bool(box.workers())
    return Moment(
        tables=tables_in(Path(box.lake)),
        epoch=(epoch or "") if lives else "",
        step=(step or "") if lives else "",
        happened=happened,
    )


def tables_in(lake: Path) -> int:
    """Tables of all epochs that a lake holds."""
    return sum(1 for table in TABLES for _ in (lake / table).glob("*.parquet"))


@dataclass(frozen=True)
class Kill:
    """One process that was killed, and when: seconds since its backfill began, and how far."""

    backfill: int
    kind: str
    seconds: float
    moved: float  # since the kill before
    moment: Moment | None  # nothing where PostgreSQL was down already

    @property
    def phase(self) -> str:
        return self.moment.phase if self.moment else UNKNOWN


@dataclass
class Killer:
    """Kills as often as a deck has cards, in an order drawn from a seed, over several backfills.

    Progress is counted in runs and steps that begin, steps that end, and seconds that a step goes
    on: dbt builds the marts in one step. ``pace`` is the mean progress from one kill to the next.
    """

    deck: list[str]
    pace: float
    rng: np.random.Generator
    killed: list[Kill] = field(default_factory=list)
    standstill: float = 0.0  # the longest time without progress while kills were due, in seconds

    @classmethod
    def of(cls, kills: int, pace: float, seed: int) -> "Killer":
        rng = np.random.default_rng(seed)
        deck = [kind for kind in KINDS for _ in range(kills // len(KINDS))]
        return cls([str(kind) for kind in rng.permutation(deck)], pace, rng)

    @property
    def is_done(self) -> bool:
        return not self.deck

    @contextmanager
    def at_work(self, box: Box, backfill: int) -> Iterator[None]:
        """Kills until the deck is used up or the context is left; its own failure is raised."""
        done = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            work = thread.submit(self._work, box, backfill, done)
            try:
                yield
            finally:
                done.set()
            work.result()

    def _work(self, box: Box, backfill: int, done: threading.Event) -> None:
        watched = Watch(box)
        while self.deck:
            wanted = 0.0 if self.rng.random() < AT_ONCE else self.rng.exponential(self.pace)
            if done.wait(self.rng.uniform(0.0, 2.0)):  # not in step with what is watched
                return
            watched.look()
            while watched.moved < wanted or not self._kill(self.deck[-1], box):
                if done.wait(POLL):
                    return
                watched.look()
            self.standstill = max(self.standstill, watched.longest)
            seconds = time.monotonic() - watched.began
            self.killed.append(
                Kill(backfill, self.deck.pop(), seconds, watched.moved, watched.seen)
            )
            watched.moved = 0.0

    @staticmethod
    def _kill(kind: str, box: Box) -> bool:
        """Kills a process of a kind; says whether there was one."""
        if kind == RUNS:
            workers = box.workers()
            for pid in workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return bool(workers)
        if kind == "postgresql":
            if not box.postgres.is_up():
                return False
            box.postgres.kill()
            return True
        if box.services[kind].poll() is not None:
            return False
        box.services[kind].kill()
        return True


class Watch:
    """What a backfill has got done since the last kill, as far as it was seen."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self.began = self._looked = self._last = time.monotonic()
        self.seen: Moment | None = None
        self.moved = self.longest = 0.0
        self._happened = 0

    def look(self) -> None:
        """Adds what happened since the last look."""
        now, self.seen = time.monotonic(), moment_of(self._box)
        if self.seen is not None:
            new = max(self.seen.happened - self._happened, 0)
            self._happened = max(self.seen.happened, self._happened)
            if self.seen.step:
                new += min(now - self._looked, 2 * POLL)
            if new:
                self.longest, self._last = max(self.longest, now - self._last), now
            self.moved += new
        self._looked = now


def table_of(kills: Iterable[Kill]) -> str:
    """Kinds by phases, as the page of operations shows them."""
    found = Counter((kill.kind, kill.phase) for kill in kills)
    rows = [["killed", *PHASES, "all"], ["---"] * (len(PHASES) + 2)]
    for kind in KINDS:
        counts = [found[kind, phase] for phase in PHASES]
        rows.append([kind, *map(str, counts), str(sum(counts))])
    sums = [sum(found[kind, phase] for kind in KINDS) for phase in PHASES]
    rows.append(["all", *map(str, sums), str(sum(sums))])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
