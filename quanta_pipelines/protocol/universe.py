"""Which tickers a portfolio may hold, fixed at the close from which the epoch's returns start."""

import csv
from collections.abc import Mapping
from datetime import date
from importlib.resources import files
from types import MappingProxyType

import pandas as pd

from quanta_pipelines.protocol.observations import asked_vendors, row_median, vendor_panel
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


def _denied() -> Mapping[str, str]:
    text = (files("quanta_pipelines.protocol") / "denied_tickers.csv").read_text()
    return MappingProxyType(
        {row["ticker"]: row["reason"] for row in csv.DictReader(text.splitlines())}
    )


DENIED: Mapping[str, str] = _denied()  # funds that are no equity signal: ticker to reason


def universe(
    vendor_prices: pd.DataFrame,
    settled: pd.DataFrame,
    entry_session: date,
    params: ProtocolParams = QUANTA,
) -> tuple[str, ...]:
    """The tickers that may be held, sorted.

    ``settled`` is what ``settle_closes`` made of ``vendor_prices``. A ticker needs a settled close
    of at least ``min_close`` at ``entry_session``, enough vendors there, and where volume is known
    enough dollars traded in the median session up to it.
    """
    rules = params.market_data
    entry = pd.Timestamp(entry_session)
    needed = rules.min_universe_vendors if len(asked_vendors(vendor_prices)) > 1 else 1
    at_entry = settled[settled["session"] == entry]
    traded = _dollar_volume(vendor_prices, settled, entry, params)
    thin = traded.index[traded < rules.min_dollar_volume]  # NaN, unknown, is not thin
    held = (
        (at_entry["close"] >= rules.min_close)
        & (at_entry["n_vendors"] >= needed)
        & ~at_entry["ticker"].isin(thin)
        & ~at_entry["ticker"].isin(list(DENIED))
    )
    return tuple(sorted(at_entry.loc[held, "ticker"]))


def _dollar_volume(
    vendor_prices: pd.DataFrame, settled: pd.DataFrame, entry: pd.Timestamp, params: ProtocolParams
) -> "pd.Series[float]":
    """Median dollars a session, by ticker, over the window of sessions up to ``entry``."""
    seen = vendor_panel(vendor_prices, params)
    volume = pd.Series(row_median(seen.volume), index=seen.rows)
    dollars = settled.set_index(["ticker", "session"])["close"] * volume
    sessions = sorted(day for day in set(settled["session"]) if day <= entry)
    window = sessions[-params.market_data.dollar_volume_window :]
    recent = dollars[dollars.index.isin(window, level="session")]
    return recent.groupby(level="ticker").median()
