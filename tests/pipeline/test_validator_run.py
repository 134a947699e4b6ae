"""When a second validator votes, tries again, and leaves an epoch."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from quanta_pipelines.client import ApiError, Unreachable
from quanta_pipelines.protocol.epoch import Epoch, settles_at, submission_offset, voting_closes
from quanta_pipelines.validator_run import (
    EpochReport,
    due_epoch,
    run_epoch,
    run_for_ever,
    seconds_to_wait,
)
from tests.conftest import SETTLED, platform_at

EPOCH = Epoch.parse("2019-Q4-W50")
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class Hand:
    """A clock that stands until somebody sleeps."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def standing(settled_home):
    """The platform, and how to set its clock."""
    platform = platform_at(settled_home)
    yield lambda at: replace(platform, clock=at if isinstance(at, Hand) else lambda: at)
    platform.store.close()


def test_an_epoch_is_due_when_its_prices_are_final(standing):
    settles = settles_at(EPOCH)
    assert due_epoch(settles - SECOND, standing(settles)) == EPOCH.previous()
    assert due_epoch(settles, standing(settles)) == EPOCH
    assert due_epoch(settles + 3 * 1440 * MINUTE, standing(settles)) == EPOCH


def test_a_validator_waits_for_its_own_moment_and_never_before_the_window(standing):
    opens = settles_at(EPOCH)
    offset = submission_offset(standing(opens).own_validator, EPOCH)
    assert seconds_to_wait(standing(opens), EPOCH) == offset.total_seconds() > 0
    assert seconds_to_wait(standing(opens - MINUTE), EPOCH) == 0
    assert seconds_to_wait(standing(opens + offset), EPOCH) == 0
    assert seconds_to_wait(standing(voting_closes(EPOCH) + MINUTE), EPOCH) == 0


@pytest.mark.parametrize("failures", [0, 2])
def test_one_vote_an_epoch_and_again_only_while_the_window_is_open(standing, failures):
    hand = Hand(settles_at(EPOCH) - MINUTE)
    platform = standing(hand)
    moment = settles_at(EPOCH) + submission_offset(platform.own_validator, EPOCH)
    seen = []

    def attempt(epoch):
        seen.append((epoch, hand.at))
        failed = epoch == EPOCH and len([e for e, _ in seen if e == EPOCH]) <= failures
        return EpochReport(epoch.id, platform.own_validator, problem="busy" if failed else "")

    reports = run_for_ever(platform, attempt, hand.sleep)
    while hand.at < settles_at(EPOCH.next()) + 40 * MINUTE:
        next(reports)
        if len(seen) > failures + 2:
            break
    this = [at for epoch, at in seen if epoch == EPOCH]
    assert len(this) == failures + 1
    assert moment <= this[0] < moment + 2 * MINUTE
    assert [epoch for epoch, _ in seen][-1] == EPOCH.next()


class Refusing:
    """A peer whose every answer is an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def submit(self, *_: object) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ApiError(409, "window_closed", "taken until 1", None), "not in the window"),
        (ApiError(409, "contradicts_record", "voted", None), "another vote of this hotkey stands"),
        (ApiError(403, "not_permitted", "no stake", None), "refused: not_permitted: no stake"),
        (Unreachable(0, "unreachable", "ConnectionError", None), "does not answer, try again"),
        (ApiError(503, "store_unavailable", "busy", 2.0), "does not answer, try again"),
    ],
)
def test_what_was_not_taken_says_why(standing, error, says):
    platform = standing(voting_closes(SETTLED[-1]))
    report = run_epoch(platform, None, Refusing(error), SETTLED[-1], print)
    assert (report.scored, report.voted) == (True, False)
    assert says in report.problem


def test_where_nobody_is_ranked_nothing_is_submitted(standing):
    platform = standing(voting_closes(SETTLED[0]))
    peer = Refusing(AssertionError("nothing may be submitted"))
    peer.prices = lambda _: (_ for _ in ()).throw(  # type: ignore[attr-defined]
        ApiError(409, "epoch_not_settled", "not yet", None)
    )
    report = run_epoch(platform, None, peer, SETTLED[0], print)
    assert (report.voted, report.problem) == (False, "")
    assert report.note == "nobody is ranked: nothing is submitted"
