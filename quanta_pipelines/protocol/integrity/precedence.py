"""Who of two miners was first: the one that holds what the other holds now, and held it before.

Nothing here says that a pair is alike now; ``originality`` and ``plagiarism`` ask about pairs that
are.
"""

import numpy as np
import numpy.typing as npt

from quanta_pipelines.protocol.integrity.holdings import (
    Holdings,
    in_units,
    pairs_at_a_time,
    shared_by_epoch,
)
from quanta_pipelines.protocol.metrics import BoolArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

FIRST, NEITHER, SECOND = 1, 0, -1  # which one of a pair was earlier


def first_epochs(
    holdings: Holdings,
    i: IntArray,
    j: IntArray,
    params: ProtocolParams = QUANTA,
    *,
    by_time: bool = False,
) -> IntArray:
    """First epoch in which ``i[q]`` committed what ``j[q]`` holds in the last one: ``[q]``.

    That is a sum of min weights of at least 0.50. The number of epochs where it never did, or where
    ``j[q]`` itself had committed in an epoch before something at least as like what it holds now:
    nobody is later than its own copy. With ``by_time`` an earlier commitment for the same epoch
    counts as before.
    """
    never, step = len(holdings.epoch_ids), pairs_at_a_time(holdings)
    found = np.full(len(i), never, dtype=np.int64)
    for top in range(0, len(i), step):
        some = slice(top, top + step)
        found[some] = _first_epochs(holdings, i[some], j[some], params, by_time=by_time)
    return found


def _first_epochs(
    holdings: Holdings, i: IntArray, j: IntArray, params: ProtocolParams, *, by_time: bool
) -> IntArray:
    never = len(holdings.epoch_ids)
    shared = shared_by_epoch(holdings, i, j)
    alike = shared >= in_units(params.security.precedence_shared_weight)
    found = np.where(alike.any(axis=1), alike.argmax(axis=1), never)
    claimed = np.flatnonzero(found < never)
    i, j, at = i[claimed], j[claimed], found[claimed]
    before = np.arange(never) < at[:, None]
    if by_time:
        times = holdings.committed_at
        before[np.arange(len(at)), at] = times[at, j] < times[at, i]
    others, place = np.unique(j, return_inverse=True)
    own = shared_by_epoch(holdings, others, others)[place]
    as_like = own >= shared[claimed, at][:, None]
    found[claimed[(as_like & before).any(axis=1)]] = never
    return found


def precedence(
    holdings: Holdings, i: IntArray, j: IntArray, params: ProtocolParams = QUANTA
) -> npt.NDArray[np.int8]:
    """Who of each pair was earlier: ``FIRST`` (i), ``SECOND`` (j) or ``NEITHER``.

    The earlier one first committed a portfolio like the other's current one, before the other did.
    Both in the same epoch, or neither ever: neither.
    """
    one, other = first_epochs(holdings, i, j, params), first_epochs(holdings, j, i, params)
    return _sign(one, other)


def earlier_matrix(holdings: Holdings, params: ProtocolParams = QUANTA) -> BoolArray:
    """``[p, p]``: whether column j counts as earlier than row i. Quadratic: for small ``p``."""
    n = len(holdings.hotkeys)
    i, j = np.triu_indices(n, 1)
    found = precedence(holdings, i, j, params)
    earlier = np.zeros((n, n), dtype=bool)
    earlier[i[found == SECOND], j[found == SECOND]] = True
    earlier[j[found == FIRST], i[found == FIRST]] = True
    return earlier


def committed_first(
    holdings: Holdings, i: IntArray, j: IntArray, params: ProtocolParams = QUANTA
) -> npt.NDArray[np.int8]:
    """Like ``precedence``; inside the same epoch the earlier commitment decides.

    For suspicions, which an operator judges; a score is not lowered by an hour.
    """
    one = first_epochs(holdings, i, j, params, by_time=True)
    other = first_epochs(holdings, j, i, params, by_time=True)
    same = (one == other) & (one < len(holdings.epoch_ids))
    at = np.where(same, one, 0)
    by_time = _sign(holdings.committed_at[at, i], holdings.committed_at[at, j])
    return np.asarray(np.where(same, by_time, _sign(one, other)), dtype=np.int8)


def _sign(one: IntArray, other: IntArray) -> npt.NDArray[np.int8]:
    """``FIRST`` where ``one`` is smaller, ``SECOND`` where it is larger."""
    return (one < other).astype(np.int8) - (other < one).astype(np.int8)
