"""The service as its callers meet it: a real server on a real port, real keys, real storage."""

import datetime as dt
import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from fastapi import FastAPI

from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from quanta_pipelines.adapters.request_signing import signing_headers
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.api import create_app
from quanta_pipelines.api.head_limit import BoundedHead
from quanta_pipelines.api.services import Services
from quanta_pipelines.protocol.commit_reveal import commitment
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.portfolio import portfolio_hash
from quanta_pipelines.settings import Settings
from tests.conftest import SETTLED, platform_at

ADMIN_TOKEN = "a token that is long enough for production"
W48 = Epoch.parse("2025-Q4-W48")
UNIVERSE = ("AAPL", "AMD", "BAC", "JPM", "KO", "MSFT")
FIVE = dict.fromkeys(UNIVERSE[:5], "0.200000")
SECRET = "0123456789abcdef" * 4

# W48 of 2025 opens with the close of Friday, 21 November, 16:00 in New York
OPENS = dt.datetime(2025, 11, 21, 21, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def key(name: str) -> HotkeyPair:
    return HotkeyPair.from_seed(hashlib.sha256(f"test/{name}".encode()).digest())


class Signing:
    """Requests to a service at an address."""

    address: str

    def get(self, target: str, **options: Any) -> requests.Response:
        return requests.get(self.address + target, timeout=30, **options)

    def post(self, target: str, body: Any, **options: Any) -> requests.Response:
        return requests.post(self.address + target, json=body, timeout=30, **options)

    def signed(
        self,
        pair: HotkeyPair,
        method: str,
        target: str,
        body: Any = None,
        change: Callable[[dict[str, Any]], None] = lambda _: None,
        **options: Any,
    ) -> requests.Response:
        """A signed request; ``change`` may spoil it after it was signed."""
        data = b"" if body is None else json.dumps(body).encode()
        fields = {
            "hotkey": pair.hotkey,
            "sign": pair.sign,
            "method": method,
            "target": target,
            "body": data,
            "timestamp": int(time.time()),
            **options,
        }
        sent: dict[str, Any] = {
            "method": method,
            "target": target,
            "data": data,
            "headers": {"Content-Type": "application/json", **signing_headers(**fields)},
        }
        change(sent)
        return requests.request(
            sent["method"],
            self.address + sent["target"],
            data=sent["data"] or None,
            headers=sent["headers"],
            timeout=30,
        )

    def admin(self, method: str, target: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        return requests.request(
            method, self.address + target, json=body, headers=headers, timeout=30
        )


@dataclass
class Service(Signing):
    """A running service in this process."""

    address: str
    app: FastAPI

    @property
    def services(self) -> Services:
        return self.app.state.services

    @property
    def store(self) -> SignalStore:
        return self.services.store

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def at(self, moment: dt.datetime) -> None:
        self.services.clock.set(moment)


def settings(home: Path, **changes: Any) -> Settings:
    chosen: dict[str, Any] = {
        "home": home,
        "lake": "",
        "database_url": "",
        "environment": "development",
        "admin_token": ADMIN_TOKEN,
        "allow_unsigned": False,
        "rate_per_address": "100000/minute",
        "rate_per_hotkey": "100000/minute",
        "redis_url": "",
        "log_level": "error",
    }
    return Settings(_env_file=None, **{**chosen, **changes})


@contextmanager
def serving(
    chosen: Settings, layers: dict[type, dict[str, Any]] | None = None
) -> Iterator[Service]:
    """A server in a thread of this process, on a free port; ``layers`` get other options."""
    app = create_app(chosen)
    for layer in app.user_middleware:
        layer.kwargs.update((layers or {}).get(layer.cls, {}))  # type: ignore[arg-type]
    config = uvicorn.Config(
        app, log_level="error", access_log=False, lifespan="on", http=BoundedHead
    )
    server = uvicorn.Server(config)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.005)
    try:
        yield Service(f"http://127.0.0.1:{listening.getsockname()[1]}", app)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listening.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Address of a new store in PostgreSQL; empty for the SQLite file under a home."""
    if request.param == "sqlite":
        return ""
    return str(request.getfixturevalue("postgres").create(request.module.__name__[-40:]))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Service]:
    """A service over an empty home, with the universe of one epoch; tests use keys of their own.

    Once on each database.
    """
    home = tmp_path_factory.mktemp("service")
    with serving(settings(home, database_url=database_url)) as running:
        running.store.fix_universe(W48, UNIVERSE)
        yield running


@pytest.fixture(scope="session")
def published_home(marts_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The settled epochs with their marts and pages, as the graph publishes them."""
    from quanta_pipelines.publication import publish_pages

    home = Path(shutil.copytree(marts_home, tmp_path_factory.mktemp("published") / "home"))
    platform = platform_at(home)
    assert all(each.page for each in publish_pages(platform, [epoch.id for epoch in SETTLED]))
    platform.store.close()
    return home


@pytest.fixture(scope="session")
def published(published_home: Path) -> Iterator[Service]:
    """A service over eight settled epochs; only read by tests."""
    with serving(settings(published_home)) as running:
        yield running


def commit_body(
    pair: HotkeyPair, positions: dict[str, str] = FIVE, secret: str = SECRET, **changes: Any
) -> dict[str, Any]:
    hidden = commitment(portfolio_hash(positions), secret, pair.hotkey, W48.id)
    return {
        "commitment": hidden,
        "miner_hotkey": pair.hotkey,
        "epoch_id": W48.id,
        "ante_amount": "50",
        **changes,
    }


def reveal_body(
    pair: HotkeyPair, positions: dict[str, str] = FIVE, secret: str = SECRET, **changes: Any
) -> dict[str, Any]:
    signal = {
        "epoch_id": W48.id,
        "miner_hotkey": pair.hotkey,
        "positions": [{"ticker": name, "weight": weight} for name, weight in positions.items()],
    }
    hidden = commit_body(pair, FIVE, secret)["commitment"]
    return {"commitment": hidden, "signal": signal, "secret": secret, **changes}


def committed(service: Service, name: str, moment: dt.datetime) -> HotkeyPair:
    """A miner whose commitment was taken at a moment."""
    pair = key(name)
    service.at(moment)
    answer = service.signed(pair, "POST", "/v1/signals/commit", commit_body(pair))
    assert answer.status_code == 200, answer.text
    return pair


def refused(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that an answer must be."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    assert problem["instance"] == f"urn:quanta:request:{answer.headers['X-Request-Id']}"
    return problem
