"""The marts: published whole or not at all, the same bytes every time, sums that agree."""

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

from quanta_pipelines.assets.marts import MARTS
from quanta_pipelines.backfill import Backfill, Outcome
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.resources import Platform
from tests.conftest import SETTLED, platform_at

pytestmark = pytest.mark.slow

IDS = [epoch.id for epoch in SETTLED]
LAST = IDS[-1]
# what the README's query reads, and what tells the settlement's rank from the validator's own
PROMISED = ["rank", "hotkey", "composite", "tier", "return_30d", "epoch_id", "score_rank"]


@dataclass(frozen=True)
class Marts:
    """A platform with marts, and the run that built them."""

    platform: Platform
    outcome: Outcome
    metadata: dict[str, Any]

    @property
    def bytes(self) -> dict[str, str]:
        """SHA-256 of every published file."""
        folder = self.platform.warehouse.folder
        files = [*folder.glob("*.parquet"), self.platform.warehouse.database]
        return {path.name: sha256(path.read_bytes()).hexdigest() for path in files}


def build(home: Path) -> Marts:
    """Build the marts of a home through Dagster, as the command does."""
    platform = platform_at(home)
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = Backfill(build_defs(platform=platform), instance).marts()
        event = instance.get_latest_materialization_event(dg.AssetKey("epochs"))
        made = event.asset_materialization if event else None
    platform.store.close()
    metadata = {name: entry.value for name, entry in made.metadata.items()} if made else {}
    return Marts(platform, outcome, metadata)


@pytest.fixture(scope="module")
def marts(settled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Marts:
    """The marts over eight settled epochs; never written to by a test."""
    home = Path(shutil.copytree(settled_home, tmp_path_factory.mktemp("marts") / "home"))
    built = build(home)
    assert built.outcome.succeeded, built.outcome.problems
    return built


@pytest.fixture
def home(marts: Marts, tmp_path: Path) -> Path:
    """A copy, lake and marts, that a test may spoil."""
    original = marts.platform.warehouse.folder.parent
    return Path(shutil.copytree(original, tmp_path / "home"))


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


def test_every_mart_is_published_twice_with_the_same_rows(marts: Marts) -> None:
    warehouse = marts.platform.warehouse
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:
        found = [name for (name,) in connection.execute("show tables").fetchall()]
        assert found == sorted(MARTS)
        for mart in MARTS:
            inside = connection.execute(f"from {mart}").df()
            pd.testing.assert_frame_equal(inside, warehouse.read(mart), check_dtype=False)


def test_the_leaderboard_has_the_columns_that_are_promised(marts: Marts) -> None:
    board = marts.platform.warehouse.read("leaderboard")
    assert set(PROMISED) <= set(board.columns)
    assert not board[PROMISED].isna().any(axis=None)
    # one row per epoch and ranked miner, best first
    assert not board.duplicated(["epoch_id", "hotkey"]).any()
    assert board[["epoch_id", "rank"]].equals(
        board[["epoch_id", "rank"]].sort_values(["epoch_id", "rank"], ignore_index=True)
    )


def test_a_rebuild_from_nothing_gives_the_same_bytes(marts: Marts, home: Path) -> None:
    shutil.rmtree(home / "warehouse")
    again = build(home)
    assert again.outcome.succeeded, again.outcome.problems
    exports = {name: digest for name, digest in marts.bytes.items() if name.endswith(".parquet")}
    assert {name: again.bytes[name] for name in exports} == exports
    assert {path.name for path in (home / "warehouse").iterdir()} == {
        *again.bytes,
        ".dbt",
        "reports",
    }


def test_an_open_connection_neither_blocks_a_build_nor_sees_it(
    marts: Marts, home: Path, reader: duckdb.DuckDBPyConnection
) -> None:
    database = home / "warehouse" / "quanta.duckdb"
    assert epochs_seen_elsewhere(database) == len(IDS)
    for gates in (home / "lake").glob(f"*/_gates/{LAST}"):
        shutil.rmtree(gates)  # one epoch less is settled now
    assert build(home).outcome.succeeded
    assert reader.sql("select count(*) from epochs").fetchone() == (len(IDS),)
    assert epochs_seen_elsewhere(database) == len(IDS) - 1


def test_a_failing_test_publishes_nothing_and_keeps_what_stands(
    marts: Marts, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(home, "ledger_entries", one_rao_less)
    failed = build(home)
    assert not failed.outcome.succeeded
    # the check that failed is named, and the asset has no new materialisation
    assert failed.outcome.problems[0].startswith("epochs: epochs_money_closes: ")
    assert failed.metadata == {}
    assert failed.bytes == marts.bytes
    assert capfd.readouterr().out == ""  # where a command prints JSON


def test_a_failed_gate_leaves_its_epoch_out_and_says_so(marts: Marts, home: Path) -> None:
    lake = platform_at(home).lake
    lake.record_verdict(
        "rewards", LAST, "contract", passed=False, content_hash=None, detail="spoiled by a test"
    )
    built = build(home)
    assert built.outcome.succeeded, built.outcome.problems
    assert built.metadata["epochs"] == len(IDS) - 1
    assert built.metadata["epochs left out"] == {
        LAST: f"rewards {LAST}: check contract failed: spoiled by a test"
    }
    for mart in MARTS:
        kept = marts.platform.warehouse.read(mart).query("epoch_id != @LAST")
        pd.testing.assert_frame_equal(built.platform.warehouse.read(mart), kept)


def test_nothing_is_published_where_no_epoch_is_settled(tmp_path: Path) -> None:
    built = build(tmp_path)
    assert not built.outcome.succeeded
    assert "no epoch is settled yet: run an epoch first" in built.outcome.problems[0]
    assert not built.platform.warehouse.folder.exists()


# The sums, computed again from the lake


def lake(marts: Marts, table: str) -> pd.DataFrame:
    """A table of all settled epochs, without the platform's own reader."""
    folder = Path(marts.platform.lake.root) / table
    return pd.concat([pd.read_parquet(folder / f"{id_}.parquet") for id_ in IDS])


def moved(marts: Marts, column: str) -> "pd.Series[int]":
    """One sum of the ledger by epoch, by its reason and account as the ledger documents them."""
    reasons = {
        "antes_staked_rao": "ante_staked",
        "antes_refunded_rao": "ante_refunded",
        "carry_in_rao": "carry_in",
        "external_rao": "external",
        "rake_rao": "rake",
        "rewards_rao": "reward",
        "antes_returned_rao": "ante_returned",
        "antes_burned_rao": "ante_burned",
        "fees_burned_rao": "fee_burned",
        "fees_to_treasury_rao": "fee",
        "carry_out_rao": "carry_out",
    }
    receivers = {
        "emission_rao": "pool",
        "validator_emission_rao": "validators",
        "owner_emission_rao": "owner",
    }
    ledger = lake(marts, "ledger_entries")
    if column in receivers:
        chosen = (ledger["reason"] == "emission") & (ledger["to_account"] == receivers[column])
    else:
        chosen = ledger["reason"] == reasons[column]
    return ledger["amount_rao"].where(chosen, 0).groupby(ledger["epoch_id"]).sum()


def test_money_of_an_epoch_is_what_its_ledger_moved(marts: Marts) -> None:
    epochs = marts.platform.warehouse.read("epochs").set_index("epoch_id")
    sums = {"distributed_rao", "burned_rao"}
    columns = [each for each in epochs.columns if each.endswith("_rao") and each not in sums]
    assert len(columns) == 14
    for column in columns:
        assert epochs[column].to_list() == moved(marts, column).to_list(), column
    assert epochs.loc[LAST, "rewards_rao"] > 0
    destroyed = lake(marts, "ledger_entries").query("to_account == 'burn'")
    burned = destroyed.groupby("epoch_id")["amount_rao"].sum().reindex(IDS, fill_value=0)
    assert epochs["burned_rao"].to_list() == burned.to_list()
    paid = moved(marts, "rewards_rao") + moved(marts, "antes_returned_rao")
    assert epochs["distributed_rao"].to_list() == paid.to_list()
    # a thousand ALPHA are issued every epoch, in whole rao, to three receivers
    issued = (
        epochs["emission_rao"] + epochs["validator_emission_rao"] + epochs["owner_emission_rao"]
    )
    assert set(issued) == {1_000 * 10**9}


def test_counts_of_an_epoch_are_those_of_its_tables(marts: Marts) -> None:
    epochs = marts.platform.warehouse.read("epochs").set_index("epoch_id")
    assert epochs.index.to_list() == IDS
    scores, prices = lake(marts, "scores"), lake(marts, "validated_prices").groupby("epoch_id")
    for standing in ("ranked", "provisional", "unranked", "unrevealed"):
        counted = (scores["standing"] == standing).groupby(scores["epoch_id"]).sum()
        assert epochs[f"n_{standing}"].to_list() == counted.to_list()
    voters = lake(marts, "validator_weights").groupby("epoch_id")["validator"].nunique()
    paid = lake(marts, "rewards").query("gross_rao > 0").groupby("epoch_id").size()
    assert epochs["n_validators"].to_list() == voters.reindex(IDS, fill_value=0).to_list()
    assert epochs["n_paid"].to_list() == paid.reindex(IDS, fill_value=0).to_list()
    assert epochs["n_tickers"].to_list() == prices["ticker"].nunique().to_list()
    assert epochs["n_sessions"].to_list() == [len(epoch.sessions) for epoch in SETTLED]
    assert epochs.loc[LAST, ["n_ranked", "n_paid", "n_validators"]].gt(0).all()


def test_composites_of_an_epoch_are_those_of_its_ranked_miners(marts: Marts) -> None:
    epochs = marts.platform.warehouse.read("epochs").set_index("epoch_id")
    ranked = lake(marts, "scores").query("standing == 'ranked'").groupby("epoch_id")["composite"]
    expected = {"mean": ranked.mean(), "median": ranked.median(), "best": ranked.max()}
    for name, value in expected.items():
        found = epochs[f"{name}_composite"].dropna()
        assert found.to_list() == pytest.approx(value.to_list(), abs=5e-7)  # rounded to 6 decimals
        assert found.index.to_list() == value.index.to_list()


# The network, from the lake's tables again


def test_the_network_is_its_epochs_consensus(marts: Marts) -> None:
    network = marts.platform.warehouse.read("network").set_index("epoch_id")
    assert network.index.to_list() == IDS
    ranked = lake(marts, "consensus")
    by_epoch = ranked.groupby("epoch_id")
    assert network["n_miners"].to_list() == by_epoch.size().reindex(IDS, fill_value=0).to_list()
    for tier in ("top_tier", "profitable", "break_even", "penalty_band"):
        counted = (ranked["tier"] == tier).groupby(ranked["epoch_id"]).sum()
        expected = counted.reindex(IDS, fill_value=0).to_list()
        assert network[f"n_{tier}"].to_list() == expected, tier
    assert network.loc[LAST, "n_miners"] > 0


@pytest.mark.parametrize(
    ("column", "horizon", "ranks"),
    [
        ("mean_return_7d", 7, 10**6),
        ("mean_return_30d", 30, 10**6),
        ("top_10_mean_return_30d", 30, 10),
    ],
)
def test_means_of_the_network(marts: Marts, column: str, horizon: int, ranks: int) -> None:
    network = marts.platform.warehouse.read("network").set_index("epoch_id")[column]
    ranked = lake(marts, "consensus").query("rank <= @ranks")
    measured = lake(marts, "horizon_metrics").query("horizon == @horizon")
    both = ranked.merge(measured, on=["epoch_id", "hotkey"])
    expected = both.groupby("epoch_id")["total_return"].mean().reindex(IDS)
    pd.testing.assert_series_equal(
        network, expected, check_names=False, check_exact=False, rtol=0, atol=5.1e-7
    )
    assert not pd.isna(network[LAST])
    assert network[IDS[0]] is None or pd.isna(network[IDS[0]])  # one week ranks nobody


def test_the_first_of_the_network_is_rank_one(marts: Marts) -> None:
    network = marts.platform.warehouse.read("network").set_index("epoch_id")["first_return_30d"]
    first = lake(marts, "consensus").sort_values(["rank", "hotkey"]).drop_duplicates("epoch_id")
    measured = lake(marts, "horizon_metrics").query("horizon == 30")
    found = first.merge(measured, on=["epoch_id", "hotkey"]).set_index("epoch_id")["total_return"]
    for epoch_id, value in found.items():
        assert network[epoch_id] == value
    assert LAST in found.index


def test_validators_and_money_to_date(marts: Marts) -> None:
    network = marts.platform.warehouse.read("network").set_index("epoch_id")
    store = platform_at(marts.platform.warehouse.folder.parent).store
    stakes = [store.snapshot(id_).stakes for id_ in IDS]
    store.close()
    assert network["n_validators"].to_list() == [len(each) for each in stakes]
    assert network["stake_rao"].to_list() == [sum(each.values()) for each in stakes]
    paid = moved(marts, "rewards_rao")
    burned = moved(marts, "antes_burned_rao") + moved(marts, "fees_burned_rao")
    for number, epoch_id in enumerate(IDS, start=1):
        so_far = IDS[:number]
        assert network.loc[epoch_id, "rewards_to_date_rao"] == sum(paid[so_far])
        assert network.loc[epoch_id, "burned_to_date_rao"] == sum(burned[so_far])
    assert network["rewards_to_date_rao"].is_monotonic_increasing
