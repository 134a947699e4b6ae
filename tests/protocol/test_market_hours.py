"""When the market is open, across half days, holidays, daylight saving and September 2001."""

import datetime as dt

import pytest

from quanta_pipelines.protocol.epoch import session_close, session_open, sessions_between
from quanta_pipelines.protocol.errors import ProtocolError, UnknownSessions
from quanta_pipelines.protocol.market_hours import MarketClock

from .quote_tables import ny

SECOND = dt.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("day", "time", "is_open"),
    [
        ("2025-11-25", "09:29:59", False),
        ("2025-11-25", "09:30", True),
        ("2025-11-25", "15:59:59", True),
        ("2025-11-25", "16:00", False),
        ("2025-11-27", "12:00", False),  # Thanksgiving
        ("2025-11-28", "12:59:59", True),  # the half day after it
        ("2025-11-28", "13:00", False),
        ("2025-11-29", "12:00", False),  # a Saturday
        ("2025-10-31", "09:30", True),  # in summer time, 13:30 UTC
        ("2025-11-03", "09:30", True),  # in winter time, 14:30 UTC
    ],
)
def test_the_market_is_open_from_the_open_to_before_the_close(day, time, is_open):
    assert MarketClock.at(ny(time, dt.date.fromisoformat(day))).is_open is is_open


def test_ages_are_measured_against_the_last_close_while_the_market_is_shut():
    half_day_close = ny("13:00", dt.date(2025, 11, 28))
    for day, time in ((28, "13:00"), (28, "20:00"), (30, "23:59")):
        assert MarketClock.at(ny(time, dt.date(2025, 11, day))).reference == half_day_close


def test_ages_are_measured_against_now_while_it_is_open():
    now = ny("10:11:12")
    assert MarketClock.at(now).reference == now


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (ny("12:00", dt.date(2025, 11, 26)), ny("09:30", dt.date(2025, 11, 28))),
        (ny("14:00", dt.date(2025, 11, 28)), ny("09:30", dt.date(2025, 12, 1))),
        (ny("17:00", dt.date(2001, 9, 10)), ny("09:30", dt.date(2001, 9, 17))),
        (ny("09:00", dt.date(2001, 9, 17)), ny("09:30", dt.date(2001, 9, 17))),
        (ny("17:00", dt.date(2025, 10, 31)), ny("09:30", dt.date(2025, 11, 3))),
    ],
)
def test_the_next_opening_skips_holidays_weekends_and_closures(now, opens):
    assert MarketClock.at(now).next_open == opens


def test_every_session_of_nine_years_opens_once_and_closes_once():
    for session in sessions_between(dt.date(2019, 1, 2), dt.date(2027, 12, 17)):
        opens, closes = session_open(session), session_close(session)
        before, during = MarketClock.at(opens - SECOND), MarketClock.at(opens)
        assert (before.is_open, before.next_open) == (False, opens)
        assert (during.is_open, during.session) == (True, session)
        assert MarketClock.at(closes - SECOND).is_open
        assert not MarketClock.at(closes).is_open


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ProtocolError, match="2025-11-25T10:00:00 has none"):
        MarketClock.at(dt.datetime(2025, 11, 25, 10))  # noqa: DTZ001


def test_a_moment_outside_the_table_is_refused():
    with pytest.raises(UnknownSessions, match="2000-01-03 to 2027-12-31"):
        MarketClock.at(ny("10:00", dt.date(1999, 12, 1)))


def test_the_opening_after_the_table_is_unknown():
    with pytest.raises(UnknownSessions, match="2027-12-31"):
        _ = MarketClock.at(ny("10:00", dt.date(2027, 12, 31))).next_open
