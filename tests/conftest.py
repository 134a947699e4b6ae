"""Options and fixtures of the whole suite: eight settled epochs, run once."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quanta_pipelines.protocol.epoch import Epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from quanta_pipelines.resources import Platform
    from tests.postgres_server import PostgresServer
    from tests.s3_server import S3Server

GENESIS = Epoch.parse("2019-Q2-W23")
PLAYED = Epoch.range(GENESIS, "2019-Q3-W31")
SETTLED = PLAYED[:-1]

# Dagster takes seconds to import, so it is imported where a platform is needed: tests of the rules
# alone do without.


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-update", action="store_true", help="write golden files instead of comparing"
    )


def platform_at(home: Path) -> "Platform":
    """The platform whose files lie under ``home``."""
    from quanta_pipelines.adapters.lake import Lake
    from quanta_pipelines.adapters.price_vendors import RecordedVendor
    from quanta_pipelines.adapters.signal_store import SignalStore
    from quanta_pipelines.adapters.warehouse import Warehouse
    from quanta_pipelines.resources import DataDocs, Platform
    from quanta_pipelines.settings import DEVELOPMENT_HOTKEY

    return Platform(
        lake=Lake(str(home / "lake")),
        store=SignalStore.open(f"sqlite:///{home / 'signals.db'}"),
        vendors=(RecordedVendor(),),
        genesis=GENESIS,
        own_validator=DEVELOPMENT_HOTKEY,
        warehouse=Warehouse(home / "warehouse"),
        data_docs=DataDocs(home / "data_docs"),
    )


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresServer]":
    """A running PostgreSQL server."""
    from tests.postgres_server import PostgresServer

    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def s3() -> "Iterator[S3Server]":
    """A running S3 service with one bucket, which this process's environment does not name."""
    from tests.s3_server import S3Server

    server = S3Server()
    server.create_bucket()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3: "S3Server", monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of the bucket; for the time of a test the environment says how to reach it."""
    from tests.s3_server import BUCKET

    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}"


def built_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, build: "Callable[[Path], None]"
) -> Path:
    """A home that ``build`` fills; of the processes that share the tests one does, others wait.

    Built under another name, so that what was left half built is not taken for it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        home = folder / name
        if not home.exists():
            building = folder / f"{name}.{os.getpid()}"
            building.mkdir()
            build(building)
            building.rename(home)
    return home


@pytest.fixture(scope="session")
def settled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight settled epochs and the signals of one more; never written to by a test."""
    return built_once(tmp_path_factory, "settled", _settle)


@pytest.fixture(scope="session")
def marts_home(settled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The eight settled epochs with their marts; never written to by a test."""
    from quanta_pipelines.adapters.warehouse import Warehouse
    from quanta_pipelines.assets.marts import MARTS

    def build_marts(home: Path) -> None:
        shutil.copytree(settled_home, home, dirs_exist_ok=True)
        build = Warehouse(home / "warehouse").build(
            str(home / "lake"), [epoch.id for epoch in SETTLED], MARTS
        )
        assert build.passed, [node for node in build.nodes if not node.passed]

    return built_once(tmp_path_factory, "marts_home", build_marts)


def _settle(home: Path) -> None:
    import dagster as dg

    from quanta_pipelines.backfill import Backfill
    from quanta_pipelines.definitions import build_defs
    from quanta_pipelines.simulation.season import Season

    platform = platform_at(home)
    season = Season(platform.store, platform.vendors[0], GENESIS, platform.params)
    for epoch in PLAYED:
        season.play(epoch)
    with dg.DagsterInstance.ephemeral() as instance:
        outcomes = Backfill(build_defs(platform=platform), instance).epochs(SETTLED)
    assert all(outcome.succeeded for outcome in outcomes), outcomes[-1].problems
    platform.store.close()
