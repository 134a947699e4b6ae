"""The service as a process of its own, which a test may end as it likes."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

from tests.api.conftest import ADMIN_TOKEN, Signing

STARTS_WITHIN = 60.0  # seconds


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def service_environment(home: Path, database_url: str) -> dict[str, str]:
    """What a service of a test is told: its home, its store, limits that it never reaches."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("QUANTA_")},
        "QUANTA_HOME": str(home),
        "QUANTA_DATABASE_URL": database_url,
        "QUANTA_ENVIRONMENT": "development",
        "QUANTA_ADMIN_TOKEN": ADMIN_TOKEN,
        "QUANTA_RATE_PER_ADDRESS": "1000000/minute",
        "QUANTA_RATE_PER_HOTKEY": "1000000/minute",
        "QUANTA_LOG_LEVEL": "error",
    }


class ServerProcess(Signing):
    """``python -m quanta_pipelines.api`` over a home and a store."""

    def __init__(self, home: Path, database_url: str = "") -> None:
        self.address = f"http://127.0.0.1:{free_port()}"
        self._log = home / "service.log"
        self._environment = service_environment(home, database_url) | {
            "QUANTA_API_PORT": self.address.rsplit(":", 1)[1]
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the service and waits until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "quanta_pipelines.api"],
                env=self._environment,
                stderr=log,
                stdout=log,
            )
        until = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < until:
            try:
                requests.get(self.address + "/health", timeout=5)
            except requests.ConnectionError:
                assert self._process.poll() is None, self.log()
                time.sleep(0.02)
            else:
                return
        raise TimeoutError(f"no answer within {STARTS_WITHIN:g} s: {self.log()}")

    def stop(self) -> None:
        """Ends it in order, if it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def log(self) -> str:
        """What it wrote to its terminal."""
        return self._log.read_text()

    def set_clock(self, moment: Any) -> None:
        """Sets the clock by which windows are judged."""
        answer = requests.post(
            self.address + "/v1/dev/clock", json={"now": moment.isoformat()}, timeout=30
        )
        assert answer.status_code == 200, answer.text

    def __enter__(self) -> "ServerProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
