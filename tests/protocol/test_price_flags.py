"""What is odd about a settled price: known limits, each with its arithmetic."""

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.protocol.oracle import settle_closes


def settle(closes: list[float], **columns: object) -> pd.DataFrame:
    """The settled rows of one ticker of one vendor; columns may be lists or one value."""
    rows = {
        "vendor": "yahoo",
        "ticker": "AAPL",
        "session": pd.bdate_range("2025-09-01", periods=len(closes)),
        "close": closes,
        "volume": 1e6,
        "dividend": 0.0,
        "split": 1.0,
        "basis": "as_traded",
        "fetched_at": pd.Timestamp("2026-01-02 22:00", tz="UTC"),
    }
    return settle_closes(pd.DataFrame(rows | columns))


def wobble(sessions: int, last: float) -> list[float]:
    """Closes with returns of -1, 0 and +1 % in turn, then a last one.

    Their median is 0, two thirds are 1 % away from it: MAD 1 %, sigma 1.4826 %.
    """
    returns = [(day % 3 - 1) * 0.01 for day in range(sessions)] + [last]
    return list(100.0 * np.cumprod([1.0, *(1.0 + np.array(returns))]))


@pytest.mark.parametrize(
    ("earlier", "last", "expected"),
    [
        (60, 0.0446, True),  # 3 sigma are 4.4478 %
        (60, 0.0443, False),
        (60, -0.0446, True),
        (10, 0.20, True),
        (9, 0.20, False),  # too few to know what is usual
    ],
)
def test_an_anomaly_is_beyond_three_robust_sigma(
    earlier: int, last: float, *, expected: bool
) -> None:
    table = settle(wobble(earlier, last))
    assert table["anomaly"].iloc[-1] == expected
    assert not table["anomaly"].iloc[:-1].any()


@pytest.mark.parametrize(
    ("split", "dividend", "expected"),
    [
        (1.25, 0.0, False),  # 0.8 of the close before on 1.25 shares is all of it
        (1.0, 20.0, False),  # 80 and 20 of about 100
        (1.0, 0.0, True),
        (2.0, 0.0, True),  # 1.6 of the close before: a split alone explains nothing
        (1.0, 60.0, True),
    ],
)
def test_a_split_or_a_dividend_explains_a_move_of_the_close_and_no_return(
    split: float, dividend: float, *, expected: bool
) -> None:
    closes = [*wobble(20, 0.0)[:-1], 0.0]
    closes[-1] = 0.8 * closes[-2]
    none = len(closes) - 1
    table = settle(closes, split=[1.0] * none + [split], dividend=[0.0] * none + [dividend])
    assert list(table["anomaly"]) == [False] * none + [expected]


def test_a_split_and_a_dividend_at_once_are_ambiguous() -> None:
    # 49.5 on two shares and 1 are 100: nothing moved, but a dividend of a new share would be 2
    table = settle([100.0, 49.5], split=[1.0, 2.0], dividend=[0.0, 1.0])
    assert table["total_return"].iloc[1] == 0.0
    assert list(table["anomaly"]) == [False, True]


def test_a_series_that_never_moved_is_surprised_by_any_move() -> None:
    still = [100.0 * 1.001**day for day in range(20)]  # 0.1 % every session
    table = settle([*still, still[-1] * 1.002])
    assert list(table["anomaly"]) == [False] * 20 + [True]


def test_low_volume_is_under_a_tenth_of_the_mean_before() -> None:
    def flagged(last: float, before: int = 30) -> bool:
        closes = [100.0 + day for day in range(before + 1)]
        table = settle(closes, volume=[1e6] * before + [last])
        return bool(table["low_volume"].iloc[-1])

    assert flagged(99_999.0)
    assert not flagged(100_000.0)
    assert not flagged(np.nan)
    assert not flagged(1.0, before=9)


def test_a_flat_line_is_three_equal_closes_without_a_trade() -> None:
    table = settle([9.0, 9.0, 9.0, 9.0, 8.0], volume=[5.0, 0.0, 0.0, 0.0, 0.0])
    assert list(table["flat_line"]) == [False, False, False, True, False]
    assert not settle([9.0] * 4, volume=np.nan)["flat_line"].any()


# What Yahoo's help page shows: a close of 48.30, a split of two, then 0.08 paid. The dividend takes
# 0.08 / 24.96, 0.32 %, off the closes before: 0.9968 * 24.96 = 24.88, 0.9968 * 24.15 = 24.07.
YAHOO_CLOSES = [48.30, 24.96, 24.53]
YAHOO_SPLITS, YAHOO_DIVIDENDS = [1.0, 2.0, 1.0], [0.0, 0.0, 0.08]
YAHOO_ADJUSTED = [24.07, 24.88, 24.53]


def mismatches(adjusted: list[float], **columns: object) -> list[bool]:
    known: dict[str, object] = {"split": YAHOO_SPLITS, "dividend": YAHOO_DIVIDENDS}
    table = settle(YAHOO_CLOSES, **known | {"adjusted_close": adjusted} | columns)
    flag = table.pop("adjustment_mismatch")
    plain = settle(YAHOO_CLOSES, **known | columns).drop(columns="adjustment_mismatch")
    pd.testing.assert_frame_equal(table, plain)  # whatever is flagged, nothing else changes
    return list(flag)


def test_adjusted_closes_that_are_rounded_to_cents_are_no_mismatch() -> None:
    assert not any(mismatches(YAHOO_ADJUSTED))


def test_a_dividend_may_be_added_or_taken_off() -> None:
    # 10 of 100 paid, then 99: added it is 109 of 100; taken off it is 99 of 90, 110 of 100
    for before, expected in ((99.0 / 1.09, False), (99.0 / 1.10, False), (99.0 / 1.12, True)):
        table = settle([100.0, 99.0], dividend=[0.0, 10.0], adjusted_close=[before, 99.0])
        assert list(table["adjustment_mismatch"]) == [False, expected]


def test_an_adjusted_close_that_is_not_adjusted_or_adjusted_twice_is_a_mismatch() -> None:
    # 48.14 lacks the split, 12.44 holds it once too often: it is wrong going in and coming out
    assert mismatches([48.14, 24.88, 24.53]) == [False, True, False]
    assert mismatches([24.07, 12.44, 24.53]) == [False, True, True]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (100.09, False),
        (100.11, True),  # ten basis points of 100 are 0.10
    ],
)
def test_the_tolerance_is_that_of_closes(second: float, *, expected: bool) -> None:
    table = settle([100.0, 100.0], adjusted_close=[100.0, second])
    assert list(table["adjustment_mismatch"]) == [False, expected]
    assert not table["anomaly"].any()


def test_a_cent_counts_on_the_scale_of_the_close_too() -> None:
    # a reverse split of a hundred to come: a cent on a close of 2 is a dollar of 200
    table = settle([2.0, 2.0, 2.0], adjusted_close=[200.0, 200.9, 202.5])
    assert list(table["adjustment_mismatch"]) == [False, False, True]


def test_adjusted_closes_of_two_fetches_are_not_compared() -> None:
    days = pd.to_datetime(["2026-01-02 22:00", "2026-01-05 22:00", "2026-01-05 22:00"], utc=True)
    assert mismatches([200.0, 24.88, 24.53], fetched_at=days) == [False] * 3
    assert mismatches([200.0, 24.88, 24.53]) == [False, True, False]


def test_nothing_unknown_is_a_mismatch() -> None:
    assert mismatches([np.nan, 24.88, 24.53]) == [False] * 3
    assert mismatches([24.07, np.nan, 24.53]) == [False] * 3
    assert mismatches([24.07, 12.44, 12.27], dividend=np.nan) == [False] * 3
    assert mismatches([24.07, 12.44, 12.27], split=np.nan) == [False] * 3
    assert list(settle([1.0, 2.0])["adjustment_mismatch"]) == [False, False]  # without the column
    assert list(settle([1.0], adjusted_close=[1.0])["adjustment_mismatch"]) == [False]


def test_a_vendor_is_compared_with_itself_and_one_is_enough() -> None:
    days = pd.bdate_range("2025-09-01", periods=3)
    rows = {"ticker": "AAPL", "session": days, "close": 100.0, "volume": 1e6, "dividend": 0.0}
    rows |= {"split": 1.0, "basis": "as_traded", "fetched_at": pd.Timestamp("2026-01-02", tz="UTC")}
    adjusted = {"yahoo": [50.0, 50.0, 50.0], "tiingo": [7.0, 7.0, 7.0], "polygon": [7.0, 8.0, 8.0]}

    def flags(*vendors: str, without: int | None = None) -> list[bool]:
        frames = [
            pd.DataFrame(rows | {"vendor": name, "adjusted_close": adjusted[name]})
            for name in vendors
        ]
        if without is not None:
            frames[-1] = frames[-1].drop(index=without)
        table = settle_closes(pd.concat(frames, ignore_index=True))
        return list(table["adjustment_mismatch"])

    assert flags("yahoo", "tiingo") == [False] * 3  # on two scales, each moving as its closes
    assert flags("yahoo", "tiingo", "polygon") == [False, True, False]
    # without the session before there is nothing to compare with
    assert flags("yahoo", "polygon", without=0) == [False] * 3


def test_one_ticker_is_not_compared_with_the_next() -> None:
    first, second = (
        {"ticker": name, "close": close, "adjusted_close": close}
        for name, close in (("AAPL", 100.0), ("KO", 10.0))
    )
    rows = {"vendor": "yahoo", "session": pd.Timestamp("2025-09-01"), "volume": 1e6}
    rows |= {"dividend": 0.0, "split": 1.0, "basis": "as_traded"}
    rows |= {"fetched_at": pd.Timestamp("2026-01-02", tz="UTC")}
    table = settle_closes(pd.DataFrame([rows | first, rows | second]))
    assert not table["adjustment_mismatch"].any()
