"""The signal store's connection: one writer at a time, durable commits, migrations to head.

SQLite and PostgreSQL behave alike here: a transaction that may write takes one lock first, so
what it reads stays true until it commits.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_SECONDS = 30
_POSTGRES_LOCK = 0x5155414E5441  # any number that other programs on the server do not use
_ALEMBIC = Lock()  # its context is global to the process


def connect(url: str) -> Engine:
    """Engine on a store that is migrated to head; an SQLite file is created where it is missing."""
    address = make_url(url)
    engine = create_engine(address)
    if engine.dialect.name == "sqlite":
        if address.database and address.database != ":memory:":
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin)
    _migrate(engine)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write; others that want to wait until it ends."""
    with engine.execution_options(writing=True).begin() as connection:
        yield connection


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    for pragma in (
        f"busy_timeout = {BUSY_SECONDS * 1000}",
        "journal_mode = WAL",
        "synchronous = FULL",  # in WAL, NORMAL may lose answered commits with the power
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writing", False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        connection.execute(select(func.pg_advisory_xact_lock(_POSTGRES_LOCK)))


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", f"{__package__}:migrations")
    with _ALEMBIC, writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
