"""Settled epochs that are settled again: compensated row by row, and the books close every time."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from data_contracts.rewards import LedgerEntries
from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.ledger import (
    Movement,
    balances,
    carry_of,
    ledger_table,
    movements,
    standing,
)
from quanta_pipelines.protocol.restatement import (
    Restatement,
    RestatementNotCovered,
    before_the_last,
    moves_the_same,
    restated,
)
from quanta_pipelines.protocol.rewards import RewardEntry, settle
from quanta_pipelines.protocol.statement import identity, problems, uncompensated

W48, W49, W50 = "2025-Q4-W48", "2025-Q4-W49", "2025-Q4-W50"


def act(booked_in=W49, posting=1, carry=0, treasury=0, note="a corrected close"):
    return Restatement(
        note=note, booked_in=booked_in, posting=posting, carry_rao=carry, treasury_rao=treasury
    )


def moved(*rows):
    return [Movement(*row) for row in rows]


# 25 came: 2 raked, 10 burned, 4 paid to B, 9 carried
SETTLED = moved(
    ("miner:A", "escrow:A", 20, "ante_posted"),
    ("escrow:A", "pool", 20, "ante_staked"),
    ("issuance", "pool", 5, "emission"),
    ("pool", "treasury", 2, "rake"),
    ("pool", "burn", 10, "ante_burned"),
    ("pool", "miner:B", 4, "reward"),
    ("pool", "carry", 9, "carry_out"),
)
# the same 25: 3 raked, 8 burned, 6 paid to A, 8 carried
CORRECT = moved(
    ("miner:A", "escrow:A", 20, "ante_posted"),
    ("escrow:A", "pool", 20, "ante_staked"),
    ("issuance", "pool", 5, "emission"),
    ("pool", "treasury", 3, "rake"),
    ("pool", "burn", 8, "ante_burned"),
    ("pool", "miner:A", 6, "reward"),
    ("pool", "carry", 8, "carry_out"),
)
NEXT = ledger_table(moved(("carry", "pool", 9, "carry_in"), ("pool", "carry", 9, "carry_out")), W49)


def rows(ledger):
    columns = ["version", "from_account", "to_account", "amount_rao", "reason", "reverses"]
    return [
        tuple(None if pd.isna(cell) else cell for cell in row)
        for row in ledger[columns].itertuples(index=False, name=None)
    ]


def test_what_was_settled_its_reversal_and_what_counts_now_stand_in_this_order():
    first = ledger_table(SETTLED, W48)
    found = restated(first, CORRECT, act(carry=9, treasury=2), W48)
    pd.testing.assert_frame_equal(found.head(7), first)
    assert rows(found)[7:14] == [
        (1, "restatement", "pool", 9, "carry_out", 7),
        (1, "miner:B", "pool", 4, "reward", 6),
        (1, "restatement", "pool", 10, "ante_burned", 5),
        (1, "restatement", "pool", 2, "rake", 4),
        (1, "pool", "issuance", 5, "emission", 3),
        (1, "pool", "escrow:A", 20, "ante_staked", 2),
        (1, "escrow:A", "miner:A", 20, "ante_posted", 1),
    ]
    assert rows(found)[14:] == [
        (2, "miner:A", "escrow:A", 20, "ante_posted", None),
        (2, "escrow:A", "pool", 20, "ante_staked", None),
        (2, "issuance", "pool", 5, "emission", None),
        (2, "pool", "restatement", 3, "rake", None),
        (2, "pool", "restatement", 8, "ante_burned", None),
        (2, "pool", "miner:A", 6, "reward", None),
        (2, "pool", "restatement", 8, "carry_out", None),
        # 2 were burned too much and 1 more is raked: the treasury gives 1, the carry the other
        (2, "carry", "restatement", 1, "restated_carry", None),
        (2, "treasury", "restatement", 1, "restated_treasury", None),
    ]
    assert set(found["note"].iloc[7:]) == {"a corrected close"}
    assert set(found["booked_in"].iloc[7:]) == {W49}


def test_the_books_close_after_it_and_what_was_burned_stays_burned():
    found = restated(ledger_table(SETTLED, W48), CORRECT, act(carry=9, treasury=2), W48)
    journal = pd.concat([found, NEXT], ignore_index=True)
    assert problems(journal).empty
    assert uncompensated(found).empty
    held = balances(journal)
    assert held[["burn", "carry", "treasury", "restatement"]].tolist() == [10, 8, 1, 0]
    assert held[["miner:A", "miner:B"]].tolist() == [-14, 0]
    assert carry_of([found, NEXT], W49) == 8  # 9 handed over, 1 of it was too much
    assert carry_of([found], W48) == 9  # what the second epoch took stays what it took
    sides = identity(found)
    assert (sides.rake_rao, sides.payout_rao, sides.ante_burned_rao) == (3, 6, 8)
    assert (sides.carry_out_rao, sides.holds) == (8, True)


def test_a_larger_carry_is_added_to_that_of_the_last_settled_epoch():
    found = restated(ledger_table(CORRECT, W48), SETTLED, act(carry=8, treasury=3), W48)
    # 2 more are burned, 1 more carried, 1 less raked
    assert rows(found)[-3:] == [
        (2, "treasury", "restatement", 1, "restated_treasury", None),
        (2, "restatement", "carry", 1, "restated_carry", None),
        (2, "restatement", "burn", 2, "restated_burn", None),
    ]


def test_a_carry_that_was_spent_is_made_good_by_the_treasury_or_not_at_all():
    first = ledger_table(SETTLED, W48)
    found = restated(first, CORRECT, act(carry=0, treasury=2), W48)
    assert rows(found)[-1] == (2, "treasury", "restatement", 2, "restated_treasury", None)
    message = "needs 2 rao of the treasury, which holds 1: 2 rao too much were burned, and of 1"
    with pytest.raises(RestatementNotCovered, match=message):
        restated(first, CORRECT, act(carry=0, treasury=1), W48)


def test_there_and_back_again_leaves_every_account_where_it_was():
    first = ledger_table(SETTLED, W48)
    there = restated(first, CORRECT, act(carry=9, treasury=2), W48)
    back = restated(there, SETTLED, act(posting=2, carry=8, treasury=1), W48)
    assert back["version"].max() == 3
    assert uncompensated(back).empty
    before, after = balances(first), balances(back)
    assert {k: v for k, v in after.items() if v} == {k: v for k, v in before.items() if v}
    pd.testing.assert_frame_equal(before_the_last(back), there)
    pd.testing.assert_frame_equal(before_the_last(there), first)
    assert before_the_last(first) is None


def test_the_same_movements_are_known_again():
    first = ledger_table(SETTLED, W48)
    assert moves_the_same(first, SETTLED)
    assert not moves_the_same(first, CORRECT)
    there = restated(first, CORRECT, act(carry=9, treasury=2), W48)
    assert moves_the_same(there, CORRECT)
    assert not moves_the_same(there, SETTLED)
    assert moves_the_same(ledger_table([], W48), [])


def test_an_epoch_in_which_nothing_moved_can_be_restated():
    found = restated(ledger_table([], W48), SETTLED, act(), W48)
    assert set(found["version"]) == {2}
    assert balances(found)["carry"] == 9
    nothing = restated(found, [], act(posting=2, carry=9, treasury=12), W48)
    assert standing(nothing).empty
    assert moves_the_same(nothing, [])


@pytest.mark.parametrize(
    "change", [{"note": " "}, {"note": "x" * 201}, {"posting": 0}, {"carry": -1}, {"treasury": -1}]
)
def test_an_act_without_reason_or_place_is_refused(change):
    with pytest.raises(InvalidEntries, match="a restatement"):
        act(**change)


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        (8, {"amount_rao": 8}),
        (9, {"from_account": "miner:A"}),
        (10, {"reason": "rake"}),
        (11, {"reverses": 5}),
        (12, {"reverses": pd.NA}),
        (13, {"reverses": 99}),
        (14, {"to_account": "miner:B"}),
    ],
)
def test_a_reversal_that_is_none_is_found(entry, change):
    spoiled = restated(ledger_table(SETTLED, W48), CORRECT, act(carry=9, treasury=2), W48)
    for column, value in change.items():
        spoiled.loc[spoiled["entry"] == entry, column] = value
    assert not uncompensated(spoiled).empty
    assert "taken_back_whole" in set(problems(spoiled)["check"])


def test_a_version_that_is_replaced_without_a_reversal_is_found():
    found = restated(ledger_table(SETTLED, W48), CORRECT, act(carry=9, treasury=2), W48)
    assert len(uncompensated(found[found["reverses"].isna()])) == 7


def test_a_restated_ledger_keeps_its_contract():
    name = "5" + "A" * 47
    miners = [RewardEntry(name, Decimal(1), 50 * 10**9)]
    antes = {name: 50 * 10**9}
    first = ledger_table(movements(settle(miners, emission_rao=10**12), antes), W48)
    LedgerEntries.validate(first)
    more = movements(settle(miners, emission_rao=2 * 10**12), antes)
    treasury = int(balances(first)["treasury"])
    LedgerEntries.validate(restated(first, more, act(treasury=treasury), W48))


def test_amounts_up_to_10_to_the_18_stay_exact():
    rng = np.random.default_rng(95)
    for _ in range(20):
        total = int(rng.integers(1, 10**18))
        burned, carried = sorted(int(x) for x in rng.integers(0, total, 2))
        one = moved(
            ("external", "pool", total, "external"),
            ("pool", "burn", burned + 1, "ante_burned"),
            ("pool", "carry", total - burned - 1, "carry_out"),
        )
        two = moved(
            ("external", "pool", total, "external"),
            ("pool", "burn", carried + 1, "ante_burned"),
            ("pool", "carry", total - carried - 1, "carry_out"),
        )
        one, two = ([each for each in side if each.amount_rao > 0] for side in (one, two))
        found = restated(
            ledger_table(one, W48), two, act(carry=total - burned - 1, treasury=0), W48
        )
        held = balances(found)
        assert held.get("restatement", 0) == 0
        assert held["burn"] + held.get("carry", 0) == total
