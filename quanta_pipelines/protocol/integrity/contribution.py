"""Contribution: what a portfolio adds to what the others already hold. Reported, never paid."""

import numpy as np

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity.ordered import ordered_sum, rounded
from quanta_pipelines.protocol.metrics import FloatArray


def contribution(weights: FloatArray, stakes: FloatArray, returns: FloatArray) -> FloatArray:
    """Meta model contribution of each portfolio, 9 decimals: ``[p]``.

    ``weights`` is ``[p, k]``, ``stakes`` ``[p]`` in any unit, ``returns`` ``[k]`` the epoch's total
    return of each ticker. M is the stake-weighted mean of the *other* portfolios; what it explains
    is taken out, and the rest is paid by the cross-section of returns:

        w~ = w - M (w.M) / (M.M)        mmc = w~ . (R - mean R)

    0 for a portfolio that is the others' mean. NaN where the others have no stake.
    After Numerai's meta model contribution.
    """
    held = np.asarray(weights, dtype=np.float64)
    stake, earned = np.asarray(stakes, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if held.ndim != 2 or (stake.shape, earned.shape) != (held.shape[:1], held.shape[1:]):
        raise InvalidIntegrityInput(
            "weights have the shape (miners, tickers), stakes (miners,), returns (tickers,): not "
            f"{held.shape}, {stake.shape} and {earned.shape}"
        )
    if not (np.isfinite(held).all() and np.isfinite(earned).all()):
        raise InvalidIntegrityInput("a weight or a return is not finite")
    if not (np.isfinite(stake).all() and (stake >= 0).all()):
        raise InvalidIntegrityInput("a stake is negative or not finite")
    if held.size == 0:
        return np.full(len(held), np.nan)
    rest = _of_others(stake[:, None])
    others = rest[:, 0] > 0
    meta = _of_others(held * stake[:, None]) / np.where(others[:, None], rest, 1.0)
    excess = earned - ordered_sum(earned[:, None]) / earned.size
    size = _dot(meta, meta)
    explained = _dot(held, meta) / np.where(size > 0, size, 1.0)
    found = _dot(held - meta * explained[:, None], np.broadcast_to(excess, held.shape))
    return np.where(others, rounded(found), np.nan)


def _of_others(rows: FloatArray) -> FloatArray:
    """Sum of all rows but one, for each; added up, since a difference would lose a small rest."""
    before, after = np.zeros_like(rows), np.zeros_like(rows)
    before[1:] = np.cumsum(rows[:-1], axis=0)
    after[:-1] = np.cumsum(rows[:0:-1], axis=0)[::-1]
    return np.asarray(before + after)


def _dot(first: FloatArray, second: FloatArray) -> FloatArray:
    """Dot products of rows, added in the order of the tickers."""
    return ordered_sum(one * other for one, other in zip(first.T, second.T, strict=True))
