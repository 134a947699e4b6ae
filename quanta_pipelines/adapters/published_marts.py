"""The published marts as their readers see them: all from one file, and which publication it is.

``warehouse`` builds and publishes; this reads, and needs no dbt for it.
"""

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pandas as pd

_READ = ("leaderboard", "epochs", "network_by_epoch", "integrity_report")  # as in Publication


class NothingPublished(LookupError):
    """No mart has been published yet."""


class OutdatedMarts(LookupError):
    """Marts that an earlier version of the project built, without all of today's tables."""


@dataclass(frozen=True)
class Publication:
    """The marts of one publication; ``version`` changes with the next one."""

    version: str
    published_at: dt.datetime
    leaderboard: pd.DataFrame
    epochs: pd.DataFrame
    network: pd.DataFrame
    integrity: pd.DataFrame

    @property
    def settled(self) -> tuple[str, ...]:
        """Ids of the epochs in it, oldest first."""
        return tuple(self.epochs["epoch_id"])


@dataclass(frozen=True)
class PublishedMarts:
    """The DuckDB file that ``Warehouse`` swaps in as a whole."""

    database: str

    def version(self) -> str:
        """Which publication stands there now; a look at the file's name alone."""
        try:
            found = os.stat(self.database)  # noqa: PTH116 - on the way of every request
        except FileNotFoundError:
            raise NothingPublished("no mart has been published yet") from None
        return f"{found.st_mtime_ns:x}-{found.st_ino:x}-{found.st_size:x}"

    def load(self) -> Publication:
        """The publication that stands there; one that is swapped meanwhile is read again.

        Raises ``NothingPublished`` and ``OutdatedMarts``.
        """
        while True:
            version = self.version()
            published = os.stat(self.database).st_mtime_ns // 1000  # noqa: PTH116
            tables = self.tables(_READ)
            if self.version() == version:
                moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(
                    microseconds=published
                )
                return Publication(version, moment, *tables.values())

    def tables(self, names: Sequence[str]) -> dict[str, pd.DataFrame]:
        """Marts by name, all of one publication.

        Raises ``NothingPublished`` and ``OutdatedMarts``.
        """
        self.version()  # nothing published is no database without tables
        with duckdb.connect(self.database, read_only=True) as connection:
            try:
                return {name: connection.table(name).df() for name in names}
            except duckdb.CatalogException as absent:
                first = str(absent).splitlines()[0].removeprefix("Catalog Error: ")
                raise OutdatedMarts(
                    f"the published marts are of an earlier version ({first}): "
                    "build them again, as every quanta epoch run does"
                ) from absent
