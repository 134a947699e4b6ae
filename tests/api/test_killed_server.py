"""The server is killed under load: what it answered is in the store, and nothing is there by half.

In turn miners commit, twice each, and reveal what was taken. A round ends with SIGKILL, a drawn
moment after a drawn number of answers: the clock alone would kill idle servers where a machine is
busy. The next one starts the server again on what it left, without repairing anything.
"""

import datetime as dt
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from sqlalchemy import create_engine, func, select

from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.adapters.signal_store.tables import (
    COMMITMENTS,
    ESCROW_MOVEMENTS,
    REVEALS,
)
from tests.api.conftest import (
    FIVE,
    HOUR,
    OPENS,
    UNIVERSE,
    W48,
    Signing,
    commit_body,
    key,
    reveal_body,
)
from tests.api.server_process import free_port, service_environment
from tests.postgres_server import PostgresServer

CLIENTS = 6
MOST_ANSWERS = 16  # after which a server is killed at the latest
PATIENCE = 30.0  # seconds for them
COMMIT, REVEAL = "/v1/signals/commit", "/v1/signals/reveal"
DRIVER = Path(__file__).parent / "forked_servers.py"
SIGKILL = 9


@dataclass
class Server(Signing):
    """A server that a fork runs, and how to end it."""

    driver: "subprocess.Popen[str]"
    address: str = ""
    number: int = 0

    def ask(self, line: str) -> int:
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(line + "\n")
        self.driver.stdin.flush()
        return int(self.driver.stdout.readline())

    def start(self, moment: dt.datetime) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.number = self.ask(str(port))
        for _ in range(1000):
            try:
                self.post("/v1/dev/clock", {"now": moment.isoformat()}).raise_for_status()
            except requests.ConnectionError:
                time.sleep(0.01)
            else:
                return
        raise TimeoutError("the server does not answer")

    def kill(self) -> None:
        subprocess.run(["kill", "-9", str(self.number)], check=True)
        assert self.ask(f"wait {self.number}") == -SIGKILL


@contextmanager
def forking(home: Path, url: str) -> Iterator[Server]:
    with subprocess.Popen(
        [sys.executable, DRIVER],
        env=service_environment(home, url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        yield Server(driver)
        assert driver.stdin is not None
        driver.stdin.close()
        assert driver.wait(timeout=30) == 0


@dataclass
class Client:
    """One client's requests, in order: those that were answered, and the one that was not."""

    name: str
    commits: list[str] = field(default_factory=list)  # commitments that were answered
    reveals: list[str] = field(default_factory=list)  # hotkeys whose reveal was accepted
    committed: list[Any] = field(default_factory=list)  # bodies of reveals that are due
    open: str = ""  # commitment or hotkey of the request that was under way
    numbers: Iterator[int] = field(default_factory=count)

    def commit(self, server: Server) -> None:
        """Two commitments each of new miners, the second replacing the first, without end."""
        for number in self.numbers:
            pair = key(f"{self.name} {number}")
            for turn, secret in enumerate(("0123456789abcdef" * 2, "fedcba9876543210" * 2)):
                body = commit_body(pair, secret=secret, ante_amount=str(10 + turn))
                self.open = body["commitment"]
                answer = server.signed(pair, "POST", COMMIT, body)
                assert (answer.status_code, answer.json()["replaced"]) == (200, turn)
                self.commits.append(self.open)
            hidden = {"commitment": body["commitment"]}
            self.committed.append((pair, reveal_body(pair, FIVE, secret) | hidden))

    def reveal(self, server: Server) -> None:
        """What was committed, once each."""
        while self.committed:
            pair, body = self.committed.pop()
            self.open = pair.hotkey
            answer = server.signed(pair, "POST", REVEAL, body)
            assert answer.status_code == 200, answer.text
            self.reveals.append(pair.hotkey)

    def until_killed(self, server: Server, act: str) -> None:
        try:
            getattr(self, act)(server)
        except requests.RequestException:  # killed
            return
        self.open = ""


def held(url: str) -> tuple[set[str], set[str]]:
    """Commitments and accepted miners in the store; what belongs to them is there as a whole."""
    engine = create_engine(url)
    with engine.connect() as connection:
        commits = set(connection.scalars(select(COMMITMENTS.c.commitment)))
        accepted = select(REVEALS.c.hotkey).where(REVEALS.c.verdict == "accepted")
        reveals = set(connection.scalars(accepted))
        posted = connection.scalar(select(func.count()).select_from(ESCROW_MOVEMENTS))
        per_miner = select(func.count()).select_from(COMMITMENTS).group_by(COMMITMENTS.c.hotkey)
        miners = connection.scalars(per_miner).all()
    engine.dispose()
    # every commitment posts its ante, and every one but its miner's last gives it back
    assert posted == sum(2 * n - 1 for n in miners)
    return commits, reveals


def let_work(clients: list[Client], threads: list[threading.Thread], more: int) -> None:
    """Waits for so many more answers, or until there is nothing left to ask."""

    def answers() -> int:
        return sum(len(client.commits) + len(client.reveals) for client in clients)

    goal, until = answers() + more, time.monotonic() + PATIENCE
    while answers() < goal and any(thread.is_alive() for thread in threads):
        assert time.monotonic() < until, f"no {more} answers within {PATIENCE:g} s"
        time.sleep(0.001)


def kill_servers(home: Path, url: str, rounds: int) -> None:
    rng = np.random.default_rng(20251121)
    store = SignalStore.open(url)
    store.fix_universe(W48, UNIVERSE)
    clients = [Client(f"killed {n}") for n in range(CLIENTS)]
    lost: set[str] = set()  # what was under way at some kill and arrived nevertheless
    with forking(home, url) as server:
        for number in range(rounds):
            act, moment = [("commit", OPENS - 5 * HOUR), ("reveal", OPENS + 20 * HOUR)][number % 2]
            server.start(moment)
            threads = [
                threading.Thread(target=client.until_killed, args=(server, act))
                for client in clients
            ]
            for thread in threads:
                thread.start()
            let_work(clients, threads, int(rng.integers(0, MOST_ANSWERS + 1)))
            time.sleep(float(rng.uniform(0.0, 0.05)))
            server.kill()
            for thread in threads:
                thread.join(timeout=30)
            commits, reveals = held(url)
            lost |= {client.open for client in clients}
            answered = {c for client in clients for c in client.commits}
            accepted = {c for client in clients for c in client.reveals}
            assert answered <= commits <= answered | lost
            assert accepted <= reveals <= accepted | lost
            assert store.problems() == ()
        assert len(answered) > 2 * rounds  # the servers did get to work
        assert len(accepted) > rounds // 2
        server.start(OPENS - 5 * HOUR)  # nothing was repaired, and it serves
        pair = key("after all kills")
        assert server.signed(pair, "POST", COMMIT, commit_body(pair)).status_code == 200
        server.kill()
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/signals.db"
    return str(request.getfixturevalue("postgres").create("killed"))


def test_a_killed_server_leaves_what_it_answered(tmp_path: Path, store_url: str) -> None:
    kill_servers(tmp_path, store_url, rounds=8)


@pytest.mark.soak
def test_two_hundred_killed_servers_leave_what_they_answered(
    tmp_path: Path, store_url: str
) -> None:
    kill_servers(tmp_path, store_url, rounds=200)


def test_without_postgresql_clients_are_told_to_wait_and_then_served(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.create("away")
    pair = key("patient over HTTP")
    with forking(tmp_path, url) as server:
        server.start(OPENS - 5 * HOUR)
        assert server.signed(pair, "POST", COMMIT, commit_body(pair)).status_code == 200
        postgres.stop()
        try:
            for method, target, body in (
                ("POST", COMMIT, commit_body(pair)),
                ("GET", f"/v1/signals/{W48.id}/{pair.hotkey}", None),
            ):
                answer = server.signed(pair, method, target, body)
                assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
                assert int(answer.headers["Retry-After"]) >= 1
            assert server.get("/health/detailed").status_code == 503
            assert server.get("/health").status_code == 200
        finally:
            postgres.start()
        again = server.signed(pair, "POST", COMMIT, commit_body(pair))  # the same process
        assert (again.status_code, again.json()["replaced"]) == (200, 0)
        assert server.get("/health/detailed").status_code == 200
        server.kill()


def test_a_server_that_starts_before_its_database_serves_once_it_is_there(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.create("later")
    pair = key("early over HTTP")
    with forking(tmp_path, url) as server:
        postgres.stop()
        try:
            server.start(OPENS - 5 * HOUR)
            assert server.signed(pair, "POST", COMMIT, commit_body(pair)).status_code == 503
        finally:
            postgres.start()
        assert server.signed(pair, "POST", COMMIT, commit_body(pair)).status_code == 200
        server.kill()
