"""A fleet on one box: Redis, PostgreSQL, S3, a control machine and workers with homes of their own.

Nothing is shared but what other machines could reach over the network; each machine is a process
group that can be killed as a whole.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server

PROJECT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
PASSWORD = "of-the-tests"
PATIENCE = 300.0  # seconds for anything to happen on a loaded machine


def wait_until(what: str, happened: Callable[[], bool], every: float = 0.3) -> None:
    """Waits for something; its absence fails the test by name."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {PATIENCE:.0f} s")
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Fleet:
    """The addresses that all machines know, and the processes of each."""

    folder: Path
    common: dict[str, str]
    webserver_port: int
    machines: dict[str, "list[subprocess.Popen[bytes]]"] = field(default_factory=dict)

    def environment(self, machine: str) -> dict[str, str]:
        """What a process of a machine is given; nothing of this test's own settings."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("QUANTA_", "DAGSTER_"))}
        home = self.folder / machine
        home.mkdir(exist_ok=True)
        return (
            kept
            | self.common
            | {
                "QUANTA_HOME": str(home),
                "DAGSTER_HOME": str(home / "dagster"),
                "DAGSTER_DISABLE_TELEMETRY": "1",
                "GX_ANALYTICS_ENABLED": "false",
                "DO_NOT_TRACK": "1",
            }
        )

    def start(self, machine: str, *command: str) -> None:
        """Starts a program on a machine; its words go to a file in the machine's home."""
        log = self.log(machine)
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as said:
            process = subprocess.Popen(
                [str(PROGRAMS / command[0]), *command[1:]],
                cwd=PROJECT,
                env=self.environment(machine),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.machines.setdefault(machine, []).append(process)

    def log(self, machine: str) -> Path:
        return self.folder / machine / "log"

    def run(self, machine: str, *command: str) -> "subprocess.CompletedProcess[str]":
        """Runs a program on a machine to its end."""
        return subprocess.run(
            [str(PROGRAMS / command[0]), *command[1:]],
            cwd=PROJECT,
            env=self.environment(machine),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def start_control(self) -> None:
        """Webserver and daemon, with the instance that the settings describe."""
        prepared = self.run("control", "quanta", "instance")
        assert prepared.returncode == 0, prepared.stderr
        port = str(self.webserver_port)
        workspace = ("-w", str(PROJECT / "workspace.yaml"))
        self.start("control", "dagster-webserver", *workspace, "-h", "127.0.0.1", "-p", port)
        wait_until("the webserver's answer", self.webserver_answers)
        self.start("control", "dagster-daemon", "run", *workspace)

    def webserver_answers(self) -> bool:
        try:
            url = f"{self.common['QUANTA_WEBSERVER_URL']}/server_info"
            return requests.get(url, timeout=5).ok
        except requests.RequestException:
            return False

    def start_worker(self, machine: str, *queues: str) -> None:
        """A worker that takes one run at a time from some queues."""
        name = ("-n", f"{machine}@{machine}", "--concurrency", "1", "-Q", ",".join(queues))
        app = ("-A", "quanta_pipelines.worker", "worker", "--loglevel", "INFO")
        self.start(machine, "celery", *app, *name, "--without-gossip", "--without-mingle")

    def worker_is_ready(self, machine: str) -> bool:
        return " ready." in self.log(machine).read_text(errors="replace")

    def kill(self, machine: str) -> None:
        """The machine is gone, in the middle of whatever it did."""
        for process in self.machines.pop(machine, []):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def fleet_of(folder: Path, postgres: PostgresServer, s3: S3Server) -> Iterator[Fleet]:
    """A fleet without machines yet, on services of its own; everything is ended afterwards."""
    redis_port, web_port = free_port(), free_port()
    redis = subprocess.Popen(
        ["redis-server", "--port", str(redis_port), "--save", "", "--requirepass", PASSWORD],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    common = s3.environment | {
        "QUANTA_LAKE": f"s3://quanta-tests/{folder.name}/lake",
        "QUANTA_DATABASE_URL": postgres.create("fleet_signals"),
        "QUANTA_DAGSTER_POSTGRES_URL": postgres.create("fleet_dagster"),
        "QUANTA_RUN_LAUNCHER": "celery",
        "QUANTA_BROKER_URL": f"redis://:{PASSWORD}@127.0.0.1:{redis_port}/0",
        "QUANTA_FLEET_POLL_SECONDS": "3",
        "QUANTA_WEBSERVER_URL": f"http://127.0.0.1:{web_port}",
    }
    fleet = Fleet(folder, common, web_port)
    try:
        yield fleet
    finally:
        for machine in list(fleet.machines):
            fleet.kill(machine)
        redis.kill()
        redis.wait()
