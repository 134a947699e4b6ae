"""When things run, and for which epochs: the schedules and the partition keys."""

import datetime as dt
from collections import defaultdict
from itertools import pairwise
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from quanta_pipelines.automation import (
    epoch_close,
    epoch_settlement,
    epoch_signals,
    epoch_snapshot,
    epoch_so_far,
    epoch_universe,
)
from quanta_pipelines.definitions import defs
from quanta_pipelines.partitions import EPOCHS, epoch_ids
from quanta_pipelines.protocol.epoch import Epoch, distribution_starts, sessions_between
from quanta_pipelines.settings import Settings, current_settings

NEW_YORK = ZoneInfo("America/New_York")
FIRST_DAY, LAST_DAY = dt.date(2019, 1, 1), dt.date(2027, 12, 31)
WEEK = dt.timedelta(weeks=1)
SCHEDULES = (
    epoch_snapshot,
    epoch_universe,
    epoch_signals,
    epoch_close,
    epoch_so_far,
    epoch_settlement,
)

Asked = dict[str, list[tuple[dt.datetime, dg.RunRequest]]]


def in_new_york(day: dt.date, time: str) -> dt.datetime:
    """A time of day in New York, as UTC."""
    local = dt.datetime.combine(day, dt.time.fromisoformat(time), tzinfo=NEW_YORK)
    return local.astimezone(dt.UTC)


def evening(day: dt.date) -> dt.datetime:
    """When closing ticks."""
    return in_new_york(day, "20:35")


def tick(schedule: dg.ScheduleDefinition, moment: dt.datetime) -> dg.RunRequest | dg.SkipReason:
    """What a schedule does at a moment."""
    with dg.build_schedule_context(scheduled_execution_time=moment) as context:
        answer = schedule(context)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def asked(schedule: dg.ScheduleDefinition, moments: list[dt.datetime]) -> Asked:
    """What a schedule asked for, by epoch."""
    found: Asked = defaultdict(list)
    for moment in moments:
        answer = tick(schedule, moment)
        if isinstance(answer, dg.RunRequest):
            assert answer.partition_key
            found[answer.partition_key].append((moment, answer))
    return found


@pytest.fixture(scope="module")
def closed() -> Asked:
    """What closing asked for over nine years."""
    assert epoch_close.cron_schedule == "35 20 * * 1-5"
    return asked(epoch_close, [evening(day) for day in days() if day.isoweekday() <= 5])


@pytest.fixture(scope="module")
def settled() -> Asked:
    """What settlement asked for over nine years."""
    assert epoch_settlement.cron_schedule == "5 21 * * *"
    return asked(epoch_settlement, [in_new_york(day, "21:05") for day in days()])


def days() -> list[dt.date]:
    return [FIRST_DAY + dt.timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]


def configured_epochs() -> set[str]:
    """Epochs with sessions in those years that have a partition."""
    weeks = {Epoch.containing(day).id for day in sessions_between(FIRST_DAY, LAST_DAY)}
    return weeks & set(EPOCHS.get_partition_keys())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: str(schedule.name))
def test_schedules_tick_in_new_york(schedule: dg.ScheduleDefinition) -> None:
    assert schedule.execution_timezone == "America/New_York"


def test_every_epoch_with_sessions_is_closed_once(closed: Asked) -> None:
    assert set(closed) == configured_epochs()
    assert all(len(requests) == 1 for requests in closed.values())


def test_it_closes_on_the_last_session_after_prices_are_final(closed: Asked) -> None:
    for epoch_id, [(moment, request)] in closed.items():
        epoch = Epoch.parse(epoch_id)
        assert moment.astimezone(NEW_YORK).date() == epoch.sessions[-1]
        # the rules take prices at 20:30 in New York, in summer and in winter
        assert moment - epoch.settles_at == dt.timedelta(minutes=5)
        assert request.run_key == epoch_id
        assert request.tags["quanta/epoch"] == epoch_id


def test_every_epoch_with_sessions_is_settled_once(settled: Asked) -> None:
    assert set(settled) == configured_epochs()
    assert all(len(requests) == 1 for requests in settled.values())


def test_it_settles_on_the_first_evening_after_votes_and_disputes(settled: Asked) -> None:
    for epoch_id, [(moment, request)] in settled.items():
        late = moment - distribution_starts(Epoch.parse(epoch_id))
        # 20:30, half an hour of votes and a day of disputes: 21:00 on the day after the session
        assert late == dt.timedelta(minutes=5)
        assert request.run_key == epoch_id


def test_a_running_epoch_is_scored_on_each_of_its_sessions_but_the_last() -> None:
    assert epoch_so_far.cron_schedule == epoch_close.cron_schedule
    found = asked(epoch_so_far, [evening(day) for day in days() if day.isoweekday() <= 5])
    assert set(found) == configured_epochs()
    for epoch_id, requests in found.items():
        scored = [moment.astimezone(NEW_YORK).date() for moment, _ in requests]
        assert scored == list(Epoch.parse(epoch_id).sessions[:-1])
        assert [request.run_key for _, request in requests] == [f"{epoch_id}/{d}" for d in scored]


def opened_in(first: dt.date, last: dt.date) -> dict[str, dt.date]:
    """By epoch, the session whose close opens it: the newest before its week, by the calendar."""
    sessions = sessions_between(first - WEEK, min(last + WEEK, LAST_DAY))
    weeks = [(a, b) for a, b in pairwise(sessions) if a.isocalendar()[:2] != b.isocalendar()[:2]]
    keys = set(EPOCHS.get_partition_keys())
    opened = {Epoch.containing(after).id: before for before, after in weeks}
    return {epoch: day for epoch, day in opened.items() if epoch in keys and first <= day <= last}


@pytest.mark.parametrize("year", [2020, 2025])  # 2020: 53 weeks; 2025: W48 has a half day
def test_stakes_are_recorded_five_minutes_after_an_epoch_opens(year: int) -> None:
    assert epoch_snapshot.cron_schedule == "5,35 13-16 * * 1-5"
    times = [f"{hour}:{minute}" for hour in (13, 14, 15, 16) for minute in ("05", "35")]
    first, last = dt.date(year, 1, 1), dt.date(year, 12, 24)
    weekdays = [day for day in days() if first <= day <= last and day.isoweekday() <= 5]
    found = asked(epoch_snapshot, [in_new_york(day, time) for day in weekdays for time in times])
    assert set(found) == set(opened_in(first, last))
    for epoch_id, [(moment, request)] in found.items():
        assert moment - Epoch.parse(epoch_id).opens_at == dt.timedelta(minutes=5)
        assert request.run_key == epoch_id


def test_a_half_day_opens_an_epoch_at_one_in_new_york() -> None:
    day = dt.date(2025, 11, 28)
    answer = tick(epoch_snapshot, in_new_york(day, "13:05"))
    assert isinstance(answer, dg.RunRequest)
    assert answer.partition_key == "2025-Q4-W49"
    assert isinstance(tick(epoch_snapshot, in_new_york(day, "16:05")), dg.SkipReason)


def test_the_universe_is_fixed_once_on_the_evening_of_the_close_that_opens_an_epoch() -> None:
    assert epoch_universe.cron_schedule == "35 20 * * 1-5"
    found = asked(epoch_universe, [evening(day) for day in days() if day.isoweekday() <= 5])
    expected = opened_in(FIRST_DAY, LAST_DAY)
    assert set(found) == set(expected)
    for epoch_id, [(moment, request)] in found.items():
        assert moment.astimezone(NEW_YORK).date() == expected[epoch_id]
        assert request.run_key == epoch_id


def test_signals_are_taken_once_on_the_first_evening_after_the_reveal_window() -> None:
    assert epoch_signals.cron_schedule == "5 17 * * *"
    found = asked(epoch_signals, [in_new_york(day, "17:05") for day in days()])
    assert set(found) == configured_epochs()
    for epoch_id, [(moment, request)] in found.items():
        late = moment - Epoch.parse(epoch_id).opens_at - dt.timedelta(hours=48)
        # it ends at 16:00, on weekends that change the clocks at 15:00 or 17:00, or two days after
        # a half day at 13:00: the tick of the same day comes at 17:05
        assert dt.timedelta(minutes=5) <= late <= dt.timedelta(hours=4, minutes=5)
        assert request.run_key == epoch_id


@pytest.mark.parametrize(
    ("day", "closes"),
    [
        ("2025-11-28", "2025-Q4-W48"),  # the half day after Thanksgiving
        ("2022-04-14", "2022-Q2-W15"),  # a Thursday: Good Friday follows
        ("2024-03-28", "2024-Q1-W13"),  # the same, at the end of a quarter
        ("2020-12-31", "2020-Q4-W53"),  # a Thursday: New Year's Day follows
        ("2026-03-06", "2026-Q1-W10"),  # the last Friday of winter time
        ("2026-03-13", "2026-Q1-W11"),  # the first of summer time
        ("2025-11-07", "2025-Q4-W45"),  # the first of winter time
    ],
)
def test_known_last_sessions(day: str, closes: str) -> None:
    if closes not in EPOCHS.get_partition_keys():
        pytest.skip(f"{closes} lies outside the configured epochs")
    answer = tick(epoch_close, evening(dt.date.fromisoformat(day)))
    assert isinstance(answer, dg.RunRequest)
    assert answer.partition_key == closes


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        ("2025-11-27", "2025-Q4-W48 ends with the session of 2025-11-28, today is 2025-11-27"),
        ("2022-04-15", "2022-Q2-W15 ends with the session of 2022-04-14, today is 2022-04-15"),
        ("2019-05-31", "2019-Q2-W22 is not among the configured epochs"),
    ],
)
def test_it_says_why_it_does_not_run(day: str, reason: str) -> None:
    answer = tick(epoch_close, evening(dt.date.fromisoformat(day)))
    assert isinstance(answer, dg.SkipReason)
    assert answer.skip_message == reason


def test_it_skips_where_the_table_of_sessions_ends() -> None:
    answer = tick(epoch_close, evening(LAST_DAY + WEEK))
    assert isinstance(answer, dg.SkipReason)
    assert "2027-12-31" in str(answer.skip_message)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: str(schedule.name))
def test_what_a_schedule_asks_for_is_a_partition_of_its_job(
    schedule: dg.ScheduleDefinition,
) -> None:
    assert defs.resolve_job_def(schedule.job_name).partitions_def == EPOCHS


# Partition keys


@pytest.mark.parametrize(
    ("today", "last"),
    [
        ("2025-11-24", "2026-Q1-W13"),  # the Thursday of W13 is 26 March, of W14 2 April
        ("2026-01-01", "2026-Q2-W26"),
        ("2025-12-31", "2026-Q2-W26"),  # a Wednesday in 2026-Q1-W01
        ("2025-12-28", "2026-Q1-W13"),  # the Sunday before, still in 2025-Q4-W52
        # a Tuesday in 2026-Q2-W14; the Thursday of W40 is 1 October
        ("2026-03-31", "2026-Q3-W39"),
        ("2026-07-01", "2026-Q4-W53"),  # 2026 has 53 weeks
        ("2026-12-31", "2027-Q1-W12"),  # in 2026-Q4-W53
        ("2027-01-03", "2027-Q1-W12"),  # the Sunday of the same week
        ("2027-01-04", "2027-Q2-W25"),
    ],
)
def test_keys_end_with_the_next_quarter(today: str, last: str) -> None:
    first = Epoch.parse("2019-Q2-W23")
    moment = dt.datetime.fromisoformat(today).replace(tzinfo=dt.UTC)
    keys = epoch_ids(first, moment)
    assert (keys[0], keys[-1]) == (first.id, last)
    assert keys == sorted(keys)
    assert all(Epoch.parse(a).next().id == b for a, b in pairwise(keys))


def test_the_first_key_is_the_configured_one() -> None:
    assert EPOCHS.get_partition_keys()[0] == current_settings().first_epoch
    assert Settings(first_epoch="2020-Q4-W53").genesis.id == "2020-Q4-W53"
