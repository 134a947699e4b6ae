"""The time-weighted average: known answers, spacing, sessions and the window."""

import datetime as dt

import pytest

from quanta_pipelines.protocol.market_hours import MarketClock
from quanta_pipelines.protocol.params import QUANTA, MarketDataParams
from quanta_pipelines.protocol.quotes import judge_quotes
from quanta_pipelines.protocol.twap import time_weighted_average, window_opens

from .quote_tables import every, ny, quote, table

MONDAY, WEDNESDAY, HALF_DAY = dt.date(2025, 11, 24), dt.date(2025, 11, 26), dt.date(2025, 11, 28)
RULES = QUANTA.market_data


def average(
    rows: list[dict[str, object]], now: dt.datetime, rules: MarketDataParams = RULES
) -> float | None:
    """The average of AAPL, None where it has none."""
    usable = judge_quotes(table(*rows), now).usable
    found = time_weighted_average(usable, MarketClock.at(now), rules)
    return found.get("AAPL")


def test_a_quote_counts_for_the_time_until_the_next_one():
    # ten quotes from 10:00 to 10:45, five minutes apart: 100 for 45 minutes;
    # then 106 from 10:50 to 11:00: (50 * 100 + 10 * 106) / 60 = 101
    rows = [*every(5, 10, ny("10:00")), quote(106.0, ny("10:50"))]
    assert average(rows, ny("11:00")) == pytest.approx(101.0)


def test_a_burst_of_quotes_weighs_as_much_as_its_time():
    # the specification's unweighted mean gives (23 * 100 + 230 * 200) / 253 = 190.9; by time,
    # 100 for 230 minutes, then 230 quotes at 200 within 10 minutes: (230 * 100 + 10 * 200) / 240
    calm = every(10, 23, ny("10:00"))
    burst = every(10 / 230, 230, ny("13:50"), price=200.0)
    assert average([*calm, *burst], ny("14:00")) == pytest.approx(25_000 / 240)  # 104.17


def test_a_quote_speaks_for_at_most_the_time_until_it_is_stale():
    # 100 from 10:00 to 10:45 and 15 minutes on; nothing until 13:00, then 130 for 15 minutes,
    # as long as the last of them may: (60 * 100 + 15 * 130) / 75 = 106
    rows = [*every(5, 10, ny("10:00")), quote(130.0, ny("13:00"))]
    assert average(rows, ny("15:00")) == pytest.approx(106.0)


def test_a_quote_speaks_until_the_close_and_not_through_the_night():
    # Monday 100 from 15:00 to 15:55, and five minutes to the close; Tuesday 112 from 9:40 to 9:50
    rows = [*every(5, 12, ny("15:00", MONDAY)), quote(112.0, ny("09:40"))]
    assert average(rows, ny("09:50")) == pytest.approx((60 * 100 + 10 * 112) / 70)


def test_quotes_before_the_open_and_from_the_close_on_do_not_count():
    rows = every(5, 10, ny("10:00"))
    outside = [quote(500.0, ny("09:29:59")), quote(500.0, ny("16:00", MONDAY))]
    assert average([*rows, *outside], ny("10:50")) == 100.0


def test_the_window_holds_24_hours_and_not_its_first_moment():
    old = [quote(500.0, ny("12:00", MONDAY)), quote(500.0, ny("11:55", MONDAY))]
    rows = every(5, 10, ny("10:00"))
    assert average([*rows, *old], ny("12:00")) == 100.0
    # a second later it counts, for 15 minutes beside 60 of the others: (15 * 500 + 60 * 100) / 75
    inside = quote(500.0, ny("12:00:01", MONDAY))
    assert average([*rows, inside], ny("12:00")) == pytest.approx(180.0)


def test_while_the_market_is_shut_the_window_ends_with_the_last_close():
    sunday = ny("18:00", dt.date(2025, 11, 30))
    # after Thanksgiving a half day closes at 13:00, so Thursday 13:00 on: the whole half day
    assert window_opens(MarketClock.at(sunday)) == ny("13:00", dt.date(2025, 11, 27))
    rows = every(5, 12, ny("12:00", HALF_DAY))
    assert average(rows, sunday) == 100.0
    # the last one, at 12:55, speaks for the five minutes to the early close
    rows[-1]["price"] = 160.0
    assert average(rows, sunday) == pytest.approx((55 * 100 + 5 * 160) / 60)


@pytest.mark.parametrize(
    ("minutes", "found"),
    [
        (5.0, 100.0),
        (5.4, 100.0),  # a poller that comes a little late each time
        (4.99, None),  # the second one at 10:04:59 falls into the interval of the first
    ],
)
def test_quotes_in_ten_intervals_of_five_minutes_are_enough(minutes, found):
    assert average(every(minutes, 10, ny("10:00")), ny("11:00")) == found


def test_nine_quotes_are_not_enough_however_far_apart():
    assert average(every(10, 9, ny("10:00")), ny("12:00")) is None


def test_a_burst_is_not_spaced():
    # 500 quotes in 500 seconds fill two intervals
    assert average(every(1 / 60, 500, ny("10:00")), ny("12:00")) is None


def test_without_an_interval_every_quote_counts():
    params = QUANTA.changed(market_data__price_cache_ttl_seconds=0).market_data
    assert average(every(1 / 60, 10, ny("10:00")), ny("12:00"), params) == 100.0
    assert average(every(1 / 60, 9, ny("10:00")), ny("12:00"), params) is None


def test_each_vendor_needs_its_own_quotes_and_the_median_of_vendors_counts():
    rows = [
        *every(5, 10, ny("10:00"), price=100.0, vendor="tiingo"),
        *every(5, 10, ny("10:00"), price=102.0, vendor="polygon"),
        *every(5, 10, ny("10:00"), price=900.0, vendor="yahoo"),
    ]
    assert average(rows, ny("11:00")) == 102.0
    assert average(rows[:20], ny("11:00")) == 101.0
    assert average(rows[:19], ny("11:00")) == 100.0  # polygon has nine


def test_quotes_at_this_very_moment_have_no_time_yet():
    rules_now = ny("10:45")
    rows = every(5, 10, ny("10:00"))
    assert average(rows, rules_now) == 100.0  # the tenth has just come
    assert average([{**row, "at": rows[-1]["at"]} for row in rows[:1]], rules_now) is None
