"""Variance: a miner that swings far more than the others is playing the ranking, not the market."""

import numpy as np

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity.active_returns import require_histories
from quanta_pipelines.protocol.integrity.ordered import ordered_sum, rounded
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


def winsorised_variance(returns: FloatArray, params: ProtocolParams = QUANTA) -> FloatArray:
    """Sample variance of each miner's last 30 returns after winsorising: ``[p]``.

    ``returns`` is ``[p, n]``, simple daily returns, NaN before a history began. Each series is
    clipped to its own median plus or minus 4 median absolute deviations (not scaled to a normal),
    so that one jump alone makes no lottery ticket; where that deviation is 0, nothing is clipped.
    NaN for a miner with fewer than 30 sessions.
    """
    known = np.asarray(returns, dtype=np.float64)
    if known.ndim != 2:
        raise InvalidIntegrityInput(f"returns have two axes, not the shape {known.shape}")
    require_histories(known, "returns")
    n = params.security.variance_sessions
    found = np.full(len(known), np.nan)
    enough = np.count_nonzero(~np.isnan(known), axis=1) >= n
    if not enough.any():
        return found
    window = known[enough, -n:].T
    middle = np.median(window, axis=0)
    spread = np.median(np.abs(window - middle), axis=0)
    reach = np.where(spread > 0, params.security.variance_winsor_mad * spread, np.inf)
    clipped = np.clip(window, middle - reach, middle + reach)
    centred = clipped - ordered_sum(clipped) / n
    found[enough] = ordered_sum(centred**2) / (n - 1)
    return found


def variance_ratio(returns: FloatArray, params: ProtocolParams = QUANTA) -> FloatArray:
    """Each miner's variance over the median of all, 9 decimals; NaN under 30 sessions: ``[p]``.

    All NaN where the median is 0: more than half of the miners do not move.
    """
    variance = winsorised_variance(returns, params)
    known = variance[~np.isnan(variance)]
    middle = float(np.median(known)) if known.size else 0.0
    if middle == 0.0:
        return np.full(len(variance), np.nan)
    return rounded(variance / middle)


def variance_factor(ratio: FloatArray, params: ProtocolParams = QUANTA) -> FloatArray:
    """``min(1, 3.0 / ratio)``, 9 decimals; NaN where there is no ratio."""
    limit = params.scoring.variance_ratio_threshold
    given = np.asarray(ratio, dtype=np.float64)
    return rounded(limit / np.maximum(given, limit))


def variance_flag(ratios: FloatArray, params: ProtocolParams = QUANTA) -> BoolArray:
    """Whether the last two epochs' ratios were at or above 3.0: ``[p]``.

    ``ratios`` is ``[p, e]``, one column per epoch, the last one is this epoch. An epoch without a
    ratio breaks the row.
    """
    epochs = params.security.variance_flag_epochs
    given = np.asarray(ratios, dtype=np.float64)
    if given.ndim != 2:
        raise InvalidIntegrityInput(f"ratios are (miners, epochs), not the shape {given.shape}")
    if given.shape[1] < epochs:
        return np.zeros(len(given), dtype=bool)
    high = given[:, -epochs:] >= params.scoring.variance_ratio_threshold
    return np.asarray(high.all(axis=1))
