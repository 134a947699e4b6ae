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
    rao,
    text,
)
from data_contracts.contract import EpochTable

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

    @pa.dataframe_check
    @classmethod
    def eligibility_has_a_reason(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """A reason stands exactly where a miner is not eligible."""
        return frame["eligible"] == (frame["reason"] == "")
