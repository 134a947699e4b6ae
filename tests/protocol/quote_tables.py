"""Small tables of quotes for tests: one line a quote, times of one Tuesday in New York."""

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.quotes import QUOTE_COLUMNS

NEW_YORK = ZoneInfo("America/New_York")
TUESDAY = dt.date(2025, 11, 25)  # a session from 9:30 to 16:00 between two full ones


def ny(time: str, day: dt.date = TUESDAY) -> dt.datetime:
    """A time of day in New York, as UTC."""
    local = dt.datetime.combine(day, dt.time.fromisoformat(time), tzinfo=NEW_YORK)
    return local.astimezone(dt.UTC)


def quote(
    price: float,
    at: dt.datetime,
    *,
    vendor: str = "tiingo",
    ticker: str = "AAPL",
    bid: float = np.nan,
    ask: float = np.nan,
    volume: float = np.nan,
    fetched_at: dt.datetime | None = None,
) -> dict[str, object]:
    """One quote, fetched the moment it was made unless said otherwise."""
    return {
        "vendor": vendor,
        "ticker": ticker,
        "at": pd.Timestamp(at).as_unit("ns"),
        "price": price,
        "bid": bid,
        "ask": ask,
        "volume": volume,
        "fetched_at": pd.Timestamp(fetched_at or at).as_unit("ns"),
    }


def table(*rows: dict[str, object]) -> pd.DataFrame:
    """A table of quotes, typed also when it is empty."""
    frame = pd.DataFrame(list(rows), columns=QUOTE_COLUMNS)
    times = dict.fromkeys(("at", "fetched_at"), "datetime64[ns, UTC]")
    return frame.astype(times | dict.fromkeys(("price", "bid", "ask", "volume"), "float64"))


def every(
    minutes: float, count: int, start: dt.datetime, price: float = 100.0, vendor: str = "tiingo"
) -> list[dict[str, object]]:
    """As many quotes as ``count`` says at one price, some minutes apart."""
    step = dt.timedelta(minutes=minutes)
    return [quote(price, start + step * number, vendor=vendor) for number in range(count)]
