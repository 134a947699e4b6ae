import datetime as dt
import difflib
import hashlib
import importlib.util
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol import epoch as epoch_module
from quanta_pipelines.protocol.epoch import (
    Epoch,
    EpochPhase,
    Window,
    block_at,
    commit_window,
    phase_at,
    reveal_window,
    reveal_window_of,
    session_close,
    session_open,
    sessions_before,
    sessions_between,
    settles_at,
    submission_offset,
)
from quanta_pipelines.protocol.errors import InvalidEpoch, ProtocolError, UnknownSessions
from quanta_pipelines.protocol.params import QUANTA

ROOT = Path(__file__).parents[2]
W48 = Epoch(2025, 48)
FIRST, LAST = Epoch(2000, 1), Epoch(2099, 53)
HOTKEY = "5" + "a" * 47

weeks = st.dates(dt.date(2000, 1, 3), dt.date(2099, 12, 31)).map(Epoch.containing)
known_weeks = st.dates(dt.date(2000, 1, 17), dt.date(2027, 12, 31)).map(Epoch.containing)
within_month = st.timedeltas(dt.timedelta(days=-12), dt.timedelta(days=12))


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_thanksgiving_week_known_answer() -> None:
    # New York is UTC-5: Friday 21 November closes at 16:00, Friday 28 November (half day) at 13:00
    assert W48.id == str(W48) == "2025-Q4-W48"
    assert W48.monday == dt.date(2025, 11, 24)
    assert [day.day for day in W48.sessions] == [24, 25, 26, 28]
    assert W48.entry_session == dt.date(2025, 11, 21)
    assert W48.opens_at == utc("2025-11-21 21:00")
    assert W48.closes_at == utc("2025-11-28 18:00")
    # 20:30 in New York is 01:30 UTC of the next day
    assert W48.settles_at == utc("2025-11-29 01:30")


def test_summer_time_moves_utc_and_not_new_york() -> None:
    # Clocks went forward on Sunday 9 March 2025: 16:00 is 21:00 UTC before and 20:00 UTC after
    week = Epoch.parse("2025-Q1-W11")
    assert week.opens_at == utc("2025-03-07 21:00")
    assert week.closes_at == utc("2025-03-14 20:00")
    assert week.settles_at == utc("2025-03-15 00:30")


def test_a_week_that_ends_on_a_thursday_closes_on_it() -> None:
    # Good Friday 2025 was 18 April
    week = Epoch.parse("2025-Q2-W16")
    assert week.sessions[-1] == dt.date(2025, 4, 17)
    assert week.next().entry_session == dt.date(2025, 4, 17)


def test_27_of_679_weeks_end_on_a_thursday() -> None:
    epochs = Epoch.range(Epoch(2015, 1), Epoch(2027, 52))
    assert len(epochs) == 679
    assert sum(epoch.sessions[-1].isoweekday() == 4 for epoch in epochs) == 27


def test_settlement_follows_the_rule_set() -> None:
    early = QUANTA.changed(epoch__settle_time="18:00")
    assert settles_at(W48, early) == W48.settles_at - dt.timedelta(hours=2, minutes=30)


@pytest.mark.parametrize(
    ("text", "thursday"),
    [
        ("2020-Q4-W53", "2020-12-31"),
        ("2026-Q1-W01", "2026-01-01"),
        ("2025-Q2-W14", "2025-04-03"),  # its Monday, 31 March, lies in the first quarter
        ("2025-Q4-W40", "2025-10-02"),  # its Monday, 29 September, lies in the third
    ],
)
def test_a_week_belongs_to_the_quarter_of_its_thursday(text: str, thursday: str) -> None:
    assert Epoch.parse(text) == Epoch.containing(dt.date.fromisoformat(thursday))


@pytest.mark.parametrize("text", ["2025-Q1-W1", "2025-Q1-W01"])
def test_a_single_digit_week_is_read_as_two(text: str) -> None:
    assert Epoch.parse(text).id == "2025-Q1-W01"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2025-Q4-W00", "2025 has weeks 1 to 52, not 0"),
        ("2025-Q4-W99", "2025 has weeks 1 to 52, not 99"),
        ("2025-Q4-W53", "2025 has weeks 1 to 52, not 53"),
        ("2020-Q4-W54", "2020 has weeks 1 to 53, not 54"),
        ("2025-Q1-W48", "2025-Q1-W48: the Thursday of that week lies in Q4"),
        ("1999-Q4-W48", "between 2000 and 2099, not in 1999"),
        ("2100-Q4-W48", "between 2000 and 2099, not in 2100"),
        ("2025-Q4-W48\n", r"looks like 2025-Q4-W48, not '2025-Q4-W48\\n'"),
        (" 2025-Q4-W48", "looks like"),
        ("2025-q4-w48", "looks like"),
        ("2025-Q5-W48", "looks like"),
        ("2025-Q4-W048", "looks like"),
        ("2025-Q4-W", "looks like"),
        ("2025-Q4-W\uff14\uff18", "looks like"),  # full-width digits
        ("2025-Q4-W\u0664\u0668", "looks like"),  # Arabic digits
        ("25-Q4-W48", "looks like"),
        ("", "looks like"),
    ],
)
def test_text_that_is_no_id_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InvalidEpoch, match=message):
        Epoch.parse(text)


@given(
    st.text(alphabet="0129QWqw-\uff14\u0664\n ", max_size=12) | st.from_regex(r"20\d\d-Q\d-W\d\d?")
)
@settings(deadline=None)
def test_text_is_refused_or_names_its_epoch(text: str) -> None:
    try:
        epoch = Epoch.parse(text)
    except InvalidEpoch:
        return
    assert epoch.id in (text, text.replace("-W", "-W0"))


def test_ids_epochs_and_weeks_are_in_bijection() -> None:
    # 4 January 2100 is a Monday: 36,526 days after 3 January 2000, divided by 7
    epochs = Epoch.range(FIRST, LAST)
    ids = [epoch.id for epoch in epochs]
    assert len(set(epochs)) == len(set(ids)) == 36_526 // 7 == 5_218
    assert ids == sorted(ids)
    assert list(epochs) == sorted(epochs)
    assert [Epoch.parse(text) for text in ids] == list(epochs)
    assert [epoch.next() for epoch in epochs[:-1]] == list(epochs[1:])
    assert [epoch.previous() for epoch in epochs[1:]] == list(epochs[:-1])
    assert {b.monday - a.monday for a, b in pairwise(epochs)} == {dt.timedelta(days=7)}


def test_the_first_and_the_last_week_have_no_neighbour() -> None:
    with pytest.raises(InvalidEpoch, match="not in 1999"):
        FIRST.previous()
    with pytest.raises(InvalidEpoch, match="not in 2100"):
        LAST.next()


def test_a_range_takes_ids_and_includes_both_ends() -> None:
    assert Epoch.range("2025-Q4-W52", "2026-Q1-W02") == (
        Epoch(2025, 52),
        Epoch(2026, 1),
        Epoch(2026, 2),
    )
    assert Epoch.range(W48, "2025-Q4-W48") == (W48,)


def test_a_range_does_not_run_backward() -> None:
    with pytest.raises(InvalidEpoch, match="not from 2025-Q4-W48 to 2025-Q4-W47"):
        Epoch.range(W48, W48.previous())


@given(weeks, st.integers(0, 6))
@settings(deadline=None)
def test_every_day_of_a_week_leads_to_its_epoch(epoch: Epoch, day: int) -> None:
    assert Epoch.containing(epoch.monday + dt.timedelta(days=day)) == epoch


def test_sessions_are_what_the_calendar_library_gives() -> None:
    path = ROOT / "docs" / "vendored" / "make_sessions.py"
    spec = importlib.util.spec_from_file_location("make_sessions", path)
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    ours = generator.TABLE.read_text().splitlines()
    theirs = generator.sessions_csv().splitlines()
    # The first line names the library's version, which may be newer here
    changes = list(difflib.unified_diff(ours[1:], theirs[1:], "ours", "theirs", lineterm="", n=0))
    assert not changes, "\n".join(changes)


def test_every_week_of_the_table_has_a_session() -> None:
    epochs = Epoch.range(FIRST, Epoch(2027, 52))
    days = [day for epoch in epochs for day in epoch.sessions]
    assert len(days) == 7_041  # lines of the table
    assert days == sorted(set(days))


def test_windows_of_neighbours_meet() -> None:
    epochs = Epoch.range(Epoch(2000, 2), Epoch(2027, 52))
    for earlier, later in pairwise(epochs):
        assert earlier.closes_at == later.opens_at


@pytest.mark.parametrize("text", ["1999-12-31", "2025-11-27", "2025-11-29", "2028-01-03"])
@pytest.mark.parametrize("ask", [session_open, session_close])
def test_a_day_without_trading_has_no_hours(
    text: str, ask: Callable[[dt.date], dt.datetime]
) -> None:
    with pytest.raises(UnknownSessions, match=f"{text} is no session of the table, 2000-01-03 to"):
        ask(dt.date.fromisoformat(text))


def test_the_market_is_open_from_half_past_nine() -> None:
    assert session_open(dt.date(2025, 11, 28)) == utc("2025-11-28 14:30")
    assert session_close(dt.date(2025, 11, 28)) == utc("2025-11-28 18:00")


def test_weeks_outside_the_table_have_no_sessions() -> None:
    after = Epoch(2028, 1)
    for ask in ("sessions", "entry_session", "opens_at", "closes_at", "settles_at"):
        with pytest.raises(UnknownSessions, match="2028-01-03"):
            getattr(after, ask)


def test_the_first_week_of_the_table_has_no_price_to_enter_at() -> None:
    assert len(FIRST.sessions) == 5
    with pytest.raises(UnknownSessions, match="1 sessions before 2000-01-03"):
        _ = FIRST.opens_at


def test_a_week_without_a_session_has_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_module, "sessions_between", lambda _first, _last: ())
    with pytest.raises(UnknownSessions, match="2025-Q4-W48: a week without a session"):
        _ = W48.sessions


def test_sessions_before_end_right_before() -> None:
    # Thursday 27 November was Thanksgiving
    day = dt.date(2025, 11, 28)
    assert [found.day for found in sessions_before(day, 3)] == [24, 25, 26]
    assert sessions_before(day, 0) == ()
    assert len(sessions_before(dt.date(2027, 12, 31), 7_040)) == 7_040


@pytest.mark.parametrize(
    ("session", "count"), [("2027-12-31", 7_041), ("2027-12-31", -1), ("2028-01-03", 1)]
)
def test_sessions_before_do_not_leave_the_table(session: str, count: int) -> None:
    with pytest.raises(UnknownSessions, match=f"{count} sessions before {session}: the table"):
        sessions_before(dt.date.fromisoformat(session), count)


def test_sessions_between_include_both_ends() -> None:
    found = sessions_between(dt.date(2025, 11, 26), dt.date(2025, 11, 28))
    assert [day.day for day in found] == [26, 28]


@pytest.mark.parametrize(
    ("first", "last"), [("2000-01-02", "2000-01-05"), ("2027-12-30", "2028-01-03")]
)
def test_sessions_between_do_not_leave_the_table(first: str, last: str) -> None:
    with pytest.raises(UnknownSessions, match=f"{first} to {last} leaves the table"):
        sessions_between(dt.date.fromisoformat(first), dt.date.fromisoformat(last))


def test_windows_of_an_epoch() -> None:
    # 24 hours before and 48 hours after Friday 21 November, 21:00 UTC
    assert commit_window(W48) == Window(utc("2025-11-20 21:00"), utc("2025-11-21 21:00"))
    assert reveal_window(W48) == Window(utc("2025-11-21 21:00"), utc("2025-11-23 21:00"))


def test_a_window_is_half_open() -> None:
    window = commit_window(W48)
    assert window.contains(window.opens)
    assert not window.contains(window.closes)
    assert not window.contains(window.opens - dt.timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("committed", "opens", "closes"),
    [
        ("2025-11-20 21:00", "2025-11-21 21:00", "2025-11-22 21:00"),  # 14 h end before opens_at
        ("2025-11-21 07:00", "2025-11-21 21:00", "2025-11-23 07:00"),  # and here exactly at it
        ("2025-11-21 20:00", "2025-11-22 10:00", "2025-11-23 20:00"),  # 14 h and 48 h later
    ],
)
def test_a_commitment_is_revealed_after_14_and_within_48_hours(
    committed: str, opens: str, closes: str
) -> None:
    window = reveal_window_of(utc(committed), W48)
    assert window == Window(utc(opens), utc(closes), closed=True)
    assert window.contains(window.closes)
    assert not window.contains(window.closes + dt.timedelta(microseconds=1))


@given(known_weeks, st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_every_commitment_can_be_revealed_inside_the_reveal_window(
    epoch: Epoch, share: float
) -> None:
    commit, reveal = commit_window(epoch), reveal_window(epoch)
    own = reveal_window_of(commit.opens + share * (commit.closes - commit.opens), epoch)
    assert reveal.opens <= own.opens < own.closes <= reveal.closes


@pytest.mark.parametrize(
    ("phase", "start"),
    [
        (EpochPhase.SUBMISSION, "2025-11-14 21:00"),  # opens_at of the epoch before
        (EpochPhase.COMMIT, "2025-11-20 21:00"),
        (EpochPhase.REVEAL, "2025-11-21 21:00"),
        (EpochPhase.EVALUATION, "2025-11-23 21:00"),
        (EpochPhase.CONSENSUS, "2025-11-29 01:30"),
        (EpochPhase.DISTRIBUTION, "2025-11-30 02:00"),  # 30 minutes and 24 hours later
    ],
)
def test_phases_begin_on_the_moment(phase: EpochPhase, start: str) -> None:
    order: list[EpochPhase | None] = [None, *EpochPhase]
    assert phase_at(W48, utc(start)) == phase
    before = phase_at(W48, utc(start) - dt.timedelta(microseconds=1))
    assert before == order[order.index(phase) - 1]


def test_distribution_does_not_end() -> None:
    assert phase_at(W48, utc("2035-01-01 00:00")) == EpochPhase.DISTRIBUTION


@given(known_weeks, within_month, within_month)
@settings(deadline=None)
def test_phases_never_step_back(epoch: Epoch, a: dt.timedelta, b: dt.timedelta) -> None:
    order: list[EpochPhase | None] = [None, *EpochPhase]
    earlier, later = sorted((a, b))
    assert order.index(phase_at(epoch, epoch.opens_at + earlier)) <= order.index(
        phase_at(epoch, epoch.opens_at + later)
    )


def test_of_two_phases_that_overlap_the_later_one_holds() -> None:
    # A reveal window of 168 hours ends on Friday at 16:00, after Thursday's settlement at 20:30
    params = QUANTA.changed(epoch__reveal_window_hours=168)
    good_friday_week = Epoch.parse("2025-Q2-W16")
    settles = good_friday_week.settles_at
    assert phase_at(good_friday_week, settles, params) == EpochPhase.CONSENSUS
    assert reveal_window(good_friday_week, params).contains(settles)


def test_without_a_dispute_window_distribution_follows_the_votes() -> None:
    params = QUANTA.changed(consensus__dispute_window_hours=0)
    assert phase_at(W48, utc("2025-11-29 01:59"), params) == EpochPhase.CONSENSUS
    assert phase_at(W48, utc("2025-11-29 02:00"), params) == EpochPhase.DISTRIBUTION


def test_moments_without_a_time_zone_are_refused() -> None:
    naive = W48.opens_at.replace(tzinfo=None)
    calls: list[Callable[[], object]] = [
        lambda: phase_at(W48, naive),
        lambda: commit_window(W48).contains(naive),
        lambda: reveal_window_of(naive, W48),
        lambda: block_at(naive, W48.opens_at),
        lambda: block_at(W48.opens_at, naive),
    ]
    for call in calls:
        with pytest.raises(ProtocolError, match="2025-11-21T21:00:00 has none"):
            call()


def test_a_validator_submits_at_the_offset_of_its_hash() -> None:
    # 30 minutes are 1800 seconds
    number = int(hashlib.sha256(f"{HOTKEY}2025-Q4-W48".encode()).hexdigest(), 16)
    assert submission_offset(HOTKEY, W48) == dt.timedelta(seconds=number % 1800)


def test_validators_spread_over_the_submission_window() -> None:
    offsets = [submission_offset(f"5{name:047d}", W48) for name in range(1000)]
    assert min(offsets) >= dt.timedelta(0)
    assert max(offsets) < dt.timedelta(minutes=30)
    # Each third of the window holds about a third of them: 333, standard deviation 15
    for third in range(3):
        ends = dt.timedelta(minutes=10 * third), dt.timedelta(minutes=10 * third + 10)
        assert 258 < sum(ends[0] <= offset < ends[1] for offset in offsets) < 408


def test_a_validator_is_not_always_last() -> None:
    assert len({submission_offset(HOTKEY, epoch) for epoch in Epoch.range(W48, LAST)}) > 1000


def test_blocks_are_twelve_seconds_long() -> None:
    # A day has 86,400 seconds
    genesis = W48.opens_at
    assert block_at(genesis, genesis) == 0
    assert block_at(genesis + dt.timedelta(seconds=11.999), genesis) == 0
    assert block_at(genesis + dt.timedelta(days=1), genesis) == 86_400 // 12
    fast = QUANTA.changed(epoch__block_seconds=6)
    assert block_at(genesis + dt.timedelta(days=1), genesis, fast) == 86_400 // 6


def test_there_is_no_block_before_genesis() -> None:
    with pytest.raises(ProtocolError, match="lies before block 0"):
        block_at(W48.opens_at - dt.timedelta(seconds=1), W48.opens_at)
