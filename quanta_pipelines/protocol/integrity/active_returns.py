"""Active returns: what is left of a miner's returns without the market.

Raw returns of long-only portfolios all look alike. The residual of a regression on the benchmark
and the equal-weighted universe does not, and no other miner can move it. What active returns are
compared for lives in ``similarity``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity.ordered import ordered_dot, ordered_sum
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

# Below this part of a series' own deviation a residual is rounding: returns have 9 decimals
NOTHING_LEFT = 1e-6


@dataclass(frozen=True, slots=True)
class ActiveReturns:
    """Residuals of miners over their last common sessions, and why some have none."""

    values: FloatArray  # [p, n], n at most 30; NaN before a miner's first common session
    columns: IntArray  # [n], which of the given sessions these are
    reasons: npt.NDArray[np.object_]  # [p], empty where there are active returns

    @property
    def sessions(self) -> IntArray:
        """Sessions of each miner that count: 0 where it has no active returns."""
        return np.asarray(np.count_nonzero(~np.isnan(self.values), axis=1), dtype=np.int64)


def active_returns(
    returns: FloatArray,
    benchmark: FloatArray,
    universe: FloatArray,
    params: ProtocolParams = QUANTA,
) -> ActiveReturns:
    """Residuals of ``returns`` ``[p, n]`` on an intercept, ``benchmark`` and ``universe`` ``[n]``.

    Oldest session first; NaN in a row before its history began. A common session is one in which
    benchmark and universe are known; the last 30 count. A miner with fewer than 10 of them has a
    row of NaN and a reason. Each row is regressed over its own sessions, by least squares; a
    regressor that the other one explains adds nothing. A miner whose returns are those of the
    market has active returns of exactly 0.

    Raises ``InvalidIntegrityInput`` for other shapes, infinity, or a gap inside a history.
    """
    known, market = _checked(returns, benchmark, universe)
    common = np.flatnonzero(~np.isnan(market).any(axis=0))[-params.security.active_sessions :]
    window, market = known[:, common], market[:, common]
    counted = np.count_nonzero(~np.isnan(window), axis=1)
    values = np.full_like(window, np.nan)
    least = params.security.min_active_sessions
    for length in np.unique(counted[counted >= least]):
        rows = counted == length
        values[rows, -length:] = _residuals(window[rows, -length:].T, market[:, -length:]).T
    reasons = np.array([_reason(int(sessions), least) for sessions in counted], dtype=object)
    return ActiveReturns(values, common, reasons)


def _reason(sessions: int, least: int) -> str:
    return "" if sessions >= least else f"{sessions} common sessions, active returns need {least}"


def _residuals(series: FloatArray, regressors: FloatArray) -> FloatArray:
    """What regressors ``[2, n]`` and a constant leave of each column of ``series`` ``[n, p]``.

    Gram-Schmidt in a fixed order, since the bits of a LAPACK solution differ between machines; the
    residual does not depend on which of two collinear regressors is kept.
    """
    centred = _centred(series)
    left, basis = centred, list[FloatArray]()
    for regressor in regressors:
        column = _centred(regressor[:, None])
        direction = _without(_without(column, basis), basis)  # twice is enough (Kahan)
        length = np.sqrt(ordered_dot(direction, direction))
        if (length > NOTHING_LEFT * np.sqrt(ordered_dot(column, column))).all():
            basis.append(direction / length)
    left = _without(_without(left, basis), basis)
    own = np.sqrt(ordered_dot(centred, centred))
    nothing = np.sqrt(ordered_dot(left, left)) <= NOTHING_LEFT * own
    return np.where(nothing, 0.0, left)


def _without(columns: FloatArray, basis: list[FloatArray]) -> FloatArray:
    """Columns less their projections on orthonormal directions ``[n, 1]``, one by one."""
    for direction in basis:
        columns = columns - direction * ordered_dot(
            np.broadcast_to(direction, columns.shape), columns
        )
    return columns


def _centred(columns: FloatArray) -> FloatArray:
    return np.asarray(columns - ordered_sum(columns) / len(columns))


def _checked(
    returns: FloatArray, benchmark: FloatArray, universe: FloatArray
) -> tuple[FloatArray, FloatArray]:
    known = np.asarray(returns, dtype=np.float64)
    market = [np.asarray(series, dtype=np.float64) for series in (benchmark, universe)]
    if known.ndim != 2 or any(series.shape != known.shape[1:] for series in market):
        raise InvalidIntegrityInput(
            "returns have the shape (miners, sessions), benchmark and universe (sessions,): not "
            f"{known.shape}, {market[0].shape} and {market[1].shape}"
        )
    require_histories(known, "returns")
    if np.isinf(market).any():
        raise InvalidIntegrityInput("a return of the benchmark or the universe is infinite")
    return known, np.array(market)


def require_histories(values: FloatArray, what: str) -> None:
    """Refuses infinity, and NaN after a row's first number; names the place."""
    absent = np.isnan(values)
    wrong: BoolArray = np.isinf(values) | (absent & np.logical_or.accumulate(~absent, axis=1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InvalidIntegrityInput(
            f"{what}[{row}, {column}] is {values[row, column]} after the history began"
        )
