"""Real prices are judged epoch by epoch: what is odd warns, and nothing stops."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from data_contracts.expectations.limits import TRAILING_EPOCHS
from quanta_pipelines.backfill import Backfill
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.price_quality import epoch_quality, trailing_profiles
from quanta_pipelines.protocol import oracle
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform
from tests.conftest import platform_at

pytest.importorskip("great_expectations")

WEEKS = Epoch.range("2019-Q2-W23", "2019-Q3-W38")  # two more than a full history
LAST = WEEKS[-1]
CHECK = dg.AssetCheckKey(dg.AssetKey("validated_prices"), "price_quality")
PROJECT = Path(__file__).parents[2]

Observe = Callable[[pd.DataFrame], pd.DataFrame]


def three_vendors(rows: pd.DataFrame) -> pd.DataFrame:
    """The recording as three vendors saw it; the volumes are simulated, the recording has none."""
    rng = np.random.default_rng(7)
    rows = rows.assign(volume=np.round(1e6 * rng.lognormal(0.0, 0.3, len(rows))))
    seen = [rows.assign(vendor=name) for name in ("one", "three", "two")]
    return pd.concat(seen, ignore_index=True)


def publish_week(platform: Platform, epoch: Epoch, observe: Observe) -> None:
    """Prices of one epoch, settled by the rules and past their gates."""
    raw = observe(three_vendors(platform.observe(epoch)))
    settled = oracle.epoch_prices(
        raw, epoch_id=epoch.id, sessions=epoch.sessions, entry_session=epoch.entry_session
    )
    gates = {
        "raw_prices": ["contract"],
        "validated_prices": ["contract", "no_session_missing", "benchmark_is_settled"],
    }
    for (table, checks), frame in zip(gates.items(), (raw, settled), strict=True):
        held = platform.lake.publish(table, epoch.id, frame, **platform.stamp()).content_hash
        for check in checks:
            platform.lake.record_verdict(
                table, epoch.id, check, passed=True, content_hash=held, detail=""
            )


def as_seen(rows: pd.DataFrame) -> pd.DataFrame:
    return rows


@pytest.fixture(scope="module")
def weeks_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prices of sixteen normal weeks of 2019; never written to by a test."""
    home = tmp_path_factory.mktemp("weeks")
    platform = platform_at(home)
    for epoch in WEEKS:
        publish_week(platform, epoch, as_seen)
    platform.store.close()
    return home


@pytest.fixture
def weeks(weeks_home: Path, tmp_path: Path) -> Platform:
    """A copy that a test may spoil."""
    shutil.copytree(weeks_home, tmp_path / "home")
    return platform_at(tmp_path / "home")


def this_week(rows: pd.DataFrame) -> "pd.Series[bool]":
    return rows["session"].isin(pd.DatetimeIndex(LAST.sessions))


def wild_returns(rows: pd.DataFrame) -> pd.DataFrame:
    """Each return of the week is ten times what it was."""
    parts = []
    for _, one in rows.sort_values("session").groupby(["vendor", "ticker"]):
        returns = one["close"].pct_change()
        returns = returns.where(~this_week(one), 10 * returns).fillna(0.0)
        parts.append(one.assign(close=one["close"].iloc[0] * (1 + returns).cumprod()))
    return pd.concat(parts).sort_values(["vendor", "ticker", "session"], ignore_index=True)


def fewer_tickers(rows: pd.DataFrame) -> pd.DataFrame:
    gone = sorted(rows["ticker"].unique())[::2]
    return rows[~rows["ticker"].isin(gone)].reset_index(drop=True)


def disagreement(rows: pd.DataFrame) -> pd.DataFrame:
    """One vendor of three is two percent apart: the other two still settle every price."""
    apart = this_week(rows) & (rows["vendor"] == "two")
    return rows.assign(close=rows["close"].mask(apart, 1.02 * rows["close"]))


def no_trade(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(volume=rows["volume"].mask(this_week(rows), 0.0))


def no_volume(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(volume=rows["volume"].mask(this_week(rows)))


def one_vendor(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["vendor"] == "one"].reset_index(drop=True).assign(asked="one")


def odd(platform: Platform, epoch: Epoch = LAST) -> set[str]:
    """Names of the statistics that are not as expected."""
    found = epoch_quality(platform, epoch).findings
    return {one.limits.statistic.name for one in found if not one.passed}


def test_normal_weeks_pass_and_say_what_they_are_compared_with(weeks: Platform) -> None:
    first, second, last = (epoch_quality(weeks, WEEKS[place]) for place in (0, 1, -1))
    assert first.passed
    assert second.passed
    assert last.passed
    assert first.comparison == "no earlier epoch is published: only limits that always hold"
    assert second.comparison == "1 earlier epoch, 2019-Q2-W23; 12 fewer than 13"
    assert last.compared_with == tuple(epoch.id for epoch in WEEKS[-1 - TRAILING_EPOCHS : -1])
    assert all(finding.limits.epochs == 0 for finding in first.findings)
    assert "Always: -10 % to 10 %" in first.findings[0].row()["basis"]


def test_the_observed_numbers_are_those_of_the_tables(weeks: Platform) -> None:
    observed = {
        one.limits.statistic.name: one.observed for one in epoch_quality(weeks, LAST).findings
    }
    settled = weeks.lake.read("validated_prices", LAST.id)
    raw = weeks.lake.read("raw_prices", LAST.id)
    cells = raw[this_week(raw)].groupby(["ticker", "session"])["volume"].median()
    returns = np.sort(settled["total_return"].to_numpy())
    assert len(returns) == 100  # 20 tickers in 5 sessions
    assert observed["median_return"] == pytest.approx((returns[49] + returns[50]) / 2)
    assert observed["return_spread"] == pytest.approx(np.std(returns, ddof=1))
    assert observed["volume"] == pytest.approx(np.median(cells))
    assert (observed["tickers"], observed["vendors"]) == (20.0, 3.0)
    assert (observed["agreement"], observed["settled"], observed["volume_known"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("observe", "warned"),
    [
        (wild_returns, {"return_spread"}),
        (fewer_tickers, {"tickers"}),
        (disagreement, {"agreement"}),
        (no_trade, {"volume"}),
        (no_volume, {"volume_known"}),
        (one_vendor, {"vendors"}),
    ],
)
def test_an_odd_week_warns_of_what_is_odd(
    weeks: Platform, observe: Observe, warned: set[str]
) -> None:
    publish_week(weeks, LAST, observe)
    found = odd(weeks)
    assert found >= warned
    assert found <= warned | {"median_return"}  # it may move with the returns


def test_one_odd_week_among_thirteen_moves_no_limit_much(weeks: Platform) -> None:
    def spread_limits() -> tuple[float, float]:
        found = epoch_quality(weeks, LAST).findings[1].limits
        return found.low, found.high

    before = spread_limits()
    settled = weeks.lake.read("validated_prices", WEEKS[-2].id)
    wild = settled.assign(total_return=settled["total_return"] * 10)
    held = weeks.lake.publish("validated_prices", WEEKS[-2].id, wild, **weeks.stamp())
    for check in ("contract", "no_session_missing", "benchmark_is_settled"):
        weeks.lake.record_verdict(
            "validated_prices",
            WEEKS[-2].id,
            check,
            passed=True,
            content_hash=held.content_hash,
            detail="",
        )
    assert spread_limits() == pytest.approx(before, rel=0.5)


def test_an_epoch_that_failed_a_gate_is_no_measure(weeks: Platform) -> None:
    refused = WEEKS[-2]
    weeks.lake.record_verdict(
        "validated_prices",
        refused.id,
        "benchmark_is_settled",
        passed=False,
        content_hash=weeks.lake.version("validated_prices", refused.id).content_hash,
        detail="disputed",
    )
    found = [profile.epoch_id for profile in trailing_profiles(weeks.lake, LAST)]
    assert found == [epoch.id for epoch in WEEKS[-2 - TRAILING_EPOCHS : -2]]


def test_the_page_names_every_expectation_and_needs_no_network(weeks: Platform) -> None:
    folder = weeks.data_docs.folder
    for epoch in WEEKS[-2:]:
        quality = epoch_quality(weeks, epoch)
    page = (folder / quality.page).read_text()
    for finding in quality.findings:
        words = finding.expectation.replace("'", "&#39;")
        assert words in page or finding.expectation in page
    assert f"Prices of {LAST}" in page
    index = (folder / "index.html").read_text()
    for epoch in WEEKS[-2:]:
        assert epoch.id in index
    assert quality.page in index
    assert "<script" not in page + index
    assert "http" not in page + index


def test_judging_again_replaces_the_page_and_leaves_nothing_behind(weeks: Platform) -> None:
    folder = weeks.data_docs.folder
    page = folder / epoch_quality(weeks, LAST).page
    before = page.read_bytes()
    (folder / ".build-killed").mkdir()  # as a killed process leaves it
    epoch_quality(weeks, WEEKS[-2])
    assert page.read_bytes() == before
    publish_week(weeks, LAST, no_trade)
    assert folder / epoch_quality(weeks, LAST).page == page
    assert page.read_bytes() != before
    assert len(list(folder.rglob("prices.html"))) == 2
    assert not list(folder.glob(".build-*"))


def run_quality(platform: Platform, epoch: Epoch) -> dg.AssetCheckEvaluation:
    """The check as the job ``quality`` evaluates it."""
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = Backfill(build_defs(platform=platform), instance).quality(epoch)
        assert outcome.succeeded
        (record,) = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=10)
    assert record.event is not None
    assert record.event.dagster_event is not None
    return record.event.dagster_event.asset_check_evaluation_data


def test_the_check_links_the_page_and_shows_observed_values_and_limits(weeks: Platform) -> None:
    publish_week(weeks, LAST, no_trade)
    evaluation = run_quality(weeks, LAST)
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert evaluation.partition == LAST.id
    assert evaluation.description == "Median volume of a ticker's session, shares"
    assert Path(str(evaluation.metadata["data docs"].value)).is_file()
    shown = evaluation.metadata["expectations"]
    assert isinstance(shown, dg.TableMetadataValue)
    rows = {str(record.data["expectation"]): record.data for record in shown.records}
    volume = rows["Median volume of a ticker's session, shares"]
    assert volume["observed"] == "0"
    assert float(str(volume["at least"]).replace(",", "")) >= 1.0


def test_a_crash_is_a_warning_with_its_reason(weeks: Platform) -> None:
    weeks.data_docs.folder.write_text("a file where the folder should be")
    evaluation = run_quality(weeks, LAST)
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert "FileExistsError" in str(evaluation.description)


def test_backfills_leave_it_out_and_closing_does_not() -> None:
    defs = build_defs()
    nodes = {
        name: "validated_prices_price_quality" in defs.resolve_job_def(name).graph.node_dict
        for name in ("epoch", "close", "settle", "quality")
    }
    assert nodes == {"epoch": False, "close": True, "settle": False, "quality": True}


def test_definitions_load_without_great_expectations() -> None:
    # it takes seconds, which every run worker would pay
    code = "import sys, quanta_pipelines.definitions; print('great_expectations' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert run.stdout.strip() == "False", run.stderr
