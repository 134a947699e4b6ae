from decimal import Decimal

import numpy as np
import pytest

from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.pools import (
    MemberSignal,
    member_weights,
    pool_payouts,
    pool_portfolio,
)


def member(name, weights, identity="1", composite="0.5"):
    known = {ticker: Decimal(str(weight)) for ticker, weight in weights.items()}
    return MemberSignal(name, known, Decimal(identity), Decimal(composite))


def equal(names):
    return {name: Decimal(1) / len(names) for name in names}


def test_a_member_counts_by_identity_and_by_how_far_it_is_above_the_median():
    # median .5: a (.9 - .5) * .5 = .2, b (.7 - .5) * 1 = .2 ... c at, d and e below: 0
    members = [
        member("a", {}, "0.5", "0.9"),
        member("b", {}, "1", "0.7"),
        member("c", {}, "1", "0.5"),
        member("d", {}, "1", "0.4"),
        member("e", {}, "1", "0.1"),
    ]
    found = {hotkey: float(omega) for hotkey, omega in member_weights(members).items()}
    assert found == {"a": 0.5, "b": 0.5, "c": 0, "d": 0, "e": 0}


def test_members_that_are_all_alike_count_the_same():
    assert [float(w) for w in member_weights([member("a", {}), member("b", {})]).values()] == [
        0.5,
        0.5,
    ]
    assert member_weights([]) == {}


def test_the_excess_over_the_cap_is_spread_in_proportion_and_again():
    # .50 -> .20, the other .50 holds .80 now: .16 -> .256 and .14 -> .224 are above as well and
    # capped; the last .20 holds .40: .10 -> .20 each
    weights = {"A": 0.50, "B": 0.16, "C": 0.14, "D": 0.10, "E": 0.10}
    assert pool_portfolio([member("a", weights)]) == dict.fromkeys("ABCDE", Decimal("0.200000"))
    # .40 -> .20; the other six hold .60 of what is .80 now: times 4/3
    six = {"A": 0.40} | dict.fromkeys("BCDEFG", 0.10)
    found = pool_portfolio([member("a", six)])
    assert found["A"] == Decimal("0.2")
    # .8 / 6 = .133333 with 2 units left over, to the first tickers
    assert [found[name] for name in "BCDEFG"] == [
        *[Decimal("0.133334")] * 2,
        *[Decimal("0.133333")] * 4,
    ]


def test_the_thirty_largest_are_kept():
    weights = {f"T{at:02}": 100 + at for at in range(40)}
    found = pool_portfolio([member("a", weights)])
    assert sorted(found) == [f"T{at:02}" for at in range(10, 40)]
    assert sum(found.values()) == 1


@pytest.mark.parametrize("names", ["", "A", "ABCD"])
def test_fewer_than_five_names_are_not_submitted(names):
    members = [member("a", equal(names))] if names else []
    assert pool_portfolio(members) is None


def test_two_members_are_combined_by_their_weights():
    # the median of two is between them, so the better one alone counts
    first, second = equal("ABCDE"), equal("FGHIJ")
    found = pool_portfolio([member("a", first, "1", "0.9"), member("b", second, "1", "0.1")])
    assert sorted(found) == list("ABCDE")
    found = pool_portfolio([member("a", first), member("b", second)])
    assert found == dict.fromkeys("ABCDEFGHIJ", Decimal("0.1"))


def test_any_pool_keeps_the_limits_of_a_submission():
    rng = np.random.default_rng(7)
    for _ in range(200):
        members = [
            member(
                f"m{at}",
                {f"T{t:02}": int(rng.pareto(1) * 1000) for t in rng.integers(0, 50, 12)},
                str(round(rng.random(), 3)),
                str(round(rng.random(), 3)),
            )
            for at in range(rng.integers(1, 8))
        ]
        found = pool_portfolio(members)
        if found is not None:
            assert 5 <= len(found) <= 30
            assert sum(found.values()) == 1
            assert Decimal(0) < min(found.values()) <= max(found.values()) <= Decimal("0.2")


def test_a_payout_by_contribution():
    # fee floor(.15 * 103) = 15; 88 left at 1:1:1 is 29.33 each, the rao left over is a's
    found = pool_payouts(reward_rao=103, ante_rao=50, contributions={"c": 1, "a": 1, "b": 1})
    assert (found.fee_rao, found.ante_rao) == (15, 50)
    assert found.members == {"a": 30, "b": 29, "c": 29}


def test_no_fee_is_taken_of_an_ante():
    found = pool_payouts(reward_rao=0, ante_rao=10**10, contributions={"a": 1})
    assert (found.fee_rao, found.ante_rao, found.members) == (0, 10**10, {"a": 0})


def test_contributions_of_nothing_share_equally_and_a_pool_of_nobody_is_the_operators():
    found = pool_payouts(reward_rao=100, ante_rao=0, contributions={"a": 0, "b": 0})
    assert found.members == {"a": 43, "b": 42}
    assert pool_payouts(reward_rao=7, ante_rao=3, contributions={}).fee_rao == 7


@pytest.mark.parametrize("fee", ["0.10", "0.20"])
def test_the_limits_of_the_fee_are_allowed(fee):
    found = pool_payouts(reward_rao=100, ante_rao=0, contributions={"a": 1}, fee=Decimal(fee))
    assert found.fee_rao == int(100 * Decimal(fee))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fee": Decimal("0.09")}, r"lies in \[0.10, 0.20\], not 0.09"),
        ({"fee": Decimal("0.21")}, "not 0.21"),
        ({"reward_rao": -1}, "at least 0: -1 rao"),
        ({"contributions": {"a": -2}}, "'a': -2"),
    ],
)
def test_what_cannot_be_divided_is_refused(changes, words):
    with pytest.raises(InvalidEntries, match=words):
        pool_payouts(**({"reward_rao": 1, "ante_rao": 1, "contributions": {"a": 1}} | changes))


def test_a_member_is_in_a_pool_once():
    with pytest.raises(InvalidEntries, match="once"):
        member_weights([member("a", {}), member("a", {})])
    with pytest.raises(InvalidEntries, match="A has the weight -1"):
        pool_portfolio([member("a", {"A": -1})])


@pytest.mark.parametrize("total", [0, 1, 17, 10**18])
def test_nothing_is_lost_in_a_pool(total):
    found = pool_payouts(
        reward_rao=total, ante_rao=5, contributions={"a": 3, "b": 7, "c": 0}, params=QUANTA
    )
    assert found.fee_rao + sum(found.members.values()) == total
