"""From the returns of many epochs to the measures of each horizon.

Only a miner's unbroken history counts: the sessions since the epoch in which it began. The
measures themselves live in ``metrics``, what they add up to in ``scoring``.
"""

from dataclasses import dataclass, fields

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
    for: the longest horizon.
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
    return pd.concat(tables).sort_values(["hotkey", "horizon"], ignore_index=True)


def panel_of(history: pd.DataFrame, epoch_id: str, params: ProtocolParams) -> Panel:
    """Matrix of the unbroken histories of an epoch's miners, in the order of their hotkeys."""
    current = history[history["epoch_id"] == epoch_id].drop_duplicates("hotkey")
    current = current.sort_values("hotkey")
    hotkeys = pd.Index(current["hotkey"], dtype=object)
    rows = _unbroken(history, current, epoch_id, params)
    width = max(*params.scoring.horizons, params.scoring.provisional_sessions)
    sessions = pd.Index(np.sort(rows["session"].unique())[-width:])
    rows = rows[rows["session"].isin(sessions)]
    # Sessions that nobody has lie left of the first, so that every horizon has a window
    columns = sessions.get_indexer(pd.Index(rows["session"])) + width - len(sessions)
    returns, benchmark = np.full((len(hotkeys), width), np.nan), np.full(width, np.nan)
    returns[hotkeys.get_indexer(pd.Index(rows["hotkey"])), columns] = rows["portfolio_return"]
    benchmark[columns] = rows["benchmark_return"]
    _require_unbroken(returns, hotkeys, sessions)
    return Panel(hotkeys, returns, current["turnover"].to_numpy(dtype=np.float64), benchmark)


def _unbroken(
    history: pd.DataFrame, current: pd.DataFrame, epoch_id: str, params: ProtocolParams
) -> pd.DataFrame:
    """Rows since each current miner's history began, none of a later epoch.

    ``trailing`` returns are all computed in the epoch itself; ``calendar_days`` cuts the longest
    horizon by date.
    """
    rows = history[history["hotkey"].isin(current["hotkey"]) & (history["epoch_id"] <= epoch_id)]
    if params.scoring.return_basis == "trailing":
        rows = rows[rows["epoch_id"] == epoch_id]
    else:
        began = rows["hotkey"].map(current.set_index("hotkey")["history_epoch"])
        rows = rows[rows["epoch_id"] >= began]
    if params.scoring.horizon_unit == "calendar_days":
        longest = pd.Timedelta(days=max(params.scoring.horizons))
        rows = rows[rows["session"] > rows["session"].max() - longest]
    if rows.duplicated(["hotkey", "session"]).any():
        raise InvalidReturns("a miner has two returns in one session")
    return rows


def _require_unbroken(returns: FloatArray, hotkeys: pd.Index, sessions: pd.Index) -> None:
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
