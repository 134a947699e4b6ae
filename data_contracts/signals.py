"""Contracts of the stage signals: commitments, reveals with verdicts, standing portfolios."""

import pandas as pd
import pandera.pandas as pa

from data_contracts.columns import Instant, count, hex64, hotkey, instant, member, rao, text, ticker
from data_contracts.contract import EPOCH_ID, EpochTable
from quanta_pipelines.protocol.params import QUANTA

VERDICTS = (
    "accepted",
    "too_early",
    "expired",
    "hash_mismatch",
    "unknown_commitment",
    "already_revealed",
    "invalid_portfolio",
)


class Commitments(EpochTable, key=("hotkey",)):
    """One row per miner that committed: the commitment that stood when the window closed."""

    hotkey: str = hotkey()
    commitment: str = hex64("Keccak-256 of portfolio hash, secret, hotkey and epoch")
    ante_rao: int = rao("Ante held in escrow")
    received_at: Instant = instant("When the intake received it")
    n_replaced: int = count("Earlier commitments of this epoch that it replaced.")


class Reveals(EpochTable, key=("reveal_id",)):
    """One row per reveal that was received, with its verdict."""

    reveal_id: int = count("Number of the reveal within the epoch, by receipt.", low=1)
    hotkey: str = hotkey()
    commitment: str = hex64("Commitment that it claims to open")
    received_at: Instant = instant("When the intake received it")
    verdict: str = member(VERDICTS, "What the intake decided.")
    reason: str = text("Why, in words; empty when accepted.")
    portfolio_hash: str = text("SHA-256 of the portfolio, empty where it is no valid portfolio.")
    positions: str = text("TICKER:weight joined by |, weights with six decimals, as hashed.")
    secret: str = text("Secret that opens the commitment; public once revealed.")

    @pa.dataframe_check
    @classmethod
    def at_most_one_is_accepted(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """A miner has at most one accepted reveal."""
        accepted = frame["verdict"] == "accepted"
        return ~(accepted & frame.assign(_accepted=accepted).duplicated(["hotkey", "_accepted"]))


class CommittedPortfolios(EpochTable, key=("held_epoch", "hotkey", "ticker")):
    """One row per portfolio committed in the quarter so far and ticker."""

    held_epoch: str = pa.Field(
        str_matches=EPOCH_ID, description="Epoch that the portfolio was committed for."
    )
    hotkey: str = hotkey()
    ticker: str = ticker()
    weight: float = pa.Field(gt=0, le=1, description="Scored weight, as in `portfolios`.")
    committed_at: Instant = instant("When it was committed")

    @pa.dataframe_check
    @classmethod
    def of_the_quarter_so_far(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """No portfolio is of a later epoch than the table, or of another quarter."""
        year_and_quarter = len("2025-Q4")
        same = (
            frame["held_epoch"].str[:year_and_quarter] == frame["epoch_id"].str[:year_and_quarter]
        )
        until_now: pd.Series[bool] = frame["held_epoch"] <= frame["epoch_id"].max()
        return same & until_now


class Portfolios(
    EpochTable,
    key=("hotkey", "ticker"),
    invariants=("every_portfolio_was_committed", "held_tickers_are_priced"),
):
    """One row per miner and ticker: what the miner holds during the epoch."""

    hotkey: str = hotkey()
    ticker: str = ticker()
    weight: float = pa.Field(gt=0, le=1, description="Scored weight: submitted over their sum.")
    submitted_weight: float = pa.Field(gt=0, le=1, description="Weight as submitted.")
    source_epoch: str = pa.Field(str_matches=EPOCH_ID, description="Epoch of its reveal.")
    filled_epochs: int = count("Epochs in a row that it stands in for a missing one.")
    history_epoch: str = pa.Field(str_matches=EPOCH_ID, description="Start of unbroken history.")
    committed_at: Instant = instant("When it was committed")

    @pa.dataframe_check
    @classmethod
    def weights_sum_to_one(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Scored weights of a miner sum to one."""
        return (frame.groupby("hotkey")["weight"].transform("sum") - 1).abs() <= 1e-9

    @pa.dataframe_check
    @classmethod
    def number_of_positions(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """A miner holds 5 to 30 tickers."""
        held = frame.groupby("hotkey")["ticker"].transform("size")
        return held.between(QUANTA.epoch.min_positions, QUANTA.epoch.max_positions)
