from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.rewards import LedgerEntries, Rewards
from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.ledger import (
    Movement,
    balances,
    carry_of,
    ledger_table,
    movements,
    pool_balance,
)
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.rewards import RewardEntry, settle
from quanta_pipelines.protocol.settlement import settlement_tables

TOKEN = 10**9
EPOCH = "2025-Q4-W48"
MINERS = ["5" + letter * 47 for letter in "ABCDEFGH"]
A, B, C, D, E, F, G, H = MINERS
NOON = pd.Timestamp("2025-11-21 12:00", tz="UTC")


def entry(name, score, ante, **more):
    return RewardEntry(name, Decimal(str(score)), ante, **more)


def flows(settlement, miners):
    return movements(settlement, {each.hotkey: each.ante_rao for each in miners})


def total(moved, reason):
    return sum(movement.amount_rao for movement in moved if movement.reason == reason)


# Movements


def test_a_small_epoch_movement_by_movement():
    # T = 1000: miners 410, validators 410, owner 180. A wins, B is eligible for nothing,
    # C of three breaks even; D did not reveal: 20, half of it burned; E is new; F posted 1
    # P = 410 + 100 + 20 + 4 of the carry of 16; rake .08 * 530 = 42.4
    # W = 410 + 4 + 20 - 10 - 42.4 = 381.6, fee 7.632, a quarter of it burned
    miners = [
        entry("A", 3, 50 * TOKEN),
        entry("B", 2, 30 * TOKEN, eligible=False),
        entry("C", 1, 20 * TOKEN),
        entry("D", 0, 20 * TOKEN, standing="unrevealed"),
        entry("E", 0, 11 * TOKEN, standing="provisional"),
        entry("F", 4, 1 * TOKEN),
    ]
    settlement = settle(miners, emission_rao=1000 * TOKEN, carry_in_rao=16 * TOKEN)
    found = [
        (each.from_account, each.to_account, each.amount_rao / TOKEN, each.reason)
        for each in flows(settlement, miners)
    ]
    assert found == [
        ("miner:A", "escrow:A", 50, "ante_posted"),
        ("miner:B", "escrow:B", 30, "ante_posted"),
        ("miner:C", "escrow:C", 20, "ante_posted"),
        ("miner:D", "escrow:D", 20, "ante_posted"),
        ("miner:E", "escrow:E", 11, "ante_posted"),
        ("miner:F", "escrow:F", 1, "ante_posted"),
        ("escrow:E", "miner:E", 11, "ante_refunded"),
        ("escrow:F", "miner:F", 1, "ante_refunded"),
        ("escrow:A", "pool", 50, "ante_staked"),
        ("escrow:B", "pool", 30, "ante_staked"),
        ("escrow:C", "pool", 20, "ante_staked"),
        ("escrow:D", "pool", 20, "ante_staked"),
        ("issuance", "pool", 410, "emission"),
        ("issuance", "validators", 410, "emission"),
        ("issuance", "owner", 180, "emission"),
        ("carry", "pool", 16, "carry_in"),
        ("pool", "treasury", 42.4, "rake"),
        ("pool", "burn", 10, "ante_burned"),
        ("pool", "burn", 1.908, "fee_burned"),
        ("pool", "treasury", 5.724, "fee"),
        ("pool", "miner:A", 50, "ante_returned"),
        ("pool", "miner:B", 30, "ante_returned"),
        ("pool", "miner:C", 20, "ante_returned"),
        ("pool", "miner:A", 373.968, "reward"),
        ("pool", "carry", 12, "carry_out"),
    ]


def test_nothing_moves_where_there_is_nothing():
    assert flows(settle([], emission_rao=0), []) == []


def test_external_revenue_enters_the_pool():
    moved = flows(settle([], emission_rao=0, external_rao=7), [])
    assert moved == [
        Movement("external", "pool", 7, "external"),
        Movement("pool", "carry", 7, "carry_out"),
    ]


@pytest.mark.parametrize("antes", [{}, {"A": 1}, {"A": 50 * TOKEN, "B": 1}])
def test_antes_that_were_not_settled_do_not_move(antes):
    settlement = settle([entry("A", 1, 50 * TOKEN)], emission_rao=0)
    with pytest.raises(InvalidEntries, match="antes"):
        movements(settlement, antes)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.one_of(st.just(0), st.integers(10**9, 10**13)),
            st.sampled_from(["ranked", "ranked", "provisional", "unrevealed", "forfeited"]),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.tuples(*[st.integers(0, 10**18)] * 3),
    st.sampled_from(["ante_first", "pooled"]),
)
@settings(max_examples=60, deadline=None)
def test_every_epoch_empties_pool_and_escrows(rows, income, mode):
    miners = [
        entry(f"m{i}", score, ante, standing=standing, eligible=eligible)
        for i, (score, ante, standing, eligible) in enumerate(rows)
    ]
    emission, external, carry = income
    settlement = settle(
        miners,
        emission_rao=emission,
        external_rao=external,
        carry_in_rao=carry,
        params=QUANTA.changed(tokenomics__ante_mode=mode),
    )
    ledger = ledger_table(flows(settlement, miners), EPOCH)
    left = balances(ledger)
    assert left.sum() == 0
    assert pool_balance(ledger) == 0
    assert not left[left.index.str.startswith("escrow:")].any()
    assert carry_of([ledger], EPOCH) == settlement.carry_out_rao
    assert left.get("treasury", 0) == settlement.rake_rao + settlement.fee_treasury_rao
    for each in settlement.allocations:
        assert left.get(f"miner:{each.hotkey}", 0) == each.payout_rao - each.ante_rao


def test_an_empty_ledger_holds_nothing():
    ledger = ledger_table([], EPOCH)
    assert (pool_balance(ledger), carry_of([ledger], EPOCH), len(balances(ledger))) == (0, 0, 0)


def test_before_the_first_epoch_nothing_is_carried():
    assert carry_of([], EPOCH) == 0


def test_a_pool_that_is_not_empty_shows():
    ledger = ledger_table([Movement("external", "pool", 7, "external")], EPOCH)
    assert pool_balance(ledger) == 7
    assert balances(ledger).to_dict() == {"external": -7, "pool": 7}


# Tables


def scores_of(rows):
    """Standing and final score by miner; each committed a minute before the one in front."""
    return pd.DataFrame(
        {
            "hotkey": list(rows),
            "standing": [standing for standing, _ in rows.values()],
            "reason": ["" if of == "ranked" else f"{of} here" for of, _ in rows.values()],
            "final_score": [score for _, score in rows.values()],
            "committed_at": [NOON - pd.Timedelta(minutes=i) for i in range(len(rows))],
        }
    )


def consensus_of(rows):
    """Weight and tier by miner; all eligible."""
    return pd.DataFrame(
        {
            "hotkey": pd.Series(list(rows), dtype=object),
            "consensus_weight": pd.Series([weight for weight, _ in rows.values()], dtype=float),
            "tier": pd.Series([tier for _, tier in rows.values()], dtype=object),
            "eligible": pd.Series([True] * len(rows), dtype=bool),
        }
    )


def commitments_of(antes):
    return pd.DataFrame({"hotkey": list(antes), "ante_rao": list(antes.values())})


SCORES = scores_of(
    {
        A: ("ranked", 0.5),
        B: ("ranked", 0.3),
        C: ("ranked", 0.2),
        D: ("unrevealed", np.nan),
        E: ("provisional", 0.9),
        F: ("unranked", 0.1),
        G: ("unranked", 0.25),  # a filled portfolio, without a commitment
    }
)
CONSENSUS = consensus_of(
    {A: (0.5, "top_tier"), B: (0.300000001, "profitable"), C: (0.199999999, "break_even")}
)
COMMITMENTS = commitments_of(dict.fromkeys((F, E, D, C, B, A), 50 * TOKEN))


def settled(consensus=CONSENSUS, scores=SCORES, commitments=COMMITMENTS, **changes):
    arguments = {
        "emission_rao": 1000 * TOKEN,
        "external_rao": 0,
        "carry_in_rao": 0,
        "epoch_id": EPOCH,
        "voted": True,
    }
    tables = settlement_tables(consensus, scores, commitments, **(arguments | changes))
    Rewards.validate(tables.rewards)
    LedgerEntries.validate(tables.ledger_entries)
    assert pool_balance(tables.ledger_entries) == 0
    return tables


def test_an_epochs_tables():
    # P = 410 + 4 * 50 = 610, rake 48.8; W = 410 + 50 - 25 - 48.8 = 386.2
    rewards = settled().rewards.set_index("hotkey")
    assert rewards.index.tolist() == [A, B, C, D, E, F]
    assert rewards["standing"].tolist() == [
        *["ranked"] * 3,
        "unrevealed",
        "provisional",
        "unranked",
    ]
    assert rewards["rank"].tolist()[:3] == [1, 2, 3]
    assert rewards["rank"].isna().tolist() == [False, False, False, True, True, True]
    assert rewards["final_tier"].tolist()[:3] == ["top_tier", "profitable", "break_even"]
    assert rewards["gross_rao"].sum() == 386_200_000_000
    # two winners: 1 of 1 + 2^-1.5
    assert rewards["reward_share"][A] == pytest.approx(0.7387961250)
    returned = [50 * TOKEN] * 3 + [0] + [50 * TOKEN] * 2
    assert rewards["ante_returned_rao"].tolist() == returned
    assert rewards["ante_burned_rao"][D] == 25 * TOKEN


def test_the_ledger_is_numbered_and_closes():
    ledger = settled().ledger_entries
    assert ledger["entry"].tolist() == list(range(1, len(ledger) + 1))
    assert balances(ledger)["treasury"] >= 48_800_000_000
    assert balances(ledger)[f"miner:{D}"] == -50 * TOKEN


def test_without_consensus_every_ante_goes_back_and_emission_is_carried():
    tables = settled(consensus=CONSENSUS.head(0), carry_in_rao=8)
    assert tables.rewards["payout_rao"].tolist() == [50 * TOKEN] * 6
    # neither A to C, who were ranked here, nor D, who did not reveal, has anything at stake
    standings = ["unranked"] * 4 + ["provisional", "unranked"]
    assert tables.rewards["standing"].tolist() == standings
    assert tables.rewards["ante_burned_rao"].sum() == 0
    assert tables.rewards["reason"][3] == "the votes rank nobody: the epoch is not settled"
    assert carry_of([tables.ledger_entries], EPOCH) == 410 * TOKEN + 8
    assert "treasury" not in balances(tables.ledger_entries).index


@pytest.mark.parametrize("own", ["ranked", "provisional", "unranked"])
def test_without_consensus_the_own_opinion_moves_no_rao(own):
    # whether this platform ranked anyone is its opinion, and D's ante must not hang on it
    scores = scores_of({D: ("unrevealed", np.nan), E: (own, 0.9)})
    tables = settled(CONSENSUS.head(0), scores, commitments_of({D: 50 * TOKEN, E: 50 * TOKEN}))
    assert tables.rewards["payout_rao"].tolist() == [50 * TOKEN, 50 * TOKEN]
    assert carry_of([tables.ledger_entries], EPOCH) == 410 * TOKEN


def test_where_nobody_voted_an_unrevealed_ante_is_forfeited_and_the_rest_carried():
    # the first weeks, when nobody has 30 sessions: half of D's ante burns, half is carried
    scores = scores_of({D: ("unrevealed", np.nan), E: ("provisional", 0.9)})
    commitments = commitments_of({D: 50 * TOKEN, E: 50 * TOKEN})
    tables = settled(CONSENSUS.head(0), scores, commitments, voted=False)
    assert tables.rewards["payout_rao"].tolist() == [0, 50 * TOKEN]
    assert tables.rewards["ante_burned_rao"].tolist() == [25 * TOKEN, 0]
    assert carry_of([tables.ledger_entries], EPOCH) == 435 * TOKEN


@pytest.mark.parametrize("own", ["provisional", "unranked"])
def test_a_miner_that_the_votes_rank_is_ranked_whatever_its_score_here(own):
    scores = SCORES.assign(
        standing=SCORES["standing"].mask(SCORES["hotkey"] == B, own),
        reason=SCORES["reason"].mask(SCORES["hotkey"] == B, "29 sessions, a rank needs 30"),
    )
    here, there = settled(scores=scores), settled()
    pd.testing.assert_frame_equal(here.ledger_entries, there.ledger_entries)
    pd.testing.assert_frame_equal(here.rewards, there.rewards)
    assert here.rewards["rank"][1] == 2


def test_a_miner_that_only_this_platform_ranks_is_unranked_with_a_reason():
    # two are ranked: P = 410 + 2 * 50 + D's 25 that stay, C's ante is not at stake
    rewards = settled(CONSENSUS.iloc[:2]).rewards.set_index("hotkey")
    assert (rewards["standing"][C], rewards["payout_rao"][C]) == ("unranked", 50 * TOKEN)
    assert rewards["reason"][C].startswith("ranked here, but too little")
    assert rewards["reason"][[A, D, E]].tolist() == ["", "unrevealed here", "provisional here"]
    assert rewards["rank"].tolist()[:2] == [1, 2]


def test_platforms_that_differ_on_a_boundary_miner_write_the_same_ledger():
    # C has 30 sessions here and 29 there; the votes, which both read, are what counts
    def ledger(own):
        boundary = SCORES["hotkey"] == C
        scores = SCORES.assign(
            standing=SCORES["standing"].mask(boundary, own),
            reason=SCORES["reason"].mask(boundary, "" if own == "ranked" else "29 sessions"),
        )
        return [settled(votes, scores).ledger_entries for votes in (CONSENSUS, CONSENSUS[:2])]

    for here, there in zip(ledger("ranked"), ledger("provisional"), strict=True):
        pd.testing.assert_frame_equal(here, there)


def test_an_epoch_without_anyone_has_empty_tables():
    tables = settled(CONSENSUS.head(0), SCORES.head(0), COMMITMENTS.head(0), emission_rao=0)
    assert tables.rewards.empty
    assert tables.ledger_entries.empty


def test_a_cluster_member_forfeits_below_the_penalty_cut_only():
    # nobody is in the penalty band, so the cut is C's 0.2: F has 0.1
    forfeits = settled(cluster_members={F, A}).rewards.set_index("hotkey")
    assert forfeits["ante_burned_rao"][F] == 25 * TOKEN
    assert forfeits["standing"][F] == "unranked"
    assert forfeits["payout_rao"][A] > 50 * TOKEN  # it holds the cluster's rank
    consensus = CONSENSUS.assign(tier=["top_tier", "profitable", "penalty_band"])
    scores = SCORES.assign(final_score=SCORES["final_score"].mask(SCORES["hotkey"] == F, 0.3))
    spared = settled(consensus, scores, cluster_members={F}).rewards.set_index("hotkey")
    assert spared["payout_rao"][F] == 50 * TOKEN


def test_a_refused_ante_is_shown_and_comes_back():
    commitments = COMMITMENTS.assign(
        ante_rao=COMMITMENTS["ante_rao"].mask(COMMITMENTS["hotkey"] == A, 9 * TOKEN)
    )
    rewards = settled(commitments=commitments).rewards.set_index("hotkey")
    assert (rewards["standing"][A], rewards["payout_rao"][A]) == ("unranked", 9 * TOKEN)
    assert rewards["rank"][B] == 1


def test_ranks_may_come_from_the_own_score():
    params = QUANTA.changed(consensus__rank_by="own_score")
    consensus = CONSENSUS.assign(consensus_weight=[0.2, 0.3, 0.5])
    assert settled(consensus).rewards["rank"].tolist()[:3] == [3, 2, 1]
    assert settled(consensus, params=params).rewards["rank"].tolist()[:3] == [1, 2, 3]


def test_ties_may_be_ordered_by_arrival():
    consensus = CONSENSUS.assign(consensus_weight=[0.3, 0.3, 0.4])
    assert settled(consensus).rewards["rank"].tolist()[:3] == [2, 2, 1]
    params = QUANTA.changed(scoring__tie_order="arrival")
    assert settled(consensus, params=params).rewards["rank"].tolist()[:3] == [3, 2, 1]


def test_who_is_not_eligible_earns_nothing():
    consensus = CONSENSUS.assign(eligible=[False, True, True])
    rewards = settled(consensus).rewards.set_index("hotkey")
    assert (rewards["final_tier"][A], rewards["payout_rao"][A]) == ("break_even", 50 * TOKEN)
    assert rewards["reward_share"][B] == 1.0


@pytest.mark.parametrize(
    ("consensus", "scores", "commitments", "problem"),
    [
        (CONSENSUS, SCORES.iloc[:5], COMMITMENTS, f"committed without a row in scores: {F}"),
        (CONSENSUS, SCORES, COMMITMENTS.iloc[:5], f"by the votes without a commitment: {A}"),
        (
            CONSENSUS,
            SCORES.assign(standing=SCORES["standing"].mask(SCORES["hotkey"] == B, "unrevealed")),
            COMMITMENTS,
            f"by the votes without a reveal: {B}",
        ),
    ],
)
def test_tables_that_disagree_are_refused(consensus, scores, commitments, problem):
    with pytest.raises(InvalidEntries, match=problem):
        settled(consensus, scores, commitments)


def test_settling_twice_changes_nothing():
    first, second = settled(), settled(commitments=COMMITMENTS.iloc[::-1])
    pd.testing.assert_frame_equal(first.rewards, second.rewards)
    pd.testing.assert_frame_equal(first.ledger_entries, second.ledger_entries)


def test_a_settlement_of_others_does_not_fit():
    settlement = settle([entry("A", 1, 50 * TOKEN)], emission_rao=0)
    with pytest.raises(InvalidEntries):
        movements(replace(settlement, refused=("B",)), {"A": 50 * TOKEN})
