"""Dagster's records with open connections: the same files, read back by Dagster's own storage."""

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml

from quanta_pipelines.run_records import OPEN_FILES, OpenEngines
from quanta_pipelines.settings import PROJECT

KEY = dg.AssetKey("number")


@dg.asset(partitions_def=dg.StaticPartitionsDefinition([f"{at:02}" for at in range(20)]))
def number(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """An asset with a data version."""
    return dg.MaterializeResult(data_version=dg.DataVersion(f"version {context.partition_key}"))


@dg.asset_check(asset=number)
def positive() -> dg.AssetCheckResult:
    """A check of it."""
    return dg.AssetCheckResult(passed=True)


DEFS = dg.Definitions(
    assets=[number], asset_checks=[positive], jobs=[dg.define_asset_job("all_of_it")]
)


def run(instance: dg.DagsterInstance, partition: str) -> str:
    job = DEFS.resolve_job_def("all_of_it")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(
        instance=instance, partition_key=partition, run_config=quiet
    ).run_id


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home with the storage that the project's file names."""
    storage = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["storage"]
    assert storage["custom"]["class"] == "OpenSqliteStorage"
    (tmp_path / "dagster.yaml").write_text(
        yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}})
    )
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        assert home
        yield found


def test_dagsters_own_storage_reads_the_same_events_while_they_are_open(
    instance: dg.DagsterInstance, home: Path
) -> None:
    run_id = run(instance, "00")
    mine = instance.event_log_storage.get_logs_for_run(run_id)
    with dg.DagsterInstance.local_temp(str(home)) as own:
        theirs = own.event_log_storage.get_logs_for_run(run_id)
        found = own.get_run_by_id(run_id)
        event = own.get_latest_materialization_event(KEY)
    assert mine == theirs
    kinds = {entry.dagster_event_type for entry in mine}
    assert {
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
        dg.DagsterEventType.RUN_SUCCESS,
    } <= kinds
    assert found is not None
    assert found.status == dg.DagsterRunStatus.SUCCESS
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.tags is not None
    assert event.asset_materialization.tags["dagster/data_version"] == "version 00"


def test_what_dagsters_own_storage_wrote_is_read(home: Path) -> None:
    with dg.DagsterInstance.local_temp(str(home)) as own:
        run_id = run(own, "01")
        theirs = own.event_log_storage.get_logs_for_run(run_id)
    with dg.DagsterInstance.get() as instance:
        assert instance.event_log_storage.get_logs_for_run(run_id) == theirs


def test_more_runs_than_files_that_stay_open(instance: dg.DagsterInstance) -> None:
    runs = {run(instance, f"{at:02}"): f"{at:02}" for at in range(OPEN_FILES + 2)}
    counts = {len(instance.event_log_storage.get_logs_for_run(run_id)) for run_id in runs}
    assert len(counts) == 1  # each has all of its events, the closed ones too
    assert instance.get_materialized_partitions(KEY) == set(runs.values())


def test_a_database_is_opened_once_not_once_a_statement(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    connect = sqlite3.dbapi2.connect

    def counting(database: str, *args: object, **options: object) -> sqlite3.Connection:
        opened.append(Path(database).name)
        return connect(database, *args, **options)  # type: ignore[call-overload,no-any-return]

    with dg.DagsterInstance.get() as instance:
        assert home
        run(instance, "00")
        monkeypatch.setattr(sqlite3.dbapi2, "connect", counting)
        run_id = run(instance, "01")
    # runs.db is open; Dagster asks index.db for a table in its own way, and sets up the run's file
    often = Counter(opened)
    assert set(often) <= {f"{run_id}.db", "index.db"}
    assert max(often.values()) <= 3


def test_a_killed_process_loses_no_event(home: Path) -> None:
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "import dagster as dg\n"
        "from tests.adapters.test_run_records import run\n"
        "print(run(dg.DagsterInstance.get(), '02'), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(PROJECT)],
        env={**os.environ, "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    run_id = done.stdout.strip()
    with dg.DagsterInstance.get() as instance:
        found = instance.get_run_by_id(run_id)
        assert found is not None
        assert found.status == dg.DagsterRunStatus.SUCCESS
        assert instance.get_materialized_partitions(KEY) == {"02"}


def test_threads_write_side_by_side(instance: dg.DagsterInstance) -> None:
    # events alone: runs in threads of one process set up Python's logging, each for all of them
    def write(at: int) -> str:
        run_id = instance.create_run_for_job(DEFS.resolve_job_def("all_of_it")).run_id
        for number in range(5):
            said = dg.AssetMaterialization(KEY, partition=f"{at:02}", metadata={"number": number})
            instance.report_runless_asset_event(said)
        return run_id

    with ThreadPoolExecutor(3) as pool:
        run_ids = list(pool.map(write, range(6)))
    assert {run.run_id for run in instance.get_runs()} == set(run_ids)
    found = instance.fetch_materializations(KEY, limit=100).records
    assert Counter(record.partition_key for record in found) == {f"{at:02}": 5 for at in range(6)}


def test_a_forked_child_opens_its_own(tmp_path: Path) -> None:
    engines, address = OpenEngines(2), f"sqlite:///{tmp_path / 'one.db'}"
    mine = engines.engine(address)
    child = os.fork()
    if not child:
        os._exit(0 if engines.engine(address) is not mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert engines.engine(address) is mine
    engines.close()
