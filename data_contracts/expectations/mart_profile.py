"""What expectations look at in the published marts: each epoch in a few numbers."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

MARTS_READ = ("leaderboard", "epochs", "network_by_epoch", "ledger_balances", "price_quality")
# every settled epoch has a row in these; the leaderboard of one in which nobody is ranked has none
_OF_EVERY_EPOCH = ("epochs", "network_by_epoch", "price_quality")


@dataclass(frozen=True, slots=True)
class MartProfile:
    """One epoch's marts in a few numbers; NaN where there is nothing to compute one from.

    ``ranked`` and ``validators`` are counts; ``eligible`` the share of the ranked that fulfil the
    conditions for rewards; ``composite`` (median) and ``composite_spread`` (standard deviation) are
    over the ranked; ``first_payout`` is the largest payout's share of all payouts; ``burned`` the
    share of what entered the pool that is destroyed. Where nobody is ranked, money is carried over
    or goes back, and all but the counts are NaN.
    """

    epoch_id: str
    ranked: float
    eligible: float
    composite: float
    composite_spread: float
    first_payout: float
    burned: float
    validators: float


@dataclass(frozen=True, slots=True)
class MartFaults:
    """What is wrong over all epochs of the marts; zeros where they are sound.

    ``rank_faults`` counts rows of the leaderboard whose rank is not 1 plus the number of better
    ones; ``unbalanced`` epochs whose ledger balances do not add up to 0, or go on from another
    balance than the one before; ``behind`` settled epochs that one of the marts does not show.
    """

    rank_faults: float
    unbalanced: float
    behind: float


def mart_profiles(marts: Mapping[str, pd.DataFrame]) -> list[MartProfile]:
    """Every epoch of the mart ``epochs``, oldest first; ``marts`` are tables by name."""
    board = marts["leaderboard"]
    rows = dict(list(board.groupby("epoch_id")))
    epochs = marts["epochs"].sort_values("epoch_id")
    return [
        _profile(epoch, rows.get(str(epoch["epoch_id"]), board.iloc[:0]))
        for epoch in epochs.to_dict("records")
    ]


def _profile(epoch: Mapping[Hashable, Any], ranked: pd.DataFrame) -> MartProfile:
    composites = ranked["composite"].astype(np.float64)
    payouts = ranked["payout_rao"]
    entered = ("emission_rao", "external_rao", "antes_staked_rao", "carry_in_rao")
    return MartProfile(
        epoch_id=str(epoch["epoch_id"]),
        ranked=float(len(ranked)),
        eligible=float(ranked["eligible"].astype(np.float64).mean()),
        composite=float(composites.median()),
        composite_spread=float(composites.std()),
        first_payout=_share(max(payouts, default=0), payouts.sum()),
        burned=_share(epoch["burned_rao"], sum(epoch[name] for name in entered))
        if len(ranked)
        else np.nan,
        validators=float(epoch["n_validators"]),
    )


def mart_faults(marts: Mapping[str, pd.DataFrame], settled: Collection[str]) -> MartFaults:
    """Faults of the tables in ``marts``; ``settled`` are the epochs that they should show."""
    board = marts["leaderboard"]
    places = board.groupby("epoch_id")["rank"].rank(method="min")
    return MartFaults(
        rank_faults=float((places != board["rank"]).sum()),
        unbalanced=float(len(_unbalanced(marts["ledger_balances"]))),
        behind=float(len(_not_shown(marts, settled))),
    )


def _unbalanced(balances: pd.DataFrame) -> set[str]:
    """Epochs that create or lose money, or that do not start where the one before ended."""
    balances = balances.sort_values(["account", "epoch_id"])
    changes = balances.groupby("epoch_id")["change_rao"].sum()
    before = balances.groupby("account")["closing_rao"].shift(fill_value=0)
    broken = (before != balances["opening_rao"]) | (
        balances["opening_rao"] + balances["change_rao"] != balances["closing_rao"]
    )
    return {*changes.index[changes != 0], *balances.loc[broken, "epoch_id"]}


def _not_shown(marts: Mapping[str, pd.DataFrame], settled: Collection[str]) -> set[str]:
    epochs = marts["epochs"]
    with_ranks = set(epochs.loc[epochs["n_ranked"] > 0, "epoch_id"])
    absent = [set(settled) - set(marts[name]["epoch_id"]) for name in _OF_EVERY_EPOCH]
    return set().union(*absent, with_ranks - set(marts["leaderboard"]["epoch_id"]))


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else np.nan
