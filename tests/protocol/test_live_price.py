"""The live price: known answers, who is trusted, flags, and what no order or scale may change."""

import datetime as dt
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol.errors import InvalidQuotes
from quanta_pipelines.protocol.live_price import COMPONENTS, live_prices, weighted_median
from quanta_pipelines.protocol.params import QUANTA

from .quote_tables import every, ny, quote, table

NOW = ny("11:00")
HALF, THREE, TWO = Fraction(1, 2), Fraction(3, 10), Fraction(1, 5)
VENDORS = ("tiingo", "polygon", "yahoo")


def one(rows: list[dict[str, object]], now: dt.datetime = NOW, **changes: object) -> pd.Series:
    """The row of AAPL, under the protocol's rules with some numbers changed."""
    params = QUANTA.changed(**{f"market_data__{name}": new for name, new in changes.items()})
    prices = live_prices(table(*rows), now, tickers=["AAPL"], params=params).prices
    assert len(prices) == 1
    return prices.iloc[0]


def spots(*prices: float, at: dt.datetime = NOW, **sides: float) -> list[dict[str, object]]:
    """A quote of each vendor, in the order of primaries."""
    return [
        quote(price, at, vendor=vendor, **sides)
        for price, vendor in zip(prices, VENDORS, strict=False)
    ]


# The weighted median


@pytest.mark.parametrize(
    ("values", "weights", "median"),
    [
        ([100.0, 101.0, 103.0], [HALF, THREE, TWO], 100.5),  # half is reached at 100 exactly
        ([101.0, 100.0, 103.0], [HALF, THREE, TWO], 101.0),  # 0.3 below, 0.8 with it
        ([103.0, 100.0, 101.0], [HALF, THREE, TWO], 102.0),  # 0.3 + 0.2 is one half: the midpoint
        ([100.0, 104.0], [THREE, TWO], 100.0),  # 0.6 of what is there
        ([100.0, 104.0], [TWO, TWO], 102.0),
        ([7.0], [TWO], 7.0),
        ([100.0, 102.0, 109.0], [HALF, Fraction(0), HALF], 104.5),  # no weight, no neighbour
        ([100.0, 100.0, 103.0], [THREE, TWO, HALF], 101.5),
    ],
)
def test_weighted_median_known_answers(values, weights, median):
    assert weighted_median(values, weights) == median


def test_one_half_is_compared_exactly():
    # seven tenths of binary 0.1 are 0.7 or 0.7 less a bit, by the order in which they are summed;
    # in fractions 0.1 + 0.2 + 0.4 is exactly half of 1.4
    weights = [Fraction(text) for text in ("0.1", "0.2", "0.4", "0.7")]
    assert weighted_median([1.0, 2.0, 3.0, 5.0], weights) == 4.0


@pytest.mark.parametrize(
    ("values", "weights"),
    [
        ([], []),
        ([1.0], [Fraction(0)]),
        ([1.0, 2.0], [HALF]),
        ([1.0], [-HALF]),
        ([np.nan, 1.0], [HALF, HALF]),
    ],
)
def test_there_is_no_median_without_finite_values_and_a_weight(values, weights):
    with pytest.raises(InvalidQuotes):
        weighted_median(values, weights)


weighted = st.lists(
    st.tuples(st.integers(1, 10**6), st.fractions(0, 1, max_denominator=20)), min_size=1
).filter(lambda pairs: any(weight for _, weight in pairs))


@given(weighted, st.randoms(use_true_random=False))
def test_at_most_half_of_the_weight_lies_on_either_side_of_the_median(pairs, random):
    values, weights = [float(value) for value, _ in pairs], [weight for _, weight in pairs]
    median = weighted_median(values, weights)
    total = sum(weights)
    assert 2 * sum(w for v, w in zip(values, weights, strict=True) if v < median) <= total
    assert 2 * sum(w for v, w in zip(values, weights, strict=True) if v > median) <= total
    random.shuffle(pairs)
    assert weighted_median([float(v) for v, _ in pairs], [w for _, w in pairs]) == median


# The price and its components


def test_the_price_of_three_components():
    # average 100 (ten quotes at 100), primary 100.04, by volume (3 * 100.04 + 1 * 100.08) / 4 =
    # 100.05; in order 100 has exactly 0.5: the midpoint of 100 and 100.04
    rows = [
        *every(5, 10, ny("10:00")),
        quote(100.04, NOW, vendor="tiingo", volume=300.0),
        quote(100.08, NOW, vendor="polygon", volume=100.0),
    ]
    found = one(rows)
    assert found[list(COMPONENTS)].tolist() == pytest.approx([100.0, 100.04, 100.05])
    assert found["price"] == pytest.approx(100.02)
    assert [found[f"{name}_weight"] for name in COMPONENTS] == [0.5, 0.3, 0.2]
    assert found["sources"] == "polygon,tiingo"
    assert found["primary_vendor"] == "tiingo"
    assert not found["anomaly"]


def test_missing_components_drop_out_and_weights_renormalise():
    # no average: 0.3 / 0.5 and 0.2 / 0.5, so the primary holds 0.6 of the weight
    found = one(spots(100.0, 100.1, volume=5.0))
    assert [found[f"{name}_weight"] for name in COMPONENTS] == [0.0, 0.6, 0.4]
    assert np.isnan(found["twap"])
    assert found["volume_weighted"] == pytest.approx(100.05)
    assert found["price"] == 100.0
    # no volume either: the primary alone
    alone = one(spots(100.0, 100.1))
    assert [alone[f"{name}_weight"] for name in COMPONENTS] == [0.0, 1.0, 0.0]
    assert alone["price"] == 100.0


@pytest.mark.parametrize(
    ("present", "primary"),
    [
        (("tiingo", "polygon", "yahoo"), "tiingo"),
        (("polygon", "yahoo"), "polygon"),
        (("yahoo",), "yahoo"),
    ],
)
def test_the_primary_is_the_first_vendor_of_the_order_that_is_there(present, primary):
    rows = [quote(100.0, NOW, vendor=vendor) for vendor in present]
    assert one(rows)["primary_vendor"] == primary


def test_a_vendor_outside_the_order_is_no_primary_and_counts_by_volume():
    found = one([quote(100.0, NOW, vendor="another", volume=7.0)])
    assert (found["primary_vendor"], found["price"]) == ("", 100.0)
    assert found["volume_weighted_weight"] == 1.0
    silent = one([quote(100.0, NOW, vendor="another")])
    assert np.isnan(silent["price"])
    assert silent["reason"] == "no vendor of the order, no volume and no average"


def test_a_bad_tick_of_the_primary_does_not_reach_the_price():
    # the specification's formula gives 1000 here, whatever the others say
    found = live_prices(table(*spots(1000.0, 100.0, 101.0, volume=10.0)), NOW)
    row = found.prices.iloc[0]
    assert 100.0 <= row["price"] <= 101.0
    assert row["anomaly"]
    # 1000 / 101 - 1 is 8.90099, 100 / 101 - 1 is -0.0099
    assert found.set_aside[["vendor", "reason"]].to_numpy().tolist() == [
        ["polygon", "-99.0 basis points from the vendors' median 101.0000"],
        ["tiingo", "+89009.9 basis points from the vendors' median 101.0000"],
    ]


def test_two_vendors_apart_are_a_flag_and_the_order_decides():
    found = one(spots(100.0, 101.0))
    assert (found["primary"], found["anomaly"], found["sources"]) == (100.0, True, "polygon,tiingo")


@pytest.mark.parametrize(
    ("second", "anomaly"),
    [
        # the tolerance is 10 bps of the median: 100.1 each way around 100.1 / 2 ...
        (100.2, False),  # median 100.1, 0.1 away, tolerance 0.1001
        (100.21, True),  # median 100.105, 0.105 away, tolerance 0.100105
    ],
)
def test_the_tolerance_is_that_of_settled_closes(second, anomaly):
    assert bool(one(spots(100.0, second))["anomaly"]) is anomaly


def test_a_stale_vendor_is_passed_over_where_another_is_fresh():
    rows = [
        quote(90.0, NOW - dt.timedelta(seconds=901), vendor="tiingo", volume=10.0),
        quote(100.0, NOW, vendor="polygon", volume=10.0),
    ]
    found = live_prices(table(*rows), NOW)
    row = found.prices.iloc[0]
    assert (row["primary_vendor"], row["price"], row["n_vendors"]) == ("polygon", 100.0, 1)
    assert found.set_aside["reason"].tolist() == [
        "older than 900 s where another vendor's quote is not"
    ]
    rows[0] = quote(90.0, NOW - dt.timedelta(seconds=900), vendor="tiingo")
    assert one(rows)["n_vendors"] == 2


def test_only_the_newest_quote_of_a_vendor_is_its_spot():
    assert one([quote(90.0, ny("10:59")), quote(100.0, NOW)])["price"] == 100.0


def test_the_spread_is_in_basis_points_of_the_mid():
    # (100.05 - 99.95) / 100 is 10 basis points, whatever the last price says
    found = one([quote(103.0, NOW, bid=99.95, ask=100.05)])
    assert found["spread_bps"] == 10.0
    assert (found["bid"], found["ask"]) == (99.95, 100.05)


def test_the_spread_is_of_one_vendor_and_unknown_when_crossed():
    crossed = quote(100.0, NOW, vendor="tiingo", bid=100.1, ask=99.9)
    assert np.isnan(one([crossed])["spread_bps"])
    # one-sided at the second, 0.02 around 100 at the third
    second = quote(100.0, NOW, vendor="polygon", bid=99.0)
    third = quote(100.0, NOW, vendor="yahoo", bid=99.99, ask=100.01)
    assert one([crossed, second, third])["spread_bps"] == pytest.approx(2.0)
    assert one([quote(100.0, NOW, bid=100.0, ask=100.0)])["spread_bps"] == 0.0


# Staleness


@pytest.mark.parametrize(
    ("now", "at", "stale", "age"),
    [
        (ny("11:00"), ny("10:45"), False, 900),
        (ny("11:00"), ny("10:44:59"), True, 901),
        (ny("16:00"), ny("15:45"), False, 900),  # shut from 16:00 on
        (ny("23:00"), ny("15:50"), False, 600),  # ten minutes before the close
        (ny("23:00"), ny("15:44"), True, 960),
        (ny("23:00"), ny("18:00"), False, 0),  # after hours, newer than the close
        (ny("13:30", dt.date(2025, 11, 28)), ny("12:50", dt.date(2025, 11, 28)), False, 600),
        (ny("09:31"), ny("15:59", dt.date(2025, 11, 24)), True, 17 * 3600 + 32 * 60),
    ],
)
def test_a_price_is_stale_after_15_minutes_of_an_open_market(now, at, stale, age):
    found = one([quote(100.0, at)], now)
    assert (bool(found["stale"]), found["age_seconds"]) == (stale, age)
    assert found["price"] == 100.0  # a flag changes no price


# Every ticker has a row


def test_a_ticker_without_a_quote_has_a_row_with_the_reason():
    found = live_prices(table(quote(np.nan, NOW)), NOW, tickers=["ZZZ", "AAPL"])
    assert found.prices["ticker"].tolist() == ["AAPL", "ZZZ"]
    assert found.prices["price"].isna().all()
    assert found.prices["reason"].tolist() == ["no usable quote", "no usable quote"]
    assert found.prices["stale"].all()
    assert found.set_aside["reason"].tolist() == ["price is not a positive number"]


def test_no_quotes_at_all_keep_the_types_of_the_table():
    empty = live_prices(table(), NOW, tickers=["AAPL"]).prices
    full = live_prices(table(quote(100.0, NOW)), NOW).prices
    assert empty.dtypes.astype(str).to_dict() == full.dtypes.astype(str).to_dict()
    assert live_prices(table(), NOW).prices.empty


def test_quotes_of_other_tickers_change_nothing():
    rows = [*spots(100.0, 100.1), quote(7.0, NOW, ticker="MSFT")]
    assert live_prices(table(*rows), NOW, tickers=["AAPL"]).prices.equals(
        live_prices(table(*rows[:2]), NOW).prices
    )


def test_the_moment_is_an_argument():
    # a minute later the tenth quote has had its time, and nine became ten
    rows = every(5, 10, ny("10:00"))
    assert np.isnan(one(rows, ny("10:44"))["twap"])
    assert one(rows, ny("10:46"))["twap"] == 100.0


# Properties

cents = st.integers(1_000, 100_000).map(lambda price: price / 100)
minutes = st.integers(0, 120)
any_quotes = st.lists(
    st.builds(
        lambda vendor, ticker, minute, price, volume: quote(
            price,
            ny("11:00") - dt.timedelta(minutes=minute),
            vendor=vendor,
            ticker=ticker,
            bid=price - 0.01,
            ask=price + 0.02,
            volume=volume,
        ),
        st.sampled_from(VENDORS),
        st.sampled_from(["AAPL", "MSFT"]),
        minutes,
        cents,
        st.sampled_from([np.nan, 0.0, 100.0, 350.0]),
    ),
    min_size=1,
    max_size=60,
)

COUNTS = [8, pytest.param(300, marks=pytest.mark.soak)]


def holds(check: Callable[..., None], count: int, *drawn: st.SearchStrategy[object]) -> None:
    """Whether a property holds in so many examples."""
    settings(max_examples=count, deadline=None)(given(*drawn)(check))()


@pytest.mark.parametrize("count", COUNTS)
def test_the_order_of_the_rows_changes_nothing(count):
    holds(order_changes_nothing, count, any_quotes, st.randoms(use_true_random=False))


def order_changes_nothing(rows, random):
    shuffled = rows.copy()
    random.shuffle(shuffled)
    found, again = live_prices(table(*rows), NOW), live_prices(table(*shuffled), NOW)
    pd.testing.assert_frame_equal(found.prices, again.prices, check_exact=True)
    pd.testing.assert_frame_equal(found.set_aside, again.set_aside, check_exact=True)


@pytest.mark.parametrize("count", COUNTS)
def test_prices_in_another_unit_give_the_price_in_that_unit(count):
    holds(scale_goes_through, count, any_quotes, st.sampled_from([0.5, 4.0, 64.0]))


def scale_goes_through(rows, factor):
    # without the tolerance in cents, which has a unit
    params = QUANTA.changed(market_data__agreement_dollars=0.0)
    scaled = [
        {**row, **{name: row[name] * factor for name in ("price", "bid", "ask")}} for row in rows
    ]
    found = live_prices(table(*rows), NOW, params=params).prices
    again = live_prices(table(*scaled), NOW, params=params).prices
    names = ["price", *COMPONENTS]
    np.testing.assert_allclose(again[names], found[names] * factor, rtol=1e-9)
    np.testing.assert_allclose(again["spread_bps"], found["spread_bps"], rtol=1e-6)
    kept = ["primary_vendor", "sources", "anomaly", "stale"]
    pd.testing.assert_frame_equal(again[kept], found[kept])


@pytest.mark.parametrize("count", COUNTS)
def test_price_and_components_lie_between_the_lowest_and_the_highest_quote(count):
    holds(within_the_quotes, count, any_quotes)


def within_the_quotes(rows):
    prices = live_prices(table(*rows), NOW).prices.set_index("ticker")
    quoted = table(*rows).groupby("ticker")["price"].agg(["min", "max"]).loc[prices.index]
    for name in ("price", *COMPONENTS):
        known = prices[name].notna()
        assert (prices[name][known] >= quoted["min"][known] - 1e-9).all(), name
        assert (prices[name][known] <= quoted["max"][known] + 1e-9).all(), name
    weights = prices[[f"{name}_weight" for name in COMPONENTS]].sum(axis=1)
    np.testing.assert_allclose(weights, prices["price"].notna().astype(float))
