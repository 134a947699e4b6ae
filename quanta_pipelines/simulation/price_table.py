"""A vendor over a table of recorded prices in a Parquet file, for simulations on real weeks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd

from quanta_pipelines.adapters.price_vendors import PriceVendor
from quanta_pipelines.adapters.price_vendors.interface import OBSERVATION_TYPES, observations
from quanta_pipelines.protocol.errors import InvalidPrices

KEPT_AT = pd.Timestamp("2000-01-01", tz="UTC")  # a file does not say when its rows were fetched
NEEDED = ("ticker", "date", "close", "dividend", "split")


@dataclass(frozen=True, slots=True, eq=False)
class PriceTable:
    """A vendor whose observations are the rows of a frame with ``OBSERVATION_TYPES``."""

    rows: pd.DataFrame
    name: str = "recorded"

    def tickers(self) -> tuple[str, ...]:
        """The tickers of the table, sorted."""
        return tuple(sorted(self.rows["ticker"].unique()))

    def observe(self, tickers: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """The rows of some tickers from a day to a day."""
        days = self.rows["session"].between(pd.Timestamp(first), pd.Timestamp(last))
        return self.rows[days & self.rows["ticker"].isin(list(tickers))]


def price_table(files: Sequence[Path]) -> PriceTable:
    """Closes as traded with dividends and splits from Parquet files.

    Columns are ticker, date, close, dividend, split, and volume where it is known. Of a ticker
    that several files hold, the rows of the first one count.
    """
    tables: list[pd.DataFrame] = []
    for file in files:
        rows = pd.read_parquet(file)
        if missing := sorted(set(NEEDED) - set(rows.columns)):
            raise InvalidPrices(f"{file} has no column {', '.join(missing)}")
        seen = {ticker for table in tables for ticker in table["ticker"].unique()}
        rows = rows[~rows["ticker"].isin(seen)]
        tables.append(rows[[name for name in (*NEEDED, "volume") if name in rows]])
    table = pd.concat(tables, ignore_index=True).rename(columns={"date": "session"})
    if table.duplicated(["ticker", "session"]).any():
        row = table[table.duplicated(["ticker", "session"])].iloc[0]
        raise InvalidPrices(f"{row['ticker']} has two prices on {row['session']}")
    table = table.assign(
        session=pd.to_datetime(table["session"]),
        vendor="recorded",
        basis="as_traded",
        fetched_at=KEPT_AT,
    )
    return PriceTable(observations(table).sort_values(["ticker", "session"], ignore_index=True))


def observed(vendor: PriceVendor, first: date, last: date) -> PriceTable:
    """What a vendor saw over a span, as a table."""
    rows = vendor.observe(vendor.tickers(), first, last)
    return PriceTable(rows[list(OBSERVATION_TYPES)], name=vendor.name)
