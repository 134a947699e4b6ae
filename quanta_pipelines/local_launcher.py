"""Runs on one machine: Dagster's own launcher, and what it lacks when its code server dies too.

A code server reports a run whose process ended. When it is killed itself, the process goes on and
nobody watches it: a run that dies then would count as running until its longest time is over, and
hold up all that wait behind it. This launcher asks the kernel.
"""

import json
import os
from pathlib import Path

import dagster as dg
from dagster._core.launcher import (  # no public names exist; the version is pinned
    CheckRunHealthResult,
    DefaultRunLauncher,
    WorkerStatus,
)
from dagster._core.storage.tags import GRPC_INFO_TAG

HERE = frozenset(("localhost", "127.0.0.1", "::1"))
PROC = Path("/proc")
CLOCK_SLACK = 5.0  # seconds between a process's start by the kernel's clock and its own first word


class WatchedRunLauncher(DefaultRunLauncher):
    """Starts runs through the code server, and notices when a run's process is gone."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring asks for each run that is under way."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Failed where the process that said it executes the run is gone.

        Runs of a ``quanta`` command, and of a code server elsewhere, are left to whoever ends them.
        """
        if not started_here(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        said = first_word(self._instance, run.run_id)
        if said is None or is_alive(*said):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its process {said[0]} is gone")


def started_here(run: dg.DagsterRun) -> bool:
    """Whether a code server of this machine started the run: at a socket, or on the loopback."""
    if GRPC_INFO_TAG not in run.tags:
        return False
    server = json.loads(run.tags[GRPC_INFO_TAG])
    return bool(server.get("socket")) or server.get("host") in HERE


def first_word(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """Process id, and when its run's process said it, in seconds since 1970; newest one."""
    events = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    found = None
    for record in events:
        event = record.event_log_entry.dagster_event
        if event is None or not (event.message or "").startswith("Started process for run"):
            continue
        pid = event.engine_event_data.metadata["pid"].value
        found = (int(str(pid)), record.event_log_entry.timestamp)
    return found


def is_alive(pid: int, spoke_at: float) -> bool:
    """Whether the process that spoke at a moment still runs; another may have its number since."""
    try:
        words = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = (PROC / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return not PROC.is_dir()  # without /proc nobody knows
    state, ticks = words[0], int(words[19])
    booted = next(int(line.split()[1]) for line in boot.splitlines() if line.startswith("btime "))
    started = booted + ticks / os.sysconf("SC_CLK_TCK")
    return state not in "ZX" and started <= spoke_at + CLOCK_SLACK
