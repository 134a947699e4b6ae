"""Disputed prices stop an epoch with the cells named; a correction lets it go on."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from click.testing import CliRunner

from quanta_pipelines.adapters.price_vendors import RecordedVendor
from quanta_pipelines.backfill import QUIET
from quanta_pipelines.checks import in_words
from quanta_pipelines.cli import main
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.price_correction import Cell, correct_price
from quanta_pipelines.price_disagreements import HEADINGS
from quanta_pipelines.resources import Platform
from quanta_pipelines.settings import current_settings

from .conftest import PLAYED
from .market_faults import FrameVendor

EPOCH = PLAYED[-1]
TO_PORTFOLIOS = (
    *("raw_prices", "price_corrections", "validated_prices"),
    *("commitments", "reveals", "portfolios", "committed_portfolios"),
)
DAY = EPOCH.sessions[1]
SAID = {
    "author": "operator",
    "reason": "tiingo printed a pre-market trade",
    "evidence": "closing auction report",
    "recorded_at": datetime(2019, 8, 5, tzinfo=UTC),
}


def vendor(name: str, spoiled: dict[str, float]) -> FrameVendor:
    """The recorded prices and an index as traded, with other closes of some tickers on one day."""
    recorded = RecordedVendor()
    first, last = pd.Timestamp("2018-06-01").date(), EPOCH.sessions[-1]
    rows = recorded.observe(recorded.tickers(), first, last)
    index = rows[rows["ticker"] == "MSFT"].assign(ticker="SPY")
    rows = pd.concat([rows, index], ignore_index=True).assign(
        vendor=name, basis="as_traded", dividend=0.0, split=1.0, volume=1e7
    )
    factor = rows["ticker"].map(spoiled).where(rows["session"] == pd.Timestamp(DAY)).fillna(1.0)
    return FrameVendor(name, rows.assign(close=rows["close"] * factor))


@pytest.fixture
def disputing(platform: Platform) -> Platform:
    """Two vendors that differ on every stock, but not on the index, on one day."""
    held = dict.fromkeys(RecordedVendor().tickers(), 1.05)
    return replace(platform, vendors=(vendor("tiingo", held), vendor("yahoo", {})))


def failures(
    platform: Platform, instance: dg.DagsterInstance
) -> dict[str, dg.AssetCheckEvaluation]:
    """Runs the epoch up to portfolios; the failed checks by name, warnings aside."""
    result = (
        build_defs(platform=platform)
        .resolve_job_def("epoch")
        .execute_in_process(
            instance=instance,
            partition_key=EPOCH.id,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in TO_PORTFOLIOS],
            run_config=QUIET,
        )
    )
    found = {
        one.check_name: one
        for one in result.get_asset_check_evaluations()
        if not one.passed and one.severity == dg.AssetCheckSeverity.ERROR
    }
    assert result.success == (not found)
    return found


def test_disputes_block_with_ticker_session_vendors_and_closes(
    disputing: Platform, instance: dg.DagsterInstance
) -> None:
    failed = failures(disputing, instance)
    assert failed.keys() == {"held_tickers_are_priced"}
    held = failed["held_tickers_are_priced"]
    rows = [dict(record.data) for record in held.metadata["worst rows"].records]
    assert {row["session"] for row in rows} == {f"{DAY} 00:00:00"}
    weights = [float(row["held_weight"]) for row in rows]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) > 0.10
    assert all(
        row["vendors"].startswith("tiingo ") and ", yahoo " in row["vendors"] for row in rows
    )
    assert held.description is not None
    assert f"{rows[0]['ticker']} {DAY} ({rows[0]['vendors']})" in held.description
    assert held.description.endswith(f"; {len(rows) - 5} more")
    verdict = disputing.lake.verdict("portfolios", EPOCH.id, "held_tickers_are_priced")
    assert verdict is not None
    assert verdict.detail == held.description

    prices = disputing.lake.read("validated_prices", EPOCH.id)
    disputed = prices[prices["status"] == "disputed"]
    assert set(disputed["session"]) == {pd.Timestamp(DAY)}
    for ticker in disputed["ticker"]:
        honest = RecordedVendor().observe([ticker], DAY, DAY)["close"].item()
        cell = Cell(ticker, DAY, "close")
        correct_price(disputing, EPOCH, cell, value=honest, old="none", **SAID)
    assert failures(disputing, instance) == {}
    settled = disputing.lake.read("validated_prices", EPOCH.id)
    there = settled["session"] == pd.Timestamp(DAY)
    stocks = there & (settled["ticker"] != "SPY")
    assert set(settled.loc[stocks, "sources"]) == {"correction"}
    assert settled.loc[stocks, "anomaly"].all()
    assert (settled["status"] == "settled").all()


def test_a_disputed_benchmark_blocks_with_both_closes(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    two = (vendor("tiingo", {"SPY": 1.05}), vendor("yahoo", {}))
    failed = failures(replace(platform, vendors=two), instance)
    traded = RecordedVendor().observe(["MSFT"], DAY, DAY)["close"].item()
    said = f"SPY {DAY} (tiingo {traded * 1.05:.12g}, yahoo {traded:.12g})"
    assert failed["benchmark_is_settled"].description == (
        f"1 rows of validated_prices {EPOCH} break benchmark_is_settled: {said}"
    )


def test_a_dispute_of_what_few_hold_blocks_nothing(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    weights = platform.lake.read("portfolios", PLAYED[-2].id).groupby("ticker")["weight"].sum()
    least = weights.index[weights.argmin()]
    assert weights.min() / weights.sum() < 0.05
    one = replace(platform, vendors=(vendor("tiingo", {least: 1.05}), vendor("yahoo", {})))
    assert failures(one, instance) == {}
    prices = one.lake.read("validated_prices", EPOCH.id)
    assert list(prices.loc[prices["status"] == "disputed", "ticker"]) == [least]


def test_an_outage_of_one_of_two_vendors_blocks_and_says_who_was_silent(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    down = FrameVendor("tiingo", vendor("tiingo", {}).rows.head(0))
    failed = failures(replace(platform, vendors=(down, vendor("yahoo", {}))), instance)
    description = failed["benchmark_is_settled"].description
    assert description is not None
    assert f"SPY {EPOCH.sessions[0]} (tiingo no answer, yahoo " in description


def test_rows_without_a_price_are_counted_and_not_named() -> None:
    rows = pd.DataFrame({"account": ["pool"], "balance_rao": [1]})
    assert in_words(rows, "ledger_entries 2019-Q3-W31", "ledger_closes") == (
        "1 rows of ledger_entries 2019-Q3-W31 break ledger_closes"
    )


@pytest.fixture
def command(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs ``quanta prices …`` on the platform's home; exit code and output."""
    monkeypatch.setenv("QUANTA_HOME", str(Path(platform.lake.root).parent))
    current_settings.cache_clear()

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["prices", *arguments])
        return result.exit_code, result.output

    yield run
    current_settings.cache_clear()


def test_the_command_records_and_the_impact_follows(
    command: Callable[..., tuple[int, str]], platform: Platform
) -> None:
    last = PLAYED[-2]
    cell = (last.id, "aapl", f"{last.sessions[-1]}")
    why = ("--reason", "bad print", "--evidence", "auction report", "--author", "operator")
    refused, said = command("correct", *cell, "--field", "close", "--value", "-1", *why)
    assert (refused, "above zero and at most 1e+09, not -1.0" in said) == (1, True)
    code, said = command("correct", *cell, "--field", "close", "--value", "60", *why, "--json")
    assert code == 0
    found = json.loads(said)
    assert (found["correction_id"], found["correction"]["ticker"]) == (1, "AAPL")
    assert found["epochs"] == [last.id]
    code, said = command("correct", *cell, "--field", "close", "--value", "61", "--old", "1", *why)
    assert (code, "is settled at 60, not 1" in said) == (1, True)

    code, said = command("impact", last.id, "--json")
    assert code == 0
    (impact,) = json.loads(said)
    assert impact["epoch_id"] == last.id
    assert {row["column"] for row in impact["cells"]} == {"close", "total_return"}
    assert impact["moved_rao"] == sum(abs(row["difference_rao"]) for row in impact["miners"])
    assert len(platform.lake.versions("validated_prices", last.id)) == 1  # nothing was published


def test_the_command_reports_who_was_apart(command: Callable[..., tuple[int, str]]) -> None:
    assert command("disagreements", PLAYED[-2].id) == (0, "no vendor was apart\n")
    assert command("disagreements", PLAYED[-2].id, "--json") == (0, "[]\n")
    code, said = command("disagreements", PLAYED[-1].id)
    assert (code, "raw_prices" in said) == (1, True)


def test_the_report_of_two_vendors_apart_names_both(
    disputing: Platform,
    instance: dg.DagsterInstance,
    command: Callable[..., tuple[int, str]],
) -> None:
    failures(disputing, instance)
    code, said = command("disagreements", EPOCH.id)
    lines = said.splitlines()
    assert code == 0
    assert lines[0].split() == list(HEADINGS)
    aapl = next(line.split() for line in lines if line.startswith("tiingo  AAPL"))
    assert aapl[2] == "1"
    assert aapl[4:] == [f"{DAY}", f"{DAY}", "1.050000", "isolated", "nobody"]
