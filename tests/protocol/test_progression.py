from dataclasses import replace
from fractions import Fraction

import pytest

from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.progression import (
    Rank,
    Record,
    assigned_uids,
    mean_percentile,
    next_role,
    uptime,
)

LEAST = Fraction(7, 10)
RISING = Record(role=Rank.GENERATOR, days=60, percentiles=[LEAST] * 8)
BEST = Record(role=Rank.OPERATOR, days=90, percentiles=[Fraction(9, 10)] * 12, free_uid=True)
BIT = Fraction(1, 1000)


def test_who_just_fulfils_everything_rises():
    assert next_role(RISING) == Rank.OPERATOR
    assert next_role(BEST) == Rank.SOLO


@pytest.mark.parametrize(
    "lacks",
    [
        {"days": 59},
        {"percentiles": [LEAST] * 7},
        {"percentiles": [LEAST] * 7 + [LEAST - BIT]},
        {"percentiles": [LEAST] * 8 + [None]},  # a missed epoch counts 0
        {"open_offence": True},
        {"least_stake_met": False},
    ],
)
def test_a_generator_that_lacks_one_thing_stays(lacks):
    assert next_role(replace(RISING, **lacks)) == Rank.GENERATOR


@pytest.mark.parametrize(
    "lacks",
    [
        {"days": 89},
        {"percentiles": [Fraction(9, 10)] * 11},
        {"percentiles": [Fraction(9, 10)] * 11 + [Fraction(9, 10) - BIT]},
        {"free_uid": False},
        {"open_offence": True},
        {"least_stake_met": False},
    ],
)
def test_an_operator_that_lacks_one_thing_stays(lacks):
    assert next_role(replace(BEST, **lacks)) == Rank.OPERATOR


@pytest.mark.parametrize(
    ("role", "floor", "back"),
    [
        (Rank.OPERATOR, Fraction(1, 2), Rank.GENERATOR),
        (Rank.SOLO, Fraction(3, 4), Rank.OPERATOR),
    ],
)
def test_four_epochs_below_the_floor_lead_one_step_back(role, floor, back):
    def after(*percentiles):
        return next_role(Record(role=role, days=365, percentiles=[Fraction(1), *percentiles]))

    below = floor - BIT
    assert after(*[below] * 4) == back
    assert after(*[None] * 4) == back
    assert after(*[below] * 3) == role
    assert after(below, below, floor, below) == role
    assert after(*[below] * 4, floor) == role


def test_a_generator_cannot_fall():
    assert next_role(Record(role=Rank.GENERATOR, days=1, percentiles=[None] * 9)) == Rank.GENERATOR


def test_nobody_swings_between_roles():
    # between floor and threshold a generator stays one and an operator stays one
    for percentile in (Fraction(50, 100), Fraction(69, 100)):
        for role in (Rank.GENERATOR, Rank.OPERATOR):
            record = Record(role=role, days=900, percentiles=[percentile] * 50, free_uid=True)
            assert next_role(record) == role


def test_the_mean_is_over_the_last_eight_whole_epochs():
    # 60 days hold 8 whole weeks: (7 * .8 + 0) / 8 = .7
    found = mean_percentile([Fraction(0), *[Fraction(8, 10)] * 7, None], 60)
    assert found == Fraction(7, 10)
    assert mean_percentile([], 60) == 0


def test_uptime_is_accepted_over_due():
    assert (uptime(3, 4), uptime(0, 0)) == (Fraction(3, 4), 0)
    with pytest.raises(InvalidEntries, match="5 reveals were accepted in 4"):
        uptime(5, 4)


def test_uids_are_given_in_the_order_of_waiting():
    assert assigned_uids(["z", "a", "b"], taken=[0, 2], slots=4) == {"z": 1, "a": 3}
    assert assigned_uids(["z"], taken=[0], slots=1) == {}


@pytest.mark.parametrize(("waiting", "taken"), [(["a", "a"], []), (["a"], [4]), (["a"], [-1])])
def test_uids_that_cannot_be_are_refused(waiting, taken):
    with pytest.raises(InvalidEntries):
        assigned_uids(waiting, taken, 4)


@pytest.mark.parametrize("odd", [{"days": -1}, {"percentiles": [Fraction(2)]}])
def test_a_record_that_cannot_be_is_refused(odd):
    with pytest.raises(InvalidEntries):
        next_role(replace(RISING, **odd))
