"""What each mart says, computed again from the lake's tables in pandas; and its columns' tests."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest
import yaml

from quanta_pipelines.adapters.dbt_runs import DBT_PROJECT
from quanta_pipelines.adapters.warehouse import Warehouse
from quanta_pipelines.assets.marts import MARTS
from tests.conftest import SETTLED, platform_at

pytestmark = pytest.mark.slow

IDS = [epoch.id for epoch in SETTLED]
LAST = IDS[-1]
KEY = ["epoch_id", "hotkey"]
# Values that no column should take all of: each breaks the statement of some
WRONG = ("null", "-1e12", "'x'", "''", "2e15", "'5'", "'inf'")


def mart(home: Path, name: str) -> pd.DataFrame:
    return Warehouse(home / "warehouse").read(name)


# The sums, computed again from the lake


def lake(home: Path, table: str) -> pd.DataFrame:
    """A table of all settled epochs, without the platform's own reader."""
    return pd.concat([pd.read_parquet(home / "lake" / table / f"{id_}.parquet") for id_ in IDS])


def moved(marts_home: Path, column: str) -> "pd.Series[int]":
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
    ledger = lake(marts_home, "ledger_entries")
    if column in receivers:
        chosen = (ledger["reason"] == "emission") & (ledger["to_account"] == receivers[column])
    else:
        chosen = ledger["reason"] == reasons[column]
    return ledger["amount_rao"].where(chosen, 0).groupby(ledger["epoch_id"]).sum()


def test_money_of_an_epoch_is_what_its_ledger_moved(marts_home: Path) -> None:
    epochs = mart(marts_home, "epochs").set_index("epoch_id")
    sums = {"distributed_rao", "burned_rao"}
    columns = [each for each in epochs.columns if each.endswith("_rao") and each not in sums]
    assert len(columns) == 14
    for column in columns:
        assert epochs[column].to_list() == moved(marts_home, column).to_list(), column
    assert epochs.loc[LAST, "rewards_rao"] > 0
    destroyed = lake(marts_home, "ledger_entries").query("to_account == 'burn'")
    burned = destroyed.groupby("epoch_id")["amount_rao"].sum().reindex(IDS, fill_value=0)
    assert epochs["burned_rao"].to_list() == burned.to_list()
    paid = moved(marts_home, "rewards_rao") + moved(marts_home, "antes_returned_rao")
    assert epochs["distributed_rao"].to_list() == paid.to_list()
    # a thousand ALPHA are issued every epoch, in whole rao, to three receivers
    issued = (
        epochs["emission_rao"] + epochs["validator_emission_rao"] + epochs["owner_emission_rao"]
    )
    assert set(issued) == {1_000 * 10**9}


def test_counts_of_an_epoch_are_those_of_its_tables(marts_home: Path) -> None:
    epochs = mart(marts_home, "epochs").set_index("epoch_id")
    assert epochs.index.to_list() == IDS
    scores, prices = (
        lake(marts_home, "scores"),
        lake(marts_home, "validated_prices").groupby("epoch_id"),
    )
    for standing in ("ranked", "provisional", "unranked", "unrevealed"):
        counted = (scores["standing"] == standing).groupby(scores["epoch_id"]).sum()
        assert epochs[f"n_{standing}"].to_list() == counted.to_list()
    voters = lake(marts_home, "validator_weights").groupby("epoch_id")["validator"].nunique()
    paid = lake(marts_home, "rewards").query("gross_rao > 0").groupby("epoch_id").size()
    assert epochs["n_validators"].to_list() == voters.reindex(IDS, fill_value=0).to_list()
    assert epochs["n_paid"].to_list() == paid.reindex(IDS, fill_value=0).to_list()
    assert epochs["n_tickers"].to_list() == prices["ticker"].nunique().to_list()
    assert epochs["n_sessions"].to_list() == [len(epoch.sessions) for epoch in SETTLED]
    assert epochs.loc[LAST, ["n_ranked", "n_paid", "n_validators"]].gt(0).all()


def test_composites_of_an_epoch_are_those_of_its_ranked_miners(marts_home: Path) -> None:
    epochs = mart(marts_home, "epochs").set_index("epoch_id")
    ranked = (
        lake(marts_home, "scores").query("standing == 'ranked'").groupby("epoch_id")["composite"]
    )
    expected = {"mean": ranked.mean(), "median": ranked.median(), "best": ranked.max()}
    for name, value in expected.items():
        found = epochs[f"{name}_composite"].dropna()
        assert found.to_list() == pytest.approx(value.to_list(), abs=5e-7)  # rounded to 6 decimals
        assert found.index.to_list() == value.index.to_list()


# The network, from the lake's tables again


def test_the_network_is_its_epochs_consensus(marts_home: Path) -> None:
    network = mart(marts_home, "network_by_epoch").set_index("epoch_id")
    assert network.index.to_list() == IDS
    ranked = lake(marts_home, "consensus")
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
def test_means_of_the_network(marts_home: Path, column: str, horizon: int, ranks: int) -> None:
    network = mart(marts_home, "network_by_epoch").set_index("epoch_id")[column]
    ranked = lake(marts_home, "consensus").query("rank <= @ranks")
    measured = lake(marts_home, "horizon_metrics").query("horizon == @horizon")
    both = ranked.merge(measured, on=["epoch_id", "hotkey"])
    expected = both.groupby("epoch_id")["total_return"].mean().reindex(IDS)
    pd.testing.assert_series_equal(
        network, expected, check_names=False, check_exact=False, rtol=0, atol=5.1e-7
    )
    assert not pd.isna(network[LAST])
    assert network[IDS[0]] is None or pd.isna(network[IDS[0]])  # one week ranks nobody


def test_the_first_of_the_network_is_rank_one(marts_home: Path) -> None:
    network = mart(marts_home, "network_by_epoch").set_index("epoch_id")["first_return_30d"]
    first = (
        lake(marts_home, "consensus").sort_values(["rank", "hotkey"]).drop_duplicates("epoch_id")
    )
    measured = lake(marts_home, "horizon_metrics").query("horizon == 30")
    found = first.merge(measured, on=["epoch_id", "hotkey"]).set_index("epoch_id")["total_return"]
    for epoch_id, value in found.items():
        assert network[epoch_id] == value
    assert LAST in found.index


def test_validators_and_money_to_date(marts_home: Path) -> None:
    network = mart(marts_home, "network_by_epoch").set_index("epoch_id")
    store = platform_at(marts_home).store
    stakes = [store.snapshot(id_).stakes for id_ in IDS]
    store.close()
    assert network["n_validators"].to_list() == [len(each) for each in stakes]
    assert network["stake_rao"].to_list() == [sum(each.values()) for each in stakes]
    paid = moved(marts_home, "rewards_rao")
    burned = moved(marts_home, "antes_burned_rao") + moved(marts_home, "fees_burned_rao")
    for number, epoch_id in enumerate(IDS, start=1):
        so_far = IDS[:number]
        assert network.loc[epoch_id, "rewards_to_date_rao"] == sum(paid[so_far])
        assert network.loc[epoch_id, "burned_to_date_rao"] == sum(burned[so_far])
    assert network["rewards_to_date_rao"].is_monotonic_increasing


# The marts of who is paid, from the lake again


def to_date(table: pd.DataFrame, key: str, column: str) -> "pd.Series[int]":
    return table.sort_values("epoch_id").groupby(key)[column].cumsum().sort_index()


def test_the_history_of_rewards_is_the_table_of_rewards_added_up(marts_home: Path) -> None:
    history = mart(marts_home, "rewards_history")
    rewards = lake(marts_home, "rewards").sort_values(KEY, ignore_index=True)
    same = ["epoch_id", "hotkey", "ante_rao", "gross_rao", "fee_rao", "payout_rao", "standing"]
    pd.testing.assert_frame_equal(history[same], rewards[same], check_dtype=False)
    rewards["profit_rao"] = rewards["payout_rao"] - rewards["ante_rao"]
    rewards["reward_rao"] = rewards["gross_rao"] - rewards["fee_rao"]
    for column in ("profit", "reward", "ante"):
        total = {"profit": "profit", "reward": "rewards", "ante": "antes"}[column]
        added = to_date(rewards, "hotkey", f"{column}_rao")
        assert history[f"{total}_to_date_rao"].to_list() == added.to_list(), column
    earned = rewards["profit_rao"] / rewards["ante_rao"]
    assert history["return_on_ante"].to_list() == pytest.approx(earned.to_list(), abs=5.1e-7)
    assert history["profit_to_date_rao"].lt(0).any()
    assert history["profit_to_date_rao"].gt(0).any()


def test_a_miners_record_is_what_its_epochs_add_up_to(marts_home: Path) -> None:
    miners = mart(marts_home, "miners")
    scores = lake(marts_home, "scores").sort_values(KEY, ignore_index=True)
    assert miners[KEY].equals(scores[KEY])
    board = lake(marts_home, "consensus").set_index(KEY)
    for hotkey, rows in miners.groupby("hotkey"):
        ranks, percentiles, paid = [], [], 0
        for number, row in enumerate(rows.to_dict("records"), start=1):
            place = (row["epoch_id"], hotkey)
            if place in board.index:
                ranks.append(int(board.at[place, "rank"]))
                percentiles.append(float(board.at[place, "percentile"]))
            paid += row["reward_rao"]
            assert (row["epochs_present"], row["epochs_ranked"]) == (number, len(ranks))
            assert row["rewards_to_date_rao"] == paid
            if ranks:
                mean = sum(percentiles) / len(percentiles)
                assert row["best_rank"] == min(ranks)
                assert row["average_percentile"] == pytest.approx(mean, abs=5.1e-7)
            else:
                assert pd.isna(row["best_rank"])
    assert miners["epochs_ranked"].max() >= 2
    roles = lake(marts_home, "participants").merge(miners[KEY], on=KEY).sort_values(KEY)
    assert miners["role"].to_list() == roles["role"].to_list()


def test_balances_are_both_sides_of_every_entry(marts_home: Path) -> None:
    balances = mart(marts_home, "ledger_balances")
    assert (balances.groupby("epoch_id")["change_rao"].sum() == 0).all()
    held: dict[str, int] = {}
    ledger = lake(marts_home, "ledger_entries")
    for epoch_id in IDS:
        entries = ledger[ledger["epoch_id"] == epoch_id]
        before = dict(held)
        for row in entries.itertuples():
            held[row.from_account] = held.get(row.from_account, 0) - row.amount_rao
            held[row.to_account] = held.get(row.to_account, 0) + row.amount_rao
        moved_accounts = {*entries["from_account"], *entries["to_account"]}
        found = balances[balances["epoch_id"] == epoch_id].set_index("account")
        assert set(found.index) == moved_accounts
        assert found["closing_rao"].to_dict() == {each: held[each] for each in moved_accounts}
        assert found["opening_rao"].to_dict() == {a: before.get(a, 0) for a in moved_accounts}
    assert held["pool"] == 0
    assert sum(held.values()) == 0


def test_pools_divide_what_their_members_got(marts_home: Path) -> None:
    pools = mart(marts_home, "pools")
    keys = ["epoch_id", "earned_epoch", "operator"]
    parts = lake(marts_home, "pool_payouts").groupby(keys)["payout_rao"]
    summed = pools.set_index(keys)
    assert summed["members_rao"].to_dict() == parts.sum().to_dict()
    assert summed["n_members"].to_dict() == parts.size().to_dict()
    assert summed["largest_member_rao"].to_dict() == parts.max().to_dict()
    ranks = lake(marts_home, "consensus").set_index(KEY)["rank"]
    for row in pools.dropna(subset="operator_rank").itertuples():
        assert row.operator_rank == ranks[row.earned_epoch, row.operator]


def test_validators_earn_what_the_ledger_paid_them(marts_home: Path) -> None:
    validators = mart(marts_home, "validators")
    ledger = lake(marts_home, "ledger_entries").query("reason == 'dividend'")
    paid = ledger.assign(validator=ledger["to_account"].str.removeprefix("validator:"))
    due = paid.groupby(["epoch_id", "validator"])["amount_rao"].sum()
    keyed = validators.set_index(["epoch_id", "validator"])
    earned = keyed["dividend_rao"]
    assert earned[earned > 0].to_dict() == due.to_dict()
    assert len(due) > 0
    total = to_date(validators, "validator", "dividend_rao")
    assert validators["dividends_to_date_rao"].to_list() == total.to_list()
    votes = lake(marts_home, "validator_weights").groupby(["epoch_id", "validator"]).size()
    counted = keyed["n_miners"]
    assert counted[counted > 0].to_dict() == votes.to_dict()


def test_quality_of_prices_is_counted_by_session(marts_home: Path) -> None:
    quality = mart(marts_home, "price_quality").set_index(["epoch_id", "ticker"])
    prices = lake(marts_home, "validated_prices").groupby(["epoch_id", "ticker"])
    assert quality["n_sessions"].to_list() == prices.size().to_list()
    for column, flag in (("n_anomalies", "anomaly"), ("n_stale", "stale")):
        assert quality[column].to_list() == prices[flag].sum().to_list()
    held = lake(marts_home, "portfolios")
    share = (
        held.groupby(["epoch_id", "ticker"])["submitted_weight"].sum()
        / held.groupby("epoch_id")["submitted_weight"].sum()
    )
    for place, value in share.items():
        assert quality.at[place, "held_share"] == pytest.approx(value, abs=1e-8)
    holders = held.groupby(["epoch_id", "ticker"])["hotkey"].nunique()
    found = quality["n_holders"]
    assert found[found > 0].to_dict() == holders.to_dict()


def test_roles_of_the_network_are_those_of_its_participants(marts_home: Path) -> None:
    network = mart(marts_home, "network_by_epoch").set_index("epoch_id")
    people = lake(marts_home, "participants")
    for role in ("signal_generator", "solo_miner", "pool_operator"):
        counted = (people["role"] == role).groupby(people["epoch_id"]).sum()
        assert network[f"n_{role}s"].to_list() == counted.to_list(), role
    assert network.loc[LAST, ["n_signal_generators", "n_pool_operators"]].gt(0).all()


# What the project says of its columns


def columns(name: str) -> list[dict[str, object]]:
    page = yaml.safe_load((DBT_PROJECT / "models" / "marts" / f"{name}.yml").read_text())
    (model,) = page["models"]
    assert model["config"]["contract"] == {"enforced": True}
    assert "columns_hold" in model["data_tests"]
    return list(model["columns"])


@pytest.mark.parametrize("name", MARTS)
def test_every_column_is_described_and_its_statement_can_fail(name: str, marts_home: Path) -> None:
    place = Warehouse(marts_home / "warehouse").mart(name)
    found = columns(name)
    assert [column["name"] for column in found] == list(mart(marts_home, name).columns)
    with duckdb.connect() as connection:
        connection.execute(f"create table sample as from '{place}' limit 200")
        for column in found:
            assert str(column["description"]).endswith("."), column
            statement = column["config"]["meta"]["holds"]  # type: ignore[index]
            broken = [
                wrong
                for wrong in WRONG
                if breaks(connection, str(column["name"]), str(statement), wrong)
            ]
            assert broken, f"{name}.{column['name']}: {statement} holds of anything"


def breaks(connection: duckdb.DuckDBPyConnection, column: str, statement: str, wrong: str) -> bool:
    """Whether a row with this value in the column breaks the statement about it."""
    known = connection.execute(
        "select data_type from duckdb_columns() where table_name = 'sample' and column_name = ?",
        [column],
    ).fetchone()
    assert known is not None
    spoiled = f"select * replace (try_cast({wrong} as {known[0]}) as {column}) from sample"
    query = f"select count(*) from ({spoiled}) where not coalesce({statement}, false)"
    counted = connection.execute(query).fetchone()
    return counted is not None and counted[0] > 0
