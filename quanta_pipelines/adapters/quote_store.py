"""The memory of live quotes: what each vendor said and when it was heard, in one table.

Rows are added, never changed, and go when their retention has passed. SQLite (WAL) by default,
PostgreSQL by its address. Instants are whole nanoseconds since 1970 UTC: exact, and read without
parsing. What the quotes mean is the rules' business (``protocol.live_price``).
"""

import datetime as dt
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.schema import CreateIndex, CreateTable

from quanta_pipelines.adapters.price_vendors.interface import QUOTE_TYPES
from quanta_pipelines.protocol.errors import InvalidQuotes

BUSY_SECONDS = 30
_POSTGRES_LOCK = 0x51554F544553  # any number that other programs on the server do not use
_TICKERS_A_QUERY = 500  # older SQLite takes 999 bound values
_TIMES = ["at", "fetched_at"]
_NUMBERS = ["price", "bid", "ask", "volume"]
_KEY = ["ticker", "fetched_at", "vendor", "at"]
_COLUMNS = [*_KEY, *_NUMBERS]

_Key: TypeAlias = tuple[object, ...]
_Numbers: TypeAlias = tuple[object, ...]
_Panel: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[np.float64]]"

METADATA = MetaData()
QUOTES = Table(
    "quotes",
    METADATA,
    # The key in this order is the table's own: a ticker's quotes lie together and by time
    Column("ticker", String(16), primary_key=True),
    Column("fetched_at", BigInteger, primary_key=True, autoincrement=False),
    Column("vendor", String(32), primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Double) for name in _NUMBERS),
    sqlite_with_rowid=False,
)
_BY_FETCH = Index("quotes_by_fetch", QUOTES.c.fetched_at)


@dataclass(frozen=True, slots=True, eq=False)
class Appended:
    """What became of a batch: how many rows are new, and how many were stored already.

    ``refused`` has the columns of ``QUOTE_TYPES`` and a ``reason``, one row per quote that
    contradicts a stored one, or another of its batch, under the same vendor, ticker and times.
    """

    new: int
    known: int
    refused: pd.DataFrame


class QuoteStore:
    """Quotes of all vendors; any number of processes may append and read at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> "QuoteStore":
        """Store at an SQLAlchemy address; creates its table, and an SQLite file, where missing."""
        address = make_url(url)
        engine = create_engine(address)
        if engine.dialect.name == "sqlite":
            if address.database and address.database != ":memory:":
                Path(address.database).parent.mkdir(parents=True, exist_ok=True)
            event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin)
        with _writing(engine) as connection:
            connection.execute(CreateTable(QUOTES, if_not_exists=True))
            connection.execute(CreateIndex(_BY_FETCH, if_not_exists=True))
        return cls(engine)

    def close(self) -> None:
        """Closes the pooled connections."""
        self._engine.dispose()

    def append(self, quotes: pd.DataFrame) -> Appended:
        """Adds quotes, columns of ``QUOTE_TYPES``, in one transaction; the same again adds nothing.

        What a vendor said is stored as it said it, odd prices included. Raises ``InvalidQuotes``
        for missing columns, times without a zone and incomplete keys.
        """
        batch = _as_stored(quotes)
        clash = batch.duplicated(_KEY, keep=False)
        once = batch[~clash]
        with _writing(self._engine) as connection:
            stored = _fetched(connection, once)
            known = np.array([key in stored for key in _keys(once)], dtype=bool)
            new = once[~known]
            if not new.empty:
                connection.execute(insert(QUOTES), _records(new))
        earlier = once[known]
        said = earlier[_NUMBERS].to_numpy(dtype=np.float64)
        same = _same_numbers(said, [stored[key] for key in _keys(earlier)])
        refused = [
            _refusal(batch[clash], "another quote of the batch under the same key"),
            _refusal(earlier[~same], "another quote is stored under the same key"),
        ]
        return Appended(len(new), int(same.sum()), pd.concat(refused, ignore_index=True))

    def read(self, tickers: Sequence[str], since: dt.datetime, until: dt.datetime) -> pd.DataFrame:
        """The quotes of some tickers that were fetched from ``since`` to ``until``, both included.

        Columns and types of ``QUOTE_TYPES``, by ticker, then time of the fetch, vendor and quote.
        """
        wanted = sorted(set(tickers))
        rows: list[Sequence[object]] = []
        span = QUOTES.c.fetched_at.between(_ns(since), _ns(until))
        with self._engine.connect() as connection:
            for start in range(0, len(wanted), _TICKERS_A_QUERY):
                some = QUOTES.c.ticker.in_(wanted[start : start + _TICKERS_A_QUERY])
                found = connection.execute(select(QUOTES).where(some, span).order_by(*_key()))
                rows += found.all()
        return _as_quotes(_frame(rows))

    def prune(self, before: dt.datetime) -> int:
        """Deletes quotes that were fetched before a moment; returns how many."""
        with _writing(self._engine) as connection:
            return connection.execute(
                delete(QUOTES).where(QUOTES.c.fetched_at < _ns(before))
            ).rowcount


def _key() -> list[Column[object]]:
    return [QUOTES.c[name] for name in _KEY]


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write; others that want to wait until it ends."""
    with engine.execution_options(writing=True).begin() as connection:
        yield connection


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    for pragma in (
        f"busy_timeout = {BUSY_SECONDS * 1000}",
        "journal_mode = WAL",
        "synchronous = NORMAL",  # the last quotes before a power cut are no loss worth a sync each
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writing", False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes and connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_POSTGRES_LOCK)))


def _fetched(connection: Connection, batch: pd.DataFrame) -> dict[_Key, _Numbers]:
    """Stored quotes that were fetched when those of a batch were, by their key."""
    if batch.empty:
        return {}
    moments = batch["fetched_at"]
    span = QUOTES.c.fetched_at.between(int(moments.min()), int(moments.max()))
    columns = [QUOTES.c[name] for name in _COLUMNS]
    rows = connection.execute(select(*columns).where(span)).all()
    return {tuple(row[: len(_KEY)]): tuple(row[len(_KEY) :]) for row in rows}


def _keys(rows: pd.DataFrame) -> list[_Key]:
    return list(zip(*(rows[name].tolist() for name in _KEY), strict=True))


def _same_numbers(
    said: _Panel, stored: Sequence[_Numbers]
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Which rows of a batch say what is stored; unknown equals unknown."""
    held = np.array(stored, dtype=np.float64).reshape(said.shape)
    return np.asarray(((said == held) | (np.isnan(said) & np.isnan(held))).all(axis=1))


def _as_stored(quotes: pd.DataFrame) -> pd.DataFrame:
    """Rows as the table holds them, each once; raises ``InvalidQuotes``."""
    if absent := [name for name in QUOTE_TYPES if name not in quotes.columns]:
        raise InvalidQuotes(f"quotes lack the columns {', '.join(absent)}")
    rows = quotes[_COLUMNS].astype(dict.fromkeys(_NUMBERS, np.float64))
    if naive := [name for name in _TIMES if not isinstance(rows[name].dtype, pd.DatetimeTZDtype)]:
        raise InvalidQuotes(f"times with a zone are stored, {naive[0]} is {rows[naive[0]].dtype}")
    unnamed = rows[_KEY].isna().any(axis=1)
    if unnamed.any():
        first = rows.loc[unnamed, _KEY].iloc[0].to_dict()
        raise InvalidQuotes(f"{unnamed.sum()} quotes without their full key, first {first}")
    for name in _TIMES:
        rows[name] = rows[name].dt.as_unit("ns").astype("int64")
    return rows.drop_duplicates(ignore_index=True)


def _records(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as bound values; what is unknown is NULL."""
    columns: list[list[object]] = [rows[name].tolist() for name in _KEY]
    columns += [_with_nulls(rows[name].tolist()) for name in _NUMBERS]
    return [dict(zip(_COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]


def _with_nulls(numbers: list[float]) -> list[object]:
    return [None if math.isnan(number) else number for number in numbers]


def _frame(rows: Sequence[Sequence[object]]) -> pd.DataFrame:
    """Rows of the table as a frame of its columns."""
    names = [column.name for column in QUOTES.columns]
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    return pd.DataFrame(
        {name: np.array(columns.get(name, ()), dtype=_stored_type(name)) for name in names}
    )


def _stored_type(name: str) -> str:
    return "int64" if name in _TIMES else "float64" if name in _NUMBERS else "object"


def _as_quotes(stored: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table in the columns and types that vendors use."""
    times = {name: pd.to_datetime(stored[name], unit="ns", utc=True) for name in _TIMES}
    return stored.assign(**times)[list(QUOTE_TYPES)].astype(QUOTE_TYPES)


def _refusal(rows: pd.DataFrame, reason: str) -> pd.DataFrame:
    return _as_quotes(rows).assign(reason=reason)


def _ns(moment: dt.datetime) -> int:
    if moment.utcoffset() is None:
        raise InvalidQuotes(f"a moment carries its time zone, {moment.isoformat()} has none")
    return pd.Timestamp(moment).value
