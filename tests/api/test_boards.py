"""What is served is what is published: every number against the tables, read another way."""

import math
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.simulation.keys import simulated_key
from quanta_pipelines.simulation.population import population
from tests.api.conftest import Service, key, refused, serving, settings
from tests.conftest import PLAYED, SETTLED

BOARD = "/v1/leaderboard"
LAST = SETTLED[-1].id
RAO = 10**9


@pytest.fixture(scope="module")
def marts(published_home: Path) -> dict[str, pd.DataFrame]:
    """The marts from their Parquet exports; the service reads the DuckDB file."""
    return {
        name: pd.read_parquet(published_home / "warehouse" / f"{name}.parquet")
        for name in ("leaderboard", "epochs", "network_by_epoch")
    }


def tokens(rao: int) -> str:
    return f"{rao // RAO}.{rao % RAO:09d}"


def same(served: Any, stored: Any) -> bool:
    if served is None:
        return bool(pd.isna(stored))
    return math.isclose(served, stored, rel_tol=0, abs_tol=0)


def test_every_entry_is_its_row(published: Service, marts: dict[str, pd.DataFrame]) -> None:
    for epoch in SETTLED:
        rows = marts["leaderboard"].query("epoch_id == @epoch.id").to_dict("records")
        page = published.get(f"{BOARD}?epoch_id={epoch.id}&limit=500").json()
        assert (page["epoch_id"], page["total_miners"]) == (epoch.id, len(rows))
        assert len(page["entries"]) == len(rows)
        for served, row in zip(page["entries"], rows, strict=True):
            assert served["rank"] == row["rank"]
            assert served["miner_hotkey"] == row["hotkey"]
            assert served["performance_tier"] == row["tier"]
            assert served["epochs_participated"] == row["epochs_participated"]
            for name, column in (
                ("composite_score", "composite"),
                ("score_lower", "composite_lower"),
                ("return_7d", "return_7d"),
                ("return_30d", "return_30d"),
                ("sharpe_30d", "sharpe_30d"),
                ("max_drawdown_30d", "max_drawdown_30d"),
                ("avg_rank_percentile", "average_percentile"),
            ):
                assert same(served[name], row[column]), (name, served, row)
            assert served["ante"] == tokens(row["ante_rao"])
            assert served["reward_rao"] == str(row["gross_rao"])
            assert served["payout"] == tokens(row["payout_rao"])


def test_totals_are_over_the_whole_epoch(
    published: Service, marts: dict[str, pd.DataFrame]
) -> None:
    rows = marts["leaderboard"].query("epoch_id == @LAST")
    page = published.get(f"{BOARD}?limit=1&tier=penalty_band").json()
    assert page["epoch_id"] == LAST  # the last settled one, where none is named
    assert page["total_miners"] == len(rows)
    assert page["avg_return_7d"] == pytest.approx(rows["return_7d"].mean(), abs=5.1e-7)
    assert page["median_score"] == pytest.approx(rows["composite"].median(), abs=5.1e-7)
    first = rows[rows["rank"] == 1]["return_30d"].iloc[0]
    assert same(page["top_performer_return"], first)
    totals = marts["network_by_epoch"].set_index("epoch_id").loc[LAST]
    for name, column in (
        ("avg_return_7d", "mean_return_7d"),
        ("top_performer_return", "first_return_30d"),
        ("total_miners", "n_miners"),
    ):
        assert same(page[name], totals[column]), name


def test_pages_and_tiers(published: Service, marts: dict[str, pd.DataFrame]) -> None:
    rows = marts["leaderboard"].query("epoch_id == @LAST")
    second = published.get(f"{BOARD}?limit=10&offset=10").json()["entries"]
    assert [entry["miner_hotkey"] for entry in second] == list(rows["hotkey"][10:20])
    tier = published.get(f"{BOARD}?tier=break_even&limit=500").json()["entries"]
    assert [entry["miner_hotkey"] for entry in tier] == list(
        rows[rows["tier"] == "break_even"]["hotkey"]
    )
    assert tier
    assert published.get(f"{BOARD}?offset=100000").json()["entries"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "offset=-1",
        "tier=bogus",
        "epoch_id=2025-Q4-W99",
        "epoch_id=x",
        "limit=a",
    ],
)
def test_a_wrong_query_is_refused(published: Service, query: str) -> None:
    refused(published.get(f"{BOARD}?{query}"), 422, "invalid_request")


def test_an_unknown_epoch_is_unknown(published: Service) -> None:
    refused(published.get(f"{BOARD}?epoch_id=2018-Q4-W48"), 404, "unknown_epoch")
    refused(published.get("/v1/metrics/epoch/2018-Q4-W48"), 404, "unknown_epoch")
    refused(published.get("/v1/consensus/2018-Q4-W48"), 404, "unknown_epoch")


def test_an_epoch_on_its_way_is_not_settled(published: Service) -> None:
    epoch = PLAYED[-1]
    published.at(epoch.closes_at)
    problem = refused(published.get(f"{BOARD}?epoch_id={epoch.id}"), 409, "epoch_not_settled")
    assert "evaluation" in problem["detail"]


def test_nothing_published_is_said(tmp_path: Path) -> None:
    with serving(settings(tmp_path)) as empty:
        for target in (BOARD, f"{BOARD}/{key('a').hotkey}", "/v1/metrics/network"):
            refused(empty.get(target), 404, "nothing_published")


def test_tables_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "quanta.duckdb").write_bytes(b"no database" * 1000)
    with serving(settings(tmp_path)) as broken:
        for target in (BOARD, f"{BOARD}/{key('a').hotkey}", "/v1/metrics/network"):
            answer = broken.get(target)
            refused(answer, 503, "tables_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        health = broken.get("/health/detailed")
        assert health.status_code == 503
        assert health.json()["components"]["warehouse"]["status"] == "unhealthy"


def test_marts_of_an_earlier_version_are_said(published_home: Path, tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    database = tmp_path / "warehouse" / "quanta.duckdb"
    database.write_bytes((published_home / "warehouse" / "quanta.duckdb").read_bytes())
    with duckdb.connect(str(database)) as connection:
        connection.execute("drop table network_by_epoch")
    with serving(settings(tmp_path)) as outdated:
        for target in (BOARD, f"{BOARD}/{key('a').hotkey}", "/v1/metrics/network"):
            problem = refused(outdated.get(target), 503, "tables_unavailable")
            assert "network_by_epoch does not exist" in problem["detail"]
            assert "build them again" in problem["detail"]
        health = outdated.get("/health/detailed")
        assert health.status_code == 503
        assert health.json()["components"]["warehouse"]["status"] == "unhealthy"


# ETag


def test_an_unchanged_page_is_not_sent_again(published: Service) -> None:
    first = published.get(f"{BOARD}?limit=7")
    tag = first.headers["ETag"]
    for named in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = published.get(f"{BOARD}?limit=7", headers={"If-None-Match": named})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
    other = published.get(f"{BOARD}?limit=7", headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)
    assert published.get(f"{BOARD}?limit=8").headers["ETag"] != tag


def test_a_new_publication_is_seen_at_once(published_home: Path, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    warehouse.mkdir()
    database, built = warehouse / "quanta.duckdb", tmp_path / "built.duckdb"
    database.write_bytes((published_home / "warehouse" / "quanta.duckdb").read_bytes())
    with serving(settings(tmp_path)) as changing:
        before = changing.get(BOARD)
        built.write_bytes(database.read_bytes())
        with duckdb.connect(str(built)) as connection:
            connection.execute("delete from leaderboard where rank > 3")
            connection.execute("update network_by_epoch set n_miners = 3")
        built.replace(database)  # as the warehouse publishes
        after = changing.get(BOARD, headers={"If-None-Match": before.headers["ETag"]})
        assert after.status_code == 200
        assert len(after.json()["entries"]) < len(before.json()["entries"])
        assert (after.json()["total_miners"], before.json()["total_miners"] > 3) == (3, True)


# One miner


def _portfolio(published_home: Path, hotkey: str) -> pd.DataFrame:
    held = Lake(str(published_home / "lake")).read("portfolios", LAST)
    return held[held["hotkey"] == hotkey]


def test_a_miners_record_is_that_of_the_tables(published: Service, published_home: Path) -> None:
    lake = Lake(str(published_home / "lake"))
    scores = lake.read("scores", LAST).set_index("hotkey")
    metrics = lake.read("horizon_metrics", LAST).set_index(["hotkey", "horizon"])
    consensus = lake.read("consensus", LAST).set_index("hotkey")
    for hotkey in consensus.index[:5]:
        served = published.get(f"{BOARD}/{hotkey}").json()
        assert served["current_rank"] == consensus.loc[hotkey, "rank"]
        assert same(served["current_score"], scores.loc[hotkey, "composite"])
        record = served["track_record"]
        assert same(record["return_7d"], metrics.loc[(hotkey, 7), "total_return"])
        assert same(record["sortino_30d"], metrics.loc[(hotkey, 30), "sortino_ratio"])
        assert record["return_90d"] is None  # eight weeks hold no 90 sessions
        assert (hotkey, 90) not in metrics.index


def test_an_unknown_miner_is_unknown(published: Service) -> None:
    refused(published.get(f"{BOARD}/{key('nobody').hotkey}"), 404, "unknown_miner")


def test_others_see_buckets_once_the_epoch_closed(published: Service, published_home: Path) -> None:
    hotkey = Lake(str(published_home / "lake")).read("consensus", LAST)["hotkey"].iloc[0]
    published.at(SETTLED[-1].closes_at)
    shown = published.get(f"{BOARD}/{hotkey}").json()["portfolio"]
    held = _portfolio(published_home, hotkey).set_index("ticker")["submitted_weight"]
    assert {position["ticker"] for position in shown["positions"]} == set(held.index)
    for position in shown["positions"]:
        assert position["weight"] is None
        lower, upper = (float(part.strip("%")) / 100 for part in position["bucket"].split("-"))
        assert lower <= held[position["ticker"]] <= upper


def test_others_see_nothing_while_the_epoch_runs(published: Service, published_home: Path) -> None:
    hotkey = Lake(str(published_home / "lake")).read("consensus", LAST)["hotkey"].iloc[0]
    published.at(SETTLED[-1].closes_at - (SETTLED[-1].closes_at - SETTLED[-1].opens_at) / 2)
    shown = published.get(f"{BOARD}/{hotkey}").json()["portfolio"]
    assert shown == {"epoch_id": None, "positions": [], "last_updated": None}


def test_the_owner_sees_its_newest_portfolio_exactly(
    published: Service, published_home: Path
) -> None:
    live = PLAYED[-1]
    accepted = published.store.reveals(live.id).query("verdict == 'accepted'").set_index("hotkey")
    tickers = Lake(str(published_home / "lake")).read("validated_prices", LAST)["ticker"]
    names = [miner.name for miner in population(tuple(sorted(set(tickers))))]
    pair = next(p for p in map(simulated_key, names) if p.hotkey in accepted.index)
    published.at(live.closes_at)
    target = f"{BOARD}/{pair.hotkey}"
    seen = published.signed(pair, "GET", target).json()["portfolio"]  # type: ignore[arg-type]
    shown = "|".join(f"{each['ticker']}:{each['weight']}" for each in seen["positions"])
    assert (seen["epoch_id"], shown) == (live.id, accepted.loc[pair.hotkey, "positions"])
    other = published.signed(key("curious"), "GET", target).json()["portfolio"]
    assert other["epoch_id"] == LAST
    assert all(position["weight"] is None for position in other["positions"])


# Integrity


def test_every_flag_is_served_with_its_numbers(published: Service, published_home: Path) -> None:
    lake = Lake(str(published_home / "lake"))
    flags = lake.read("integrity_flags", LAST).set_index("hotkey")
    pairs = lake.read("portfolio_similarity", LAST)
    accused = flags.index[flags["originality"] < 1]
    assert len(accused) > 0  # among twenty tickers some honest miners are alike
    published.at(SETTLED[-1].closes_at)
    for hotkey in accused:
        row = flags.loc[hotkey]
        served = published.get(f"{BOARD}/{hotkey}/integrity").json()
        said = served["originality"]
        assert same(said["factor"], row["originality"])
        assert same(said["correlation"], row["correlation"])
        assert said["threshold"] == 0.7
        assert said["earlier_hotkey"] == row["earlier_hotkey"]
        assert said["window"] == {
            "sessions": row["active_sessions"],
            "first": f"{row['first_session']:%Y-%m-%d}",
            "last": f"{row['last_session']:%Y-%m-%d}",
        }
        if pd.notna(row["variance_ratio"]):  # over the same thirty sessions
            assert served["variance"]["window"] == said["window"]
            assert served["variance"]["window"]["sessions"] == 30
        assert served["stake"] == {"stake_rao": None, "least_rao": None, "below": False}
        own = pairs[(pairs["hotkey"] == hotkey) | (pairs["other_hotkey"] == hotkey)]
        assert len(served["pairs"]) == len(own) > 0
        named = [
            pair for pair in served["pairs"] if said["earlier_hotkey"] in (pair["earlier_hotkey"],)
        ]
        assert any(same(pair["correlation"], row["correlation"]) for pair in named)


def test_others_see_no_integrity_while_the_epoch_runs_and_the_owner_does(
    published: Service, published_home: Path
) -> None:
    flags = Lake(str(published_home / "lake")).read("integrity_flags", LAST)
    names = [miner.name for miner in population(tuple("ABCDEFGHIJKLMNOPQRST"))]
    pair = next(p for p in map(simulated_key, names) if p.hotkey in set(flags["hotkey"]))
    target = f"{BOARD}/{pair.hotkey}/integrity"
    published.at(SETTLED[-1].closes_at - (SETTLED[-1].closes_at - SETTLED[-1].opens_at) / 2)
    refused(published.get(target), 404, "unknown_miner")
    own = published.signed(pair, "GET", target)  # type: ignore[arg-type]
    assert own.json()["miner_hotkey"] == pair.hotkey
    refused(published.get(f"{BOARD}/{key('nobody').hotkey}/integrity"), 404, "unknown_miner")


# Metrics


def test_every_token_of_an_epoch_is_accounted_for(published: Service) -> None:
    for epoch in SETTLED:
        served = published.get(f"/v1/metrics/epoch/{epoch.id}").json()
        rao = {name: int(value) for name, value in served.items() if name.endswith("_rao")}
        assert rao["emission_rao"] + rao["external_rao"] + rao["total_ante_rao"] + rao[
            "carry_in_rao"
        ] == sum(
            rao[f"{name}_rao"]
            for name in (
                "network_rake",
                "total_distributed",
                "total_burned",
                "fees_to_treasury",
                "carry_out",
            )
        )
        assert sum(served["score_distribution"].values()) == served["total_signals"]
        for name, value in rao.items():
            assert served[name.removesuffix("_rao")] == tokens(value)


def test_an_epochs_money_is_that_of_the_ledger(published: Service, published_home: Path) -> None:
    ledger = Lake(str(published_home / "lake")).read("ledger_entries", LAST)
    served = published.get(f"/v1/metrics/epoch/{LAST}").json()
    burned = ledger[ledger["to_account"] == "burn"]["amount_rao"].sum()
    rake = ledger[ledger["reason"] == "rake"]["amount_rao"].sum()
    assert (served["total_burned_rao"], served["network_rake_rao"]) == (str(burned), str(rake))
    # 41 % of a thousand tokens
    assert served["emission"] == "410.000000000"


def test_network_totals(published: Service, published_home: Path) -> None:
    lake = Lake(str(published_home / "lake"))
    served = published.get("/v1/metrics/network").json()
    ledgers = pd.concat([lake.read("ledger_entries", epoch.id) for epoch in SETTLED])
    burned = ledgers[ledgers["to_account"] == "burn"]["amount_rao"].sum()
    rewards = ledgers[ledgers["reason"] == "reward"]["amount_rao"].sum()
    assert served["total_burned_rao"] == str(burned)
    assert served["total_rewards_distributed_rao"] == str(rewards)
    votes = lake.read("validator_weights", LAST).drop_duplicates("validator")
    assert served["total_stake_rao"] == str(votes["stake_rao"].sum())
    assert served["validators"] == len(votes)
    metrics = lake.read("horizon_metrics", LAST).query("horizon == 30").set_index("hotkey")
    consensus = lake.read("consensus", LAST)
    best = consensus[consensus["rank"] <= 10]["hotkey"]
    mean = metrics.loc[best, "total_return"].mean()
    assert served["top_10_avg_return_30d"] == pytest.approx(mean, abs=5.1e-7)
    assert served["total_signal_generators"] == len(
        published.store.participants.at(published.services.now()).query(
            "role == 'signal_generator'"
        )
    )


def test_means_and_counts_are_cells_of_the_mart(
    published: Service, marts: dict[str, pd.DataFrame]
) -> None:
    table = marts["network_by_epoch"].set_index("epoch_id")
    served = published.get("/v1/metrics/network").json()
    for name, column in (
        ("network_avg_return_30d", "mean_return_30d"),
        ("top_10_avg_return_30d", "top_10_mean_return_30d"),
        ("validators", "n_validators"),
    ):
        assert same(served[name], table.loc[LAST, column]), name
    assert served["total_stake_rao"] == str(table.loc[LAST, "stake_rao"])
    for epoch in SETTLED:
        of_epoch = published.get(f"/v1/metrics/epoch/{epoch.id}").json()
        assert of_epoch["total_signals"] == table.loc[epoch.id, "n_miners"]
        for tier in ("top_tier", "profitable", "break_even", "penalty_band"):
            found = of_epoch["score_distribution"][f"{tier}_count"]
            assert found == table.loc[epoch.id, f"n_{tier}"]


def test_what_a_mart_says_is_served_and_nothing_computed_beside_it(
    published_home: Path, tmp_path: Path
) -> None:
    """Cells that contradict the other tables come out as they stand."""
    (tmp_path / "warehouse").mkdir()
    database = tmp_path / "warehouse" / "quanta.duckdb"
    database.write_bytes((published_home / "warehouse" / "quanta.duckdb").read_bytes())
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "update network_by_epoch set n_miners = 901, n_top_tier = 902, mean_return_7d = 0.903, "
            "mean_return_30d = null, top_10_mean_return_30d = 0.904, first_return_30d = 0.905, "
            "n_validators = 906, stake_rao = 907, rewards_to_date_rao = 908, "
            "burned_to_date_rao = 909"
        )
        connection.execute("update epochs set distributed_rao = 910, burned_rao = 911")
    with serving(settings(tmp_path)) as running:
        page = running.get(BOARD).json()
        network = running.get("/v1/metrics/network").json()
        epoch = running.get(f"/v1/metrics/epoch/{LAST}").json()
    assert (page["total_miners"], page["avg_return_7d"], page["top_performer_return"]) == (
        901,
        0.903,
        0.905,
    )
    assert (network["network_avg_return_30d"], network["top_10_avg_return_30d"]) == (None, 0.904)
    assert (network["validators"], network["total_stake_rao"]) == (906, "907")
    assert network["total_rewards_distributed_rao"] == "908"
    assert network["total_burned_rao"] == "909"
    assert (epoch["total_signals"], epoch["score_distribution"]["top_tier_count"]) == (901, 902)
    assert (epoch["total_distributed_rao"], epoch["total_burned_rao"]) == ("910", "911")


def test_consensus_is_served_by_rank(published: Service, published_home: Path) -> None:
    table = Lake(str(published_home / "lake")).read("consensus", LAST)
    served = published.get(f"/v1/consensus/{LAST}").json()
    ranks = [miner["rank"] for miner in served["miners"]]
    assert ranks == sorted(table["rank"])
    weights = table.set_index("hotkey")["consensus_weight"]
    assert all(same(m["consensus_weight"], weights[m["miner_hotkey"]]) for m in served["miners"])


# Pages that are kept


def test_a_page_that_is_kept_is_answered_like_one_that_is_made(published: Service) -> None:
    target = "/v1/leaderboard?limit=7&offset=3"
    made, kept = published.get(target), published.get(target)
    assert made.content == kept.content
    passing = {"date", "x-request-id"}
    shown = [{k.lower(): v for k, v in each.headers.items()} for each in (made, kept)]
    assert {k: v for k, v in shown[0].items() if k not in passing} == {
        k: v for k, v in shown[1].items() if k not in passing
    }
    assert shown[1]["x-content-type-options"] == "nosniff"
    again = published.get(target, headers={"If-None-Match": kept.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_kept_page_is_counted_under_its_route_and_never_stands_for_another(
    published: Service,
) -> None:
    line = 'quanta_http_requests_total{method="GET",route="/v1/leaderboard",status="200"}'

    def counted() -> float:
        text = published.get("/metrics").text
        return float(next(each.rsplit(" ", 1)[1] for each in text.splitlines() if line in each))

    published.get("/v1/leaderboard?limit=2")
    before = counted()
    published.get("/v1/leaderboard?limit=2")
    assert counted() == before + 1
    other = published.post("/v1/leaderboard?limit=2", {})
    assert other.status_code == 405
