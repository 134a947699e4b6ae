"""Builds the marts with dbt and publishes them, whole or not at all.

dbt runs inside this process (a subprocess costs several seconds) into a temporary DuckDB file. Only
when every test has passed is the file swapped in and each mart exported as Parquet: an analyst's
open connection never blocks a build and never sees half of one.
"""

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.artifacts.schemas.run import RunExecutionResult
from dbt.cli.main import dbtRunner, dbtRunnerResult

from quanta_pipelines.adapters.atomic_files import AtomicFiles
from quanta_pipelines.adapters.table_format import to_parquet

DBT_PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"


@dataclass(frozen=True)
class NodeResult:
    """What dbt did with one model or test."""

    unique_id: str
    passed: bool
    failures: int
    message: str


@dataclass(frozen=True)
class Build:
    """One run of dbt: its results in the order in which they ran."""

    nodes: tuple[NodeResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every model was built and every test passed."""
        return all(node.passed for node in self.nodes)


class WarehouseError(RuntimeError):
    """dbt could not run at all."""


@dataclass(frozen=True)
class Warehouse:
    """Folder of the published marts: one DuckDB file and one Parquet file per mart."""

    folder: Path

    @property
    def database(self) -> Path:
        """The published DuckDB file."""
        return self.folder / "quanta.duckdb"

    def mart(self, name: str) -> Path:
        """Parquet export of a mart."""
        return self.folder / f"{name}.parquet"

    def read(self, name: str) -> pd.DataFrame:
        """A published mart, in its published order."""
        return pd.read_parquet(self.mart(name))

    def build(self, lake_root: str, settled: Sequence[str], marts: Sequence[str]) -> Build:
        """Build and test all models over the settled epochs; publish when everything passed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=self.folder) as scratch:
            database = Path(scratch) / "build.duckdb"
            epochs = Path(scratch) / "settled_epochs.parquet"
            pd.DataFrame({"epoch_id": pd.Series(settled, dtype=object)}).to_parquet(epochs)
            build = self._run_dbt(lake_root, epochs, database)
            if build.passed:
                self._publish(database, marts, Path(scratch))
        return build

    def _run_dbt(self, lake_root: str, epochs: Path, database: Path) -> Build:
        locations = {
            "QUANTA_DBT_LAKE": lake_root,
            "QUANTA_DBT_SETTLED": str(epochs),
            "QUANTA_DBT_BUILD": str(database),
        }
        with _environment(locations):
            try:
                result = _dbt("build", self.folder / ".dbt")
            finally:
                # dbt keeps the file's write lock until its connections are closed
                DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        if not isinstance(result.result, RunExecutionResult):
            raise WarehouseError(f"dbt did not run: {result.exception}") from result.exception
        return Build(
            tuple(
                NodeResult(
                    unique_id=run.node.unique_id,
                    passed=str(run.status) in {"success", "pass"},
                    failures=int(run.failures or 0),
                    message=str(run.message or ""),
                )
                for run in result.result.results
                if run.node.resource_type in {"model", "test"}
            )
        )

    def _publish(self, database: Path, marts: Sequence[str], scratch: Path) -> None:
        """Copy the marts into a fresh file without the views on the lake, then swap all in."""
        files = AtomicFiles(str(self.folder))
        published = scratch / "quanta.duckdb"
        exports: dict[str, bytes] = {}
        with duckdb.connect(str(published)) as connection:
            connection.execute(f"attach '{database}' as build (read_only)")
            for mart in marts:
                connection.execute(f"create table {mart} as from build.main.{mart}")
                exports[mart] = to_parquet(connection.execute(f"from {mart}").df(), mart, {})
            connection.execute("detach build")
        for mart, data in exports.items():
            files.write(f"{mart}.parquet", data)
        published.replace(self.database)


def parse_manifest(target: Path) -> Path:
    """The project's manifest, parsed again only when a file of the project is newer."""
    manifest = target / "manifest.json"
    sources = [
        path
        for folder in ("models", "macros", "tests")
        for path in (DBT_PROJECT / folder).rglob("*.*")
    ]
    sources += [DBT_PROJECT / "dbt_project.yml", DBT_PROJECT / "profiles.yml"]
    newest = max(path.stat().st_mtime for path in sources)
    if not manifest.exists() or manifest.stat().st_mtime < newest:
        target.mkdir(exist_ok=True)
        # beside its place and then into it: half a manifest would stop every later command
        with tempfile.TemporaryDirectory(prefix=".parse-", dir=target) as scratch:
            result = _dbt("parse", Path(scratch))
            if not result.success:
                raise WarehouseError(f"dbt cannot parse {DBT_PROJECT}: {result.exception}")
            (Path(scratch) / "manifest.json").replace(manifest)
    return manifest


def model_names(manifest: Path, folder: str) -> tuple[str, ...]:
    """Names of the models in one folder of the project, sorted."""
    nodes = json.loads(manifest.read_text())["nodes"].values()
    return tuple(
        sorted(
            node["name"]
            for node in nodes
            if node["resource_type"] == "model" and node["fqn"][1] == folder
        )
    )


def _dbt(command: str, target: Path) -> dbtRunnerResult:
    """Run dbt in this process: nothing on the terminal, where a result may be expected."""
    place = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    written = ["--target-path", str(target), "--log-path", str(target / "logs")]
    try:
        return dbtRunner().invoke(["--log-level", "none", command, *place, *written])
    finally:
        for handler in logging.getLogger("file_log").handlers:
            handler.close()  # dbt forgets its log file without closing it


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """The environment with these values; dbt reads its locations from there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
