"""Which failures of the database pass by themselves, and how they are told apart from mistakes.

A message carries the database's own words and the address without its password, never the SQL
or its values: they hold miners' secrets.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from quanta_pipelines.adapters.signal_store.errors import StoreUnavailable

_SQLITE_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,  # too many tries for the lock of the WAL
}
# Classes of SQLSTATE: connection, resources, operator's intervention, system; deadlock or
# serialisation; and what a standby says until it is promoted, and a lock that was not granted.
_POSTGRES_PASSING = ("08", "53", "57", "58", "40", "25006", "55P03", "25P03")


@contextmanager
def available(engine: Engine) -> Iterator[None]:
    """Turns a failure that passes by itself into ``StoreUnavailable``; the others stay."""
    try:
        yield
    except NoConnectionFree as error:
        raise StoreUnavailable(f"{_address(engine)}: no connection became free in time") from error
    except DBAPIError as error:
        if not _passes(error):
            raise
        raise StoreUnavailable(f"{_address(engine)}: {_first_line(error)}") from error


def _passes(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)  # the driver's own errors have none
        return code is not None and code & 0xFF in _SQLITE_PASSING
    state = getattr(error.orig, "pgcode", None)
    if state is None:  # no answer from a server: it is not there, or went away
        return type(error.orig).__name__ in {"OperationalError", "InterfaceError"}
    return str(state).startswith(_POSTGRES_PASSING)


def _address(engine: Engine) -> str:
    return f"the signal store at {engine.url.render_as_string(hide_password=True)}"


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
