"""What a vendor of prices is: daily observations, live quotes, and what became of a question.

A vendor reports what it saw, as it saw it: no conversion between price bases, no filling of gaps.
What the observations mean together is the rules' business (``protocol.oracle``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

OBSERVATION_TYPES: dict[str, str] = {
    "vendor": "object",
    "ticker": "object",
    "session": "datetime64[ns]",  # midnight, naive: a date
    "open": "float64",
    "high": "float64",
    "low": "float64",
    "close": "float64",
    "volume": "float64",
    "vwap": "float64",
    "dividend": "float64",  # cash a share on this session
    "split": "float64",  # new shares for an old one on this session
    "adjusted_close": "float64",  # the vendor's own, for all it knew at the fetch
    "basis": "object",  # as_traded, split_adjusted or adjusted
    "fetched_at": "datetime64[ns, UTC]",
}
QUOTE_TYPES: dict[str, str] = {
    "vendor": "object",
    "ticker": "object",
    "at": "datetime64[ns, UTC]",  # the vendor's own time of the price
    "price": "float64",  # dollars a share
    "bid": "float64",
    "ask": "float64",
    "volume": "float64",  # shares of the day so far
    "fetched_at": "datetime64[ns, UTC]",
}


class PriceVendor(Protocol):
    """A source of daily observations."""

    @property
    def name(self) -> str:
        """The vendor as the rules' order of primaries spells it."""
        ...

    def tickers(self) -> tuple[str, ...]:
        """What the vendor is asked for, sorted."""
        ...

    def observe(self, tickers: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """One row per ticker and session seen from ``first`` to ``last``, both included.

        Columns and types are ``OBSERVATION_TYPES``; unknown numbers are NaN. A ticker or a session
        that the vendor does not have has no row. Where closes are adjusted for splits, the rows of
        later splits come too, up to the day of the fetch: the level rests on them. An adjusted
        close compares with the ones beside it of the same fetch, and with nothing else.
        """
        ...


@runtime_checkable
class QuoteVendor(Protocol):
    """A source of live prices."""

    @property
    def name(self) -> str:
        """The vendor as the rules' order of primaries spells it."""
        ...

    def quotes(self, tickers: Sequence[str]) -> pd.DataFrame:
        """The newest price of each ticker, one row per ticker, by ticker.

        Columns and types are ``QUOTE_TYPES``; bid, ask and volume are NaN where unknown. A ticker
        without a price has no row. A failure is logged and never raised.
        """
        ...


@dataclass(frozen=True, slots=True)
class Loss:
    """A ticker that a vendor did not answer for, and why."""

    ticker: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one vendor answered: rows of ``OBSERVATION_TYPES``, and what was lost."""

    vendor: str
    rows: pd.DataFrame
    losses: tuple[Loss, ...] = ()


@runtime_checkable
class ArchivedVendor(PriceVendor, Protocol):
    """A vendor whose replies are kept: a question that was answered is not asked again."""

    def ask(
        self,
        tickers: Sequence[str],
        first: date,
        last: date,
        *,
        since: datetime | None = None,
        refetch: bool = False,
    ) -> Outcome:
        """As ``observe``, with what was lost.

        Kept replies that were fetched at ``since`` or later answer without the network. With
        ``refetch`` the vendor is asked in any case; its earlier replies are kept beside the new.
        """
        ...

    def from_archive(self) -> "ArchivedVendor":
        """The same vendor without its network: a question without a kept reply is lost."""
        ...


def observations(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with every column of ``OBSERVATION_TYPES``, unknown ones NaN, in its types."""
    return rows.reindex(columns=list(OBSERVATION_TYPES), fill_value=np.nan).astype(
        OBSERVATION_TYPES
    )


def quotes(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with every column of ``QUOTE_TYPES``, unknown ones NaN, in its types, by ticker."""
    typed = rows.reindex(columns=list(QUOTE_TYPES), fill_value=np.nan).astype(QUOTE_TYPES)
    return typed.sort_values("ticker", ignore_index=True)
