"""Settled closes: known answers first, then what holds for any input."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.oracle import classify_disagreement, settle_closes
from quanta_pipelines.protocol.params import QUANTA

SESSIONS = pd.bdate_range("2025-09-01", periods=80)
LATER = pd.Timestamp("2026-01-02 22:00", tz="UTC")  # after every session above


def seen(vendor: str, closes: list[float], **columns: object) -> pd.DataFrame:
    """One vendor's rows of AAPL from the first session on; columns may be lists or one value."""
    rows = {
        "vendor": vendor,
        "ticker": "AAPL",
        "session": SESSIONS[: len(closes)],
        "close": closes,
        "volume": 1e6,
        "dividend": 0.0,
        "split": 1.0,
        "basis": "as_traded",
        "fetched_at": LATER,
    }
    return pd.DataFrame(rows | columns)


def settle(*frames: pd.DataFrame) -> pd.DataFrame:
    return settle_closes(pd.concat(frames))


def first(*frames: pd.DataFrame) -> "pd.Series[Any]":
    return settle(*frames).iloc[0]


def test_the_primary_is_settled_where_it_agrees() -> None:
    # median of 100.00 and 100.10 is 100.05; 10 bps of it are 0.10005, both are 0.05 away
    row = first(seen("polygon", [100.10]), seen("tiingo", [100.00]))
    assert (row["close"], row["status"], row["n_vendors"]) == (100.00, "settled", 2)
    assert (row["sources"], row["anomaly"]) == ("polygon,tiingo", False)


def test_without_the_primary_the_median_of_those_that_agree_is_settled() -> None:
    # median of 90, 100.00, 100.04 is 100.00: tiingo is apart, (100.00 + 100.04) / 2 = 100.02
    row = first(seen("tiingo", [90.0]), seen("polygon", [100.00]), seen("yahoo", [100.04]))
    assert row["close"] == pytest.approx(100.02, abs=1e-12)
    assert (row["sources"], row["n_vendors"], row["anomaly"]) == ("polygon,yahoo", 3, True)


def test_the_next_in_order_is_primary_where_the_first_has_no_close() -> None:
    row = first(seen("tiingo", [np.nan]), seen("polygon", [100.00]), seen("yahoo", [100.04]))
    assert (row["close"], row["n_vendors"]) == (100.00, 2)


def test_vendors_outside_the_order_are_no_primaries() -> None:
    assert first(seen("a", [100.00]), seen("b", [100.04]))["close"] == pytest.approx(100.02)


@pytest.mark.parametrize(
    ("closes", "status"),
    [
        ((5.00, 5.02), "settled"),  # a cent each from 5.01, exactly the limit
        ((5.00, 5.03), "disputed"),  # one and a half cents
        ((1000.0, 1002.0), "settled"),  # 1.00 each from 1001, 10 bps are 1.001
        ((1000.0, 1002.1), "disputed"),  # 1.05 each from 1001.05
    ],
)
def test_near_is_ten_basis_points_or_a_cent(closes: tuple[float, float], status: str) -> None:
    assert first(seen("tiingo", [closes[0]]), seen("yahoo", [closes[1]]))["status"] == status


def test_two_vendors_apart_settle_nothing() -> None:
    row = first(seen("tiingo", [100.0]), seen("yahoo", [101.0]))
    assert np.isnan(row["close"])
    assert (row["status"], row["sources"], row["anomaly"]) == ("disputed", "", True)


def test_one_of_two_configured_vendors_is_not_enough() -> None:
    table = settle(seen("tiingo", [100.0, 101.0]), seen("yahoo", [100.0]))
    assert list(table["status"]) == ["settled", "disputed"]
    alone = QUANTA.changed(market_data__required_vendors=1)
    both = pd.concat([seen("tiingo", [100.0, 101.0]), seen("yahoo", [100.0])])
    assert list(settle_closes(both, alone)["status"]) == ["settled", "settled"]


def test_a_single_configured_vendor_is_enough() -> None:
    assert list(settle(seen("yahoo", [100.0, 101.0]))["status"]) == ["settled", "settled"]


def test_a_missing_close_is_stale_and_not_disputed() -> None:
    row = settle(seen("yahoo", [100.0, np.nan])).iloc[1]
    assert (row["status"], row["stale"], row["n_vendors"], row["sources"]) == (
        "missing",
        True,
        0,
        "",
    )


def test_the_latest_fetch_counts() -> None:
    corrected = seen("yahoo", [99.0], fetched_at=LATER + pd.Timedelta(hours=1))
    assert first(corrected, seen("yahoo", [100.0]))["close"] == 99.0


def test_total_return_needs_no_adjusted_close() -> None:
    # a dividend of 1 on 100 -> 101, then 2 for 1 on 101 -> 51
    table = settle(
        seen("yahoo", [100.0, 101.0, 51.0], dividend=[0.0, 1.0, 0.0], split=[1.0, 1.0, 2.0])
    )
    expected = [np.nan, (101 + 1) / 100 - 1, 51 * 2 / 101 - 1]
    np.testing.assert_allclose(table["total_return"], expected, rtol=1e-12)


def test_a_return_after_a_gap_holds_what_happened_in_it() -> None:
    # one share at 100; 2 for 1 and then 3 on each of 2 shares, closes unknown; two shares at 52
    table = settle(
        seen(
            "yahoo",
            [100.0, np.nan, np.nan, 52.0],
            split=[1.0, 2.0, 1.0, 1.0],
            dividend=[0.0, 0.0, 3.0, 0.0],
        )
    )
    expected = [np.nan, np.nan, np.nan, (2 * 52 + 2 * 3) / 100 - 1]
    np.testing.assert_allclose(table["total_return"], expected, rtol=1e-12)


def test_an_unknown_dividend_is_an_unknown_return() -> None:
    assert settle(seen("yahoo", [100.0, 101.0], dividend=np.nan))["total_return"].isna().all()


def test_dividends_come_from_the_first_that_agrees_and_knows() -> None:
    table = settle(
        seen("tiingo", [100.0, 90.0], dividend=9.0),  # apart on the second session
        seen("polygon", [100.0, 101.0], dividend=np.nan),
        seen("yahoo", [100.0, 101.0], dividend=0.5),
    )
    assert table["total_return"].iloc[1] == pytest.approx((101 + 0.5) / 100 - 1)


def test_split_adjusted_vendors_are_brought_to_the_traded_basis() -> None:
    # 4 for 1 on the second session: 125 * 4 = 500, a dividend of 0.2 * 4, 8 m / 4 shares
    table = settle(
        seen("tiingo", [500.0, 126.0], split=[1.0, 4.0]),
        seen("yahoo", [125.0, 126.0], split=[1.0, 4.0], basis="split_adjusted"),
    )
    assert list(table["status"]) == ["settled", "settled"]
    assert table["total_return"].iloc[1] == pytest.approx(126 * 4 / 500 - 1)
    assert not table["anomaly"].any()


def test_a_split_after_the_fetch_is_not_in_the_close() -> None:
    # the first session was fetched that evening in New York, three days before 4 for 1
    fetched = [pd.Timestamp("2025-09-02 00:30", tz="UTC"), LATER, LATER]
    rows = seen("yahoo", [500.0, 126.0, 127.0], split=[1.0, 4.0, 1.0], basis="split_adjusted")
    table = settle(rows.assign(fetched_at=fetched))
    assert list(table["close"]) == [500.0, 126.0, 127.0]


def test_adjusted_levels_do_not_settle_beside_traded_ones() -> None:
    adjusted = seen("recorded", [91.0, 92.0], basis="adjusted", dividend=np.nan, split=np.nan)
    one = QUANTA.changed(market_data__required_vendors=1)
    table = settle_closes(pd.concat([adjusted, seen("tiingo", [100.0])]), one)
    assert list(table["status"]) == ["settled", "missing"]
    assert list(table["sources"]) == ["tiingo", ""]
    assert table["close"].iloc[0] == 100.0


def test_adjusted_vendors_settle_among_themselves_by_ratio() -> None:
    a, b = (seen(name, [50.0, 51.0], basis="adjusted", dividend=7.0, split=3.0) for name in "ab")
    table = settle(a, b)
    assert list(table["status"]) == ["settled", "settled"]
    assert table["total_return"].iloc[1] == pytest.approx(51 / 50 - 1)


def test_nothing_observed_is_an_empty_table_with_its_types() -> None:
    full = settle(seen("yahoo", [100.0]))
    pd.testing.assert_series_equal(settle_closes(seen("yahoo", [])).dtypes, full.dtypes)


_CLOSES = st.lists(
    st.one_of(st.floats(1.0, 1000.0), st.just(np.nan), st.just(100.0)), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=40)
@given(st.lists(_CLOSES, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(closes: list[list[float]], shuffle: Any) -> None:
    names = ("tiingo", "polygon", "yahoo", "other")
    rows = pd.concat([seen(name, own) for name, own in zip(names, closes, strict=False)])
    order = list(range(len(rows)))
    shuffle.shuffle(order)
    pd.testing.assert_frame_equal(
        settle_closes(rows), settle_closes(rows.iloc[order]), check_exact=True
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(_CLOSES, min_size=2, max_size=4))
def test_a_settled_close_lies_among_the_closes_that_agree(closes: list[list[float]]) -> None:
    rows = pd.concat([seen(name, own) for name, own in zip("abcd", closes, strict=False)])
    table = settle_closes(rows).set_index("session")
    for session, row in table[table["status"] == "settled"].iterrows():
        agreeing = rows[
            (rows["session"] == session) & rows["vendor"].isin(row["sources"].split(","))
        ]
        assert len(agreeing) >= 2
        assert agreeing["close"].min() <= row["close"] <= agreeing["close"].max()
    assert table["close"].isna().eq(table["status"] != "settled").all()


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.0, 1.0, 1.3, 1.0], "isolated"),
        ([4.0, 4.0, 4.001, 1.0], "constant_ratio"),
        ([1.1, 1.2, 1.3, 1.4], "varying_ratio"),
        ([1.0005, 0.5, 1.0, 0.5], "isolated"),
    ],
)
def test_a_disagreement_has_a_kind(ratios: list[float], expected: str) -> None:
    assert classify_disagreement(np.array(ratios)) == expected


def test_vendors_that_agree_have_no_kind_of_disagreement() -> None:
    with pytest.raises(InvalidPrices, match=r"none of 2 ratios is apart by more than 0\.001"):
        classify_disagreement(np.array([1.0, 1.0009]))
