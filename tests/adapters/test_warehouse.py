"""The marts as they are published: whole or not at all, and what readers meet meanwhile."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from quanta_pipelines.adapters.warehouse import STORAGE_VERSION, Warehouse
from quanta_pipelines.assets.marts import MARTS
from quanta_pipelines.backfill import Backfill, Outcome
from quanta_pipelines.definitions import build_defs
from tests.conftest import SETTLED, platform_at

pytestmark = pytest.mark.slow

IDS = [epoch.id for epoch in SETTLED]
LAST = IDS[-1]
# what the README's query reads, and what tells the settlement's rank from the validator's own
PROMISED = ["rank", "hotkey", "composite", "tier", "return_30d", "epoch_id", "score_rank"]


@dataclass(frozen=True)
class Built:
    """The run that built the marts of a home, through Dagster as the command does."""

    outcome: Outcome
    metadata: dict[str, Any]


def build(home: Path) -> Built:
    platform = platform_at(home)
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = Backfill(build_defs(platform=platform), instance).marts()
        event = instance.get_latest_materialization_event(dg.AssetKey("epochs"))
        made = event.asset_materialization if event else None
    platform.store.close()
    return Built(
        outcome, {name: each.value for name, each in made.metadata.items()} if made else {}
    )


def published(home: Path) -> dict[str, str]:
    """SHA-256 of every published file."""
    files = [*(home / "warehouse").glob("*.parquet"), home / "warehouse" / "quanta.duckdb"]
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def home(marts_home: Path, tmp_path: Path) -> Path:
    """A copy, lake and marts, that a test may spoil."""
    return Path(shutil.copytree(marts_home, tmp_path / "home"))


@pytest.fixture
def reader(home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An analyst's connection that stays open."""
    with duckdb.connect(str(home / "warehouse" / "quanta.duckdb"), read_only=True) as connection:
        yield connection


def epochs_seen_elsewhere(database: Path) -> int:
    """How many epochs another process finds in the published file."""
    query = (
        "import duckdb, sys; connection = duckdb.connect(sys.argv[1], read_only=True); "
        "sys.stdout.write(str(connection.sql('select count(*) from epochs').fetchone()[0]))"
    )
    command = [sys.executable, "-c", query, str(database)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def spoil(home: Path, table: str, change: Callable[[Any], Any]) -> None:
    """Change a column of the last epoch's table and keep its stamps, as no gate would let pass."""
    path = home / "lake" / table / f"{LAST}.parquet"
    rows = pq.read_table(path)
    pq.write_table(change(rows), path)
    assert pq.read_metadata(path).metadata[b"content_hash"]


def one_rao_less(rows: Any) -> Any:
    """The first reward of a ledger is one rao short."""
    at = rows.schema.get_field_index("amount_rao")
    first = pc.index(rows["reason"], "reward").as_py()
    amounts = rows["amount_rao"].to_pylist()
    amounts[first] -= 1
    return rows.set_column(at, rows.schema.field(at), [amounts])


def test_every_mart_is_published_twice_with_the_same_rows(marts_home: Path) -> None:
    warehouse = Warehouse(marts_home / "warehouse")
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:
        found = [name for (name,) in connection.execute("show tables").fetchall()]
        assert found == sorted(MARTS)
        for mart in MARTS:
            inside = connection.execute(f"from {mart}").df()
            assert len(inside), mart
            pd.testing.assert_frame_equal(inside, warehouse.read(mart), check_dtype=False)


def test_clients_of_duckdb_1_4_can_open_the_file(marts_home: Path) -> None:
    with duckdb.connect(str(marts_home / "warehouse" / "quanta.duckdb"), read_only=True) as reader:
        said = reader.execute(
            "select tags['storage_version'] from duckdb_databases() where database_name = 'quanta'"
        ).fetchone()
    assert said is not None
    assert said[0].removesuffix("+") == STORAGE_VERSION == "v1.4.0"


def test_the_leaderboard_has_the_columns_that_are_promised(marts_home: Path) -> None:
    board = Warehouse(marts_home / "warehouse").read("leaderboard")
    assert set(PROMISED) <= set(board.columns)
    assert not board[PROMISED].isna().any(axis=None)
    # one row per epoch and ranked miner, best first
    assert not board.duplicated(["epoch_id", "hotkey"]).any()
    assert board[["epoch_id", "rank"]].equals(
        board[["epoch_id", "rank"]].sort_values(["epoch_id", "rank"], ignore_index=True)
    )


def test_a_failed_gate_leaves_its_epoch_out_and_an_open_connection_sees_nothing_of_it(
    marts_home: Path, home: Path, reader: duckdb.DuckDBPyConnection
) -> None:
    database = home / "warehouse" / "quanta.duckdb"
    assert epochs_seen_elsewhere(database) == len(IDS)
    platform_at(home).lake.record_verdict(
        "rewards", LAST, "contract", passed=False, content_hash=None, detail="spoiled by a test"
    )
    built = build(home)
    assert built.outcome.succeeded, built.outcome.problems
    assert built.metadata["epochs"] == len(IDS) - 1
    assert built.metadata["epochs left out"] == {
        LAST: f"rewards {LAST}: check contract failed: spoiled by a test"
    }
    assert reader.sql("select count(*) from epochs").fetchone() == (len(IDS),)
    assert epochs_seen_elsewhere(database) == len(IDS) - 1
    for mart in MARTS:
        kept = Warehouse(marts_home / "warehouse").read(mart).query("epoch_id != @LAST")
        left = Warehouse(home / "warehouse").read(mart)
        pd.testing.assert_frame_equal(left, kept.reset_index(drop=True), check_dtype=False)


def test_a_failing_test_publishes_nothing_and_keeps_what_stands(
    marts_home: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(home, "ledger_entries", one_rao_less)
    failed = build(home)
    assert not failed.outcome.succeeded
    # the check that failed is named, and the asset has no new materialisation
    assert any(
        problem.startswith("epochs: epochs_money_closes: ") for problem in failed.outcome.problems
    )
    assert failed.metadata == {}
    assert published(home) == published(marts_home)
    assert capfd.readouterr().out == ""  # where a command prints JSON
    assert {path.name for path in (home / "warehouse").iterdir()} == {*published(home), ".dbt"}


def test_nothing_is_published_where_no_epoch_is_settled(tmp_path: Path) -> None:
    built = build(tmp_path)
    assert not built.outcome.succeeded
    assert "no epoch is settled yet: run an epoch first" in built.outcome.problems[0]
    assert not (tmp_path / "warehouse").exists()
