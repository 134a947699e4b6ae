"""Contracts of the stage market_data: what vendors said, and what was settled."""

from typing import Any

import pandas as pd
import pandera.pandas as pa

from data_contracts.columns import (
    Instant,
    count,
    daily_return,
    instant,
    member,
    session,
    text,
    ticker,
)
from data_contracts.contract import EpochTable

BASES = ("as_traded", "split_adjusted", "adjusted")
CORRECTED_FIELDS = ("close", "dividend", "split")
STATUSES = ("settled", "disputed", "missing")


def _price(what: str, *, nullable: bool = True) -> Any:
    return pa.Field(gt=0, le=1e9, nullable=nullable, description=f"{what}, US dollars.")


class RawPrices(EpochTable, key=("vendor", "ticker", "session")):
    """One row per vendor, ticker and session: the observation as it came.

    Covers the sessions of the epoch and a lookback before them, which flags and the universe need.
    """

    vendor: str = text("Vendor that was asked.")
    ticker: str = ticker()
    session: pd.Timestamp = session()
    open: float = _price("First price")
    high: float = _price("Highest price")
    low: float = _price("Lowest price")
    close: float = _price("Closing price on the row's basis", nullable=False)
    volume: float = pa.Field(ge=0, le=1e15, nullable=True, description="Shares traded.")
    vwap: float = _price("Volume-weighted average price")
    dividend: float = pa.Field(
        ge=0, le=1e9, nullable=True, description="Cash dividend of the day, dollars."
    )
    split: float = pa.Field(
        gt=0, le=1e6, nullable=True, description="Split factor of the day, 1 for none."
    )
    adjusted_close: float = pa.Field(
        gt=0,
        le=1e15,
        nullable=True,
        description="The vendor's own close less all it knew at the fetch, US dollars.",
    )
    basis: str = member(BASES, "What the close is adjusted for.")
    fetched_at: Instant = instant("When the vendor answered")
    asked: str = text("Vendors that were asked for this epoch, joined by commas.")


class PriceCorrections(EpochTable, key=("ticker", "session", "field")):
    """One row per correction that stands: what an operator says of one field of one session.

    Covers the sessions of the epoch and the lookback before them, as the observations do.
    """

    ticker: str = ticker()
    session: pd.Timestamp = session()
    field: str = member(CORRECTED_FIELDS, "What is corrected.")
    old_value: float = pa.Field(
        ge=0, le=1e9, nullable=True, description="What was settled before, empty where nothing was."
    )
    new_value: float = pa.Field(ge=0, le=1e9, description="What holds, dollars or split factor.")
    author: str = text("Who recorded it.")
    reason: str = text("Why.")
    evidence: str = text("Where it can be looked up.")
    recorded_at: Instant = instant("When it was recorded")
    correction_id: int = count("Number of the correction in the signal store.", low=1)
    n_replaced: int = count("Earlier corrections of the same field that it replaces.")

    @pa.dataframe_check
    @classmethod
    def only_a_dividend_is_nothing(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Closes and splits are above zero."""
        return (frame["new_value"] > 0) | (frame["field"] == "dividend")

    @pa.dataframe_check
    @classmethod
    def says_who_and_why(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Author, reason and evidence are not empty."""
        author, reason, evidence = (
            frame[name].str.strip() != "" for name in ("author", "reason", "evidence")
        )
        return author & reason & evidence


class ValidatedPrices(
    EpochTable, key=("ticker", "session"), invariants=("no_session_missing", "benchmark_is_settled")
):
    """One row per ticker and session of the epoch: the settled close and the session's return."""

    ticker: str = ticker()
    session: pd.Timestamp = session()
    close: float = _price("Settled close, empty where there is none")
    total_return: float = daily_return("Total return, dividends included", nullable=True)
    n_vendors: int = count("Vendors that were compared.")
    sources: str = text(
        "Vendors that agree, and `correction` where an operator corrected, by commas."
    )
    status: str = member(STATUSES, "Whether the close is settled, disputed or missing.")
    anomaly: bool = text(
        "Vendors disagree, an operator corrected, or the return is beyond three robust sigma."
    )
    stale: bool = text("There is no close of this session; an earlier one stands.")
    low_volume: bool = text("Volume under a tenth of its mean.")
    flat_line: bool = text("Unchanged close and no volume for three sessions.")
    adjustment_mismatch: bool = text(
        "A vendor's adjusted close returned something else than its close, split and dividend."
    )
    carried_sessions: int = count("Sessions in a row without a settled close, 0 when settled.")
    in_universe: bool = text("The ticker may be held in this epoch.")

    @pa.dataframe_check
    @classmethod
    def settled_has_a_close(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """A close stands exactly where the status says settled, and is then no carried one."""
        settled = frame["status"] == "settled"
        return (settled == frame["close"].notna()) & (settled == (frame["carried_sessions"] == 0))
