"""What the operations page promises of the signal store: backups, and a role with few rights."""

import datetime as dt
import sqlite3
import threading
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import ProgrammingError

from quanta_pipelines.adapters.signal_store import NONCE_WINDOW, SignalStore, database
from tests.adapters.store_clients import COMMITS, EPOCH, POSITIONS, REVEALS, call, commit, hotkey
from tests.postgres_server import PostgresServer

MINER = hotkey("alone")
RESTRICTED = """
    DROP ROLE IF EXISTS service;
    CREATE ROLE service LOGIN PASSWORD 'of-the-service';
    GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO service;
    GRANT UPDATE, DELETE ON nonces TO service;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO service;
"""


@pytest.fixture
def busy(url: str) -> Iterator[SignalStore]:
    """A store that somebody writes to as long as the test runs."""
    store, done = SignalStore.open(url), threading.Event()
    store.fix_universe(EPOCH, [ticker for ticker, _ in POSITIONS])

    def write() -> None:
        number = 0
        while not done.is_set():
            call(store, number)
            number += 1

    for number in range(8):
        call(store, number)
    writer = threading.Thread(target=write)
    writer.start()
    yield store
    done.set()
    writer.join()
    store.close()


def copied(url: str, to: str, postgres: PostgresServer | None) -> None:
    """The commands of the operations page."""
    if postgres is None:
        source, target = (sqlite3.connect(make_url(each).database) for each in (url, to))
        source.backup(target)
        source.close()
        target.close()
        return
    dump = postgres.folder / "signals.dump"
    postgres.run("pg_dump", "--format=custom", f"--file={dump}", url)
    postgres.run("pg_restore", f"--dbname={to}", "--exit-on-error", str(dump))


def test_a_backup_of_a_busy_store_is_a_sound_store(busy, url, tmp_path, request):
    server = None if url.startswith("sqlite") else request.getfixturevalue("postgres")
    to = server.create("restored") if server else f"sqlite:///{tmp_path}/restored.db"
    copied(url, to, server)
    restored = SignalStore.open(to, migrate=False)
    assert restored.problems() == ()
    assert len(restored.commitments(EPOCH.id)) >= 4
    commit(restored, MINER, 1)
    with pytest.raises(Exception, match="only grows"):  # noqa: SIM117
        with database.writing(restored._engine, "any") as connection:
            connection.exec_driver_sql("DELETE FROM commitments")
    restored.close()


def test_a_role_that_may_hardly_do_anything_can_serve(postgres_url):
    admin = psycopg2.connect(postgres_url)
    with admin, admin.cursor() as cursor:
        cursor.execute(RESTRICTED)
    address = make_url(postgres_url).set(username="service", password="of-the-service")
    store = SignalStore.open(address.render_as_string(hide_password=False), migrate=False)
    store.fix_universe(EPOCH, [ticker for ticker, _ in POSITIONS])
    for number in range(8, 16):
        call(store, number)
    for late in (dt.timedelta(0), 3 * NONCE_WINDOW):  # the second one prunes the first
        store.use_nonce(MINER, f"nonce-at-{late.seconds}", REVEALS + late, REVEALS + late)
    assert store.signal_status(hotkey("miner 3"), EPOCH, at=COMMITS).escrow_rao > 0
    with pytest.raises(ProgrammingError, match="permission denied"):  # noqa: SIM117
        with database.writing(store._engine, "any") as connection:
            connection.exec_driver_sql("DELETE FROM commitments")
    store.close()
    with admin, admin.cursor() as cursor:
        cursor.execute("DROP OWNED BY service; DROP ROLE service")
    admin.close()
