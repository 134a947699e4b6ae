"""Settled closes: known answers first, then what holds for any input."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol.errors import InvalidCorrection, InvalidPrices
from quanta_pipelines.protocol.oracle import classify_disagreement, settle_closes, settled_values
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


def test_a_vendor_that_did_not_answer_was_asked_all_the_same() -> None:
    alone = seen("yahoo", [100.0])
    assert first(alone)["status"] == "settled"
    told = settle_closes(alone, asked=("tiingo", "yahoo")).iloc[0]
    assert (told["status"], told["sources"], told["n_vendors"]) == ("disputed", "yahoo", 1)
    assert not told["anomaly"]  # nobody contradicts; there are only too few
    recorded = settle_closes(alone.assign(asked="tiingo,yahoo")).iloc[0]
    assert recorded["status"] == "disputed"


def test_who_was_asked_is_never_fewer_than_who_answered() -> None:
    rows = pd.concat([seen("yahoo", [100.0]), seen("tiingo", [101.0])])
    assert settle_closes(rows.assign(asked="yahoo"))["status"].item() == "disputed"


def events(*stated: tuple[str, float, float]) -> pd.DataFrame:
    """Closes 100, 50, 51 by each vendor, which states a split and a dividend on the second day."""
    return settle(
        *(
            seen(name, [100.0, 50.0, 51.0], split=[1.0, split, 1.0], dividend=[0.0, dividend, 0.0])
            for name, split, dividend in stated
        )
    )


def test_a_split_that_one_of_three_missed_is_corrected_and_flagged() -> None:
    table = events(("tiingo", 1.0, 0.0), ("polygon", 2.0, 0.0), ("yahoo", 2.0, 0.0))
    np.testing.assert_allclose(table["total_return"], [np.nan, 0.0, 0.02])
    # the day after is measured from a close that nobody contradicts
    assert list(table["anomaly"]) == [False, True, False]


def test_a_dividend_that_one_of_three_missed_is_corrected_and_flagged() -> None:
    table = events(("tiingo", 2.0, 0.0), ("polygon", 2.0, 1.0), ("yahoo", 2.0, 1.0))
    np.testing.assert_allclose(table["total_return"], [np.nan, 0.01, 0.02])
    assert table["anomaly"].iloc[1]


@pytest.mark.parametrize(
    "stated",
    [
        [("tiingo", 2.0, 0.0), ("yahoo", 1.0, 0.0)],  # one split or none
        [("tiingo", 2.0, 0.5), ("yahoo", 2.0, 0.0)],  # one dividend or none
        [("tiingo", 2.0, 0.005), ("yahoo", 2.0, 0.0)],  # half a cent is within a cent of nothing
        [("tiingo", 2.0, 0.5), ("yahoo", 2.0, 0.6)],
        [("tiingo", 2.0, 0.0), ("polygon", 3.0, 0.0), ("yahoo", 1.0, 0.0)],
        [("a", 2.0, 0.005), ("b", 2.0, 0.005), ("c", 2.0, 0.0), ("d", 2.0, 0.0)],  # two and two
    ],
)
def test_a_split_or_dividend_without_enough_agreement_is_disputed(
    stated: list[tuple[str, float, float]],
) -> None:
    table = events(*stated)
    assert list(table["status"]) == ["settled", "disputed", "settled"]
    assert table[["close", "total_return"]].iloc[1].isna().all()
    assert table["anomaly"].iloc[1]
    # the closes are not in dispute: the next return is measured from the one of that day
    assert table["total_return"].iloc[2] == pytest.approx(0.02)


def test_dividends_agree_within_the_tolerance_of_closes() -> None:
    table = events(("tiingo", 2.0, 0.205), ("yahoo", 2.0, 0.21))  # half a cent apart
    assert table["total_return"].iloc[1] == pytest.approx(0.00205)  # the primary's


def test_splits_agree_within_ten_basis_points_and_not_within_a_cent() -> None:
    thirds = events(("tiingo", 1 / 3, 0.0), ("yahoo", 0.3333, 0.0))
    assert thirds["total_return"].iloc[1] == pytest.approx(50 / 300 - 1)
    assert events(("tiingo", 1.0, 0.0), ("yahoo", 1.01, 0.0))["status"].iloc[1] == "disputed"


def test_a_close_whose_split_or_dividend_nobody_states_is_disputed() -> None:
    for column in ("split", "dividend"):
        table = settle(seen("yahoo", [100.0, 101.0, 102.0], **{column: [1.0, np.nan, 1.0]}))
        assert list(table["status"]) == ["settled", "disputed", "settled"]
        # 102 against 101, with the dividend of 1 where one was stated
        paid = 1.0 if column == "dividend" else 0.0
        assert table["total_return"].iloc[2] == pytest.approx((102 + paid) / 101 - 1)


def test_a_vendor_that_states_nothing_contradicts_nobody() -> None:
    silent = seen("tiingo", [100.0, 50.0], split=np.nan, dividend=np.nan)
    table = settle(silent, seen("yahoo", [100.0, 50.0], split=[1.0, 2.0]))
    assert list(table["status"]) == ["settled", "settled"]
    assert table["total_return"].iloc[1] == 0.0
    assert not table["anomaly"].any()


def test_a_return_over_a_gap_with_a_disputed_split_is_disputed() -> None:
    # on the second day neither closes nor splits agree; on the third both do, but on what base?
    table = settle(
        seen("tiingo", [100.0, 50.0, 51.0, 52.0], split=[1.0, 2.0, 1.0, 1.0]),
        seen("yahoo", [100.0, 60.0, 51.0, 52.0]),
    )
    assert list(table["status"]) == ["settled", "disputed", "disputed", "settled"]
    assert table["total_return"].iloc[3] == pytest.approx(52 / 51 - 1)


def test_a_return_from_a_contradicted_close_is_flagged() -> None:
    table = settle(
        seen("tiingo", [100.0, 110.0, 101.0, 102.0]),
        seen("polygon", [100.0, 110.0, 101.0, 102.0]),
        seen("yahoo", [100.0, 100.5, 101.0, 102.0]),
    )
    assert list(table["anomaly"]) == [False, True, True, False]


def corrections(*rows: tuple[int, str, float]) -> pd.DataFrame:
    """Corrections of AAPL: session, field, value."""
    frame = pd.DataFrame(rows, columns=["place", "field", "new_value"])
    return frame.assign(ticker="AAPL", session=[SESSIONS[place] for place in frame["place"]])


def test_a_corrected_close_wins_over_vendors_and_shows() -> None:
    rows = pd.concat([seen("tiingo", [100.0, 101.0, 103.0]), seen("yahoo", [100.0, 102.0, 103.0])])
    before = settle_closes(rows)
    assert list(before["status"]) == ["settled", "disputed", "settled"]
    table = settle_closes(rows, corrections=corrections((1, "close", 102.0)))
    assert list(table["status"]) == ["settled"] * 3
    assert list(table["close"]) == [100.0, 102.0, 103.0]
    np.testing.assert_allclose(table["total_return"], [np.nan, 0.02, 103 / 102 - 1])
    assert list(table["sources"]) == ["tiingo,yahoo", "correction", "tiingo,yahoo"]
    assert table["anomaly"].iloc[1]
    wins = settle_closes(rows, corrections=corrections((2, "close", 104.0)))
    assert wins["close"].iloc[2] == 104.0


def test_a_corrected_dividend_settles_what_it_was_disputed_for() -> None:
    rows = pd.concat(
        [seen("tiingo", [100.0, 101.0], dividend=[0.0, 1.0]), seen("yahoo", [100.0, 101.0])]
    )
    table = settle_closes(rows, corrections=corrections((1, "dividend", 1.0)))
    assert table["total_return"].iloc[1] == pytest.approx(0.02)
    assert (table["status"].iloc[1], table["sources"].iloc[1]) == (
        "settled",
        "correction,tiingo,yahoo",
    )


def test_a_split_may_be_corrected_to_none_and_a_dividend_to_nothing() -> None:
    rows = seen("yahoo", [100.0, 101.0], split=[1.0, 2.0], dividend=[0.0, 5.0])
    fixed = settle_closes(rows, corrections=corrections((1, "split", 1.0), (1, "dividend", 0.0)))
    assert fixed["total_return"].iloc[1] == pytest.approx(0.01)


def test_a_terminal_value_may_be_recorded_where_no_vendor_has_a_row() -> None:
    table = settle_closes(
        seen("yahoo", [100.0, 101.0]), corrections=corrections((3, "close", 20.2))
    )
    last = table.iloc[-1]
    assert (last["session"], last["status"], last["n_vendors"]) == (SESSIONS[3], "settled", 0)
    assert last["total_return"] == pytest.approx(20.2 / 101 - 1)


def test_two_corrections_of_one_cell_are_refused() -> None:
    twice = corrections((0, "close", 1.0), (0, "close", 2.0))
    with pytest.raises(InvalidCorrection, match="two corrections stand for the close of AAPL on"):
        settle_closes(seen("yahoo", [100.0]), corrections=twice)


def test_what_is_settled_now_is_each_field() -> None:
    rows = pd.concat(
        [seen("tiingo", [100.0, 50.0], split=[1.0, 2.0]), seen("yahoo", [100.0, 50.0])]
    )
    found = settled_values(rows)
    assert found[["close", "dividend"]].to_numpy().tolist() == [[100.0, 0.0], [50.0, 0.0]]
    assert found["split"].iloc[0] == 1.0
    assert np.isnan(found["split"].iloc[1])


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
