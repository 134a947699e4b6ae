"""The recorded vendor reports what was recorded and claims nothing else."""

from datetime import date
from importlib.resources import files

import pandas as pd
import pytest

from quanta_pipelines.adapters.price_vendors import (
    OBSERVATION_TYPES,
    RECORDED_AT,
    PriceVendor,
    RecordedVendor,
    recorded_closes,
)

FIRST, LAST = date(2018, 1, 2), date(2022, 12, 28)


def test_a_known_close_is_observed() -> None:
    row = RecordedVendor().observe(["AAPL"], LAST, LAST).iloc[0]
    assert (row["vendor"], row["ticker"], row["basis"]) == ("recorded", "AAPL", "adjusted")
    assert row["close"] == 125.674
    assert row["session"] == pd.Timestamp("2022-12-28")
    assert row["fetched_at"] == RECORDED_AT == pd.Timestamp("2022-12-28T21:00Z")


def test_nothing_is_claimed_but_the_close() -> None:
    row = RecordedVendor().observe(["AAPL"], LAST, LAST).iloc[0]
    unknown = ["open", "high", "low", "volume", "vwap", "dividend", "split"]
    assert row[unknown].isna().all()


def test_twenty_stocks_over_five_years_are_recorded() -> None:
    vendor: PriceVendor = RecordedVendor()
    assert len(vendor.tickers()) == 20
    assert vendor.tickers()[:3] == ("AAPL", "AMD", "BAC")
    seen = vendor.observe(vendor.tickers(), FIRST, LAST)
    assert len(seen) == 20 * 1257
    assert seen["close"].gt(0).all()


@pytest.mark.parametrize("tickers", [["AAPL"], ["NOSUCH"], []])
def test_columns_and_types_are_the_same_with_and_without_rows(tickers: list[str]) -> None:
    seen = RecordedVendor().observe(tickers, LAST, LAST)
    assert seen.dtypes.astype(str).to_dict() == OBSERVATION_TYPES
    assert len(seen) == tickers.count("AAPL")


def test_what_was_not_recorded_has_no_row() -> None:
    vendor = RecordedVendor()
    assert vendor.observe(["AAPL"], date(2017, 1, 1), date(2017, 12, 31)).empty
    assert vendor.observe(["AAPL"], date(2022, 12, 24), date(2022, 12, 26)).empty  # Christmas
    seen = vendor.observe(["XOM", "NOSUCH", "AAPL", "XOM"], date(2022, 12, 27), date(2023, 2, 1))
    assert list(zip(seen["ticker"], seen["session"].dt.day, strict=True)) == [
        ("AAPL", 27),
        ("AAPL", 28),
        ("XOM", 27),
        ("XOM", 28),
    ]


def test_a_simulated_validator_may_hold_other_prices() -> None:
    days = pd.DatetimeIndex(["2022-12-27", "2022-12-28"])
    prices = pd.DataFrame({"B": [2.0, None], "A": [1.0, 1.5]}, index=days)
    vendor = RecordedVendor(name="second", prices=prices)
    seen = vendor.observe(["A", "B"], FIRST, LAST)
    assert vendor.tickers() == ("A", "B")
    assert set(seen["vendor"]) == {"second"}
    assert list(seen["close"]) == [1.0, 1.5, 2.0]


def test_observing_does_not_change_the_recording() -> None:
    before = recorded_closes().copy()
    seen = RecordedVendor().observe(["AAPL"], FIRST, LAST)
    seen["close"] *= 2
    pd.testing.assert_frame_equal(recorded_closes(), before)


def test_the_recording_ships_with_its_notice() -> None:
    folder = files("quanta_pipelines.adapters") / "recorded"
    notice = (folder / "NOTICE").read_text()
    assert "skfolio 1.12.2" in notice
    assert "BSD 3-Clause License" in notice
    assert len((folder / "sp500_adjusted_close.csv.gz").read_bytes()) < 300_000
