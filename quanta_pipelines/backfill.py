"""Runs epochs in order, in this process, and records them where the Dagster UI looks.

One epoch is one run of the epoch job. Epochs run oldest first, since each reads the state of the
one before; the first failed gate stops the rest. The marts are built once, at the end. One process
at a time runs epochs under a home; what a killed one left behind is ended by the next.
"""

import fcntl
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from quanta_pipelines.automation import close_job, epoch_job, marts_job, quality_job
from quanta_pipelines.contract_type import RESTATE_TAG
from quanta_pipelines.instance import write_instance
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import Settings

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
PARTITION_NAME_TAG = "dagster/partition"
# Runs that end when their process does. Machines that share a database leave each other's alone.
IN_THIS_PROCESS = {"quanta/executed_by": f"command on {socket.gethostname()}"}
# What another attempt may heal: a database that does not answer, vendors that did not.
TRANSIENT = frozenset(("StoreUnavailable", "NoObservations", "OperationalError", "TimeoutError"))
FIRST_PAUSE_SECONDS = 2.0  # before another attempt; doubled for each further one
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Outcome:
    """How one run ended."""

    job: str
    epoch_id: str | None
    succeeded: bool
    seconds: float
    run_id: str
    problems: tuple[str, ...]
    transient: bool = False


@contextmanager
def recorded_instance(
    settings: Settings, on_wait: Callable[[], None] = lambda: None
) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance under the settings' home, with the project's ``dagster.yaml``.

    While another process has it, ``on_wait`` is called once and this one waits.
    """
    home = settings.dagster_home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home / "command.lock", on_wait):
        write_instance(settings)
        with dg.DagsterInstance.get() as instance:
            _end_killed_runs(instance)
            yield instance


@contextmanager
def _alone(lock: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that the kernel takes back from a process that was killed."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _end_killed_runs(instance: dg.DagsterInstance) -> None:
    """End runs whose process was killed: a slot of a pool that they hold would block all others."""
    killed = dg.RunsFilter(statuses=UNFINISHED, tags=IN_THIS_PROCESS)
    for run in instance.get_runs(killed):
        # in this order: the next attempt finds the run again until all of it is done
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        instance.report_run_failed(run, "the process that executed this run was killed")


@dataclass(frozen=True)
class Backfill:
    """Epochs and marts of one set of definitions, recorded on one instance."""

    defs: dg.Definitions
    instance: dg.DagsterInstance
    pause: Callable[[float], None] = time.sleep

    def epochs(
        self,
        epochs: Iterable[Epoch],
        on_done: Callable[[Outcome], None] = lambda _: None,
        *,
        restate: str = "",
    ) -> list[Outcome]:
        """Run epochs oldest first; stop at the first that fails."""
        outcomes: list[Outcome] = []
        for epoch in sorted(epochs):
            outcomes.append(self.epoch(epoch, restate=restate))
            on_done(outcomes[-1])
            if not outcomes[-1].succeeded:
                break
        return outcomes

    def epoch(self, epoch: Epoch, *, restate: str = "", retries: int = 0) -> Outcome:
        """Run everything of one epoch; ``restate`` says why a settled one is settled again.

        A transient failure is tried again; a gate that did not pass never is.
        """
        outcome = self._run(epoch_job.name, epoch.id, restate)
        for attempt in range(retries):
            if outcome.succeeded or not outcome.transient:
                break
            self.pause(FIRST_PAUSE_SECONDS * 2**attempt)
            outcome = self._run(epoch_job.name, epoch.id, restate)
        return outcome

    def scores(self, epoch: Epoch) -> Outcome:
        """Run an epoch up to the own scores, without votes and money."""
        return self._run(close_job.name, epoch.id)

    def marts(self) -> Outcome:
        """Build, test and publish the marts over all settled epochs."""
        return self._run(marts_job.name, None)

    def quality(self, epoch: Epoch) -> Outcome:
        """Judge the published prices of an epoch; an odd one is a success with its warning."""
        return self._run(quality_job.name, epoch.id)

    def _run(self, job: str, epoch_id: str | None, restate: str = "") -> Outcome:
        started = time.monotonic()
        checks_alone = job == quality_job.name  # Dagster gives such a job no partitions of its own
        partition = {PARTITION_NAME_TAG: epoch_id} if checks_alone and epoch_id else {}
        result = self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=None if checks_alone else epoch_id,
            run_config=QUIET,
            raise_on_error=False,
            tags=IN_THIS_PROCESS
            | partition
            | ({"quanta/epoch": epoch_id} if epoch_id else {})
            | ({RESTATE_TAG: restate} if restate else {}),
        )
        return Outcome(
            job=job,
            epoch_id=epoch_id,
            succeeded=result.success,
            seconds=round(time.monotonic() - started, 2),
            run_id=result.run_id,
            problems=() if result.success and not checks_alone else _problems(result),
            transient=_is_transient(result),
        )


def _is_transient(result: dg.ExecuteInProcessResult) -> bool:
    """Whether every step that failed did so for a reason that may pass, and no gate was shut."""
    failed = [event for event in result.all_events if event.is_step_failure]
    shut = any(
        not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
        for check in result.get_asset_check_evaluations()
    )
    return bool(failed) and not shut and all(_heals(e.step_failure_data.error) for e in failed)


def _heals(error: SerializableErrorInfo | None) -> bool:
    """Whether an error, or one that caused it, is among those that may pass."""
    while error is not None:
        if error.cls_name in TRANSIENT:
            return True
        error = error.cause
    return False


def _problems(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    """What failed, in words: first the checks, else the steps."""
    checks = [
        f"{check.asset_key.to_user_string()}: {check.check_name}: {check.description or 'failed'}"
        for check in result.get_asset_check_evaluations()
        if not check.passed
    ]
    steps = [
        f"{event.step_key}: {_words((error.cause or error).message)}"
        for event in result.all_events
        if event.is_step_failure and (error := event.step_failure_data.error) is not None
    ]
    return tuple(checks or steps)


def _words(message: str) -> str:
    """A failure's own words, without the name of Dagster's exception before them."""
    return message.strip().removeprefix(f"{dg.Failure.__module__}.{dg.Failure.__qualname__}: ")
