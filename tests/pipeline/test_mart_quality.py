"""The published marts are judged as a whole: what is odd warns by its name, and nothing stops."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from data_contracts.expectations.marts import judge_marts
from data_contracts.expectations.suite import Quality
from quanta_pipelines.adapters.published_marts import NothingPublished
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.mart_quality import marts_quality
from quanta_pipelines.resources import DataDocs, Platform
from tests.conftest import SETTLED, platform_at

pytest.importorskip("great_expectations")

Marts = dict[str, pd.DataFrame]
IDS = [f"2025-Q4-W{week}" for week in range(38, 53)]  # two more than thirteen
NEWEST = IDS[-1]
NODE = "leaderboard_mart_quality"
CHECK = dg.AssetCheckKey(dg.AssetKey("leaderboard"), "mart_quality")


def sound_marts() -> Marts:
    """Fifteen weeks of twenty miners: ten are eligible and share 1000 rao, of 10,000 100 burn."""
    board = pd.DataFrame(
        {
            "epoch_id": np.repeat(IDS, 20),
            "rank": np.tile(np.arange(1, 21), len(IDS)),
            "composite": np.tile(np.linspace(0.7, 0.3, 20), len(IDS)),
            "eligible": np.tile(np.arange(20) < 10, len(IDS)),
            "payout_rao": np.tile(np.where(np.arange(20) < 10, 100, 0), len(IDS)),
        }
    )
    epochs = pd.DataFrame({"epoch_id": IDS, "n_ranked": 20, "n_validators": 8}).assign(
        emission_rao=4_000, external_rao=1_000, antes_staked_rao=3_000, carry_in_rao=2_000
    )
    weeks = np.arange(len(IDS))
    burn = pd.DataFrame({"epoch_id": IDS, "account": "burn", "opening_rao": 100 * weeks})
    source = burn.assign(account="issuance", opening_rao=-100 * weeks, change_rao=-100)
    balances = pd.concat([burn.assign(change_rao=100), source], ignore_index=True)
    return {
        "leaderboard": board,
        "epochs": epochs.assign(burned_rao=100),
        "network_by_epoch": pd.DataFrame({"epoch_id": IDS}),
        "ledger_balances": balances.assign(
            closing_rao=balances["opening_rao"] + balances["change_rao"]
        ),
        "price_quality": pd.DataFrame({"epoch_id": IDS}),
    }


def judged(marts: Marts, folder: Path, newest: str = NEWEST) -> Quality:
    return judge_marts(
        marts,
        IDS[: IDS.index(newest) + 1],
        epoch_id=newest,
        closes_at=datetime(2025, 12, 26, 21, tzinfo=UTC),
        folder=str(folder),
    )


def odd(quality: Quality) -> set[str]:
    """Names of the statistics that are not as expected."""
    return {one.limits.statistic.name for one in quality.findings if not one.passed}


def changed(marts: Marts, mart: str, column: str, value: object) -> Marts:
    """The newest epoch's rows of a mart have one value in a column."""
    table = marts[mart]
    rows = table[column].mask(table["epoch_id"] == NEWEST, value)
    return marts | {mart: table.assign(**{column: rows})}


def half_are_gone(marts: Marts) -> Marts:
    board = marts["leaderboard"]
    gone = (board["epoch_id"] == NEWEST) & (board["rank"] % 2 == 0)
    left = board[~gone]
    places = left.groupby("epoch_id")["rank"].rank(method="min").astype(np.int64)
    return marts | {"leaderboard": left.assign(rank=places)}


def all_at_the_top(marts: Marts) -> Marts:
    """All weeks' scores lie within 0.02; the newest's about 0.985 instead of 0.5."""
    board = marts["leaderboard"]
    middle = pd.Series(0.5, board.index).mask(board["epoch_id"] == NEWEST, 0.985)
    return marts | {"leaderboard": board.assign(composite=middle + (board["composite"] - 0.5) / 20)}


def one_takes_most(marts: Marts) -> Marts:
    """1,500 of 2,400 rao."""
    board = marts["leaderboard"]
    first = (board["epoch_id"] == NEWEST) & (board["rank"] == 1)
    return marts | {"leaderboard": board.assign(payout_rao=board["payout_rao"].mask(first, 1_500))}


def a_hole_long_ago(marts: Marts) -> Marts:
    board = marts["leaderboard"]
    lost = (board["epoch_id"] == IDS[2]) & (board["rank"] == 19)
    return marts | {"leaderboard": board[~lost]}


def a_rao_too_many(marts: Marts) -> Marts:
    """From the third week on the burned balance is one rao higher, from nowhere."""
    balances = marts["ledger_balances"]
    burn = balances["account"] == "burn"
    third = burn & (balances["epoch_id"] == IDS[2])
    later = burn & (balances["epoch_id"] > IDS[2])
    return marts | {
        "ledger_balances": balances.assign(
            change_rao=balances["change_rao"] + third,
            opening_rao=balances["opening_rao"] + later,
            closing_rao=balances["closing_rao"] + (third | later),
        )
    }


def another_balance(marts: Marts) -> Marts:
    """Both accounts go on from a balance that neither had; each week still adds up to 0."""
    balances = marts["ledger_balances"]
    sign = balances["account"].map({"burn": 1, "issuance": -1})
    moved = sign.where(balances["epoch_id"] > IDS[2], 0)
    return marts | {
        "ledger_balances": balances.assign(
            opening_rao=balances["opening_rao"] + moved, closing_rao=balances["closing_rao"] + moved
        )
    }


def an_older_mart(marts: Marts) -> Marts:
    return marts | {"price_quality": marts["price_quality"].iloc[:-1]}


DEFECTS: dict[str, tuple[Callable[[Marts], Marts], set[str]]] = {
    "half of the miners are gone": (half_are_gone, {"ranked"}),
    "all are eligible": (lambda m: changed(m, "leaderboard", "eligible", True), {"eligible"}),
    "scores at the end of their scale": (all_at_the_top, {"composite"}),
    "scores all alike": (
        lambda m: changed(m, "leaderboard", "composite", 0.5),
        {"composite_spread"},
    ),
    "no score at all": (
        lambda m: changed(m, "leaderboard", "composite", np.nan),
        {"composite", "composite_spread"},
    ),
    "nobody is paid": (lambda m: changed(m, "leaderboard", "payout_rao", 0), {"first_payout"}),
    "one takes most": (one_takes_most, {"first_payout"}),
    "a fifth is burned": (lambda m: changed(m, "epochs", "burned_rao", 2_000), {"burned"}),
    "three of eight do not vote": (
        lambda m: changed(m, "epochs", "n_validators", 5),
        {"validators"},
    ),
    "a hole in old ranks": (a_hole_long_ago, {"rank_faults"}),
    "money from nowhere": (a_rao_too_many, {"unbalanced"}),
    "a balance that nobody had": (another_balance, {"unbalanced"}),
    "a mart that was not renewed": (an_older_mart, {"behind"}),
}


def test_sound_marts_raise_no_warning_and_say_what_they_are_compared_with(tmp_path: Path) -> None:
    quality = judged(sound_marts(), tmp_path)
    assert odd(quality) == set()
    assert quality.compared_with == tuple(IDS[1:-1])
    seen = {one.limits.statistic.name: one.observed for one in quality.findings}
    assert seen == pytest.approx(
        {
            "ranked": 20,
            "eligible": 10 / 20,
            "composite": 0.5,
            "composite_spread": np.std(np.linspace(0.3, 0.7, 20), ddof=1),
            "first_payout": 100 / 1_000,
            "burned": 100 / (4_000 + 1_000 + 3_000 + 2_000),
            "validators": 8,
            "rank_faults": 0,
            "unbalanced": 0,
            "behind": 0,
        }
    )
    page = (tmp_path / quality.page).read_text()
    index = (tmp_path / "index.html").read_text()
    assert f"Marts of {NEWEST}" in page
    assert "as expected" in page
    assert all(one.limits.statistic.why.split(":")[0] in page for one in quality.findings)
    assert quality.page in index
    assert "<script" not in page + index
    assert "http" not in page + index


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_warns_of_itself_alone(defect: str, tmp_path: Path) -> None:
    spoil, warned = DEFECTS[defect]
    assert odd(judged(spoil(sound_marts()), tmp_path)) == warned


def test_first_weeks_in_which_nobody_is_ranked_are_not_odd_and_later_ones_are(
    tmp_path: Path,
) -> None:
    def nobody(weeks: list[str]) -> Marts:
        marts = sound_marts()
        board, epochs = marts["leaderboard"], marts["epochs"]
        empty = epochs["epoch_id"].isin(weeks)
        return marts | {
            "leaderboard": board[~board["epoch_id"].isin(weeks)],
            "epochs": epochs.assign(
                n_ranked=epochs["n_ranked"].mask(empty, 0),
                n_validators=epochs["n_validators"].mask(empty, 0),
            ),
        }

    assert odd(judged(nobody(IDS), tmp_path)) == set()
    assert odd(judged(nobody(IDS[:-1]), tmp_path)) == set()
    assert odd(judged(nobody([NEWEST]), tmp_path)) == {"ranked", "validators"}


def test_equal_ranks_and_a_single_miner_are_no_fault(tmp_path: Path) -> None:
    marts = sound_marts()
    board = marts["leaderboard"]
    shared = board.assign(rank=board["rank"].replace({3: 2, 20: 19}))  # 1 2 2 4 ... 18 19 19
    assert odd(judged(marts | {"leaderboard": shared}, tmp_path)) == set()
    alone = board[board["rank"] == 1]  # and takes all
    assert odd(judged(marts | {"leaderboard": alone}, tmp_path)) == set()
    unpaid = alone.assign(eligible=False, payout_rao=0)
    assert odd(judged(marts | {"leaderboard": unpaid}, tmp_path)) == set()


# Of a season


@pytest.fixture
def platform(marts_home: Path, tmp_path: Path) -> Platform:
    """The eight settled epochs and their marts; its pages go elsewhere."""
    return replace(platform_at(marts_home), data_docs=DataDocs(tmp_path / "data_docs"))


def run_check(platform: Platform) -> dg.AssetCheckEvaluation:
    """The check as the job ``mart_quality`` evaluates it; the run succeeds whatever it says."""
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_defs(platform=platform).resolve_job_def("mart_quality")
        assert job.execute_in_process(instance=instance).success
        (record,) = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=10)
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data


@pytest.mark.slow
def test_the_marts_of_a_season_pass_and_link_their_page(platform: Platform) -> None:
    evaluation = run_check(platform)
    assert evaluation.passed, evaluation.description
    assert evaluation.metadata["epoch"].value == SETTLED[-1].id
    assert Path(str(evaluation.metadata["data docs"].value)).is_file()
    board = platform.warehouse.read("leaderboard")
    last = board[board["epoch_id"] == SETTLED[-1].id]
    assert evaluation.metadata["ranked"].value == len(last)
    assert evaluation.metadata["first_payout"].value == pytest.approx(
        last["payout_rao"].max() / last["payout_rao"].sum()
    )


@pytest.mark.slow
def test_what_cannot_be_judged_is_a_warning_with_its_reason(
    platform: Platform, tmp_path: Path
) -> None:
    platform.data_docs.folder.write_text("a file where the folder should be")
    evaluation = run_check(platform)
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert "the published marts could not be judged: FileExistsError" in str(evaluation.description)
    nothing = platform_at(tmp_path / "nothing")
    with pytest.raises(NothingPublished):
        marts_quality(nothing)


def test_it_judges_what_a_schedule_publishes_and_nothing_waits_for_it() -> None:
    defs = build_defs()
    jobs = {name: defs.resolve_job_def(name).graph for name in ("epoch", "close", "marts")}
    assert not any(NODE in graph.node_dict for graph in jobs.values())
    settle = defs.resolve_job_def("settle").graph
    assert NODE in settle.node_dict
    waits_for = {
        node.name: {
            handle.node_name
            for handle in settle.dependency_structure.all_upstream_outputs_from_node(node.name)
        }
        for node in settle.nodes
    }
    assert waits_for[NODE] == {"dbt_marts"}
    assert not [name for name, before in waits_for.items() if NODE in before]
