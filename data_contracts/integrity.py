"""Contracts of the stage integrity: pairs that are alike, what is said of each miner, and cases."""

from typing import Any

import pandas as pd
import pandera.pandas as pa

from data_contracts.columns import (
    HOTKEY,
    Instant,
    Int,
    count,
    fraction,
    hotkey,
    instant,
    member,
    number,
    text,
)
from data_contracts.contract import EPOCH_ID, EpochTable

MEASURES = ("returns", "holdings")
KINDS = ("plagiarism", "hedged_pair", "collusion", "non_reveal")
CASE_STATES = ("open", "under_review", "confirmed", "dismissed")
CASE_ID = r"^(plagiarism|hedged_pair|collusion|non_reveal)-\d{4}-Q[1-4]-W\d{2}-[0-9a-f]{10}\Z"


def _correlation(what: str, *, nullable: bool = False) -> Any:
    return number(what, nullable=nullable, low=-1, high=1)


def _day(what: str) -> Any:
    return pa.Field(nullable=True, description=what)


def _other(what: str, *, nullable: bool = True) -> Any:
    return pa.Field(str_matches=HOTKEY, nullable=nullable, description=what)


def _epoch(what: str, *, nullable: bool = False) -> Any:
    return pa.Field(str_matches=EPOCH_ID, nullable=nullable, description=what)


class PortfolioSimilarity(
    EpochTable,
    key=("hotkey", "other_hotkey", "measure", "held_epoch", "lag"),
    invariants=("pairs_hold_what_they_share",),
):
    """One row per pair of miners, measure, portfolio and lag that is over a threshold."""

    hotkey: str = hotkey("The later one where that is known: miner")
    other_hotkey: str = _other("The other one's SS58 hotkey.", nullable=False)
    measure: str = member(
        MEASURES, "`returns`: they move alike or opposed; `holdings`: a suspected copy."
    )
    held_epoch: str = _epoch("Epoch of the portfolio of `hotkey`.")
    lag: int = count("Epochs by which the other one's portfolio is older.")
    correlation: float = _correlation("Correlation of active returns.", nullable=True)
    correlation_threshold: float = _correlation("What it reached.", nullable=True)
    sessions: int = count("Sessions that the correlation is over; 0 for holdings.")
    first_session: pd.Timestamp = _day("First of them.")
    last_session: pd.Timestamp = _day("Last of them.")
    shared_tickers: int = count("Tickers that both hold at 1 % or more.")
    overlap: float = fraction("Share of the smaller portfolio's tickers")
    overlap_threshold: float = fraction("Overlap that makes a copy")
    shared_weight: float = fraction("Sum of min weights")
    shared_weight_threshold: float = fraction("Shared weight that makes a copy")
    tickers_in_use: int = count("Tickers that anybody holds.")
    log10_chance: float = number("Logarithm of the chance of such an overlap.", high=0)
    log10_chance_threshold: float = number("Chance below which an overlap is no accident.", high=0)
    suspect_epochs: int = count("Epochs of the window in which the pair is that alike.")
    since_epoch: str = _epoch(
        "First epoch in which `hotkey` committed what the other holds now; empty where it never "
        "did, or the other had held as much like it before.",
        nullable=True,
    )
    other_since_epoch: str = _epoch(
        "First epoch in which the other committed what `hotkey` holds now.", nullable=True
    )
    earlier_hotkey: str = _other("Who was first; empty where neither was.")

    @pa.dataframe_check
    @classmethod
    def a_pair_is_two(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Nobody is alike with itself, and who was first is one of the two."""
        first = frame["earlier_hotkey"]
        one_of_them = first.isna() | (first == frame["hotkey"]) | (first == frame["other_hotkey"])
        return (frame["hotkey"] != frame["other_hotkey"]) & one_of_them

    @pa.dataframe_check
    @classmethod
    def a_row_is_over_its_threshold(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """The correlation reached its threshold; a copy is over all three of its own."""
        limit, found = frame["correlation_threshold"], frame["correlation"]
        moved = (found - limit) * limit.apply(lambda value: 1.0 if value > 0 else -1.0) >= 0
        copied = (
            (frame["overlap"] >= frame["overlap_threshold"] - 1e-9)
            & (frame["shared_weight"] >= frame["shared_weight_threshold"] - 1e-9)
            & (frame["log10_chance"] < frame["log10_chance_threshold"] + 1e-9)
        )
        return moved.where(frame["measure"] == "returns", copied)


class IntegrityFlags(EpochTable, key=("hotkey",), invariants=("flags_follow_their_numbers",)):
    """One row per miner with a portfolio: factors, cluster, suspicion, and what they rest on."""

    hotkey: str = hotkey()
    originality: float = fraction("Originality factor", nullable=True)
    correlation: float = _correlation("Largest with an earlier miner.", nullable=True)
    correlation_threshold: float = _correlation("Correlation from which originality falls.")
    earlier_hotkey: str = _other("The earlier miner that is most alike.")
    earlier_since_epoch: str = _epoch("Since when that one held the like.", nullable=True)
    own_since_epoch: str = _epoch("Since when this one held the other's like.", nullable=True)
    shared_weight: float = fraction("Sum of min weights with it", nullable=True)
    active_sessions: int = count("Sessions of the active returns.")
    first_session: pd.Timestamp = _day("First of them.")
    last_session: pd.Timestamp = _day("Last of them.")
    active_reason: str = text("Why there are no active returns; empty when there are.")
    variance_ratio: float = number("Variance over the median of all.", nullable=True, low=0)
    variance_threshold: float = number("Ratio from which the factor falls.", low=0)
    variance_factor: float = fraction("Variance factor", nullable=True)
    variance_high_epochs: int = count("Epochs in a row at or above the threshold.")
    variance_flag: bool = text("High for two epochs in a row.")
    cluster_id: str = _other("The member that holds the cluster's rank position.", nullable=False)
    cluster_size: int = count("Identities in the cluster, 1 for one on its own.", low=1)
    cluster_member: bool = text("Another member holds the position: unranked.")
    cluster_link: str = text("Why it is in a cluster: correlation, coldkey, case, by commas.")
    cluster_other: str = _other("The member that moves most alike.")
    cluster_correlation: float = _correlation("Correlation with it.", nullable=True)
    cluster_threshold: float = _correlation("Correlation that makes a cluster.")
    cluster_sessions: int = count("Sessions before the epoch opened that were compared.")
    cluster_last_session: pd.Timestamp = _day("Last of them.")
    plagiarism_suspected: bool = text("A copy in enough epochs: a case opens.")
    suspected_of: str = _other("Whose portfolio was copied most often.")
    suspect_epochs: int = count("Epochs of the window with a copy.")
    suspect_threshold: int = count("Epochs that open a case.", low=1)
    contribution: float = number("What it adds to the others; never paid.", nullable=True)
    stake_rao: Int = pa.Field(
        ge=0, nullable=True, description="Bonded at opens_at, in rao; empty where none is known."
    )
    least_stake_rao: Int = pa.Field(ge=0, nullable=True, description="S_min, in rao.")
    below_least_stake: bool = text("Bonded less than S_min: unranked.")

    @pa.dataframe_check
    @classmethod
    def an_accusation_names_its_evidence(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Who pays for likeness knows whom it is like; who is suspected, of what."""
        lowered = frame["originality"] < 1
        named = frame["earlier_hotkey"].notna() & frame["correlation"].notna()
        suspected = frame["plagiarism_suspected"] == frame["suspected_of"].notna()
        linked = (frame["cluster_size"] > 1) == (frame["cluster_link"] != "")
        return (~lowered | named) & suspected & linked


class IntegrityCases(EpochTable, key=("case_id",), invariants=("cases_only_go_forward",)):
    """One row per case that was ever opened, as it stands when the epoch's prices are final."""

    case_id: str = pa.Field(str_matches=CASE_ID, description="Kind, epoch and a hash of whose.")
    kind: str = member(KINDS, "What is suspected.")
    hotkey: str = hotkey("Who is suspected: participant")
    other_hotkey: str = _other(
        "Who was copied, the other of the pair; itself where nobody else is part.", nullable=False
    )
    state: str = member(CASE_STATES, "What became of it; undecided in time is dismissed.")
    opened_epoch: str = _epoch("Epoch whose evidence opened it.")
    opened_at: Instant = instant("When it was opened")
    decide_by: Instant = instant("Until when an operator may decide")
    closed_at: Instant = pa.Field(nullable=True, description="When it was decided or lapsed, UTC.")
    closed_epoch: str = _epoch("First epoch in which it is closed.", nullable=True)
    evidence: str = text("Portfolios, sessions, numbers and thresholds, as JSON.")
    author: str = text("Who changed it last.")
    reason: str = text("Why.")
    offence_number: Int = pa.Field(
        ge=1, nullable=True, description="Which offence of the participant it is, once confirmed."
    )
    slash_rao: Int = pa.Field(
        ge=0, nullable=True, description="What it burns of the stake, in rao; empty if not known."
    )

    @pa.dataframe_check
    @classmethod
    def closed_says_when(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Exactly the decided ones have a moment and an epoch; every row has author and reason."""
        closed = frame["state"].isin(["confirmed", "dismissed"])
        dated = frame["closed_at"].notna() & frame["closed_epoch"].notna()
        said = (frame["author"].str.strip() != "") & (frame["reason"].str.strip() != "")
        counted = frame["offence_number"].notna() == (frame["state"] == "confirmed")
        return (closed == dated) & said & counted
