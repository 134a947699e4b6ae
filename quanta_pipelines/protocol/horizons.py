"""From the returns of many epochs to the measures of each horizon.

Only a miner's unbroken history counts: the sessions since the epoch in which it began. The
measures themselves live in ``metrics``, what they add up to in ``scoring``.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidReturns
from quanta_pipelines.protocol.metrics import (
    BoolArray,
    FloatArray,
    HorizonMetrics,
    IntArray,
    max_drawdown,
    measure,
    volatility,
)
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

DECIMALS = 9  # of a published measure; composites have 6


@dataclass(frozen=True, slots=True)
class Panel:
    """Unbroken histories of an epoch's miners over the sessions that a rule may ask for."""

    hotkeys: pd.Index
    returns: FloatArray  # [p, n], NaN before a history began
    turnover: FloatArray  # [p], of the epoch
    benchmark: FloatArray  # [n]


def history_sessions(returns: FloatArray) -> IntArray:
    """Returns of each portfolio since its history began; one that is absent later is refused."""
    gaps = _gaps(returns)
    if gaps.any():
        row, column = np.argwhere(gaps)[0]
        raise InvalidReturns(f"returns[{row}, {column}] is nan after the history began")
    return np.asarray(np.count_nonzero(~np.isnan(returns), axis=1), dtype=np.int64)


def horizon_table(
    history: pd.DataFrame, *, epoch_id: str, params: ProtocolParams = QUANTA
) -> pd.DataFrame:
    """Table ``HorizonMetrics``: one row per miner of the epoch and horizon that exists.

    ``history`` holds ``PortfolioReturns`` of this and earlier epochs in any order; what lies before
    a miner's unbroken history does not count. ``history_sessions`` is capped at what a rule asks
    for: the longest horizon. Measures have 9 decimals: ``exp`` and ``pow`` differ in their last
    bits between processors, and two validators' tables shall be the same bytes.
    """
    panel = panel_of(history, epoch_id, params)
    sessions = history_sessions(panel.returns)
    tables = []
    for horizon in params.scoring.horizons:
        rows = sessions >= horizon
        measured = measure(panel.returns[rows, -horizon:], panel.turnover[rows], params.scoring)
        columns = {field.name: getattr(measured, field.name) for field in fields(HorizonMetrics)}
        spread, fall = _benchmark(panel.benchmark[-horizon:], params)
        n = int(np.count_nonzero(rows))
        table = {
            "epoch_id": np.full(n, epoch_id, dtype=object),
            "hotkey": panel.hotkeys[rows],
            "horizon": np.full(n, horizon, dtype=np.int64),
            **columns,
            "benchmark_volatility": np.full(n, spread),
            "benchmark_max_drawdown": np.full(n, fall),
            "history_sessions": sessions[rows],
        }
        tables.append(pd.DataFrame(table))
    found = pd.concat(tables).round(DECIMALS)
    return found.sort_values(["hotkey", "horizon"], ignore_index=True)


def panel_of(history: pd.DataFrame, epoch_id: str, params: ProtocolParams) -> Panel:
    """Matrix of the unbroken histories of an epoch's miners, in the order of their hotkeys."""
    current = history[history["epoch_id"] == epoch_id].drop_duplicates("hotkey")
    current = current.sort_values("hotkey")
    hotkeys = pd.Index(current["hotkey"], dtype=object)
    miner = hotkeys.get_indexer(pd.Index(history["hotkey"]))
    rows = np.flatnonzero(_unbroken(history, miner, current, epoch_id, params))
    day, sessions = _days(history["session"].iloc[rows], params)
    rows, miner, day = rows[day >= 0], miner[rows[day >= 0]], day[day >= 0]
    if pd.Index(miner * len(sessions) + day).has_duplicates:
        raise InvalidReturns("a miner has two returns in one session")
    width = max(*params.scoring.horizons, params.scoring.provisional_sessions)
    # Sessions that nobody has lie left of the first, so that every horizon has a window
    column = day + width - len(sessions)
    rows, miner, column = rows[column >= 0], miner[column >= 0], column[column >= 0]
    returns, benchmark = np.full((len(hotkeys), width), np.nan), np.full(width, np.nan)
    returns[miner, column] = history["portfolio_return"].to_numpy()[rows]
    benchmark[column] = history["benchmark_return"].to_numpy()[rows]
    _require_unbroken(returns, hotkeys, sessions[-width:])
    return Panel(hotkeys, returns, current["turnover"].to_numpy(dtype=np.float64), benchmark)


def _unbroken(
    history: pd.DataFrame,
    miner: IntArray,
    current: pd.DataFrame,
    epoch_id: str,
    params: ProtocolParams,
) -> BoolArray:
    """Which rows lie in the unbroken history of a current miner; none of a later epoch does.

    ``miner`` is each row's place in ``current``, -1 for one that is not there. ``trailing`` returns
    are all computed in the epoch itself.
    """
    epoch, epoch_ids = pd.factorize(history["epoch_id"], sort=True)
    last = epoch_ids.searchsorted(epoch_id, side="right") - 1
    began = epoch_ids.searchsorted(current["history_epoch"].to_numpy())
    if params.scoring.return_basis == "trailing":
        began = np.full_like(began, last)
    held = np.zeros(len(history), dtype=bool)
    there = np.flatnonzero(miner >= 0)
    held[there] = (epoch[there] <= last) & (epoch[there] >= began[miner[there]])
    return held


def _days(session: "pd.Series[Any]", params: ProtocolParams) -> tuple[IntArray, pd.DatetimeIndex]:
    """Each row's place among the sessions, and the sessions; -1 before the first that counts.

    ``calendar_days`` cuts the longest horizon by date.
    """
    day, found = pd.factorize(session, sort=True)
    sessions = pd.DatetimeIndex(found)
    if params.scoring.horizon_unit != "calendar_days" or sessions.empty:
        return day, sessions
    longest = pd.Timedelta(days=max(params.scoring.horizons))
    first = int(sessions.searchsorted(sessions[-1] - longest, side="right"))
    return np.where(day < first, -1, day - first), sessions[first:]


def _require_unbroken(returns: FloatArray, hotkeys: pd.Index, sessions: pd.DatetimeIndex) -> None:
    gaps = _gaps(returns)
    if gaps.any():
        row, column = np.argwhere(gaps)[0]
        session = sessions[column - returns.shape[1] + len(sessions)]
        raise InvalidReturns(f"{hotkeys[row]} has no return on {session:%Y-%m-%d}")


def _gaps(returns: FloatArray) -> BoolArray:
    """Where a return is absent although an earlier one is known."""
    absent = np.isnan(returns)
    return np.asarray(absent & np.logical_or.accumulate(~absent, axis=1))


def _benchmark(returns: FloatArray, params: ProtocolParams) -> tuple[float, float]:
    """Volatility and drawdown of the benchmark; NaN unless it is known in every session."""
    if np.isnan(returns).any():
        return np.nan, np.nan
    return (
        float(volatility(returns, params.scoring)),
        float(max_drawdown(returns, params.scoring)),
    )
