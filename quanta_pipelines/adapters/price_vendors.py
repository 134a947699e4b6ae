"""Who observes prices: one small interface, and the vendor whose observations ship with QUANTA.

A vendor reports what it saw, as it saw it: no conversion between price bases, no filling of gaps.
What the observations mean together is the rules' business (``protocol.oracle``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Protocol

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch, sessions_before
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

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
    "basis": "object",  # as_traded, split_adjusted or adjusted
    "fetched_at": "datetime64[ns, UTC]",
}
RECORDED_AT = pd.Timestamp("2022-12-28 21:00", tz="UTC")
"""The close of the recording's last session; the package does not say when it was fetched."""


class PriceVendor(Protocol):
    """A source of daily observations."""

    @property
    def name(self) -> str:
        """The vendor as the rules' order of primaries spells it."""
        ...

    def tickers(self) -> tuple[str, ...]:
        """What the vendor knows, sorted."""
        ...

    def observe(self, tickers: Sequence[str], first: date, last: date) -> pd.DataFrame:
        """One row per ticker and session seen from ``first`` to ``last``, both included.

        Columns and types are ``OBSERVATION_TYPES``; unknown numbers are NaN. A ticker or a session
        that the vendor does not have has no row.
        """
        ...


def observe_epoch(
    vendors: Sequence[PriceVendor],
    epoch: Epoch,
    params: ProtocolParams = QUANTA,
    last: date | None = None,
) -> pd.DataFrame:
    """The table ``raw_prices``: every vendor's rows of the epoch and of the lookback before it.

    ``last`` is the last session so far of an epoch that still runs. The lookback holds the returns
    and volumes that flags are measured against, and the entry close.
    """
    rules = params.market_data
    lookback = max(rules.anomaly_window, rules.volume_window, rules.dollar_volume_window) + 1
    first = sessions_before(epoch.sessions[0], lookback)[0]
    last = last or epoch.sessions[-1]
    seen = [vendor.observe(vendor.tickers(), first, last) for vendor in vendors]
    rows = pd.concat(seen, ignore_index=True)
    rows.insert(0, "epoch_id", epoch.id)
    return rows.sort_values(["vendor", "ticker", "session"], ignore_index=True)


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
        return (
            seen.rename_axis("session")
            .reset_index()
            .assign(vendor=self.name, basis="adjusted", fetched_at=RECORDED_AT)
            .reindex(columns=list(OBSERVATION_TYPES), fill_value=np.nan)
            .astype(OBSERVATION_TYPES)
        )

    def _closes(self) -> pd.DataFrame:
        return recorded_closes() if self.prices is None else self.prices


@lru_cache(maxsize=1)
def recorded_closes() -> pd.DataFrame:
    """The recording, sessions by tickers; callers share it, so copy before changing it."""
    source = files("quanta_pipelines.adapters") / "recorded" / "sp500_adjusted_close.csv.gz"
    with source.open("rb") as file:
        return pd.read_csv(file, compression="gzip", index_col="session", parse_dates=True)
