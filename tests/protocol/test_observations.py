"""What vendors saw: what is refused, and what a row says on the as-traded basis."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.observations import as_traded, row_median, vendor_panel


def seen() -> pd.DataFrame:
    """One observation."""
    row = {
        "vendor": "yahoo",
        "ticker": "AAPL",
        "session": pd.Timestamp("2025-09-01"),
        "close": 100.0,
        "volume": 1e6,
        "dividend": 0.0,
        "split": 1.0,
        "basis": "as_traded",
        "fetched_at": pd.Timestamp("2025-09-05 22:00", tz="UTC"),
    }
    return pd.DataFrame([row])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"close": 0.0}, "close is not positive: 1 rows, first yahoo AAPL 2025-09-01 close 0.0"),
        ({"close": -1.0}, "close is not positive"),
        ({"close": np.inf}, "close is not positive"),
        ({"split": 0.0}, "split is not positive"),
        ({"dividend": -0.1}, "dividend is not at least zero"),
        ({"volume": -1.0}, "volume is not at least zero"),
        ({"basis": "unadjusted"}, "basis is none of as_traded.*AAPL 2025-09-01"),
        ({"session": pd.Timestamp("2025-09-01 16:00")}, "no midnight"),
        ({"session": pd.Timestamp("2025-09-01", tz="UTC")}, "without a time zone"),
        ({"ticker": None}, "without its full key"),
        (
            {"fetched_at": "2025-09-05T22:00:00Z"},
            "fetched_at holds times with a time zone, not object, '2025-09-05T22:00:00Z'",
        ),
        ({"fetched_at": 1.7e9}, "fetched_at holds times with a time zone, not float64"),
        ({"fetched_at": pd.Timestamp("2025-09-05 22:00")}, "fetched_at a time with one"),
    ],
)
def test_prices_that_cannot_be_settled_are_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidPrices, match=reason):
        as_traded(seen().assign(**wrong))


def test_an_observation_twice_at_once_is_refused() -> None:
    with pytest.raises(InvalidPrices, match="observed twice at once: 2 rows, first yahoo AAPL"):
        as_traded(pd.concat([seen(), seen().assign(close=101.0)]))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidPrices, match="lack the columns split, basis"):
        as_traded(seen().drop(columns=["basis", "split"]))


def test_a_split_adjusted_row_is_multiplied_by_all_later_splits() -> None:
    # 4 for 1 on the second day, 1 for 2 on the third: 100 * 4 / 2, 1.5 * 4 / 2, 1 m / 2 shares
    rows = pd.concat([seen()] * 3, ignore_index=True).assign(
        session=pd.date_range("2025-09-01", periods=3),
        split=[1.0, 4.0, 0.5],
        dividend=[1.5, 0.0, 0.0],
        basis="split_adjusted",
    )
    traded = as_traded(rows)
    assert list(traded["close"]) == [200.0, 50.0, 100.0]
    assert list(traded["dividend"]) == [3.0, 0.0, 0.0]
    assert list(traded["volume"]) == [500_000.0, 2_000_000.0, 1_000_000.0]


def test_the_input_is_not_changed() -> None:
    rows = seen().assign(basis="split_adjusted", split=2.0)
    before = rows.copy()
    as_traded(rows)
    pd.testing.assert_frame_equal(rows, before)


def test_the_median_of_a_row_is_over_what_is_known() -> None:
    values = np.array([[3.0, np.nan, 1.0], [np.nan, np.nan, 5.0], [2.0, 9.0, 1.0], [np.nan] * 3])
    np.testing.assert_array_equal(row_median(values), [2.0, 5.0, 2.0, np.nan])


def test_the_observations_that_are_handed_over_stay_as_they_are() -> None:
    rows = pd.concat([seen(), seen().assign(vendor="tiingo", split=2.0)])
    rows = rows.reset_index(drop=True).assign(adjusted_close=7.0)
    before = rows.copy(deep=True)
    assert not as_traded(rows).empty
    vendor_panel(rows)
    pd.testing.assert_frame_equal(rows, before, check_exact=True)
