"""Dagster's real daemon: a run fails, somebody is told, the operator's correction heals it.

Daemon, code server and each run are processes of their own, on SQLite, under the real clock. The
webhook and the file of stakes are the test's.
"""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import DEVELOPMENT_HOTKEY, PROJECT
from tests.http_receiver import Receiver

EPOCH = Epoch.containing(dt.datetime.now(dt.UTC).date())  # it opened before its week began
PATIENCE_SECONDS = 240.0  # for machines under load; nothing waits that long otherwise
BIN = Path(sys.executable).parent
STAKES = {"emission_rao": 1_000_000_000, "external_rao": 0, "stakes": {DEVELOPMENT_HOTKEY: 1}}


@dataclass
class Deployment:
    """A home, the environment of its processes, and who is told."""

    home: Path
    env: dict[str, str]
    receiver: Receiver

    def wait_for(self, what: str, found: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not found():
            assert time.monotonic() < end, f"{what} did not happen: {self.receiver.subjects}"
            time.sleep(0.5)

    def told(self, subject: str) -> None:
        self.wait_for(subject, lambda: subject in self.receiver.subjects)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [BIN / arguments[0], *arguments[1:]],
            env=self.env,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    def launch(self) -> None:
        """Puts a run of the job into the queue, from which the daemon takes it."""
        tags = json.dumps({"dagster/partition": EPOCH.id, "quanta/epoch": EPOCH.id})
        done = self.command(
            "dagster", "job", "launch", "-w", "workspace.yaml", "-j", "snapshot", "--tags", tags
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A daemon whose file of stakes is not there yet."""
    home = tmp_path / "home"
    (home / "dagster").mkdir(parents=True)
    (home / "dagster" / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    with Receiver() as receiver:
        env = {
            **os.environ,
            "QUANTA_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            "QUANTA_FIRST_EPOCH": EPOCH.id,
            "QUANTA_CHAIN_STATE": str(tmp_path / "stakes.json"),
            "QUANTA_ALERT_WEBHOOK_URL": receiver.url,
            "NO_PROXY": "127.0.0.1",
        }
        log = (tmp_path / "daemon.log").open("w")
        daemon = subprocess.Popen(
            [BIN / "dagster-daemon", "run", "-w", "workspace.yaml"],
            env=env,
            cwd=PROJECT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Deployment(home, env, receiver)
        finally:
            daemon.send_signal(signal.SIGINT)
            try:
                daemon.wait(60)
            finally:
                if daemon.poll() is None:
                    os.killpg(daemon.pid, signal.SIGKILL)
                log.close()


@pytest.mark.soak  # minutes: a daemon, a code server and their workers
def test_a_failed_run_is_told_and_the_operators_correction_heals_it(deployment, tmp_path):
    deployment.told(f"{EPOCH} is late: the snapshot")
    deployment.launch()
    deployment.told(f"run of snapshot {EPOCH} failed")
    [failure] = [body for body in deployment.receiver.bodies if body["subject"].startswith("run")]
    assert "stakes.json" in failure["text"]
    (tmp_path / "stakes.json").write_text(json.dumps(STAKES))
    deployment.launch()
    deployment.told(f"{EPOCH} is late: the universe")  # so the snapshot is recorded
    subjects = deployment.receiver.subjects
    assert len(subjects) == len(set(subjects))
    doctor = json.loads(deployment.command("quanta", "doctor", "--json").stdout)
    beats = [each["status"] for each in doctor["findings"] if each["part"] == "daemon"]
    assert beats == ["ok"] * 4
    assert "alerts: last tick" in str(doctor["findings"])
