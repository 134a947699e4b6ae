"""Cases open once, move by an operator's rows or by time, and hold money until they are closed."""

import datetime as dt
import json

import pandas as pd
import pytest

from quanta_pipelines.protocol import case_money
from quanta_pipelines.protocol.epoch import Epoch, settles_at
from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.integrity import (
    CaseKind,
    Suspicion,
    awaiting_decision,
    case_table,
    one_hand,
    plagiarists,
)
from quanta_pipelines.protocol.integrity.case_table import EVENT_COLUMNS
from quanta_pipelines.protocol.invariants import unmoved_cases
from quanta_pipelines.protocol.ledger import Movement
from quanta_pipelines.protocol.params import QUANTA

FIRST = Epoch.parse("2025-Q3-W30")  # no change of clocks in the weeks that are counted
COPIER, ORIGINAL, THIRD = "copier", "original", "third"
ALPHA = 10**9


def week(number):
    epoch = FIRST
    for _ in range(number):
        epoch = epoch.next()
    return epoch


def copies(*weeks, hotkey=COPIER):
    marks = tuple(week(number).id for number in weeks)
    return Suspicion(CaseKind.PLAGIARISM, hotkey, ORIGINAL, marks, 3, {"epochs": len(marks)})


def said(case_id, event, at, author="ann", reason="looked at it"):
    row = (case_id, event, author, reason, "", pd.Timestamp(at))
    return pd.DataFrame([row], columns=list(EVENT_COLUMNS))


NOTHING = said("none", "review", settles_at(FIRST)).head(0)


def tables(weeks, suspected=None, events=NOTHING, bonds=None):
    """The tables of some weeks in a row; ``suspected`` are suspicions by week."""
    found, previous = [], None
    for number in range(weeks):
        previous = case_table(
            (suspected or {}).get(number, []),
            events,
            previous,
            epoch_id=week(number).id,
            bonds=bonds,
        )
        found.append(previous)
    return found


def opened(number=3):
    """The case that a copier of weeks 1 to 3 gets, and its id."""
    found = tables(number + 1, {number: [copies(1, 2, 3)]})[-1]
    return found, found["case_id"].iloc[0]


def test_a_suspicion_opens_a_case_with_its_evidence_and_its_last_moment():
    found, _ = opened()
    row = found.iloc[0]
    assert (row["state"], row["hotkey"], row["other_hotkey"]) == ("open", COPIER, ORIGINAL)
    assert row["opened_at"] == settles_at(week(3))
    assert row["decide_by"] - row["opened_at"] == dt.timedelta(days=14)
    assert json.loads(row["evidence"]) == {"epochs": 3}
    assert (row["author"], found["closed_at"].isna().all()) == ("quanta", True)


def test_the_same_suspicion_again_opens_no_second_case():
    one = case_table([copies(1, 2, 3)], NOTHING, None, epoch_id=week(3).id)
    pd.testing.assert_frame_equal(
        one, case_table([copies(1, 2, 3)], NOTHING, None, epoch_id=week(3).id)
    )
    # weeks 2 to 4 are a case that is open already
    later = tables(5, {3: [copies(1, 2, 3)], 4: [copies(2, 3, 4)]})[-1]
    assert later["case_id"].tolist() == one["case_id"].tolist()


def test_a_closed_case_is_opened_again_by_new_copies_alone():
    _, case_id = opened()
    events = said(case_id, "dismiss", settles_at(week(3)) + dt.timedelta(hours=1))
    more = {3: [copies(1, 2, 3)], 5: [copies(3, 4, 5)], 6: [copies(4, 5, 6)]}
    found = tables(7, more, events)
    assert len(found[5]) == 1  # two of the three copies lie after the case
    assert found[6]["state"].tolist() == ["dismissed", "open"]


def test_whoever_is_copied_a_copier_has_one_case():
    other = Suspicion(CaseKind.PLAGIARISM, COPIER, THIRD, (week(4).id,) * 3, 3, {})
    assert len(tables(5, {3: [copies(1, 2, 3)], 4: [other]})[-1]) == 1
    assert len(tables(4, {3: [copies(1, 2, 3), copies(1, 2, 3, hotkey=THIRD)]})[-1]) == 2


@pytest.mark.parametrize(("event", "state"), [("confirm", "confirmed"), ("dismiss", "dismissed")])
def test_a_decision_closes_a_case_in_the_first_epoch_that_sees_it(event, state):
    _, case_id = opened()
    at = settles_at(week(4)) + dt.timedelta(seconds=1)
    found = tables(6, {3: [copies(1, 2, 3)]}, said(case_id, event, at))
    assert found[4]["state"].tolist() == ["open"]
    row = found[5].iloc[0]
    assert (row["state"], row["closed_epoch"], row["author"]) == (state, week(5).id, "ann")
    assert row["closed_at"] == pd.Timestamp(at)


def test_a_review_says_that_somebody_looks_and_lets_money_wait():
    _, case_id = opened()
    found = tables(5, {3: [copies(1, 2, 3)]}, said(case_id, "review", settles_at(week(3))))[-1]
    assert found[["state", "reason"]].to_numpy().tolist() == [["under_review", "looked at it"]]
    assert awaiting_decision(found) == {COPIER}


def test_after_fourteen_days_without_a_decision_a_case_is_dismissed_and_says_so():
    # opened in week 3; its fourteenth day ends with week 5, which is still in time
    found = tables(7, {3: [copies(1, 2, 3)]})
    assert found[5]["state"].tolist() == ["open"]
    row = found[6].iloc[0]
    assert (row["state"], row["author"]) == ("dismissed", "quanta")
    assert row["reason"] == "nobody decided within 14 days"
    assert row["closed_at"] == row["decide_by"]
    assert awaiting_decision(found[6]) == set()


def test_offences_of_one_miner_burn_more_and_more_of_what_is_bonded():
    # 5 % of 100 ALPHA, then 7.5 % of what is bonded at the second confirmation
    _, first = opened()
    day = dt.timedelta(days=1)
    events = said(first, "confirm", settles_at(week(3)) + day)
    again = {3: [copies(1, 2, 3)], 6: [copies(4, 5, 6)]}
    second = tables(7, again, events)[-1]["case_id"].iloc[-1]
    events = pd.concat([events, said(second, "confirm", settles_at(week(6)) + day)])
    found = tables(8, again, events, bonds={COPIER: 100 * ALPHA})[-1]
    assert found["offence_number"].tolist() == [1, 2]
    assert found["slash_rao"].tolist() == [5 * ALPHA, 7_500_000_000]
    unknown = tables(8, again, events)[-1]
    assert unknown["slash_rao"].isna().all()


def test_a_confirmed_plagiarist_is_barred_until_the_offence_is_forgotten():
    # 90 clean days after the confirmation: 12 weeks are 84 days, 13 are 91
    _, case_id = opened()
    at = settles_at(week(3)) + dt.timedelta(hours=1)
    found = tables(5, {3: [copies(1, 2, 3)]}, said(case_id, "confirm", at))[-1]
    assert plagiarists(found, week(4).id) == {COPIER}
    assert plagiarists(found, week(3 + 12).id) == {COPIER}
    assert plagiarists(found, week(3 + 13).id) == set()


def test_a_confirmed_pair_is_one_hand_and_holds_no_money():
    pair = Suspicion(CaseKind.HEDGED_PAIR, ORIGINAL, THIRD, (week(3).id,), 1, {})
    found = tables(4, {3: [pair]})[-1]
    assert (awaiting_decision(found), one_hand(found), one_hand(None)) == (set(), [], [])
    events = said(found["case_id"].iloc[0], "confirm", settles_at(week(3)))
    assert one_hand(tables(5, {3: [pair]}, events)[-1]) == [(ORIGINAL, THIRD)]


# The gate


def test_cases_that_go_forward_pass_their_gate():
    _, case_id = opened()
    events = said(case_id, "confirm", settles_at(week(4)))
    found = tables(7, {3: [copies(1, 2, 3)]}, events)
    for before, after in zip([None, *found], found, strict=False):
        assert unmoved_cases(after, before, QUANTA).empty


def test_a_case_that_is_lost_reopened_or_rewritten_is_seen():
    _, case_id = opened()
    events = said(case_id, "dismiss", settles_at(week(3)))
    before, after = tables(5, {3: [copies(1, 2, 3)]}, events)[-2:]
    assert before["state"].tolist() == ["dismissed"]
    for spoiled in (
        after.head(0),
        after.assign(state="open"),
        after.assign(reason="another"),
        after.assign(evidence="{}"),
        after.assign(opened_epoch=week(4).id),
    ):
        assert unmoved_cases(spoiled, before, QUANTA)["case_id"].tolist() == [case_id]


# Money


def test_payouts_wait_while_a_case_is_open_and_follow_its_decision():
    _, case_id = opened()
    events = said(case_id, "dismiss", settles_at(week(4)) + dt.timedelta(hours=1))
    found = tables(6, {3: [copies(1, 2, 3)]}, events)
    payouts = {COPIER: 7, ORIGINAL: 9}
    waits = case_money.case_money(found[3], [], week(3).id)
    assert case_money.case_movements(payouts, waits) == [
        Movement("miner:copier", "held:copier", 7, "held_for_case")
    ]
    ledger = pd.DataFrame(
        [("miner:copier", "held:copier", 7), ("pool", "miner:copier", 7)],
        columns=["from_account", "to_account", "amount_rao"],
    )
    assert case_money.epochs_held(found[4], week(4).id) == 0
    assert case_money.epochs_held(found[5], week(5).id) == 2  # weeks 3 and 4 held something
    freed = case_money.case_money(found[5], [ledger, ledger], week(5).id)
    assert case_money.case_movements(payouts, freed) == [
        Movement("held:copier", "miner:copier", 14, "case_dismissed")
    ]


def test_what_was_held_burns_where_the_case_is_confirmed_and_nothing_moves_twice():
    _, case_id = opened()
    events = said(case_id, "confirm", settles_at(week(3)) + dt.timedelta(hours=1))
    found = tables(6, {3: [copies(1, 2, 3)]}, events)
    ledger = pd.DataFrame(
        [("miner:copier", "held:copier", 2**53 + 1)],
        columns=["from_account", "to_account", "amount_rao"],
    )
    burned = case_money.case_money(found[4], [ledger], week(4).id)
    assert case_money.case_movements({COPIER: 7}, burned) == [
        Movement("held:copier", "burn", 2**53 + 1, "case_confirmed")
    ]
    after = case_money.case_money(found[5], [], week(5).id)
    assert case_money.case_movements({COPIER: 7}, after) == []


def test_a_miner_with_a_closing_and_an_open_case_is_refused():
    _, case_id = opened()
    events = said(case_id, "confirm", settles_at(week(3)) + dt.timedelta(hours=1))
    found = tables(5, {3: [copies(1, 2, 3)]}, events)[-1]
    both = pd.concat([found, found.assign(state="open", closed_epoch=None)])
    with pytest.raises(InvalidEntries, match="a case that closes and an open one"):
        case_money.case_money(both, [], week(4).id)
