"""A run whose process is gone is noticed, also when its code server died before it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from quanta_pipelines.local_launcher import WatchedRunLauncher, is_alive
from quanta_pipelines.settings import PROJECT

HERE = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": "of-the-test"})}
ELSEWHERE = {GRPC_INFO_TAG: json.dumps({"host": "code.example", "port": 4000})}


@pytest.fixture
def sleeper() -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@dg.job
def nothing() -> None:
    """Nothing."""


def test_a_process_lives_until_it_is_killed(sleeper: "subprocess.Popen[bytes]") -> None:
    assert is_alive(sleeper.pid, time.time())
    sleeper.kill()
    while Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert not is_alive(sleeper.pid, time.time())  # nobody has asked for its end yet
    sleeper.wait()
    assert not is_alive(sleeper.pid, time.time())


def test_another_process_with_the_number_is_not_the_run(
    sleeper: "subprocess.Popen[bytes]",
) -> None:
    assert not is_alive(sleeper.pid, time.time() - 3600)  # who spoke then is gone


def test_the_projects_instance_asks_after_its_runs(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    config = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    kept = {name: config[name] for name in ("run_launcher", "run_monitoring", "telemetry")}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=kept) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, WatchedRunLauncher)
        runs = [instance.create_run_for_job(nothing, tags=tags) for tags in (HERE, ELSEWHERE, {})]
        said = [launcher.check_run_worker_health(run).status for run in runs]
        assert set(said) == {WorkerStatus.RUNNING}  # none has spoken yet
        for run in runs:
            words = f"Started process for run (pid: {sleeper.pid})."
            instance.report_engine_event(words, run, EngineEventData.in_process(sleeper.pid))
        assert launcher.check_run_worker_health(runs[0]).status is WorkerStatus.RUNNING
        sleeper.kill()
        sleeper.wait()
        said = [launcher.check_run_worker_health(run).status for run in runs]
        assert said == [WorkerStatus.FAILED, WorkerStatus.RUNNING, WorkerStatus.RUNNING]
