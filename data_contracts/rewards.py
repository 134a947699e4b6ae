"""Contracts of the stage rewards: what each miner is paid, every movement of money, and who is who.

The account ``stake:<hotkey>`` is what was burned of a bond: bonds themselves are on the chain.
"""

import pandas as pd
import pandera.pandas as pa

from data_contracts.columns import (
    STANDINGS,
    TIERS,
    Instant,
    Int,
    count,
    fraction,
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


PAYOUT_STATES = ("paid", "held", "released", "forfeited")
ROLES = ("signal_generator", "pool_operator", "solo_miner", "validator")
RECORD = r"^((-|\.|[01]\.\d{9})( (-|\.|[01]\.\d{9}))*)?\Z"


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
    invariants=(
        "ledger_closes",
        "dividends_match_the_ledger",
        "slashes_match_the_cases",
        "restatements_compensate",
    ),
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


class PoolPayouts(
    EpochTable,
    key=("earned_epoch", "operator", "member"),
    invariants=("pool_payouts_match_the_ledger",),
):
    """One row per pool member and epoch that it earned in: its part of the operator's reward.

    Beside the epoch's own rows stand those of earlier epochs that were held for a case against the
    operator which closes in this one.
    """

    earned_epoch: str = pa.Field(str_matches=EPOCH_ID, description="Epoch whose reward it is.")
    state: str = member(
        PAYOUT_STATES, "Paid; held for a case against the operator; released or forfeited with it."
    )
    operator: str = hotkey("Pool operator")
    member: str = hotkey("Member")
    contribution_units: int = count(
        "Identity times composite above the members' median, before the epoch opened."
    )
    pool_reward_rao: int = rao("Operator's reward after the network's fee")
    operator_fee_rao: int = rao("Operator's fee, of the reward only")
    payout_rao: int = rao("Member's part")

    @pa.dataframe_check
    @classmethod
    def pools_are_divided_whole(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Fee and parts of each pool are its reward; its rows agree in reward, fee and state."""
        pool = frame.groupby(["earned_epoch", "operator"])
        parts = pool["payout_rao"].transform("sum") + frame["operator_fee_rao"]
        same = pool[["pool_reward_rao", "operator_fee_rao", "state"]].transform("nunique").eq(1)
        return (parts == frame["pool_reward_rao"]) & same.all(axis=1)

    @pa.dataframe_check
    @classmethod
    def only_closed_cases_pay_late(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """What an earlier epoch earned is released or forfeited; this one's is paid or held."""
        late = frame["state"].isin(["released", "forfeited"])
        return late == (frame["earned_epoch"] < frame["epoch_id"])


class Participants(EpochTable, key=("hotkey",), invariants=("roles_follow_their_records",)):
    """One row per participant: role, standing, record, identity, offences, as the epoch settles."""

    hotkey: str = hotkey("Participant")
    role: str = member(ROLES, "Role in the epoch; empty where it never had one.", nullable=True)
    since: Instant = pa.Field(nullable=True, description="Since when it has the role, UTC.")
    next_role: str = member(ROLES, "Role from the next epoch on.", nullable=True)
    uid: Int = pa.Field(
        ge=0, le=255, nullable=True, description="UID of a validator or a solo miner; empty: waits."
    )
    standing: str = member(
        STANDINGS, "How it takes part, by the votes first; empty if it did not.", nullable=True
    )
    percentile: float = fraction("Rank percentile on consensus", nullable=True)
    percentile_average: float = fraction("Exponential average of it, missed epochs as 0")
    first_epoch: str = pa.Field(
        str_matches=EPOCH_ID, nullable=True, description="First epoch that it committed in."
    )
    epochs_due: int = count("Epochs since then, as a miner.")
    reveals_accepted: int = count("Of these, epochs with an accepted reveal.")
    uptime: float = fraction("Accepted reveals over epochs due", nullable=True)
    reputation: float = fraction("The same over the last 60 days in the role", nullable=True)
    record: str = pa.Field(
        str_matches=RECORD,
        description="Epochs in the role, oldest first: percentile, `.` unranked, `-` missed.",
    )
    stake_rao: Int = pa.Field(
        ge=0, nullable=True, description="Bonded at opens_at, in rao; empty where none is known."
    )
    identity: float = fraction("Identity score; empty where no stake is known", nullable=True)
    open_offence: bool = text("A case waits, or an offence is still remembered.")
    offences: int = count("Offences that were ever confirmed, non-reveals included.")
    slashed_rao: int = rao("What offences of this epoch burn of the bond")

    @pa.dataframe_check
    @classmethod
    def a_role_has_a_beginning(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Role, its beginning and the next role stand together."""
        known = frame["role"].notna()
        return (known == frame["since"].notna()) & (known == frame["next_role"].notna())

    @pa.dataframe_check
    @classmethod
    def a_uid_is_held_once(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """No two hold one UID, and only validators and solo miners hold any."""
        held = frame["uid"].notna()
        entitled = frame["role"].isin(["validator", "solo_miner"])
        return ~held | (entitled & ~frame["uid"].duplicated(keep=False))

    @pa.dataframe_check
    @classmethod
    def reveals_were_due(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Accepted reveals do not exceed the epochs due; uptime stands where any was."""
        due = frame["epochs_due"]
        return (frame["reveals_accepted"] <= due) & ((due > 0) == frame["uptime"].notna())
