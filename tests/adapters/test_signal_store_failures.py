"""The signal store when its database is stopped, locked or full: one error, soon, nothing half."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from quanta_pipelines.adapters.signal_store import SignalStore, StoreUnavailable, database
from tests.adapters.store_clients import COMMITS, EPOCH, ante, commit, hotkey, opening
from tests.postgres_server import PASSWORD, PostgresServer

MINER = hotkey("alone")
SECONDS = 0.5  # that the stores of these tests wait
PROMPT = 5.0  # seconds within which they must have answered, on a busy machine


@pytest.fixture
def store(url: str) -> Iterator[SignalStore]:
    store = SignalStore.open(url, timeout_seconds=SECONDS)
    yield store
    store.close()


@contextmanager
def unavailable(match: str) -> Iterator[None]:
    """The typed error, not later than promised, without the password or a value in its text."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=match) as caught:
        yield
    assert time.monotonic() - started < PROMPT
    assert caught.value.retry_after_seconds >= 1
    assert PASSWORD not in str(caught.value)
    assert opening(MINER, 1).commitment not in f"{caught.value} {caught.value.__cause__}"


def dbapi_connection(url: str) -> sqlite3.Connection | psycopg2.extensions.connection:
    """A connection past the store."""
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    return psycopg2.connect(url)


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another writer that holds what the store needs."""
    other = dbapi_connection(url)
    if isinstance(other, sqlite3.Connection):
        other.execute("BEGIN IMMEDIATE")
    else:
        other.cursor().execute("LOCK TABLE commitments IN ACCESS EXCLUSIVE MODE")
    yield
    other.close()


def test_another_writer_is_waited_for_so_long_and_no_longer(store, url):
    commit(store, MINER, 0)
    with locked(url):
        started = time.monotonic()
        with unavailable("locked|lock timeout"):
            commit(store, MINER, 1)
        assert time.monotonic() - started >= SECONDS * 0.8
    assert commit(store, MINER, 1).replaced == 1
    assert store.problems() == ()


def test_two_requests_of_one_miner_wait_for_each_other_and_no_longer(store, url):
    other = SignalStore.open(url)
    key = f"signal {EPOCH.id} {MINER}"
    with database.writing(other._engine, key), unavailable("locked|lock timeout"):
        commit(store, MINER, 1)
    assert commit(store, MINER, 1).replaced == 0
    other.close()


def test_postgresql_lets_two_miners_commit_side_by_side(postgres_url):
    stores = [SignalStore.open(postgres_url, timeout_seconds=SECONDS) for _ in range(2)]
    key = f"signal {EPOCH.id} {hotkey('somebody else')}"
    with database.writing(stores[0]._engine, key):
        commit(stores[1], hotkey("not held up"), 1)
    for store in stores:
        store.close()


def test_a_client_that_stops_inside_a_transaction_loses_its_lock(postgres_url):
    stopped = SignalStore.open(postgres_url, timeout_seconds=SECONDS)
    other = SignalStore.open(postgres_url, timeout_seconds=10 * SECONDS)
    miner = hotkey("held up")
    with pytest.raises(StoreUnavailable):  # noqa: SIM117, PT012
        with database.writing(stopped._engine, f"signal {EPOCH.id} {miner}") as connection:
            commit(other, miner, 1)  # waits until the server ends the idle session
            connection.exec_driver_sql("SELECT 1")
    stopped.close()
    other.close()


def test_a_stopped_server_is_an_error_at_once_and_a_started_one_serves_again(
    postgres: PostgresServer, postgres_url
):
    store = SignalStore.open(postgres_url, timeout_seconds=SECONDS)
    miner = hotkey("patient")
    receipt = commit(store, miner, 1)
    postgres.stop()
    try:
        with unavailable("refused|closed"):
            commit(store, miner, 2)
        with unavailable("refused|closed"):
            store.commitments(EPOCH.id)
        with unavailable("refused|closed"):
            store.ping()
        with unavailable("refused|closed"):
            SignalStore.open(postgres_url, timeout_seconds=SECONDS)
    finally:
        postgres.start()
    assert commit(store, miner, 1) == receipt
    assert commit(store, miner, 2).replaced == receipt.replaced + 1
    store.close()


def test_a_connection_that_breaks_inside_a_call_is_the_same_error(postgres_url):
    store = SignalStore.open(postgres_url, timeout_seconds=SECONDS)
    miner = hotkey("cut off")
    admin = psycopg2.connect(postgres_url)
    admin.autocommit = True

    def end_session(connection, *_: object) -> None:
        session = connection.connection.dbapi_connection.info.backend_pid
        admin.cursor().execute("SELECT pg_terminate_backend(%s, 1000)", (session,))

    event.listen(store._engine, "commit", end_session)
    with unavailable("closed|terminat"):
        commit(store, miner, 1)
    event.remove(store._engine, "commit", end_session)
    assert miner not in set(store.commitments(EPOCH.id)["hotkey"])
    assert commit(store, miner, 1).replaced == 0
    admin.close()
    store.close()


def test_no_free_connection_is_the_same_error(postgres_url):
    store = SignalStore.open(postgres_url, timeout_seconds=SECONDS)
    pool = store._engine.pool
    taken = [store._engine.connect() for _ in range(pool.size() + pool._max_overflow)]
    with unavailable("no connection became free"):
        store.ping()
    for connection in taken:
        connection.close()
    store.ping()
    store.close()


def fill(engine: Engine, url: str) -> None:
    """From now on the database has no room: SQLite by a limit, PostgreSQL by a trigger.

    The trigger raises what the server raises on a full disk, after the commitment's row was
    written and before its ante moved.
    """
    if url.startswith("sqlite"):
        engine.dispose()  # the limit belongs to a connection

        @event.listens_for(engine, "connect")
        def limit(connection: sqlite3.Connection, _: object) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages}")

        return
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER disk_full BEFORE INSERT ON escrow_movements "
            "FOR EACH ROW EXECUTE FUNCTION disk_full()"
        )


def make_room(url: str) -> None:
    if not url.startswith("sqlite"):
        connection = psycopg2.connect(url)
        with connection, connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION disk_full() CASCADE")
        connection.close()


def test_a_full_disk_is_an_error_and_no_half_row(store, url):
    commit(store, MINER, 0)
    fill(store._engine, url)
    answered = 0
    with unavailable("full|could not extend"):
        for number in range(1, 5000):
            commit(store, MINER, number)
            answered = number
    make_room(url)
    again = SignalStore.open(url)
    (row,) = again.commitments(EPOCH.id).to_dict("records")
    assert row["commitment"] == opening(MINER, answered).commitment
    assert again.problems() == ()
    status = again.signal_status(MINER, EPOCH, at=COMMITS)
    assert status.escrow_rao == ante(answered) * 10**9
    assert commit(again, MINER, answered + 1).replaced == answered + 1
    again.close()


def test_a_mistake_is_not_called_unavailable(store):
    with pytest.raises(DBAPIError), database.reading(store._engine) as connection:
        connection.exec_driver_sql("SELECT nothing FROM nowhere")


def test_a_folder_that_can_not_be_opened_is_unavailable(tmp_path: Path):
    (tmp_path / "signals.db").mkdir()
    with unavailable("unable to open"):
        SignalStore.open(f"sqlite:///{tmp_path}/signals.db")


def test_a_file_that_is_no_database_is_not_worth_a_retry(tmp_path: Path):
    (tmp_path / "signals.db").write_bytes(b"no database at all, " * 100)
    with pytest.raises(DBAPIError, match="not a database"):
        SignalStore.open(f"sqlite:///{tmp_path}/signals.db")


def test_another_kind_of_database_is_refused():
    with pytest.raises(ValueError, match="sqlite or postgresql, not in mysql"):
        SignalStore.open("mysql://somewhere/signals")
