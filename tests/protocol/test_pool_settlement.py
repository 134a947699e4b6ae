import datetime as dt

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.protocol.case_money import NO_CASES, CaseMoney
from quanta_pipelines.protocol.errors import InvalidEntries, InvalidIntegrityInput
from quanta_pipelines.protocol.ledger import Movement
from quanta_pipelines.protocol.pool_settlement import (
    NO_POOLS,
    Offence,
    case_slashes,
    contributed_by,
    contributions,
    pool_movements,
    pool_payout_table,
    slashing_movements,
    with_closed_cases,
)

EPOCH = "2025-Q4-W48"
NOON = dt.datetime(2025, 11, 28, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
REWARDS = pd.DataFrame(
    {"hotkey": ["P", "Q", "R"], "gross_rao": [1020, 0, 500], "fee_rao": [20, 0, 10]}
)
MEMBERS = pd.DataFrame({"member": ["a", "b", "c", "d"], "operator": ["P", "P", "P", "absent"]})


def table(contributed, memberships=MEMBERS):
    return pool_payout_table(REWARDS, memberships, contributed, epoch_id=EPOCH)


def test_a_contribution_is_identity_times_what_lies_above_the_median():
    # median .5: a .5 * (.9 - .5) = .2, b 1 * (.7 - .5) = .2, d has no composite: 0
    found = contributions(
        "abcd", {"a": 0.5, "b": 1.0, "c": 1.0, "d": 1.0}, {"a": 0.9, "b": 0.7, "c": 0.3}
    )
    # median of .9, .7, .3 and 0 is .5; in halves of 10^-6 times 10^-9: .2 is 4 * 10^14
    assert found == {"a": 4 * 10**14, "b": 4 * 10**14, "c": 0, "d": 0}
    assert contributions("a", {"a": np.nan}, {"a": 0.9}) == {"a": 0}
    assert contributions("", {}, {}) == {}


def test_half_a_unit_of_the_median_is_not_lost():
    # median of .000001 and .000002 is 1.5 units
    found = contributions("ab", {"a": 1.0, "b": 1.0}, {"a": 0.000001, "b": 0.000002})
    assert found == {"a": 0, "b": 10**9}


def test_a_pools_reward_is_divided_to_the_last_rao():
    # 1000 after the network's fee; 150 for the operator, 850 by 2 : 1 : 0 are 566.67 and 283.33
    found = table({"a": 2, "b": 1})
    assert found["member"].tolist() == ["a", "b", "c"]  # the absent operator's pool has no row
    assert found["payout_rao"].tolist() == [567, 283, 0]
    assert set(found["operator_fee_rao"]) == {150}
    assert pool_movements(found) == [
        Movement("miner:P", "operator:P", 150, "operator_fee"),
        Movement("miner:P", "miner:a", 567, "pool_payout"),
        Movement("miner:P", "miner:b", 283, "pool_payout"),
    ]


def test_without_pools_nothing_moves():
    nobody = table({}, NO_POOLS.memberships)
    assert nobody.empty
    assert pool_movements(nobody) == []
    unpaid = table({}, MEMBERS.assign(operator="Q"))
    assert unpaid["payout_rao"].tolist() == [0] * 4
    assert pool_movements(unpaid) == []


def test_a_pool_that_passes_on_too_much_is_refused():
    spoiled = table({"a": 1}).assign(payout_rao=[851, 0, 0])
    with pytest.raises(InvalidEntries, match="the pool of P passes on another sum than its 1000"):
        pool_movements(spoiled)


def test_what_waits_for_a_case_is_passed_on_when_it_is_dismissed_and_only_once():
    held = pool_payout_table(REWARDS, MEMBERS, {"a": 2, "b": 1}, epoch_id=EPOCH, waiting={"P"})
    assert set(held["state"]) == {"held"}
    assert pool_movements(held) == []
    now = table({}).assign(epoch_id="2025-Q4-W49", earned_epoch="2025-Q4-W49")
    freed = with_closed_cases(now, [held], CaseMoney(released_rao={"P": 1000}), "2025-Q4-W49")
    assert freed["state"].tolist() == ["released"] * 3 + ["paid"] * 3
    assert set(freed["epoch_id"]) == {"2025-Q4-W49"}
    assert [(each.to_account, each.amount_rao) for each in pool_movements(freed)[:3]] == [
        ("operator:P", 150),
        ("miner:a", 567),
        ("miner:b", 283),
    ]
    # a second case that closes later looks back over the first one, and finds it done
    again = with_closed_cases(now, [held, freed], CaseMoney(released_rao={"P": 0}), "2025-Q4-W50")
    assert set(again["state"]) == {"paid"}
    lost = with_closed_cases(now, [held], CaseMoney(burned_rao={"P": 1000}), "2025-Q4-W49")
    assert lost["state"].tolist() == ["forfeited"] * 3 + ["paid"] * 3
    assert pool_movements(lost) == pool_movements(now)
    assert with_closed_cases(now, [held], NO_CASES, "2025-Q4-W49")["state"].eq("paid").all()


def test_contributions_rest_on_the_epoch_before():
    before = pd.DataFrame({"hotkey": ["a", "b", "c"], "identity": [0.5, 1.0, np.nan]})
    scores = pd.DataFrame({"hotkey": ["a", "b", "c"], "composite": [0.9, 0.7, 0.1]})
    # the pool of P: median .7; a .5 * .2 = .1, that is 2 * 10^14 halves; b and c nothing
    assert contributed_by(MEMBERS, before, scores) == {"a": 2 * 10**14, "b": 0, "c": 0, "d": 0}
    unknown = before.assign(identity=np.nan)  # no stake is recorded: each weighs 1
    assert contributed_by(MEMBERS, unknown, scores)["a"] == 4 * 10**14
    assert contributed_by(MEMBERS, None, None) == dict.fromkeys("abcd", 0)


def test_a_case_burns_what_it_says_in_the_epoch_in_which_it_closes():
    cases = pd.DataFrame(
        {
            "case_id": ["1", "2", "3", "4"],
            "hotkey": ["B", "A", "A", "C"],
            "closed_epoch": [EPOCH, EPOCH, "2025-Q4-W47", EPOCH],
            "closed_at": [NOON] * 4,
            "slash_rao": pd.array([7, 50, 9, pd.NA], dtype="Int64"),
        }
    )
    assert case_slashes(cases, EPOCH) == [
        Movement("stake:A", "burn", 50, "slashed"),
        Movement("stake:B", "burn", 7, "slashed"),
    ]  # C's bond was not recorded


def test_offences_burn_one_after_the_other_of_what_is_left():
    # 5 % of 1000, then 7.5 % of 950
    twice = [Offence("A", NOON + DAY, 1000), Offence("A", NOON, 1000), Offence("B", NOON, 9)]
    assert slashing_movements(twice) == [
        Movement("stake:A", "burn", 50, "slashed"),
        Movement("stake:A", "burn", 71, "slashed"),
    ]  # B's 0.45 rao round down to nothing
    assert slashing_movements([]) == []


def test_earlier_offences_count():
    # the third within 180 days: .05 * 1.5^2 = 11.25 %
    before = {"A": [NOON - 20 * DAY, NOON - 40 * DAY]}
    assert slashing_movements([Offence("A", NOON, 10_000)], before) == [
        Movement("stake:A", "burn", 1125, "slashed")
    ]


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(InvalidIntegrityInput, match="no time zone"):
        slashing_movements([Offence("A", NOON.replace(tzinfo=None), 1)])
