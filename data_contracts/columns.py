"""Columns that several tables carry, each with its unit and range said once."""

from typing import Annotated, Any

import pandas as pd
import pandera.pandas as pa

from quanta_pipelines.protocol.params import QUANTA

Instant = Annotated[pd.DatetimeTZDtype, "ns", "UTC"]
Int = pd.Int64Dtype  # an integer that may be absent

TICKER = r"^[A-Z]{1,5}(\.[A-Z]{1,2})?\Z"
HOTKEY = r"^5[1-9A-HJ-NP-Za-km-z]{47}\Z"
HEX64 = r"^[0-9a-f]{64}\Z"
HORIZONS = QUANTA.scoring.horizons
TIERS = ("top_tier", "profitable", "break_even", "penalty_band")
STANDINGS = ("ranked", "provisional", "unranked", "unrevealed")


def ticker() -> Any:
    """A stock, as the exchange writes it."""
    return pa.Field(str_matches=TICKER, description="Ticker, class shares with a dot: BRK.B.")


def session() -> Any:
    """A trading day."""
    return pa.Field(description="Trading day of the New York Stock Exchange, at midnight.")


def hotkey(who: str = "Miner") -> Any:
    """A participant."""
    return pa.Field(str_matches=HOTKEY, description=f"{who}'s SS58 hotkey.")


def hex64(what: str) -> Any:
    """A 256-bit hash."""
    return pa.Field(str_matches=HEX64, description=f"{what}, 64 lower-case hex digits.")


def instant(what: str) -> Any:
    """A moment in UTC."""
    return pa.Field(description=f"{what}, UTC.")


def fraction(what: str, *, nullable: bool = False) -> Any:
    """A number from 0 to 1."""
    return pa.Field(
        ge=0, le=1, nullable=nullable, description=f"{what}, as a fraction from 0 to 1."
    )


def number(what: str, *, nullable: bool = False, low: float = -1e300, high: float = 1e300) -> Any:
    """A finite number, or nothing where the column says so."""
    return pa.Field(nullable=nullable, ge=low, le=high, description=what)


def daily_return(what: str, *, nullable: bool = False) -> Any:
    """A simple return of one session."""
    return pa.Field(
        ge=-1, le=10, nullable=nullable, description=f"{what}, simple, 0.01 for one percent."
    )


def rao(what: str) -> Any:
    """Money: never a float, never negative."""
    return pa.Field(ge=0, description=f"{what}, in rao (1 ALPHA = 10^9 rao).")


def count(what: str, low: int = 0) -> Any:
    """A whole number."""
    return pa.Field(ge=low, description=what)


def member(options: tuple[Any, ...], what: str, *, nullable: bool = False) -> Any:
    """One of a few names."""
    return pa.Field(isin=list(options), nullable=nullable, description=what)


def text(what: str, *, nullable: bool = False) -> Any:
    """Free text."""
    return pa.Field(nullable=nullable, description=what)
