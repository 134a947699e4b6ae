"""Signal stores to test with: the same tests run on SQLite and on PostgreSQL."""

import shutil
from pathlib import Path

import psycopg2
import pytest

from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.adapters.signal_store.tables import METADATA
from tests.postgres_server import PostgresServer


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store without rows, to be copied."""
    file = tmp_path_factory.mktemp("store") / "signals.db"
    SignalStore.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def migrated_database(postgres: PostgresServer) -> str:
    """A store in PostgreSQL, to be emptied before each use."""
    url = postgres.create("signals")
    SignalStore.open(url).close()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a database that has no table yet, on either system."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/signals.db"
    return request.getfixturevalue("postgres").create("new")


@pytest.fixture
def postgres_url(migrated_database: str) -> str:
    """Address of a migrated store without rows in PostgreSQL."""
    connection = psycopg2.connect(migrated_database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # past the triggers
        cursor.execute(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")
    connection.close()
    return migrated_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a migrated store without rows, on either system."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "signals.db")
    return f"sqlite:///{tmp_path}/signals.db"
