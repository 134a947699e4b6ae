"""Contracts of the stage consensus: validators' rows and what they agree on."""

import pandas as pd
import pandera.pandas as pa

from data_contracts.columns import (
    TIERS,
    Instant,
    count,
    fraction,
    hex64,
    hotkey,
    instant,
    member,
    number,
    rao,
    text,
)
from data_contracts.contract import EPOCH_ID, EpochTable

WEIGHT_UNITS = 10**9  # as in protocol.votes: contracts import nothing of the rules but parameters


class ValidatorWeights(
    EpochTable, key=("validator", "hotkey"), invariants=("validators_rows_sum_to_one",)
):
    """One row per validator and ranked miner: the validator's vote."""

    validator: str = hotkey("Validator")
    hotkey: str = hotkey()
    weight_units: int = pa.Field(
        ge=0, le=WEIGHT_UNITS, description="Weight in units of 10^-9; a row sums to 10^9."
    )
    composite: float = fraction("Composite as this validator computed it")
    max_drawdown_7d: float = fraction("Drawdown of 7 sessions", nullable=True)
    max_drawdown_30d: float = fraction("Drawdown of 30 sessions", nullable=True)
    max_drawdown_90d: float = fraction("Drawdown of 90 sessions", nullable=True)
    stake_rao: int = rao("Validator's stake at the snapshot")
    data_hash: str = hex64("Hash of the prices that it scored with")
    received_at: Instant = instant("When the vote arrived")


class Consensus(EpochTable, key=("hotkey",), invariants=("consensus_within_votes",)):
    """One row per miner that enough of the present stake ranks: its weight and what follows."""

    hotkey: str = hotkey()
    consensus_weight: float = fraction("Stake-weighted median of the votes")
    incentive: float = fraction("Share of the clipped, stake-weighted votes")
    trust: float = fraction("Part of the votes that survived clipping", nullable=True)
    composite: float = fraction("Stake-weighted median of composites", nullable=True)
    max_drawdown_7d: float = fraction("Stake-weighted median drawdown of 7 sessions", nullable=True)
    max_drawdown_30d: float = fraction("The same of 30 sessions", nullable=True)
    max_drawdown_90d: float = fraction("The same of 90 sessions", nullable=True)
    rank: int = count("Competition rank on the consensus weight.", low=1)
    percentile: float = fraction("1 for the first, 1/n for the last")
    tier: str = member(TIERS, "Tier of the rank.")
    eligible: bool = text("Fulfils the conditions for rewards.")
    reason: str = text("Why it is not eligible; empty when it is.")
    n_validators: int = count("Validators that voted.", low=1)
    dispute_flagged: bool = text("Too little of all eligible stake is near the agreed weight.")

    @pa.dataframe_check
    @classmethod
    def eligibility_has_a_reason(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """A reason stands exactly where a miner is not eligible."""
        return frame["eligible"] == (frame["reason"] == "")


class ValidatorBonds(
    EpochTable, key=("validator", "hotkey"), invariants=("bonds_follow_their_mode",)
):
    """One row per validator and miner with a bond above 0: what the next epoch starts from."""

    validator: str = hotkey("Validator")
    hotkey: str = hotkey()
    bond: float = fraction("Yuma 1: share of the miner's bonds. Yuma 3: the validator's own bond")


class ValidatorResults(
    EpochTable,
    key=("validator",),
    invariants=("dividends_sum_to_one", "trust_is_what_was_left"),
):
    """One row per eligible validator: how its vote stood and what share of dividends it earned."""

    validator: str = hotkey("Validator")
    stake_rao: int = rao("Stake at the snapshot")
    voted: bool = text("Submitted a vote in its window.")
    stake_share: float = fraction("Share of the present stake after capping, 0 if it did not count")
    stake_cap: float = fraction("Largest share that one validator could have, 0 without consensus")
    agreement: float = fraction("Part of the consensus that its row covers", nullable=True)
    divergence: float = fraction("Half the L1 distance to the scaled consensus", nullable=True)
    validator_trust: float = fraction("What clipping left of its row", nullable=True)
    dividend_units: int = pa.Field(
        ge=0, le=WEIGHT_UNITS, description="Dividend in units of 10^-9; they sum to 10^9, or to 0."
    )
    upheld_disputes: int = count("Disputes upheld against it that lowered its bonds this epoch.")

    @pa.dataframe_check
    @classmethod
    def only_voters_count(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Who did not vote has no share of the stake and no trust."""
        silent = (frame["stake_share"] == 0) & frame["validator_trust"].isna()
        return frame["voted"] | silent


class ValidatorCollusion(
    EpochTable, key=("validator", "other", "voted_in"), invariants=("collusion_is_counted",)
):
    """One row per pair of validators and epoch, of the last five, in which their errors agree."""

    validator: str = hotkey("Validator")
    other: str = hotkey("Other validator")
    voted_in: str = pa.Field(
        str_matches=EPOCH_ID, description="Epoch of the votes: this one or one of those before."
    )
    miners: int = count("Miners on which both were compared with the median of the others.")
    correlation: float = number("Correlation of their deviations W/m - 1.", low=-1, high=1)
    threshold: float = number("Correlation from which deviations agree.", low=-1, high=1)
    deviation: float = number("L1 distance of the validator from the medians.", low=0)
    other_deviation: float = number("L1 distance of the other one.", low=0)
    deviation_threshold: float = number("L1 distance from which a deviation counts.", low=0)
    agreeing_epochs: int = count("Epochs of the window in which this pair agrees.", low=1)
    flagged: bool = text("Enough of them for a suspicion.")

    @pa.dataframe_check
    @classmethod
    def a_pair_is_two(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """A pair is named once, in the order of its hotkeys."""
        return frame["validator"] < frame["other"]

    @pa.dataframe_check
    @classmethod
    def only_agreements(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Correlation and both distances reach their thresholds."""
        nearer = frame[["deviation", "other_deviation"]].min(axis=1)
        alike = frame["correlation"] >= frame["threshold"]
        return alike & (nearer >= frame["deviation_threshold"])

    @pa.dataframe_check
    @classmethod
    def not_of_later_epochs(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """The votes are those of this epoch or of earlier ones."""
        return frame["voted_in"] <= frame["epoch_id"]
