"""Dagster's records in SQLite, with connections that stay open.

Dagster's own storage opens a database anew for each of the thousand statements of a run, and each
time compiles the statement, checks the schema and writes the log back as it closes. Files, tables
and what is in them are Dagster's; only the connections are kept, one for each file.

A commit no longer waits for the disk (``synchronous=NORMAL`` under WAL): a killed process loses
nothing, a machine that loses power may lose its last events, never the file. What epochs were paid
by is in the lake, which always waits.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from dagster import EventLogEntry
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log.polling_event_watcher import SqlPollingEventWatcher
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import (
    DagsterSqliteStorage,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
)
from dagster._serdes import ConfigurableClassData
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

Handler: TypeAlias = Callable[[EventLogEntry, str], None]  # of an event and where it stands

OPEN_FILES = 8  # event logs of runs that stay open, the index among them


class OpenEngines:
    """Engines by address, the least recently used closed first; a forked child has its own."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def engine(self, address: str) -> Engine:
        """The engine of the database at an address, opened when it is first asked for."""
        with self._lock:
            if self._owner != os.getpid():  # SQLite forbids the parent's connections here
                self._owner, self._engines = os.getpid(), OrderedDict()
            if address not in self._engines:
                self._engines[address] = _opened(address)
            self._engines.move_to_end(address)
            while len(self._engines) > self._most:
                self._engines.popitem(last=False)[1].dispose()
            return self._engines[address]

    def close(self) -> None:
        """Close what is open; the next use opens it again."""
        with self._lock:
            if self._owner == os.getpid():
                for engine in self._engines.values():
                    engine.dispose()
            self._engines.clear()


def _opened(address: str) -> Engine:
    """An engine that keeps one connection, and opens more only where threads meet."""
    waits = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
    engine: Engine = create_engine(address, pool_size=1, max_overflow=-1, connect_args=waits)

    @event.listens_for(engine, "connect")
    def _commit_without_waiting(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


class OpenEventLog(SqliteEventLogStorage):
    """Events of each run in a file of its own, and of all assets in ``index.db``."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._open = OpenEngines(OPEN_FILES)
        self._poll: SqlPollingEventWatcher | None = None
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            address = self.conn_string_for_shard(shard)
            if shard not in self._initialized_dbs:
                self._initdb(self._open.engine(address))
                self._initialized_dbs.add(shard)
            with self._open.engine(address).begin() as connection:
                yield connection

    def has_table(self, table_name: str) -> bool:
        """Whether ``index.db`` has a table; one that it had is not looked for again."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def watch(self, run_id: str, cursor: str | None, callback: Handler) -> None:
        """Ask for new events: a file that stays open does not change where a watchdog looks."""
        if self._poll is None:
            self._poll = SqlPollingEventWatcher(self)
        self._poll.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: Handler) -> None:
        """Stop asking."""
        if self._poll is not None:
            self._poll.unwatch_run(run_id, handler)

    def wipe(self) -> None:
        """Remove all events; the files go, so they are closed first."""
        self._open.close()
        super().wipe()

    def dispose(self) -> None:
        """Stop asking, and close the files."""
        if self._poll is not None:
            self._poll.close()
        self._open.close()


class OpenRunStorage(SqliteRunStorage):
    """Runs and their tags in ``runs.db``."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._open = OpenEngines(1)
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction on the runs."""
        with self._open.engine(self._conn_string).begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the file."""
        super().dispose()
        self._open.close()


class OpenSqliteStorage(DagsterSqliteStorage):
    """What ``dagster.yaml`` names: Dagster's three stores, two of them with open connections."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Dagster's parent has no types, and its own child opens the stores that are replaced here
        DagsterStorage.__init__(self)  # type: ignore[no-untyped-call, arg-type]
        self.base_dir = base_dir
        self._inst_data = inst_data
        self._run_storage = OpenRunStorage.from_local(_runs_directory(base_dir))
        self._event_log_storage = OpenEventLog(_event_logs_directory(base_dir))
        self._schedule_storage = SqliteScheduleStorage.from_local(_schedule_directory(base_dir))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "OpenSqliteStorage":
        """The storage below ``base_dir``."""
        return cls.from_local(inst_data=inst_data, **config_value)
