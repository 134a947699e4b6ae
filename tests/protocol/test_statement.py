import pandas as pd
import pytest

from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.ledger import Movement, ledger_table
from quanta_pipelines.protocol.statement import LARGEST_RAO, identity, problems, statement

W48, W49, W50 = "2025-Q4-W48", "2025-Q4-W49", "2025-Q4-W50"


def ledger(epoch_id, *rows):
    return ledger_table([Movement(*row) for row in rows], epoch_id)


# An epoch of one miner that loses 10 of its 20, a reward of 4 for another, and 6 that are carried
FIRST = ledger(
    W48,
    ("miner:A", "escrow:A", 20, "ante_posted"),
    ("escrow:A", "pool", 20, "ante_staked"),
    ("issuance", "pool", 5, "emission"),
    ("pool", "treasury", 2, "rake"),
    ("pool", "burn", 10, "ante_burned"),
    ("pool", "burn", 1, "fee_burned"),
    ("pool", "treasury", 2, "fee"),
    ("pool", "miner:B", 4, "reward"),
    ("pool", "carry", 6, "carry_out"),
)
SECOND = ledger(
    W49,
    ("external", "pool", 3, "external"),
    ("carry", "pool", 6, "carry_in"),
    ("pool", "carry", 9, "carry_out"),
)
BOTH = pd.concat([FIRST, SECOND], ignore_index=True)


def found(*ledgers):
    table = problems(pd.concat(ledgers, ignore_index=True))
    columns = (table[name] for name in ("epoch_id", "entry", "account", "check"))
    return list(zip(*columns, strict=True))


def test_both_sides_of_an_epoch():
    # came 5 + 20, went 2 + 4 + 10 + 1 + 2 + 6
    sides = identity(FIRST)
    assert (sides.emission_rao, sides.antes_rao, sides.rake_rao, sides.payout_rao) == (5, 20, 2, 4)
    assert (sides.ante_burned_rao, sides.fee_burned_rao, sides.fee_treasury_rao) == (10, 1, 2)
    assert (sides.came_rao, sides.went_rao, sides.holds) == (25, 25, True)


def test_an_epoch_without_movements_holds():
    assert identity(FIRST.head(0)).holds
    assert problems(FIRST.head(0)).empty


def test_a_statement_of_two_epochs():
    rows = statement(BOTH).set_index("account")
    assert rows.loc["pool"].tolist() == [0, 34, 34, 0]  # 25 and 9 in, all of it out
    assert rows.loc["treasury"].tolist() == [0, 4, 0, 4]
    assert rows.loc["burn"].tolist() == [0, 11, 0, 11]
    assert rows.loc["carry"].tolist() == [0, 15, 6, 9]
    assert rows.loc["miner:A"].tolist() == [0, 0, 20, -20]
    assert rows["closing_rao"].sum() == 0


def test_a_statement_of_one_epoch_opens_with_what_came_before():
    second = statement(BOTH, (W49, W49)).set_index("account")
    assert second.loc["carry"].tolist() == [6, 9, 6, 9]
    assert second.loc["burn"].tolist() == [11, 0, 0, 11]
    first = statement(BOTH, (W48, W48)).set_index("account")
    assert first.loc["carry"].tolist() == [0, 6, 0, 6]
    assert "external" not in first.index


def test_books_in_order_have_no_problem():
    assert problems(BOTH).empty
    assert problems(BOTH.sample(frac=1, random_state=1)).empty  # whatever the order of rows


def changed(table, entry, **cells):
    table = table.copy()
    for column, value in cells.items():
        table.loc[table["entry"] == entry, column] = value
    return table


def test_a_rao_that_disappears_in_the_pool():
    spoiled = changed(FIRST, 8, amount_rao=3)
    assert found(spoiled, SECOND) == [
        (W48, 0, "pool", "identity_holds"),
        (W48, 9, "pool", "ends_empty"),
        (W49, 3, "pool", "ends_empty"),
    ]


def test_a_rao_that_the_pool_makes():
    spoiled = changed(FIRST, 9, amount_rao=7)
    assert (W48, 0, "pool", "identity_holds") in found(spoiled)
    assert (W48, 9, "pool", "never_below_zero") in found(spoiled)


def test_a_carry_of_which_a_part_is_forgotten():
    spoiled = changed(changed(SECOND, 2, amount_rao=5), 3, amount_rao=8)
    assert found(FIRST, spoiled) == [(W49, 3, "carry", "carry_is_handed_over")]


def test_a_carry_from_nowhere():
    assert found(SECOND) == [
        (W49, 2, "carry", "never_below_zero"),
        (W49, 3, "carry", "carry_is_handed_over"),
    ]


def test_burned_money_that_moves():
    undone = ledger(W50, ("burn", "treasury", 1, "undone"))
    assert found(FIRST, SECOND, undone) == [(W50, 1, "burn", "burned_stays_burned")]


def test_an_ante_that_stays_in_escrow():
    stuck = ledger(W50, ("miner:A", "escrow:A", 3, "ante_posted"))
    assert found(BOTH, stuck) == [(W50, 1, "escrow:A", "ends_empty")]


def test_a_treasury_that_pays_more_than_it_has():
    # 4 are there; the miner may be paid, an account inside may not be overdrawn
    assert found(BOTH, ledger(W50, ("treasury", "miner:A", 4, "grant"))) == []
    assert found(BOTH, ledger(W50, ("treasury", "miner:A", 5, "grant"))) == [
        (W50, 1, "treasury", "never_below_zero")
    ]


def test_money_that_is_spent_before_it_comes_is_missing_in_between():
    late = ledger(
        W50,
        ("carry", "pool", 9, "carry_in"),
        ("pool", "carry", 10, "carry_out"),
        ("external", "pool", 1, "external"),
    )
    assert found(BOTH, late) == [(W50, 2, "pool", "never_below_zero")]


def test_a_reason_that_the_pool_does_not_know():
    gift = ledger(W50, ("external", "pool", 1, "gift"), ("pool", "miner:A", 1, "gift"))
    assert found(BOTH, gift) == [
        (W50, 1, "pool", "reasons_are_known"),
        (W50, 2, "pool", "reasons_are_known"),
    ]


def test_a_missing_epoch_is_named():
    assert found(BOTH[BOTH["epoch_id"] == W48], ledger(W50)) == []
    later = ledger(W50, ("external", "owner", 1, "gift"))
    assert (W49, 0, "", "no_epoch_is_missing") in found(FIRST, later)


@pytest.mark.parametrize(("start", "amount"), [("owner", 0), ("external", -1), ("owner", 3)])
def test_what_is_no_movement(start, amount):
    assert (W50, 1, start, "moves_something") in found(
        BOTH, ledger(W50, (start, "owner", amount, "odd"))
    )


def test_sums_that_an_int64_does_not_hold_are_refused_not_wrapped():
    huge = ledger(
        W48,
        ("external", "owner", LARGEST_RAO, "gift"),
        ("external", "owner", 1, "gift"),
    )
    with pytest.raises(InvalidEntries, match="9223372036854775808 rao move in this journal"):
        problems(huge)
    assert problems(huge.head(1)).empty
