"""A backup restored into empty databases and an empty bucket: nothing differs."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import dagster as dg
import pytest

from quanta_pipelines.adapters.atomic_files import AtomicFiles
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.simulation.season import Season
from tests.conftest import GENESIS, SETTLED, platform_at
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server

PROJECT = Path(__file__).parents[2]
QUANTA = Path(sys.executable).with_name("quanta")
LAST = SETTLED[-1]


def environment(home: Path, lake: str, signals: str, records: str) -> dict[str, str]:
    """What an operator's shell holds on one deployment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUANTA_")}
    return kept | {
        "QUANTA_HOME": str(home),
        "QUANTA_LAKE": lake,
        "QUANTA_DATABASE_URL": signals,
        "QUANTA_DAGSTER_POSTGRES_URL": records,
        "QUANTA_PYTHON": sys.executable,
    }


def run(
    deployment: dict[str, str], *command: str | Path, code: int = 0
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [str(part) for part in command],
        cwd=PROJECT,
        env=deployment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
    return done


def files_of(root: str) -> dict[str, str]:
    files = AtomicFiles(root)
    return {name: sha256(files.read(name)).hexdigest() for name in files.below("")}


@pytest.mark.slow
@pytest.mark.soak  # minutes: eight epochs, S3, two databases
def test_a_backup_restored_elsewhere_audits_and_rescores_the_same(
    settled_home: Path, tmp_path: Path, postgres: PostgresServer, s3: S3Server, bucket: str
) -> None:
    old = environment(
        tmp_path / "old",
        str(settled_home / "lake"),
        postgres.create("old_signals"),
        postgres.create("old_dagster"),
    )
    play_again(old["QUANTA_DATABASE_URL"], settled_home)
    record_a_run(old)
    before = {name: run(old, QUANTA, *command).stdout for name, command in QUESTIONS.items()}
    backup = tmp_path / "backup"
    run(old, PROJECT / "deploy/backup/backup.sh", backup)
    run(old, PROJECT / "deploy/backup/backup.sh", backup, code=1)

    new = environment(
        tmp_path / "new",
        f"{bucket}/{tmp_path.name}/lake",
        postgres.create("new_signals"),
        postgres.create("new_dagster"),
    )
    restore = PROJECT / "deploy/backup/restore.sh"
    run(new, restore, backup)
    assert files_of(new["QUANTA_LAKE"]) == files_of(old["QUANTA_LAKE"])
    after = {name: run(new, QUANTA, *command).stdout for name, command in QUESTIONS.items()}
    assert after == before
    assert json.loads(after["audit"])["problems"] == []
    assert runs_recorded(new) == runs_recorded(old) == 1

    refused = run(new, restore, backup, code=1)
    assert "tables already" in refused.stderr
    table = next((backup / "lake").rglob(f"{LAST.id}.parquet"))
    table.write_bytes(table.read_bytes()[:-1] + b"?")
    run(environment_of_nothing(postgres, tmp_path), restore, backup, code=1)


QUESTIONS = {
    "audit": ("audit", "--all", "--json"),
    "rescore": ("rescore", LAST.id, "--json"),
    "status": ("epoch", "status", "--json"),
}


def environment_of_nothing(postgres: PostgresServer, tmp_path: Path) -> dict[str, str]:
    lake = str(tmp_path / "third" / "lake")
    return environment(tmp_path / "third", lake, postgres.create("t1"), postgres.create("t2"))


def play_again(url: str, settled_home: Path) -> None:
    """The signals of the settled epochs, in PostgreSQL."""
    platform = platform_at(settled_home)
    store = SignalStore.open(url)
    season = Season(store, platform.vendors[0], GENESIS, platform.params)
    for epoch in SETTLED:
        season.play(epoch)
    store.close()
    platform.store.close()


def record_a_run(deployment: dict[str, str]) -> None:
    """Dagster's records are in PostgreSQL by settings alone: the marts, built once."""
    run(deployment, sys.executable, "-c", BUILD_MARTS)


BUILD_MARTS = """
from quanta_pipelines.backfill import Backfill, recorded_instance
from quanta_pipelines.definitions import defs
from quanta_pipelines.settings import current_settings
with recorded_instance(current_settings()) as instance:
    outcome = Backfill(defs, instance).marts()
    assert outcome.succeeded, outcome
"""


def runs_recorded(deployment: dict[str, str]) -> int:
    storage = {"postgres": {"postgres_url": deployment["QUANTA_DAGSTER_POSTGRES_URL"]}}
    home = Path(deployment["QUANTA_HOME"]) / "looked"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(json.dumps({"storage": storage}))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return instance.get_runs_count()
