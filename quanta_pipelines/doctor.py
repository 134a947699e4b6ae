"""Is this deployment sound? Questions to every part, each answered by ok, a warning or a problem.

Reads alone: it starts no run, takes no lock and repairs nothing. What cannot be examined is a
problem, since nobody knows.
"""

import datetime as dt
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from quanta_pipelines.adapters.alert_channels import Alert
from quanta_pipelines.adapters.published_marts import (
    NothingPublished,
    OutdatedMarts,
    PublishedMarts,
)
from quanta_pipelines.alerting import channels_of
from quanta_pipelines.epoch_progress import LEDGER, is_paid, newest_closed, overdue
from quanta_pipelines.resources import Platform
from quanta_pipelines.settings import DEVELOPMENT_HOTKEY, Settings

HEARTBEAT_SECONDS = 300.0  # Dagster's daemons beat every 30
NEEDED_DAEMONS = ("SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR", "MONITORING")
LEAST_FREE_BYTES = 1 << 30
ADMIN_TOKEN_LENGTH = 32
KEYS = {"tiingo": "tiingo_api_key", "polygon": "polygon_api_key"}
OVER = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one part said."""

    part: str
    status: Status
    detail: str


def alerts_about(findings: Sequence[Finding], now: dt.datetime) -> list[Alert]:
    """One alert for each part with problems, for people who do not look; told once a day."""
    said: dict[str, list[str]] = {}
    for finding in findings:
        if finding.status == "problem":
            said.setdefault(finding.part, []).append(finding.detail)
    return [
        Alert(
            cause=f"doctor/{part}/{now.date()}",
            severity="critical",
            subject=f"quanta doctor: {part}",
            text="\n".join(details),
            at=now,
        )
        for part, details in said.items()
    ]


@dataclass(frozen=True)
class Doctor:
    """A deployment under examination; ``schedules`` are those that its definitions hold."""

    settings: Settings
    open_platform: Callable[[], Platform]
    schedules: tuple[str, ...]
    now: dt.datetime

    def findings(self) -> list[Finding]:
        """Every part's answer, in a fixed order."""
        return [*self._of_settings(), *self._of_disk(), *self._of_platform(), *self._of_dagster()]

    def _of_disk(self) -> Iterator[Finding]:
        home = self.settings.home
        place = next(path for path in (home, *home.resolve().parents) if path.exists())
        free = shutil.disk_usage(place).free
        low: Status = "problem" if free < LEAST_FREE_BYTES else "ok"
        yield Finding("disk", low, f"{free / (1 << 30):.1f} GiB are free under {place}")

    def _of_settings(self) -> Iterator[Finding]:
        wrong = list(settings_problems(self.settings))
        for said in wrong:
            yield Finding("settings", "problem" if self.settings.production else "warning", said)
        if not wrong:
            yield Finding("settings", "ok", f"fit {self.settings.environment}")

    def _of_platform(self) -> Iterator[Finding]:
        try:
            platform = self.open_platform()
        except Exception as error:  # whatever keeps it from opening is the finding
            yield Finding("platform", "problem", f"does not open: {type(error).__name__}: {error}")
            return
        yield from asked("signal store", lambda: _store(platform))
        yield from asked("lake", lambda: _lake(platform))
        yield from asked("marts", lambda: self._marts(platform))
        yield from asked("epochs", lambda: _epochs(platform, self.now))
        platform.store.close()

    def _marts(self, platform: Platform) -> Iterator[Finding]:
        ledgers = platform.lake.epochs(LEDGER)
        try:
            found = PublishedMarts(str(self.settings.warehouse / "quanta.duckdb")).load()
        except NothingPublished as absent:
            yield Finding("marts", "problem" if ledgers else "warning", str(absent))
            return
        except OutdatedMarts as outdated:
            yield Finding("marts", "problem", str(outdated))
            return
        last = found.settled[-1] if found.settled else "nothing"
        behind = bool(ledgers) and (not found.settled or found.settled[-1] < ledgers[-1])
        hours = (self.now - found.published_at).total_seconds() / 3600
        said = f"hold epochs up to {last}, published {hours:.0f} h ago"
        more = f"; the newest ledger is of {ledgers[-1]}" if behind else ""
        yield Finding("marts", "warning" if behind else "ok", said + more)

    def _of_dagster(self) -> Iterator[Finding]:
        home = self.settings.dagster_home.resolve()
        if not (home / "dagster.yaml").is_file():
            yield Finding("daemon", "problem", f"there is no {home / 'dagster.yaml'}")
            return
        os.environ["DAGSTER_HOME"] = str(home)
        try:
            with dg.DagsterInstance.get() as instance:
                yield from asked("daemon", lambda: daemons(instance, self.now))
                yield from asked("schedules", lambda: instigators(instance, self.schedules))
                yield from asked("pools", lambda: stale_slots(instance))
        except Exception as error:  # a broken file, a storage that does not answer
            yield Finding("daemon", "problem", f"cannot be asked: {type(error).__name__}")


def asked(part: str, question: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The answers of a part, or that it could not be asked; never its silence."""
    try:
        return list(question())
    except Exception as error:  # the finding is that it fails; the others are still asked
        return [Finding(part, "problem", f"cannot be examined: {type(error).__name__}: {error}")]


def settings_problems(settings: Settings) -> Iterator[str]:
    """What a deployment that pays should not have."""
    token = settings.admin_token.get_secret_value()
    wrong = (
        (settings.vendors == ("recorded",), "QUANTA_VENDORS is the recording, to 2022-12-28"),
        (settings.validator_hotkey == DEVELOPMENT_HOTKEY, "QUANTA_VALIDATOR_HOTKEY is Alice's"),
        (settings.allow_unsigned, "QUANTA_ALLOW_UNSIGNED lets unsigned requests through"),
        (
            0 < len(token) < ADMIN_TOKEN_LENGTH,
            f"QUANTA_ADMIN_TOKEN has {len(token)} characters, not {ADMIN_TOKEN_LENGTH}",
        ),
        (not channels_of(settings), "nobody is alerted: no QUANTA_ALERT_* channel is set"),
        (settings.environment == "development", "QUANTA_ENVIRONMENT is development"),
    )
    yield from (said for is_wrong, said in wrong if is_wrong)
    yield from _missing(settings)


def _missing(settings: Settings) -> Iterator[str]:
    """Keys and files that are named and not there."""
    for vendor, key in KEYS.items():
        if vendor in settings.vendors and getattr(settings, key) is None:
            yield f"vendor {vendor} is off: QUANTA_{key.upper()} is not set"
    if settings.chain_state is None:
        yield "QUANTA_CHAIN_STATE is not set: nobody knows the stakes of an epoch"
    elif not settings.chain_state.is_file():
        yield f"QUANTA_CHAIN_STATE: there is no file {settings.chain_state}"


def daemons(instance: dg.DagsterInstance, now: dt.datetime) -> Iterator[Finding]:
    """Whether each of Dagster's daemons that is needed gave a sign of life lately."""
    beats = instance.get_daemon_heartbeats()
    for kind in NEEDED_DAEMONS:
        beat = beats.get(kind)
        if beat is None:
            yield Finding("daemon", "problem", f"{kind} has never run")
            continue
        age = now.timestamp() - beat.timestamp
        status: Status = "ok" if age <= HEARTBEAT_SECONDS and not beat.errors else "problem"
        errors = f"; {beat.errors[0].message.strip()}" if beat.errors else ""
        yield Finding("daemon", status, f"{kind} gave its last heartbeat {age:.0f} s ago{errors}")


def instigators(instance: dg.DagsterInstance, names: tuple[str, ...]) -> Iterator[Finding]:
    """Whether each schedule and sensor is on, and how its last tick ended."""
    states = {state.name: state for state in instance.all_instigator_state()}
    for name in names:
        state = states.get(name)
        if state is None or not state.is_running:
            yield Finding("schedules", "warning", f"{name} is off")
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if not ticks:
            yield Finding("schedules", "ok", f"{name} is on and has not ticked yet")
            continue
        at = dt.datetime.fromtimestamp(ticks[0].timestamp, dt.UTC).isoformat(timespec="minutes")
        said = f"{name}: last tick {at}, {ticks[0].status.value.lower()}"
        if ticks[0].is_failure and ticks[0].error:
            said += f": {ticks[0].error.message.strip()}"
        yield Finding("schedules", "problem" if ticks[0].is_failure else "ok", said)


def stale_slots(instance: dg.DagsterInstance) -> Iterator[Finding]:
    """Slots of pools that belong to runs which are over, or which nobody knows."""
    storage = instance.event_log_storage
    held = 0
    for key in sorted(storage.get_concurrency_keys()):
        for slot in storage.get_concurrency_info(key).claimed_slots:
            run = instance.get_run_by_id(slot.run_id)
            held += 1
            if run is None or run.status in OVER:
                state = run.status.value if run else "unknown"
                yield Finding("pools", "problem", f"{key}: held by run {slot.run_id}, {state}")
    yield Finding("pools", "ok", f"{held} slots are held")


def _store(platform: Platform) -> Iterator[Finding]:
    problems = platform.store.problems()
    for said in problems:
        yield Finding("signal store", "problem", said)
    if not problems:
        yield Finding("signal store", "ok", "sound")


def _lake(platform: Platform) -> Iterator[Finding]:
    epochs = platform.lake.epochs(LEDGER)
    if epochs:
        platform.lake.load(LEDGER, epochs[-1])
    said = f"{len(epochs)} ledgers, the newest of {epochs[-1]}" if epochs else "no ledger yet"
    yield Finding("lake", "ok", said)


def _epochs(platform: Platform, now: dt.datetime) -> Iterator[Finding]:
    late = overdue(platform, now)
    for step in late:
        yield Finding("epochs", "problem", step.in_words())
    newest = newest_closed(platform, now)
    if newest is None:
        yield Finding("epochs", "ok", "no epoch has closed yet")
    elif not late:
        state = "paid" if is_paid(platform, newest) else "not due yet"
        yield Finding("epochs", "ok", f"{newest} closed last, its payment is {state}")
