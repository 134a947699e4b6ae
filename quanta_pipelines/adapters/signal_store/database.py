"""The signal store's connections: durable commits, bounded waits, one writer at a time per key.

SQLite and PostgreSQL behave alike here: a transaction that may write takes a lock first, so what
it reads stays true until it commits. SQLite has one lock for the file, PostgreSQL one per key.
"""

import hashlib
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from quanta_pipelines.adapters.signal_store.availability import available

TIMEOUT_SECONDS = 10.0  # of every wait for a lock or a connection; a statement may take twice that


def connect(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Engine:
    """Engine on a store; an SQLite file's folder is created where it is missing.

    Values of statements are kept out of messages and logs: a reveal's secret is one of them.
    """
    address = make_url(url)
    backend = address.get_backend_name()
    if backend not in _ENGINES:
        raise ValueError(f"a signal store lives in sqlite or postgresql, not in {backend}")
    engine = _ENGINES[backend](address, timeout_seconds)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads; ``StoreUnavailable`` where the database is not there."""
    with available(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine, key: str) -> Iterator[Connection]:
    """A transaction that may write; others that want to write under this key wait until it ends."""
    with available(engine), engine.execution_options(writing=key).begin() as connection:
        yield connection


def _sqlite(address: URL, seconds: float) -> Engine:
    waits: dict[str, float] = {}
    if address.database and address.database != ":memory:":
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        waits["pool_timeout"] = seconds
    engine = create_engine(
        address, hide_parameters=True, connect_args={"timeout": seconds}, **waits
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # in WAL, NORMAL may lose answered commits with the power
        "foreign_keys = ON",
        "recursive_triggers = ON",  # INSERT OR REPLACE deletes rows: it meets the triggers too
    ):
        connection.execute(f"PRAGMA {pragma}")


def _postgresql(address: URL, seconds: float) -> Engine:
    milliseconds = math.ceil(seconds * 1000)
    engine = create_engine(
        address,
        hide_parameters=True,
        isolation_level="READ COMMITTED",  # what is read after the lock was waited for is current
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        pool_timeout=seconds,
        connect_args={
            "connect_timeout": max(2, math.ceil(seconds)),  # libpq reads 1 as 2
            "tcp_user_timeout": milliseconds,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
        },
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for setting in (
            "synchronous_commit = on",  # a server's default may lose answered commits
            f"lock_timeout = {milliseconds}",
            f"statement_timeout = {2 * milliseconds}",  # longer, so that a lock is named as such
            f"idle_in_transaction_session_timeout = {milliseconds}",  # a stopped client's locks
            "timezone = 'UTC'",
        ):
            cursor.execute(f"SET {setting}")
        cursor.close()
        connection.commit()

    return engine


_ENGINES = {"sqlite": _sqlite, "postgresql": _postgresql}


def _begin(connection: Connection) -> None:
    key = connection.get_execution_options().get("writing")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN" if key is None else "BEGIN IMMEDIATE")
    elif key is not None:
        connection.execute(select(func.pg_advisory_xact_lock(_lock_number(key))))


def _lock_number(key: str) -> int:
    """64 bits of a hash: two keys that meet would wait for each other and nothing worse."""
    digest = hashlib.blake2b(f"quanta/{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
