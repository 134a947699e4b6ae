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
