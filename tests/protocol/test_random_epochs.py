"""Random epochs, one by one and one after the other: what must hold whatever comes."""

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.protocol.apportion import largest_remainder
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.ledger import (
    balances,
    carry_of,
    ledger_table,
    movements,
    standing,
)
from quanta_pipelines.protocol.params import QUANTA, SPEC
from quanta_pipelines.protocol.pool_settlement import (
    Offence,
    pool_movements,
    pool_payout_table,
    slashing_movements,
)
from quanta_pipelines.protocol.restatement import (
    Restatement,
    RestatementNotCovered,
    moves_the_same,
    restated,
)
from quanta_pipelines.protocol.rewards import RewardEntry, settle
from quanta_pipelines.protocol.statement import identity, problems

SETS = (
    QUANTA,
    SPEC,
    QUANTA.changed(tokenomics__ante_mode="pooled"),
    QUANTA.changed(tokenomics__power_law_gamma=Decimal("1.37"), tokenomics__rake=Decimal("0.9")),
)
STANDINGS = ["ranked"] * 6 + ["provisional", "unranked", "unrevealed", "forfeited"]
EPOCHS = [300, pytest.param(10_000, marks=pytest.mark.soak)]
YEARS = [40, pytest.param(500, marks=pytest.mark.soak)]


def amount(rng, most=18):
    """Any order of magnitude is as likely as any other; 0 too."""
    return int(rng.integers(0, 10 ** int(rng.integers(0, most + 1)) + 1))


def random_miners(rng, hotkeys=None):
    """Few scores, so that ties are common; antes below, at and above the limits."""
    names = [f"m{at:02}" for at in range(rng.integers(0, 40))] if hotkeys is None else hotkeys
    return [
        RewardEntry(
            name,
            Decimal(int(rng.integers(0, 12))) / 8,
            int(rng.choice([10**10, 5 * 10**10, 10**13, 10**10 - 1, 10**13 + 1]))
            if rng.random() < 0.3
            else int(rng.integers(10**10, 10**13)),
            bool(rng.random() < 0.8),
            str(rng.choice(STANDINGS)),
        )
        for name in names
    ]


def came(found):
    antes = sum(each.ante_rao for each in found.allocations)
    return found.emission_rao + found.external_rao + found.carry_in_rao + antes


def went(found):
    paid = sum(each.payout_rao + each.ante_burned_rao for each in found.allocations)
    fees = found.fee_burned_rao + found.fee_treasury_rao
    return paid + found.rake_rao + fees + found.carry_out_rao


@pytest.mark.parametrize("count", EPOCHS)
def test_what_holds_in_every_random_epoch(count):
    rng = np.random.default_rng(91)
    for number in range(count):
        params = SETS[number % len(SETS)]
        miners = random_miners(rng)
        income = {name: amount(rng) for name in ("emission_rao", "external_rao", "carry_in_rao")}
        found = settle(miners, **income, params=params)
        assert came(found) == went(found), number
        taken = {each.hotkey for each in found.allocations}
        assert taken | set(found.refused) == {each.hotkey for each in miners}
        for each in found.allocations:
            assert min(each.payout_rao, each.gross_rao, each.fee_rao, each.ante_burned_rao) >= 0
        if params is not SPEC:  # there a tie is ordered by arrival
            shuffled = [miners[at] for at in rng.permutation(len(miners))]
            assert settle(shuffled, **income, params=params) == found, number


@pytest.mark.parametrize("count", EPOCHS)
def test_a_better_rank_never_gets_less_before_the_fee_at_equal_ante(count):
    rng = np.random.default_rng(92)
    for number in range(count):
        miners = [
            replace(each, ante_rao=5 * 10**10, eligible=True, standing="ranked")
            for each in random_miners(rng)
        ]
        found = settle(
            miners,
            emission_rao=amount(rng),
            external_rao=amount(rng),
            params=SETS[number % len(SETS)],
        )
        for better, worse in pairwise(found.allocations):
            assert better.rank <= worse.rank
            assert better.gross_rao >= worse.gross_rao, number


@pytest.mark.parametrize("count", EPOCHS)
def test_the_largest_remainder_loses_nothing(count):
    rng = np.random.default_rng(93)
    for number in range(count):
        total = amount(rng)
        weights = [amount(rng) for _ in range(rng.integers(1, 30))] + [1]
        parts = largest_remainder(total, weights)
        assert sum(parts) == total, number
        whole = sum(weights)
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part * whole - total * weight) < whole  # within one rao of its share


@pytest.mark.parametrize("count", YEARS)
def test_the_books_of_consecutive_epochs_close_each_time_and_in_total(count):
    rng = np.random.default_rng(94)
    hotkeys = [f"m{at:02}" for at in range(30)]
    epoch, carry = Epoch.parse("2010-Q1-W01"), 0
    ledgers, burned, outside = [], 0, 0
    for number in range(count):
        miners = random_miners(rng, hotkeys[: int(rng.integers(1, 31))])
        income = {"emission_rao": amount(rng, 13), "external_rao": amount(rng, 13)}
        params = SETS[number % len(SETS)]
        found = settle(miners, **income, carry_in_rao=carry, params=params)
        assert settle(miners, **income, carry_in_rao=carry, params=params) == found
        antes = {each.hotkey: each.ante_rao for each in miners}
        ledger = ledger_table(movements(found, antes), epoch.id)
        assert identity(ledger).holds
        burned += found.fee_burned_rao + sum(each.ante_burned_rao for each in found.allocations)
        outside += found.emission_rao + found.validator_emission_rao + found.owner_emission_rao
        outside += found.external_rao
        ledgers.append(ledger)
        epoch, carry = epoch.next(), found.carry_out_rao
    journal = pd.concat(ledgers, ignore_index=True)
    assert problems(journal).empty
    held = balances(journal)
    assert held.sum() == 0
    assert held["burn"] == burned
    assert held["carry"] == carry
    assert -(held["issuance"] + held["external"]) == outside


@pytest.mark.parametrize("count", YEARS)
def test_the_books_close_over_pools_slashing_refunds_and_restatements(count):
    rng = np.random.default_rng(95)
    hotkeys = [f"m{at:02}" for at in range(30)]
    epoch, books, treasury, posting = Epoch.parse("2010-Q1-W01"), {}, {}, 0
    for _ in range(count):
        miners = random_miners(rng, hotkeys[: int(rng.integers(1, 31))])
        before = epoch.previous().id
        carry = carry_of(booked(books, before), before)
        moved = everything_moved(rng, miners, carry)
        books[epoch.id] = ledger_table(moved, epoch.id)
        treasury[epoch.id] = int(balances(books[epoch.id]).get("treasury", 0))
        for _ in range(int(rng.integers(0, 3))):  # any epoch so far, with other scores
            again = str(rng.choice(list(books)))
            standing_now = standing(books[again])
            taken = standing_now.loc[standing_now["reason"] == "carry_in", "amount_rao"].sum()
            anew = everything_moved(rng, antes_of(books[again], rng), int(taken))
            act = Restatement(
                note="other scores",
                booked_in=epoch.id,
                posting=posting + 1,
                carry_rao=carry_of(booked(books, epoch.id), epoch.id),
                treasury_rao=sum(treasury.values()),
            )
            try:
                found = restated(books[again], anew, act, again)
            except RestatementNotCovered:
                continue
            posting += 1
            pd.testing.assert_frame_equal(found.head(len(books[again])), books[again])
            books[again] = found
            treasury[again] = int(balances(found).get("treasury", 0))
            assert moves_the_same(found, anew)
            assert identity(found).holds
        epoch = epoch.next()
    journal = pd.concat(books.values(), ignore_index=True)
    assert problems(journal).empty
    held = balances(journal)
    assert held.sum() == 0
    assert (held["pool"], held["restatement"]) == (0, 0)
    assert posting > count / 4  # most are covered
    reasons = {"pool_payout", "operator_fee", "slashed", "ante_refunded", "restated_carry"}
    assert reasons <= set(journal["reason"])


def booked(books, epoch_id):
    """The ledgers that were posted to in the books of an epoch."""
    return [ledger for ledger in books.values() if ledger["booked_in"].iloc[-1] == epoch_id]


def antes_of(ledger, rng):
    """The miners of an epoch with the antes that they posted, and other scores and standings."""
    posted = standing(ledger)
    posted = posted[posted["reason"] == "ante_posted"]
    names = posted["from_account"].str.removeprefix("miner:").tolist()
    antes = dict(zip(names, posted["amount_rao"].tolist(), strict=True))
    return [replace(each, ante_rao=antes[each.hotkey]) for each in random_miners(rng, names)]


def everything_moved(rng, miners, carry):
    """A settlement's movements, those of one pool in it, and of an offence."""
    found = settle(
        miners,
        emission_rao=amount(rng, 13),
        external_rao=amount(rng, 13),
        carry_in_rao=carry,
        params=SETS[int(rng.integers(len(SETS)))],
    )
    rewards = (
        pd.DataFrame(found.allocations, columns=found.allocations[0]._fields)
        if (found.allocations)
        else pd.DataFrame({"hotkey": [], "gross_rao": [], "fee_rao": []}, dtype="int64")
    )
    top = miners[int(rng.integers(len(miners)))].hotkey
    members = pd.DataFrame({"member": ["g1", "g2", "g3"], "operator": top})
    units = {name: int(rng.integers(0, 5)) for name in ("g1", "g2", "g3")}
    payouts = pool_payout_table(rewards, members, units, epoch_id="2010-Q1-W01")
    offence = Offence(top, dt.datetime(2010, 1, 1, tzinfo=dt.UTC), amount(rng, 13))
    return [
        *movements(found, {each.hotkey: each.ante_rao for each in miners}),
        *pool_movements(payouts),
        *slashing_movements([offence] if rng.random() < 0.3 else []),
    ]
