"""The vendor whose observations ship with QUANTA: no key, no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files

import pandas as pd

from quanta_pipelines.adapters.price_vendors.interface import observations

RECORDED_AT = pd.Timestamp("2022-12-28 21:00", tz="UTC")
"""The close of the recording's last session; the package does not say when it was fetched."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedVendor:
    """Adjusted closes of 20 stocks, 2018-01-02 to 2022-12-28, as a package recorded them.

    ``prices`` (sessions by tickers) stands in for the recording where a simulated validator shall
    see slightly different closes.
    """

    name: str = "recorded"
    prices: pd.DataFrame | None = None

    def tickers(self) -> tuple[str, ...]:
        """The recorded tickers, sorted."""
        return tuple(sorted(self._closes().columns))

    def observe(self, tickers: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """The recorded closes; dividends and splits are inside them and not known apart."""
        known = sorted(set(tickers) & set(self.tickers()))
        closes = self._closes().loc[pd.Timestamp(first) : pd.Timestamp(last), known]
        seen = closes.melt(ignore_index=False, var_name="ticker", value_name="close").dropna()
        rows = seen.rename_axis("session").reset_index()
        return observations(rows.assign(vendor=self.name, basis="adjusted", fetched_at=RECORDED_AT))

    def _closes(self) -> pd.DataFrame:
        return recorded_closes() if self.prices is None else self.prices


@lru_cache(maxsize=1)
def recorded_closes() -> pd.DataFrame:
    """The recording, sessions by tickers; callers share it, so copy before changing it."""
    source = files("quanta_pipelines.adapters") / "recorded" / "sp500_adjusted_close.csv.gz"
    with source.open("rb") as file:
        return pd.read_csv(file, compression="gzip", index_col="session", parse_dates=True)
