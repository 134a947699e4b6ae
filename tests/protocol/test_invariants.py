"""What must hold between tables, on rows that break it by as little as possible."""

import numpy as np
import pandas as pd
import pytest

from data_contracts import consensus as contract
from quanta_pipelines.protocol import invariants, votes
from quanta_pipelines.protocol.params import QUANTA

# A rao more than float64 can hold: 10^16 is above 2^53
ODD = 10**16 + 1


def ledger(*movements: tuple[str, str, int]) -> pd.DataFrame:
    """Movements of a first settlement; what reaches a miner is its reward."""
    moved = pd.DataFrame(movements, columns=["from_account", "to_account", "amount_rao"])
    reverses = pd.array([pd.NA] * len(moved), dtype="Int64")
    return moved.assign(
        entry=range(1, len(moved) + 1), reason="reward", reverses=reverses, posting=0
    )


def test_the_units_of_a_row_are_the_same_number_everywhere() -> None:
    assert contract.WEIGHT_UNITS == votes.WEIGHT_UNITS == invariants.WEIGHT_UNITS == 10**9


# Accounts and payouts


def test_a_rao_that_stays_in_the_pool_shows_whatever_the_amounts() -> None:
    moved = ledger(("issuance", "pool", ODD), ("pool", "treasury", ODD - 1))
    found = invariants.open_accounts(moved)
    assert found.to_dict("records") == [{"account": "pool", "balance_rao": 1}]
    assert found["balance_rao"].dtype == np.int64


def test_accounts_that_close_are_not_shown() -> None:
    moved = ledger(("issuance", "pool", ODD), ("pool", "treasury", ODD), ("carry", "burn", 7))
    assert invariants.open_accounts(moved).empty
    assert invariants.open_accounts(ledger()).empty


def test_an_escrow_must_be_empty_and_no_account_of_ours_below_zero() -> None:
    moved = ledger(("miner:a", "escrow:a", 5), ("treasury", "miner:a", 3))
    assert invariants.open_accounts(moved).to_dict("records") == [
        {"account": "escrow:a", "balance_rao": 5},
        {"account": "treasury", "balance_rao": -3},
    ]


def test_burned_money_does_not_move_even_when_more_is_burned() -> None:
    moved = ledger(("external", "burn", 5), ("burn", "treasury", 2))
    assert invariants.open_accounts(moved).to_dict("records") == [
        {"account": "burn", "balance_rao": 3}
    ]


def test_a_payout_that_is_a_rao_short_shows_whatever_the_amounts() -> None:
    # b is paid nothing and so has no movement, which must not make the other's amount a float
    rewards = pd.DataFrame({"hotkey": ["a", "b"], "payout_rao": [ODD, 0]})
    short = ledger(("pool", "miner:a", ODD - 1))
    assert invariants.unmatched_payouts(rewards, short).to_dict("records") == [
        {"hotkey": "a", "payout_rao": ODD, "moved_rao": ODD - 1}
    ]
    assert invariants.unmatched_payouts(rewards, ledger(("pool", "miner:a", ODD))).empty


def test_a_payout_to_a_stranger_shows() -> None:
    rewards = pd.DataFrame({"hotkey": ["a"], "payout_rao": [ODD]})
    moved = ledger(("pool", "miner:a", ODD), ("pool", "miner:z", 1))
    assert invariants.unmatched_payouts(rewards, moved)["hotkey"].tolist() == ["z"]


# Ranks and tiers

TIERS = (
    # 100 (rank - 1) < 15 n, 50 n, 70 n: of 20 ranks 1-3, 4-10, 11-14 and 15-20
    *["top_tier"] * 3,
    *["profitable"] * 7,
    *["break_even"] * 4,
    *["penalty_band"] * 6,
)


def ranked(score: str = "final_score", **changes: object) -> pd.DataFrame:
    """Twenty miners, one rank each, the last with a score of 0."""
    table = {
        "hotkey": [f"m{at:02}" for at in range(20)],
        score: np.arange(19, -1, -1) / 20,
        "rank": np.arange(1, 21),
        "percentile": 1 - np.arange(20) / 20,
        "tier": TIERS,
    }
    return pd.DataFrame(table | changes)


def off(table: pd.DataFrame, score: str = "final_score", params=QUANTA) -> list[str]:
    return invariants.misranked(table, score, "rank", params)["hotkey"].tolist()


def test_twenty_in_their_tiers_are_right() -> None:
    assert off(ranked()) == []
    assert off(ranked("consensus_weight"), "consensus_weight") == []


@pytest.mark.parametrize("at", [2, 3, 9, 10, 13, 14])
def test_a_tier_on_the_wrong_side_of_its_cut_shows(at: int) -> None:
    # the first and the last of each tier, moved to the neighbouring one
    neighbour = TIERS[at + 1] if TIERS[at + 1] != TIERS[at] else TIERS[at - 1]
    tier = [*TIERS[:at], neighbour, *TIERS[at + 1 :]]
    assert off(ranked(tier=tier)) == [f"m{at:02}"]
    assert off(ranked("consensus_weight", tier=tier), "consensus_weight") == [f"m{at:02}"]


def test_a_tier_that_is_missing_shows() -> None:
    assert off(ranked(tier=[*TIERS[:19], None])) == ["m19"]


def test_an_agreed_weight_of_zero_is_in_the_penalty_band_at_any_rank() -> None:
    # 19 of 20 agreed on nothing: they share rank 2, which is a top tier's
    tied = {
        "rank": [1] + [2] * 19,
        "percentile": [1.0] + [0.95] * 19,
        "tier": ["top_tier"] + ["penalty_band"] * 19,
    }
    zeros = np.array([1.0] + [0.0] * 19)
    table = ranked("consensus_weight", consensus_weight=zeros, **tied)
    assert off(table, "consensus_weight") == []
    assert len(off(table.assign(tier="top_tier"), "consensus_weight")) == 19
    # one validator's scores of 0 stand where their rank puts them
    assert len(off(table.rename(columns={"consensus_weight": "final_score"}))) == 19


def test_the_tiers_of_the_floats_rule_are_not_compared() -> None:
    params = QUANTA.changed(scoring__tier_rule="percentile")
    assert off(ranked(tier="top_tier"), params=params) == []


def test_a_consensus_rests_on_votes_for_each_of_its_miners() -> None:
    table = ranked("consensus_weight")
    given = pd.DataFrame(
        {
            "hotkey": table["hotkey"],
            "weight_units": np.rint(table["consensus_weight"] * 10**9).astype(np.int64),
        }
    )
    assert invariants.inconsistent_consensus(table, given, QUANTA).empty
    # the last is agreed at 0, and may be only where somebody has it in its row
    lost = invariants.inconsistent_consensus(table, given.iloc[:19], QUANTA)
    assert lost["hotkey"].tolist() == ["m19"]
    moved = table.assign(tier=table["tier"].mask(table.index == 3, "top_tier"))
    assert invariants.inconsistent_consensus(moved, given, QUANTA)["hotkey"].tolist() == ["m03"]
