"""Runs on many machines: Dagster's launcher for Celery, and what it lacks.

It reports a run as running for as long as the broker says so, also when the machine is gone; this
one asks the workers. Marts are built where the warehouse lies, whoever asks for them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import celery
import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_TASK_ID_TAG

from quanta_pipelines.instance import PINNED_QUEUE

FOLDERS = ("marts", "staging")  # of the dbt project
PINNED_JOBS = {"marts", "settle", "quality"}
MISSES = 2  # polls in a row at which no worker has the run; one may fall between two heartbeats
PATIENCE = 3.0  # seconds for workers to answer


class FleetRunLauncher(CeleryRunLauncher):
    """Starts runs on Celery workers, and notices when the one that had a run is gone."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._missed: dict[str, int] = {}

    def launch_run(self, context: LaunchRunContext) -> None:
        """Send a run to a queue; one with marts among its assets to the warehouse's machine."""
        run = context.dagster_run
        if DAGSTER_CELERY_QUEUE_TAG not in run.tags and _builds_marts(run):
            tags = {DAGSTER_CELERY_QUEUE_TAG: PINNED_QUEUE}
            self._instance.add_run_tags(run.run_id, tags)
            run = run.with_tags({**run.tags, **tags})
            context = LaunchRunContext(dagster_run=run, workspace=context.workspace)
        super().launch_run(context)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """What the broker says; of a running one also whether a worker still has it."""
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:  # a quanta command runs it by itself
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        said = super().check_run_worker_health(run)
        if said.status is not WorkerStatus.RUNNING:
            return said
        task = run.tags[DAGSTER_CELERY_TASK_ID_TAG]
        if task in self._owned():
            self._missed.pop(task, None)
            return said
        self._missed[task] = self._missed.get(task, 0) + 1
        if self._missed[task] < MISSES:
            return said
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"no live worker has task {task}, asked {MISSES} times"
        )

    def _owned(self) -> set[str]:
        """Ids of the tasks that live workers work on."""
        answers: Mapping[str, Sequence[Mapping[str, Any]]] | None
        answers = self.celery.control.inspect(timeout=PATIENCE).active()
        return {str(task["id"]) for tasks in (answers or {}).values() for task in tasks}


def _builds_marts(run: dg.DagsterRun) -> bool:
    """Whether a run writes to the warehouse's machine: marts, or the pages on data quality.

    A selection of assets, as the UI makes one, counts by the models of the dbt project and the
    pages in it.
    """
    if run.job_name in PINNED_JOBS:
        return True
    from quanta_pipelines.adapters.dbt_runs import DBT_PROJECT, model_names, parse_manifest

    manifest = parse_manifest(DBT_PROJECT / "target")
    models = {"epoch_pages", *(name for f in FOLDERS for name in model_names(manifest, f))}
    return any(key.path[-1] in models for key in run.asset_selection or ())


def celery_app(broker: str, default_queue: str, config: Mapping[str, Any]) -> celery.Celery:
    """The application that workers serve, with the task that the launcher sends."""
    from dagster_celery.config import DEFAULT_CONFIG
    from dagster_celery.make_app import make_app
    from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

    app: celery.Celery = make_app(  # type: ignore[no-untyped-call]
        app_args={
            "broker": broker,
            "backend": broker,
            "config_source": {**DEFAULT_CONFIG, **config},
            "task_default_queue": default_queue,
        }
    )
    create_execute_job_task(app)
    create_resume_job_task(app)
    return app
