"""dbt inside this process: a subprocess costs several seconds.

Which project is run, what a run said of each model and test, and the project's manifest.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.artifacts.schemas.run import RunExecutionResult
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest

DBT_PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
DATABASE = "build.duckdb"  # dbt names the database after its file, also in what it has parsed

_PARSED: dict[str, Manifest] = {}  # the project's version, and the project


class WarehouseError(RuntimeError):
    """dbt could not run at all."""


@dataclass(frozen=True)
class NodeResult:
    """What dbt did with one model or test."""

    unique_id: str
    passed: bool
    failures: int
    message: str


@dataclass(frozen=True)
class Build:
    """One run of dbt: its results in the order in which they ran, and the epochs it read."""

    nodes: tuple[NodeResult, ...]
    epochs: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every model was built and every test passed."""
        return all(node.passed for node in self.nodes)


def build_models(database: Path, lake_root: str, epochs: Sequence[str], target: Path) -> Build:
    """Build and test all models in a DuckDB file, from the lake's files of these epochs.

    A mart that is in the file already keeps its rows of epochs before the first of these. Tests of
    single models on made-up rows say nothing of the data, so they are left to the project's tests.
    """
    options = ["build", "--exclude-resource-type", "unit_test"]
    result = run_on_lake(options, database, lake_root, epochs, target, _parsed(target))
    if not isinstance(result.result, RunExecutionResult):
        raise WarehouseError(f"dbt did not run: {result.exception}") from result.exception
    return Build(node_results(result.result), tuple(epochs))


def node_results(run: RunExecutionResult) -> tuple[NodeResult, ...]:
    """What became of each model and test, in the order in which they ran."""
    return tuple(
        NodeResult(
            unique_id=each.node.unique_id,
            passed=str(each.status) in {"success", "pass"},
            failures=int(each.failures or 0),
            message=str(each.message or ""),
        )
        for each in run.results
        if each.node.resource_type in {"model", "test", "unit_test"}
    )


def write_docs(database: Path, lake_root: str, epochs: Sequence[str], target: Path) -> Path:
    """The project's documentation as one page, without references to the network."""
    options = ["docs", "generate", "--static"]
    result = run_on_lake(options, database, lake_root, epochs, target)
    if not result.success:
        raise WarehouseError(f"dbt wrote no documentation: {result.exception}")
    return target / "static_index.html"


def run_on_lake(
    command: Sequence[str],
    database: Path,
    lake_root: str,
    epochs: Sequence[str],
    target: Path,
    manifest: Manifest | None = None,
) -> dbtRunnerResult:
    """One command of dbt, on a DuckDB file and the lake's files of these epochs."""
    locations = {
        "QUANTA_DBT_LAKE": lake_root,
        "QUANTA_DBT_EPOCHS": ",".join(epochs),
        "QUANTA_DBT_BUILD": str(database),
    }
    with _environment(locations):
        try:
            return run_dbt(command, target, manifest=manifest)
        finally:
            # dbt keeps the file's write lock until its connections are closed
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def _parsed(target: Path) -> Manifest:
    """The project as dbt understands it, to be used up by one run.

    Parsing costs more than building. It rests on the project alone, not on where a build lies, so
    it is done once in a process, and what dbt keeps of it in ``target`` serves the next one.
    """
    version = project_version()
    if version not in _PARSED:
        with _environment({"QUANTA_DBT_BUILD": DATABASE}):
            result = run_dbt(["parse"], target)
        if not isinstance(result.result, Manifest):
            raise WarehouseError(f"dbt cannot parse {DBT_PROJECT}: {result.exception}")
        _PARSED.clear()
        _PARSED[version] = result.result
    own: Manifest = _PARSED[version].deepcopy()  # type: ignore[no-untyped-call]
    return own


def parse_manifest(target: Path) -> Path:
    """The project's manifest, parsed again only when a file of the project is newer."""
    manifest = target / "manifest.json"
    newest = max(path.stat().st_mtime for path in project_files())
    if not manifest.exists() or manifest.stat().st_mtime < newest:
        target.mkdir(exist_ok=True)
        # beside its place and then into it: half a manifest would stop every later command
        with tempfile.TemporaryDirectory(prefix=".parse-", dir=target) as scratch:
            result = run_dbt(["parse"], Path(scratch))
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


def project_files() -> list[Path]:
    """Every file that says what the marts are."""
    files = [
        path
        for folder in ("models", "macros", "tests")
        for path in (DBT_PROJECT / folder).rglob("*.*")
    ]
    return sorted([*files, DBT_PROJECT / "dbt_project.yml", DBT_PROJECT / "profiles.yml"])


def project_version() -> str:
    """SHA-256 over the project's files and DuckDB's version: other marts may come of another."""
    digest = hashlib.sha256(f"duckdb {duckdb.__version__}\n".encode())
    for path in project_files():
        source = path.read_bytes()
        digest.update(f"{path.relative_to(DBT_PROJECT).as_posix()}\n{len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()


def tables_read() -> tuple[str, ...]:
    """Tables of the lake that the models read, sorted."""
    staging = (DBT_PROJECT / "models" / "staging").glob("stg_*.sql")
    return tuple(sorted(path.stem.removeprefix("stg_") for path in staging))


def run_dbt(
    command: Sequence[str], target: Path, *, manifest: Manifest | None = None
) -> dbtRunnerResult:
    """Run dbt in this process: nothing on the terminal, where a result may be expected."""
    place = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    written = ["--target-path", str(target), "--log-path", str(target / "logs")]
    try:
        return dbtRunner(manifest).invoke(["--log-level", "none", *command, *place, *written])
    finally:
        for handler in logging.getLogger("file_log").handlers:
            handler.close()  # dbt forgets its log file without closing it


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
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
