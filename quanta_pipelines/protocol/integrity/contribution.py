"""Contribution: what a portfolio adds to what the others already hold. Reported, never paid."""

from collections.abc import Iterator

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
    rest = _of_others(stake)
    others = rest > 0
    divisor = np.where(others, rest, 1.0)

    def meta() -> Iterator[FloatArray]:
        """M of each miner, ticker by ticker: a table of it would be as large as the weights."""
        return (_of_others(ticker * stake) / divisor for ticker in held.T)

    excess = earned - ordered_sum(earned[:, None]) / earned.size
    size = ordered_sum(one * one for one in meta())
    explained = ordered_sum(own * mean for own, mean in zip(held.T, meta(), strict=True))
    explained /= np.where(size > 0, size, 1.0)
    found = ordered_sum(
        (own - mean * explained) * gain
        for own, mean, gain in zip(held.T, meta(), excess, strict=True)
    )
    return np.where(others, rounded(found), np.nan)


def _of_others(one: FloatArray) -> FloatArray:
    """Sum of all but one, for each; added up, since a difference would lose a small rest."""
    before, after = np.zeros_like(one), np.zeros_like(one)
    np.cumsum(one[:-1], out=before[1:])
    np.cumsum(one[:0:-1], out=after[-2::-1])
    before += after
    return before
