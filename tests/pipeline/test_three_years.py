"""Three years of ticks, compared with a table made from the exchange's calendar by other code."""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import dagster as dg
import exchange_calendars
import pandas as pd
import pytest

from quanta_pipelines.definitions import defs
from quanta_pipelines.protocol.epoch import Epoch
from tests.pipeline.simulated_years import Asked, SimulatedYears

NEW_YORK = ZoneInfo("America/New_York")
FIRST = dt.datetime(2025, 1, 1, tzinfo=NEW_YORK)
LAST = dt.datetime(2028, 1, 1, tzinfo=NEW_YORK)
GENESIS = Epoch.parse("2025-Q1-W01")
# marts_again asks Dagster's records, which nothing is kept in here: see test_recovery
SCHEDULES = [
    defs.resolve_schedule_def(found.name)
    for found in defs.schedules or ()
    if found.name != "marts_again"
]
AGAIN = {"epoch_close_again", "epoch_settle_again"}

Row = tuple[str, str, dt.datetime]  # schedule, epoch, moment


def expected() -> list[Row]:
    """Who is to be asked for what and when: from exchange_calendars and the rules' own words."""
    calendar = exchange_calendars.get_calendar("XNYS", start="2024-12-01", end="2027-12-31")
    closes = {stamp.date(): at.to_pydatetime() for stamp, at in calendar.closes.items()}
    weeks: dict[tuple[int, int], list[dt.date]] = defaultdict(list)
    for day in closes:
        weeks[day.isocalendar()[:2]].append(day)
    days = sorted(closes)
    rows: list[Row] = []
    for week, sessions in weeks.items():
        if week < (2025, 1):
            continue
        rows += week_rows(named(week), days[days.index(sessions[0]) - 1], sessions, closes)
    return sorted(row for row in rows if FIRST <= row[2] < LAST)


def week_rows(epoch_id: str, entry: dt.date, sessions: list[dt.date], closes) -> list[Row]:
    """One epoch: ``entry`` is the session before its week."""
    reveals_end = closes[entry] + dt.timedelta(hours=48)
    last = sessions[-1]
    paid_from = at(last, "20:30") + dt.timedelta(minutes=30, hours=24)
    return [
        ("epoch_snapshot", epoch_id, closes[entry] + dt.timedelta(minutes=5)),
        ("epoch_universe", epoch_id, at(entry, "20:35")),
        ("epoch_signals", epoch_id, first_after(reveals_end, "17:05")),
        *[("epoch_so_far", epoch_id, at(day, "20:35")) for day in sessions[:-1]],
        ("epoch_close", epoch_id, at(last, "20:35")),
        ("epoch_settlement", epoch_id, first_after(paid_from, "21:05")),
    ]


def named(week: tuple[int, int]) -> str:
    """An epoch's id; pandas says the quarter of the week's Thursday."""
    thursday = pd.Timestamp.fromisocalendar(*week, 4)
    return f"{week[0]}-Q{thursday.quarter}-W{week[1]:02d}"


def at(day: dt.date, time: str) -> dt.datetime:
    """A time of day in New York, as UTC."""
    local = dt.datetime.combine(day, dt.time.fromisoformat(time), tzinfo=NEW_YORK)
    return local.astimezone(dt.UTC)


def first_after(moment: dt.datetime, time: str) -> dt.datetime:
    """The first tick at a time of day that is not before a moment."""
    day = moment.astimezone(NEW_YORK).date()
    return next(tick for n in range(3) if (tick := at(day + dt.timedelta(days=n), time)) >= moment)


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedYears]:
    """Three years in which everything succeeds."""
    home = tmp_path_factory.mktemp("years")
    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        years = SimulatedYears.at(home, GENESIS, instance, patch)
        years.live(SCHEDULES, FIRST, LAST)
        yield years
        years.platform.store.close()


def rows_of(asked: list[Asked]) -> list[Row]:
    return sorted((each.schedule, each.epoch_id, each.moment) for each in asked)


def test_every_phase_of_every_epoch_is_asked_for_once_at_its_moment(years):
    found = rows_of(years.asked)
    assert found == expected()
    assert max(Counter(found).values()) == 1


def test_all_schedules_ticked_and_none_was_left_out(years):
    assert set(years.skipped) == {schedule.name for schedule in SCHEDULES}
    # 783 weekdays and 1,095 days: snapshot 8 a weekday; universe, close, so far 1 a weekday;
    # signals, settlement 1 a day; closing again 2 a weekday and 2 a day, settling again and weights
    # for a chain 2 a day
    assert years.ticks == 783 * (8 + 3 + 2) + 1095 * (2 + 2 + 2 + 2)


def test_where_all_goes_well_nothing_is_asked_for_again(years):
    assert not [each for each in years.asked if each.schedule in AGAIN]


def test_run_keys_name_the_epoch_and_are_never_used_twice_by_a_schedule(years):
    keys = [(each.schedule, each.run_key) for each in years.asked]
    assert len(keys) == len(set(keys))
    assert all(each.run_key.startswith(each.epoch_id) for each in years.asked)


@pytest.mark.parametrize(
    ("schedule", "epoch_id", "moment"),
    [
        ("epoch_close", "2025-Q4-W48", "2025-11-28 20:35-05:00"),  # half day after Thanksgiving
        ("epoch_snapshot", "2025-Q4-W49", "2025-11-28 13:05-05:00"),  # its close at 13:00 opens
        ("epoch_close", "2025-Q2-W16", "2025-04-17 20:35-04:00"),  # Thursday before Good Friday
        ("epoch_settlement", "2025-Q2-W16", "2025-04-18 21:05-04:00"),
        ("epoch_close", "2026-Q2-W14", "2026-04-02 20:35-04:00"),
        ("epoch_close", "2027-Q1-W12", "2027-03-25 20:35-04:00"),
        ("epoch_close", "2026-Q4-W53", "2026-12-31 20:35-05:00"),  # week 53 ends on a Thursday
        ("epoch_settlement", "2026-Q4-W53", "2027-01-01 21:05-05:00"),
        ("epoch_snapshot", "2027-Q1-W01", "2026-12-31 16:05-05:00"),
        ("epoch_close", "2026-Q1-W10", "2026-03-06 20:35-05:00"),  # the last Friday of winter time
        ("epoch_close", "2026-Q1-W11", "2026-03-13 20:35-04:00"),
        ("epoch_signals", "2026-Q1-W11", "2026-03-08 17:05-04:00"),  # the Sunday of the change
        ("epoch_close", "2025-Q4-W45", "2025-11-07 20:35-05:00"),  # the first of winter time
        ("epoch_signals", "2025-Q4-W45", "2025-11-02 17:05-05:00"),
    ],
)
def test_known_moments(years, schedule, epoch_id, moment):
    wanted = (schedule, epoch_id, dt.datetime.fromisoformat(moment).astimezone(dt.UTC))
    assert rows_of(years.asked).count(wanted) == 1
