"""No fault of a vendor changes a price silently: corrected, held, flagged, or the epoch stops."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.oracle import settle_closes

from .fault_page import page
from .http_faults import HEADING
from .market_faults import (
    SETTLED,
    STOPPING,
    VENDORS,
    Market,
    Scenario,
    alone,
    assert_nothing_is_silent,
    at_one_vendor,
    at_two_vendors,
    outcomes,
    recorded_market,
    settled,
    within_tolerance,
)

PAGE = Path(__file__).parents[2] / "docs" / "price-faults.md"
FOLDER = os.environ.get("QUANTA_REFERENCE_DATA", "")


def test_three_honest_vendors_give_the_truth() -> None:
    table = settled(recorded_market(), [Scenario(())])
    assert (table["status"] == "settled").all()
    assert not table["wrong"].any()
    assert table["close_error"].max() < 1e-12


@pytest.fixture(scope="module")
def alone_table() -> pd.DataFrame:
    return assert_nothing_is_silent(recorded_market(), alone())


def test_two_honest_vendors_correct_one_faulty(alone_table: pd.DataFrame) -> None:
    # every session has its close, and what is off is so by less than vendors may differ
    assert (alone_table["status"] == "settled").all()
    assert within_tolerance(alone_table).all()
    # only a file that repeats or shifts what is nearly the same is off at all
    off = outcomes(alone_table, alone())
    named = set(off.loc[off["near"] > 0, "faults"])
    assert named <= {"stale file", "session one late"}
    assert set(off.loc[off["near"] > 0, "vendors"]) == {"tiingo"}  # the primary


def test_a_missed_split_or_dividend_is_corrected_and_flagged(alone_table: pd.DataFrame) -> None:
    for name in ("split missed", "dividend missed"):
        for number, one in enumerate(alone()):
            if one.faults[0][1] == name:
                own = alone_table[alone_table["scenario"] == number]
                market = recorded_market()
                hit = {"split missed": market.split_day, "dividend missed": market.dividend_day}
                there = own["session"] == hit[name]
                day = own[there & own["ticker"].str.endswith("AAPL")].iloc[0]
                assert day["anomaly"], one
                assert not day["wrong"], one


@pytest.fixture(scope="module")
def pairs_table() -> pd.DataFrame:
    return assert_nothing_is_silent(recorded_market(), at_two_vendors())


def test_two_faulty_vendors_never_change_a_price_silently(pairs_table: pd.DataFrame) -> None:
    found = outcomes(pairs_table, at_two_vendors())
    # some pairs are corrected, some held, some outvote the honest vendor and are flagged
    assert (found["lost"] > 0).any()
    assert (found["flagged"] > 0).any()
    assert ((found["lost"] == 0) & (found["flagged"] == 0)).any()


def test_the_same_fault_twice_outvotes_the_third_and_is_flagged(pairs_table: pd.DataFrame) -> None:
    found = outcomes(pairs_table, at_two_vendors())
    twice = found[found["faults"].isin([f"{name} + {name}" for name in SETTLED])]
    wins = set(twice.loc[twice["flagged"] > 0, "faults"].str.partition(" + ")[0])
    assert wins == {
        *("wrong scale for three weeks", "stale file", "one bad print", "ticker reused"),
        *("split missed", "dividend missed", "session one late"),
    }


@pytest.fixture(scope="module")
def one_vendor_table() -> pd.DataFrame:
    return assert_nothing_is_silent(recorded_market(), at_one_vendor())


def test_two_faults_of_one_vendor_are_corrected(one_vendor_table: pd.DataFrame) -> None:
    assert (one_vendor_table["status"] == "settled").all()
    assert within_tolerance(one_vendor_table).all()


def test_the_page_says_what_happened(
    alone_table: pd.DataFrame,
    one_vendor_table: pd.DataFrame,
    pairs_table: pd.DataFrame,
    request: pytest.FixtureRequest,
) -> None:
    text = page(
        outcomes(alone_table, alone()),
        outcomes(one_vendor_table, at_one_vendor()),
        outcomes(pairs_table, at_two_vendors()),
    )
    _, heading, over_http = PAGE.read_text().partition(f"\n{HEADING}")
    if request.config.getoption("--golden-update"):
        PAGE.write_text(text + heading + over_http)
    assert text == PAGE.read_text().partition(f"\n{HEADING}")[0], (
        "look at what changed, then: make golden"
    )


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("duplicated rows", "observed twice at once: 2 rows, first tiingo AAPL 2019-07-12"),
        ("fetch without a time zone", "fetched_at"),
    ],
)
@pytest.mark.parametrize("second", [None, *SETTLED])
def test_what_no_rule_can_settle_stops_the_epoch(name: str, cells: str, second: str | None) -> None:
    others = [("yahoo", second)] if second else []
    scenario = Scenario((("tiingo", name), *others))
    with pytest.raises(InvalidPrices, match=cells):
        settle_closes(raw(scenario), asked=VENDORS)


def raw(scenario: Scenario) -> pd.DataFrame:
    """Rows as a vendor hands them over; a time without its zone is not given one by the test."""
    market = recorded_market()
    seen = [
        (STOPPING | SETTLED)[dict(scenario.faults)[vendor]](market.honest(vendor), market)
        if vendor in dict(scenario.faults)
        else market.honest(vendor)
        for vendor in VENDORS
    ]
    if scenario.faults[0][1] == "fetch without a time zone":
        seen = [rows.assign(fetched_at=seen[0]["fetched_at"].iloc[0]) for rows in seen]
    return pd.concat(seen, ignore_index=True)


needs_data = pytest.mark.skipif(
    not FOLDER, reason="QUANTA_REFERENCE_DATA does not name a folder with real prices"
)


@cache
def real_market() -> Market:
    """Three stocks over a quarter, with the split of AAPL on 2020-08-31 and its real dividend."""
    rows = pd.read_parquet(
        Path(FOLDER) / "b_alphavantage_sp500_1999_2021.parquet",
        filters=[("ticker", "in", ["AAPL", "MSFT", "KO"])],
    ).rename(columns={"date": "session"})
    rows["session"] = pd.to_datetime(rows["session"]).astype("datetime64[ns]")
    quarter = rows[rows["session"].between("2020-07-20", "2020-10-16")]
    columns = ["ticker", "session", "close", "volume", "dividend", "split"]
    return Market(
        quarter[columns].reset_index(drop=True),
        *("AAPL", "MSFT"),
        split_day=pd.Timestamp("2020-08-31"),
        dividend_day=pd.Timestamp("2020-08-07"),
    )


@needs_data
def test_the_split_and_the_dividend_of_the_real_quarter_are_there() -> None:
    truth = real_market().truth.set_index(["ticker", "session"])
    assert truth.loc[("AAPL", pd.Timestamp("2020-08-31")), "split"] == 4.0
    assert truth.loc[("AAPL", pd.Timestamp("2020-08-07")), "dividend"] == 0.82


@needs_data
@pytest.mark.parametrize("scenarios", [alone, at_one_vendor, at_two_vendors])
def test_no_fault_in_a_real_quarter_is_silent(scenarios: Callable[[], list[Scenario]]) -> None:
    table = assert_nothing_is_silent(real_market(), scenarios())
    if scenarios is not at_two_vendors:
        assert (table["status"] == "settled").all()
