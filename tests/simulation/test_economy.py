"""The economy over years: hand-checkable money, skill that is what it says, a page that is true."""

import json
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from quanta_pipelines.adapters.price_vendors import recorded_closes
from quanta_pipelines.cli import main
from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.protocol.scoring import score
from quanta_pipelines.simulation.economy.market import COLUMNS, Market, market
from quanta_pipelines.simulation.economy.page import (
    as_text,
    check_tables,
    economy_page,
    first_paragraph,
    shorter_run,
)
from quanta_pipelines.simulation.economy.skill import Tastes, normal_scores
from quanta_pipelines.simulation.economy.summary import Economy, economy, estimate
from quanta_pipelines.simulation.economy.week import Books, Judged, judged, settled
from quanta_pipelines.simulation.economy.years import Assumptions, Record, years

PAGE = Path(__file__).parents[2] / "docs" / "economics.md"
FOLDER = os.environ.get("QUANTA_REFERENCE_DATA", "")
FEW = Assumptions(miners=20, wallet=150)  # three antes: somebody goes broke soon


@pytest.fixture(scope="module")
def year() -> Market:
    return market(None, 1)


@pytest.fixture(scope="module")
def months(year: Market) -> Market:
    """The first twelve weeks of it: enough for ranks."""
    inside = year.week < 12
    return replace(
        year,
        epochs=year.epochs[:12],
        returns=year.returns[inside],
        benchmark=year.benchmark[inside],
        week=year.week[inside],
    )


@pytest.fixture(scope="module")
def short() -> Economy:
    return shorter_run()


def all_ranked(n: int) -> Judged:
    """Scores of n ranked miners, the first the best, all of them eligible."""
    composite = np.linspace(0.9, 0.1, n).round(6)
    standing = pd.Series(["ranked"] * n, dtype=object)
    return Judged(composite, standing, np.ones(n, dtype=bool))


def test_a_week_without_emission_costs_an_average_miner_23_14_percent_of_its_ante() -> None:
    # 100 miners, 50 each: 5000. Penalty band: 30 x 25 burned = 750. Back: 20 x 50 + 50 x 50.
    # What is left, 750, gives the rake of 8 % of 5000 = 400; winners get 350 less a fee of 2 %.
    # Lost to miners: 750 + 400 + 7 = 1157 of 5000.
    paid = settled(all_ranked(100), Books([50 * RAO] * 100, 0, 0))
    net = sum(each.payout_rao - each.ante_rao for each in paid.allocations)
    assert -net / (5000 * RAO) == pytest.approx(1157 / 5000, abs=1e-9)
    # with the 410 of 1000 tokens of emission: rake 8 % of 5410 = 432.8, winners 727.2, fee 14.544
    paid = settled(all_ranked(100), Books([50 * RAO] * 100, 1000 * RAO, 0))
    net = sum(each.payout_rao - each.ante_rao for each in paid.allocations)
    assert -net / (5000 * RAO) == pytest.approx((750 + 432.8 + 14.544 - 410) / 5000, abs=1e-9)


def test_scores_are_those_of_the_rules(year: Market) -> None:
    tastes = Tastes(0, np.linspace(0, 0.09, 20), len(year.tickers))
    weights = tastes.portfolios(year.returns[0], "week")
    returns = weights @ year.returns[-90:].T
    returns[3, :80] = np.nan  # ten sessions: one horizon, provisional
    returns[4, :85] = np.nan  # five: none
    traded = np.linspace(0.0, 0.5, 20)
    found = judged(returns, traded, year.benchmark[-90:])
    expected = score(returns, traded).composite
    np.testing.assert_array_equal(found.composite, expected)
    assert found.standing.iloc[3] == found.standing.iloc[4] == "provisional"
    ranked = (found.standing == "ranked").to_numpy(dtype=bool)
    assert ranked.sum() >= 17
    above = expected > np.median(expected[ranked])
    assert not (found.eligible & ~above).any()
    assert not found.eligible[~ranked].any()


def test_every_rao_of_a_run_is_accounted_for(year: Market) -> None:
    for emission in (False, True):
        record = years(year, 1, emission=emission, assumed=FEW)
        miners_part = int(Decimal("0.41") * FEW.emission * RAO) if emission else 0
        came = miners_part * len(year.epochs)
        net = sum(map(sum, record.net))
        went = sum(record.burned) + sum(record.treasury) + record.carry[-1]
        assert came == net + went  # exact: whole rao


def test_who_is_broke_leaves_and_somebody_new_has_no_history(year: Market) -> None:
    record = years(year, 1, emission=False, assumed=FEW)
    left = sum(map(sum, record.broke))
    assert left == len(record.lives) > 0
    # nothing is at stake before 30 sessions, six weeks: nobody is broke after a shorter life
    assert min(record.lives) > 6
    assert sum(map(sum, record.broke[:7])) == 0
    assert max(record.ranked) <= FEW.miners


def test_the_same_seed_gives_the_same_and_another_seed_another(months: Market) -> None:
    def run(seed: int) -> Record:
        return years(months, seed, emission=True, assumed=FEW)

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_the_signal_has_the_information_coefficient_it_claims() -> None:
    # the held weights of many miners lean to the coming winners in proportion to IC, and IC 0 not
    coming = np.linspace(-0.1, 0.1, 400)
    z = normal_scores(coming)
    assert z.mean() == pytest.approx(0.0, abs=1e-12)
    leans = {}
    for ic in (0.0, 0.05, 0.2):
        tastes = Tastes(7, np.full(600, ic), 400)
        weights = tastes.portfolios(coming, "week")
        leans[ic] = float((weights @ z).mean())
        assert weights.sum(axis=1) == pytest.approx(1.0)
        assert weights.max() <= float(QUANTA.epoch.max_weight) + 1e-9
        held = (weights > 0).sum(axis=1)
        assert (held.min(), held.max()) == (8, 20)
    # mean z of the chosen = IC x mean signal of the chosen, which does not depend on IC:
    # the standard error of a mean over 600 portfolios of some 14 names is about 0.012
    assert abs(leans[0.0]) < 0.05
    assert leans[0.2] / leans[0.05] == pytest.approx(4.0, rel=0.4)


def test_skill_pays_and_the_control_pays_for_it(short: Economy) -> None:
    worst, best = short.without.deciles[0], short.without.deciles[-1]
    assert worst.coefficient == 0.0
    assert best.result.mean > worst.result.mean
    for scene in (short.without, short.emitting):
        assert scene.lost.mean > 0
        parts = scene.burned.mean + scene.treasury.mean
        assert parts >= scene.lost.mean - 1e-6  # emission pays a part of it back
    assert short.emitting.lost.mean < short.without.lost.mean
    assert short.without.supply_a_year.mean == pytest.approx(-short.without.burned_a_year.mean)
    assert short.without.issued_a_year.mean == 0.0
    assert short.emitting.issued_a_year.mean == pytest.approx(52_000)  # 1000 a week


def test_the_interval_of_three_numbers_is_students() -> None:
    # 1, 2, 3: mean 2, s = 1, t(0.975, 2) = 4.302653: 2 -+ 4.302653 / sqrt(3)
    found = estimate(np.array([1.0, 2.0, 3.0]))
    assert found.mean == 2.0
    assert found.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-5)
    assert estimate(np.array([1.0])).low is None


def test_the_page_has_the_tables_of_a_run_that_anybody_can_repeat(short: Economy) -> None:
    assert check_tables(short) in PAGE.read_text()


def test_the_pages_first_paragraph_says_what_an_average_miner_loses(short: Economy) -> None:
    paragraph = PAGE.read_text().split("\n\n")[1]
    assert paragraph.startswith("**Without emission the default parameters make an average miner")
    said = json.loads((PAGE.parent / "economics" / "economics.json").read_text())
    lost = said["without"]["lost"]["mean"]
    assert f"it loses {100 * lost:.1f} %" in paragraph
    # hand-checked above: 23.14 % where all 100 are ranked and all winners eligible
    assert lost == pytest.approx(0.2314, abs=0.01)
    assert said["epochs"] >= 260
    assert "default parameters" in first_paragraph(short)


@pytest.mark.soak
@pytest.mark.skipif(not FOLDER, reason="QUANTA_REFERENCE_DATA names no folder with real prices")
def test_the_whole_page_is_what_the_command_writes() -> None:
    said = json.loads((PAGE.parent / "economics" / "economics.json").read_text())
    found = economy(market(Path(FOLDER), 5), years_asked=5, seeds=said["seeds"], jobs=2)
    assert economy_page(found, check_tables(shorter_run())) == PAGE.read_text()


def test_any_number_of_processes_gives_the_same_text(months: Market) -> None:
    def run(jobs: int) -> str:
        return as_text(economy(months, years_asked=1, seeds=1, jobs=jobs, assumed=FEW))

    assert run(1) == run(2)


def test_the_command_says_it_on_the_terminal_and_as_json() -> None:
    asked = ["economics", "--years", "1", "--seeds", "1", "--set", "tokenomics.rake=0.02"]
    result = CliRunner(env={"QUANTA_REFERENCE_DATA": ""}).invoke(main, asked)
    assert result.exit_code == 0, result.output
    assert "these parameters, not the default," in " ".join(result.output.split())
    wrong = CliRunner().invoke(main, [*asked[:-1], "tokenomics.rake=2"])
    assert wrong.exit_code == 1
    assert "must lie in [0, 1], not 2" in wrong.output


def as_traded(closes: pd.DataFrame) -> pd.DataFrame:
    rows = closes.melt(ignore_index=False, var_name="ticker", value_name="close").reset_index()
    rows = rows.rename(columns={"session": "date"}).dropna()
    return rows.assign(dividend=0.0, split=1.0)[list(COLUMNS)]


def test_a_folder_of_prices_gives_total_returns(tmp_path: Path) -> None:
    closes = recorded_closes().loc["2018":"2018"]  # type: ignore[misc]
    rows = as_traded(closes)
    at = (rows["ticker"] == "AAPL") & (rows["date"] >= "2018-07-02")
    rows.loc[at, "close"] /= 4  # a split of 4 for 1 on that day changes no return
    rows.loc[at & (rows["date"] == "2018-07-02"), "split"] = 4.0
    rows.to_parquet(tmp_path / "prices.parquet")
    rows.drop(columns="split").to_parquet(tmp_path / "other.parquet")  # lacks a column
    found, plain = market(tmp_path, 1), closes.pct_change()
    assert found.source == "prices.parquet"
    days = [day for one in found.epochs for day in one.sessions]
    expected = plain.loc[pd.DatetimeIndex(days), list(found.tickers)]
    np.testing.assert_allclose(found.returns, expected.to_numpy(), rtol=0, atol=1e-12)
    assert found.benchmark_name == "the equal-weighted universe"
    spy = rows[rows["ticker"] == "KO"].assign(ticker="SPY")
    spy.to_parquet(tmp_path / "spy.parquet")
    again = market(tmp_path, 1)
    assert again.benchmark_name == "SPY"
    assert "SPY" not in again.tickers
    np.testing.assert_array_equal(again.benchmark, again.returns[:, again.tickers.index("KO")])


def test_prices_that_give_no_market_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidPrices, match="no Parquet file with the columns"):
        market(tmp_path, 1)
    rows = as_traded(recorded_closes().loc["2018":"2018"])  # type: ignore[misc]
    rows[rows["date"] < "2018-03-01"].to_parquet(tmp_path / "prices.parquet")
    with pytest.raises(InvalidPrices, match="an economy needs 26"):
        market(tmp_path, 1)
    rows.loc[5, "close"] = 0.0
    rows.to_parquet(tmp_path / "prices.parquet")
    with pytest.raises(InvalidPrices, match=r"a close of 0\.0"):
        market(tmp_path, 1)
    rows[rows["ticker"] < "D"].assign(close=1.0).to_parquet(tmp_path / "prices.parquet")
    with pytest.raises(InvalidPrices, match="an economy needs 20"):
        market(tmp_path, 1)
