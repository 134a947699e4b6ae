"""Whole tables of prices behind replicas: one per vendor, on the basis that its format has.

Real history comes from ``QUANTA_REFERENCE_DATA``. One file has closes as traded with dividends and
splits: Tiingo's and Massive's formats say exactly that, so it stands behind both. The other has
closes adjusted for splits up to its last day, 2018-02-07, and neither splits nor dividends. Only
Yahoo's format has closes on that basis. A chart of Yahoo is adjusted up to the day of the fetch, so
the closes are put on the as-traded basis first, by the splits of the first file up to that day, and
the replica adjusts them again for the splits that were known when it is asked. Yahoo states splits
and dividends as events, and a day without one says that nothing happened, which the second file
does not say: so the replica takes both from the first file. What is independent of the first file
are the second one's closes and volumes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pandas as pd

from tests.vendor_replicas.server import Server, serving
from tests.vendor_replicas.wired import KEY, REPLICAS

FOLDER = os.environ.get("QUANTA_REFERENCE_DATA", "")
FIRST_FILE, SECOND_FILE = (
    "b_alphavantage_sp500_1999_2021.parquet",
    "b2_iex_sp500_2013_2018.parquet",
)
SPAN = ("2013-02-08", "2018-02-07")  # of the second file
QUOTED_AT = datetime(2018, 2, 7, 20, 0, tzinfo=UTC)  # of live prices, which no epoch asks for
Tables = Mapping[str, pd.DataFrame]  # by vendor


def read_file(file: str, tickers: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of a reference file inside the span, sorted by ticker and session."""
    chosen = None if tickers is None else [("ticker", "in", list(tickers))]
    rows = pd.read_parquet(Path(FOLDER) / file, filters=chosen).rename(columns={"date": "session"})
    rows["session"] = pd.to_datetime(rows["session"]).astype("datetime64[ns]")
    return rows[rows["session"].between(*SPAN)].sort_values(
        ["ticker", "session"], ignore_index=True
    )


def later_splits_of(rows: pd.DataFrame) -> "pd.Series[float]":
    """Product of the splits after each row, for rows sorted by ticker and session."""
    backwards = rows[::-1].groupby("ticker")["split"].cumprod()[::-1]
    return backwards / rows["split"]


@cache
def reference_tickers(count: int) -> tuple[str, ...]:
    """Tickers that both files have on every day: first those that disagree longest, then by name.

    LEN, MET, VNO, GOOGL and VFC differ for years, by a wrong factor or another share class.
    """
    days = [read_file(file)[["ticker", "session"]] for file in (FIRST_FILE, SECOND_FILE)]
    both = days[0].merge(days[1]).groupby("ticker").size()
    whole = list(both.index[both == both.max()])
    first = [ticker for ticker in ("GOOGL", "LEN", "MET", "VFC", "VNO") if ticker in whole]
    return tuple(sorted([*first, *[name for name in whole if name not in first]][:count]))


@cache
def reference_tables(count: int) -> Tables:
    """The tables of so many tickers behind the three replicas."""
    tickers = reference_tickers(count)
    first = read_file(FIRST_FILE, tickers)
    second = read_file(SECOND_FILE, tickers)
    later = first.assign(later=later_splits_of(first))
    lent = later[["ticker", "session", "split", "later", "dividend"]]
    second = second.merge(lent, on=["ticker", "session"], validate="1:1")
    for name in ("open", "high", "low", "close"):
        second[name] = second[name] * second["later"]
    second["volume"] = second["volume"] / second["later"]
    columns = ["ticker", "session", "open", "high", "low", "close", "volume", "dividend", "split"]
    first = first.astype({"volume": float})[columns]
    second = second.astype({"volume": float})[columns]
    return {"tiingo": first, "polygon": first, "yahoo": second}


def completed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with every column that a format shows, by ticker and session."""
    spread = {
        name: rows[name] if name in rows else rows["close"] for name in ("open", "high", "low")
    }
    return rows.assign(**spread).sort_values(["ticker", "session"], ignore_index=True)


@contextmanager
def table_servers(tables: Tables, *, adjusted: bool = False) -> Iterator[dict[str, Server]]:
    """A replica of each vendor over its table, at local ports.

    Tables are as traded; with ``adjusted`` that of Yahoo is on Yahoo's basis already.
    """
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                serving(REPLICAS[name](completed(rows), KEY, QUOTED_AT, adjusted=adjusted))
            )
            for name, rows in tables.items()
        }
