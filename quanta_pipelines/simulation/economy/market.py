"""Weeks of real total returns: from a folder of Parquet files, or the recording that ships.

A file counts if it has the columns ticker, date, close, dividend and split, closes as traded. Where
two files have a ticker's session the first by name wins. Only tickers with a close in every session
of the span are in the market, so the past of those that did not survive is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from quanta_pipelines.adapters.price_vendors.recorded import recorded_closes
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.metrics import FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

COLUMNS = ("ticker", "date", "close", "dividend", "split")
WEEKS_A_YEAR = 52
LEAST_EPOCHS = 26
LEAST_TICKERS = 20


@dataclass(frozen=True)
class Market:
    """Total returns by session; ``week`` numbers the epoch that each session belongs to."""

    source: str
    epochs: tuple[Epoch, ...]
    tickers: tuple[str, ...]
    returns: FloatArray  # [sessions, tickers]
    benchmark: FloatArray  # [sessions]
    benchmark_name: str
    week: npt.NDArray[np.int64]  # [sessions]
    left_out: int  # tickers without a close in every session


def market(folder: Path | None, years: int, params: ProtocolParams = QUANTA) -> Market:
    """The last ``years`` times 52 whole epochs of the prices, fewer where there are fewer."""
    levels, source = _folder(folder) if folder else (recorded_closes(), "20 recorded stocks")
    index = params.market_data.benchmark
    last = levels[index].last_valid_index() if index in levels else levels.index[-1]
    epochs = _epochs(levels.index[levels.index <= last], years * WEEKS_A_YEAR)
    if len(epochs) < LEAST_EPOCHS:
        raise InvalidPrices(
            f"{source} holds {len(epochs)} whole epochs in a row, an economy needs {LEAST_EPOCHS}"
        )
    days = pd.DatetimeIndex(
        [epochs[0].entry_session, *(day for one in epochs for day in one.sessions)]
    )
    inside = levels.reindex(days)
    whole = inside.loc[:, inside.notna().all()]
    moves = whole.pct_change().iloc[1:]
    stocks = moves.drop(columns=[index], errors="ignore")
    if stocks.shape[1] < LEAST_TICKERS:
        raise InvalidPrices(
            f"{source}: {stocks.shape[1]} tickers have every close from {days[0]:%Y-%m-%d} to "
            f"{days[-1]:%Y-%m-%d}, an economy needs {LEAST_TICKERS}"
        )
    follows_index = index in moves
    return Market(
        source=source,
        epochs=epochs,
        tickers=tuple(map(str, stocks.columns)),
        returns=stocks.to_numpy(np.float64),
        benchmark=(moves[index] if follows_index else stocks.mean(axis=1)).to_numpy(np.float64),
        benchmark_name=index if follows_index else "the equal-weighted universe",
        week=np.repeat(np.arange(len(epochs)), [len(one.sessions) for one in epochs]),
        left_out=levels.shape[1] - whole.shape[1],
    )


def _folder(folder: Path) -> tuple[pd.DataFrame, str]:
    """Total return levels, sessions by tickers, from every file that has the columns."""
    files = sorted(folder.glob("*.parquet"))
    used = [file for file in files if set(COLUMNS) <= set(pq.read_schema(file).names)]
    if not used:
        raise InvalidPrices(f"{folder} has no Parquet file with the columns {', '.join(COLUMNS)}")
    rows = pd.concat([pd.read_parquet(file, columns=list(COLUMNS)) for file in used])
    rows["date"] = pd.to_datetime(rows["date"])
    rows = rows.drop_duplicates(["ticker", "date"]).sort_values(["ticker", "date"])
    before = rows.groupby("ticker")["close"].shift()
    moved = (rows["close"] * rows["split"] + rows["dividend"]) / before
    _require_positive(rows, moved)
    rows["level"] = moved.fillna(1.0).groupby(rows["ticker"]).cumprod()
    levels = rows.pivot(index="date", columns="ticker", values="level")
    return levels, ", ".join(file.name for file in used)


def _require_positive(rows: pd.DataFrame, moved: "pd.Series[float]") -> None:
    wrong = rows[(rows["close"] <= 0) | rows["close"].isna() | (moved <= 0)]
    if len(wrong):
        first = wrong.iloc[0]
        raise InvalidPrices(
            f"{first['ticker']} {first['date']:%Y-%m-%d}: a close of {first['close']} with split "
            f"{first['split']} and dividend {first['dividend']} gives no return"
        )


def _epochs(sessions: Sequence[pd.Timestamp] | pd.Index, most: int) -> tuple[Epoch, ...]:
    """The last epochs in a row of which every session, and the one before, is there."""
    known = {day.date() for day in sessions}
    epoch = Epoch.containing(max(known))
    while epoch.sessions and not set(epoch.sessions) <= known:
        epoch = epoch.previous()
    found: list[Epoch] = []
    while len(found) < most and {*epoch.sessions, epoch.entry_session} <= known:
        found.append(epoch)
        epoch = epoch.previous()
    return tuple(reversed(found))
