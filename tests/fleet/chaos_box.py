"""One machine whose services are killed at random and started again, as systemd would do it.

PostgreSQL, code server, daemon and webserver are processes of their own; runs are processes of the
code server. A supervisor starts again what ended, and nothing else is ever repaired.
"""

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest
import yaml

from tests.fleet.one_box import PROGRAMS, PROJECT, free_port
from tests.postgres_server import PostgresServer

TEMPLATE = "chaos_signals"


class KillablePostgres(PostgresServer):
    """A server that is killed without a word, and started again."""

    def kill(self) -> None:
        """Kills the postmaster; its sessions end by themselves."""
        pid = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def is_up(self) -> bool:
        """Whether a postmaster runs."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            return " Z " not in Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, IndexError, ProcessLookupError):
            return False

    def start_again(self) -> None:
        """Starts it as often as it takes: sessions of the killed one may still be ending."""
        for _ in range(60):
            try:
                self.start()
            except pytest.fail.Exception:
                time.sleep(0.5)
            else:
                return
        self.start()


@dataclass
class Box:
    """A home, its databases, and the services over them, under a supervisor."""

    home: Path
    postgres: KillablePostgres
    name: str
    ports: dict[str, int] = field(default_factory=dict)
    services: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)
    restarts: Counter[str] = field(default_factory=Counter)
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def lake(self) -> str:
        return str(self.home / "lake")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['webserver']}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("QUANTA_", "DAGSTER_"))}
        return kept | {
            "QUANTA_HOME": str(self.home),
            "QUANTA_DATABASE_URL": self.postgres.url(f"{self.name}_signals"),
            "QUANTA_DAGSTER_POSTGRES_URL": self.postgres.url(f"{self.name}_dagster"),
            "DAGSTER_HOME": str(self.home / "dagster"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "GX_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }

    def prepare(self) -> None:
        """Databases, Dagster's instance as the settings say it, and shorter waits of its daemon."""
        self.home.mkdir()
        self.postgres.create(f"{self.name}_dagster")
        execute(
            self.postgres.url("postgres"),
            f'CREATE DATABASE "{self.name}_signals" TEMPLATE "{TEMPLATE}"',
        )
        self.run("quanta", "instance")
        file = self.home / "dagster/dagster.yaml"
        config = yaml.safe_load(file.read_text())
        config["run_monitoring"] |= {
            "poll_interval_seconds": 3,
            "start_timeout_seconds": 90,
            "free_slots_after_run_end_seconds": 5,
        }
        file.write_text(yaml.safe_dump(config))
        self.ports = {"code server": free_port(), "webserver": free_port()}
        server = {"host": "127.0.0.1", "port": self.ports["code server"], "location_name": "q"}
        workspace = {"load_from": [{"grpc_server": server}]}
        (self.home / "workspace.yaml").write_text(yaml.safe_dump(workspace))

    def run(self, *command: str) -> str:
        """Runs a program to its end and returns what it said."""
        done = subprocess.run(
            [str(PROGRAMS / command[0]), *command[1:]],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def command(self, kind: str) -> list[str]:
        """The program of a service."""
        workspace = ["-w", str(self.home / "workspace.yaml")]
        address = ["-h", "127.0.0.1", "-p", str(self.ports.get(kind, 0))]
        module = ["api", "grpc", "-m", "quanta_pipelines.definitions", *address]
        return {
            "code server": [str(PROGRAMS / "dagster"), *module],
            "daemon": [str(PROGRAMS / "dagster-daemon"), "run", *workspace],
            "webserver": [str(PROGRAMS / "dagster-webserver"), *workspace, *address],
        }[kind]

    def start(self, kind: str) -> None:
        with (self.home / f"{kind.replace(' ', '_')}.log").open("ab") as log:
            self.services[kind] = subprocess.Popen(
                self.command(kind),
                cwd=PROJECT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def supervise(self) -> None:
        """Starts again whatever ended, until the box is closed."""
        while not self.ending.wait(0.3):
            if not self.postgres.is_up():
                self.postgres.start_again()
                self.restarts["postgresql"] += 1
            for kind, process in list(self.services.items()):
                if process.poll() is not None:
                    self.restarts[kind] += 1
                    self.start(kind)

    def __enter__(self) -> "Box":
        self.prepare()
        for kind in ("code server", "daemon", "webserver"):
            self.start(kind)
        self.supervisor = threading.Thread(target=self.supervise)
        self.supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.supervisor.join(timeout=120)
        for process in self.services.values():
            process.kill()
            process.wait()
        for pid in self.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def workers(self) -> list[int]:
        """Processes that execute runs of this home, also those whose code server is gone."""
        mine = f"DAGSTER_HOME={self.home / 'dagster'}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if b"spawn_main" in (folder / "cmdline").read_bytes() and mine in (
                    folder / "environ"
                ).read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found


def execute(url: str, statement: str) -> int:
    """Runs one statement; the first number of what it answers, or 0."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return int(cursor.fetchone()[0]) if cursor.description else 0
    finally:
        connection.close()
