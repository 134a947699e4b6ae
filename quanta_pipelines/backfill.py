"""Runs epochs in order, in this process, and records them where the Dagster UI looks.

One epoch is one run of the epoch job. Epochs run oldest first, since each reads the state of the
one before; the first failed gate stops the rest. The marts are built once, at the end.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import dagster as dg

from quanta_pipelines.automation import epoch_job, marts_job
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import PROJECT, Settings

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Outcome:
    """How one run ended."""

    job: str
    epoch_id: str | None
    succeeded: bool
    seconds: float
    run_id: str
    problems: tuple[str, ...]


def recorded_instance(settings: Settings) -> dg.DagsterInstance:
    """Dagster's instance under the settings' home, with the project's ``dagster.yaml``."""
    home = settings.dagster_home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "dagster.yaml", home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.get()


@dataclass(frozen=True)
class Backfill:
    """Epochs and marts of one set of definitions, recorded on one instance."""

    defs: dg.Definitions
    instance: dg.DagsterInstance

    def epochs(
        self, epochs: Iterable[Epoch], on_done: Callable[[Outcome], None] = lambda _: None
    ) -> list[Outcome]:
        """Run epochs oldest first; stop at the first that fails."""
        outcomes: list[Outcome] = []
        for epoch in sorted(epochs):
            outcomes.append(self.epoch(epoch))
            on_done(outcomes[-1])
            if not outcomes[-1].succeeded:
                break
        return outcomes

    def epoch(self, epoch: Epoch) -> Outcome:
        """Run everything of one epoch."""
        return self._run(epoch_job.name, epoch.id)

    def marts(self) -> Outcome:
        """Build, test and publish the marts over all settled epochs."""
        return self._run(marts_job.name, None)

    def _run(self, job: str, epoch_id: str | None) -> Outcome:
        started = time.monotonic()
        result = self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=epoch_id,
            run_config=QUIET,
            raise_on_error=False,
            tags={"quanta/epoch": epoch_id} if epoch_id else {},
        )
        return Outcome(
            job=job,
            epoch_id=epoch_id,
            succeeded=result.success,
            seconds=round(time.monotonic() - started, 2),
            run_id=result.run_id,
            problems=() if result.success else _problems(result),
        )


def _problems(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    """What failed, in words: first the checks, else the steps."""
    checks = [
        f"{check.asset_key.to_user_string()}: {check.check_name}: {check.description or 'failed'}"
        for check in result.get_asset_check_evaluations()
        if not check.passed
    ]
    steps = [
        f"{event.step_key}: {error.cause.message if error.cause else error.message}".strip()
        for event in result.all_events
        if event.is_step_failure and (error := event.step_failure_data.error) is not None
    ]
    return tuple(checks or steps)
