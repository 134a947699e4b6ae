"""The marts as they are published: built by epoch, swapped in whole or not at all.

dbt builds into a copy of the published file, which takes in the epochs that are new or changed and
those after them. Only when every test has passed are the marts written to a fresh file that is
swapped in, each also as Parquet: an analyst's open connection never blocks a build and never sees
half of one. What a publication rests on stands in the file itself.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from quanta_pipelines.adapters.atomic_files import AtomicFiles
from quanta_pipelines.adapters.dbt_runs import (
    DATABASE,
    Build,
    build_models,
    project_version,
    tables_read,
    write_docs,
)
from quanta_pipelines.adapters.table_format import arrow_to_parquet

# Older clients than this cannot be asked to open the file; a later format would shut out 1.4
STORAGE_VERSION = "v1.4.0"


@dataclass(frozen=True)
class Rests:
    """What marts were built from: the project, and each epoch with a tag of its files."""

    project: str
    tags: Mapping[str, str]

    def changed_since(self, published: "Rests | None") -> tuple[str, ...]:
        """Epochs that a build must read: from the first that differs on, at least the last one.

        Later epochs are read with it, since records and balances go on from epoch to epoch.
        """
        epochs = sorted(self.tags)
        if published is None or published.project != self.project:
            return tuple(epochs)
        known = {*self.tags, *published.tags}
        differing = [e for e in known if self.tags.get(e) != published.tags.get(e)]
        first = min([*differing, epochs[-1]])
        return tuple(epoch for epoch in epochs if epoch >= first)


@dataclass(frozen=True)
class Warehouse:
    """Folder of the published marts: one DuckDB file and one Parquet file per mart."""

    folder: Path

    @property
    def database(self) -> Path:
        """The published DuckDB file."""
        return self.folder / "quanta.duckdb"

    @property
    def docs(self) -> Path:
        """The page that documents every model and column."""
        return self.folder / "docs" / "index.html"

    def mart(self, name: str) -> Path:
        """Parquet export of a mart."""
        return self.folder / f"{name}.parquet"

    def read(self, name: str) -> pd.DataFrame:
        """A published mart, in its published order."""
        return pd.read_parquet(self.mart(name))

    def build(self, lake_root: str, settled: Sequence[str], marts: Sequence[str]) -> Build:
        """Build and test the marts over the settled epochs; publish when everything passed.

        ``settled`` is not empty. What is read from the lake is what differs from the publication
        that stands there; without one, or with one of another project, everything.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        rests = Rests(project_version(), file_tags(lake_root, settled))
        with tempfile.TemporaryDirectory(prefix=".build-", dir=self.folder) as scratch:
            database = Path(scratch) / DATABASE
            epochs = rests.changed_since(self._taken_over(database, marts))
            if len(epochs) == len(rests.tags):
                database.unlink(missing_ok=True)
            build = build_models(database, lake_root, epochs, self.folder / ".dbt")
            if build.passed:
                self._publish(database, marts, rests, Path(scratch))
        return build

    def document(self, lake_root: str) -> Path:
        """Write the page of the published marts: every model, column, test and who reads it."""
        with tempfile.TemporaryDirectory(prefix=".docs-", dir=self.folder) as scratch:
            database = Path(scratch) / DATABASE
            shutil.copyfile(self.database, database)
            rests = _rests_of(database)
            epochs = sorted(rests.tags)[-1:] if rests else []
            page = write_docs(database, lake_root, epochs, Path(scratch)).read_bytes()
        AtomicFiles(str(self.folder)).write("docs/index.html", page)
        return self.docs

    def _taken_over(self, database: Path, marts: Sequence[str]) -> Rests | None:
        """Copy the published file; ``None`` where there is none that a build can go on from."""
        if not self.database.exists():
            return None
        shutil.copyfile(self.database, database)
        rests = _rests_of(database)
        return rests if rests and _tables(database) == set(marts) else None

    def _publish(self, database: Path, marts: Sequence[str], rests: Rests, scratch: Path) -> None:
        """Copy the marts into a fresh file without the views on the lake, then swap all in."""
        files = AtomicFiles(str(self.folder))
        published = scratch / "quanta.duckdb"
        exports: dict[str, bytes] = {}
        with duckdb.connect() as connection:
            connection.execute(f"attach '{_quoted(database)}' as build (read_only)")
            connection.execute(
                f"attach '{_quoted(published)}' as fresh (storage_version '{STORAGE_VERSION}')"
            )
            for mart in marts:
                connection.execute(f"create table fresh.main.{mart} as from build.main.{mart}")
                rows = connection.execute(f"from fresh.main.{mart}").to_arrow_table()
                exports[mart] = arrow_to_parquet(rows)
            _write_rests(connection, rests)
        for mart, data in exports.items():
            files.write(f"{mart}.parquet", data)
        published.replace(self.database)


def file_tags(lake_root: str, epochs: Sequence[str]) -> dict[str, str]:
    """For each epoch a hash of the sizes and times of its files in the lake, or of their ETags.

    A file of the lake is only written when its bytes change. Listing a table is one request.
    """
    files = AtomicFiles(lake_root)
    digests = {epoch: hashlib.sha256() for epoch in epochs}
    for table in tables_read():
        tags = files.tags(table, ".parquet")
        for epoch, digest in digests.items():
            digest.update(f"{table} {tags.get(epoch, 'none')}\n".encode())
    return {epoch: digest.hexdigest() for epoch, digest in digests.items()}


def _write_rests(connection: duckdb.DuckDBPyConnection, rests: Rests) -> None:
    connection.execute("create schema fresh.built_from")
    connection.execute("create table fresh.built_from.project (version varchar)")
    connection.execute("insert into fresh.built_from.project values (?)", [rests.project])
    connection.execute("create table fresh.built_from.epochs (epoch_id varchar, tag varchar)")
    connection.executemany(
        "insert into fresh.built_from.epochs values (?, ?)", sorted(rests.tags.items())
    )


def _rests_of(database: Path) -> Rests | None:
    """What a published file rests on; ``None`` where it does not say or cannot be read."""
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            project = connection.execute("from built_from.project").fetchone()
            tags = dict(connection.execute("from built_from.epochs").fetchall())
    except (duckdb.CatalogException, duckdb.IOException, duckdb.SerializationException):
        return None  # of an earlier version, or damaged: it is built anew
    return Rests(project[0], tags) if project else None


def _tables(database: Path) -> set[str]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return {name for (name,) in connection.execute("show tables").fetchall()}


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
