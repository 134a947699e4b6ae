"""Contracts of the stage rewards: what each miner is paid, and every movement of money."""

import pandas as pd
import pandera.pandas as pa

from data_contracts.columns import (
    STANDINGS,
    TIERS,
    Int,
    count,
    hotkey,
    member,
    number,
    rao,
    text,
)
from data_contracts.contract import EPOCH_ID, EpochTable

ACCOUNT = (
    r"^(issuance|external|pool|treasury|burn|carry|validators|owner|restatement"
    r"|(miner|escrow|held|validator|operator|stake):5[1-9A-HJ-NP-Za-km-z]{47})\Z"
)


class Rewards(EpochTable, key=("hotkey",), invariants=("payouts_match_the_ledger",)):
    """One row per miner with an ante: where it went and what was earned."""

    hotkey: str = hotkey()
    standing: str = member(STANDINGS, "How the miner takes part, by the votes first.")
    reason: str = text("Why it is not ranked; empty when it is.")
    eligible: bool = text("Fulfils the conditions for rewards.")
    rank: Int = pa.Field(ge=1, nullable=True, description="Competition rank on consensus.")
    tier: str = member(TIERS, "Tier of the rank.", nullable=True)
    final_tier: str = member(TIERS, "Tier that was settled.", nullable=True)
    reward_share: float = number("Share of the winners' pool.", low=0, high=1)
    ante_rao: int = rao("Ante")
    gross_rao: int = rao("Reward before the fee")
    fee_rao: int = rao("Network fee")
    payout_rao: int = rao("Reward less fee, plus the ante that comes back")
    ante_returned_rao: int = rao("Part of the ante that comes back")
    ante_burned_rao: int = rao("Part of the ante that is destroyed")

    @pa.dataframe_check
    @classmethod
    def unranked_have_a_reason(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """A reason stands exactly where a miner is not ranked."""
        return (frame["standing"] == "ranked") == (frame["reason"] == "")

    @pa.dataframe_check
    @classmethod
    def payout_adds_up(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Payout is gross less fee plus the returned ante."""
        earned = frame["gross_rao"] - frame["fee_rao"] + frame["ante_returned_rao"]
        return frame["payout_rao"] == earned


class LedgerEntries(
    EpochTable,
    key=("entry",),
    invariants=("ledger_closes", "dividends_match_the_ledger", "restatements_compensate"),
):
    """One row per movement of money in the epoch: double entry, never negative, only ever added.

    A restatement adds the reversal of every entry that counted, and the entries that count now.
    """

    entry: int = count("Number of the movement within the epoch.", low=1)
    version: int = count("Settlement that it belongs to, or takes back; 1 is the first.", low=1)
    from_account: str = pa.Field(str_matches=ACCOUNT, description="Account that pays.")
    to_account: str = pa.Field(str_matches=ACCOUNT, description="Account that receives.")
    amount_rao: int = pa.Field(gt=0, description="Amount, in rao (1 ALPHA = 10^9 rao).")
    reason: str = text("What the movement is for; a reversal has that of what it takes back.")
    reverses: Int = pa.Field(ge=1, nullable=True, description="Entry that this one takes back.")
    booked_in: str = pa.Field(
        str_matches=EPOCH_ID, description="Last settled epoch when it was posted."
    )
    posting: int = count("0 for the first settlement, else the restatement's number of all.")
    note: str = text("Why the epoch was restated; empty for the first settlement.")

    @pa.dataframe_check
    @classmethod
    def restatements_say_why(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """A note stands exactly where something was restated, and nothing else is taken back."""
        first = frame["posting"] == 0
        return (first == (frame["note"] == "")) & ~(first & frame["reverses"].notna())

    @pa.dataframe_check
    @classmethod
    def accounts_differ(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Nothing moves from an account to itself."""
        return frame["from_account"] != frame["to_account"]
