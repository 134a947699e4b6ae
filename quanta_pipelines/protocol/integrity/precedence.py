"""Who of two miners was first: the one that holds what the other holds now, and held it before.

Nothing here says that a pair is alike now; ``originality`` and ``plagiarism`` ask about pairs that
are.
"""

import numpy as np
import numpy.typing as npt

from quanta_pipelines.protocol.integrity.holdings import Holdings, in_units, shared_units
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
    least = in_units(params.security.precedence_shared_weight)
    never, now = len(holdings.epoch_ids), holdings.units[-1]
    found, reached = np.full(len(i), never, dtype=np.int64), np.zeros(len(i), dtype=np.int64)
    open_ = np.arange(len(i))
    for epoch, units in enumerate(holdings.units):
        shared = shared_units(units, now, i[open_], j[open_])
        alike = shared >= least
        found[open_[alike]], reached[open_[alike]] = epoch, shared[alike]
        open_ = open_[~alike]
    claimed = np.flatnonzero(found < never)
    for epoch, units in enumerate(holdings.units):
        at, times = found[claimed], holdings.committed_at[epoch]
        sooner = (at == epoch) & (times[j[claimed]] < times[i[claimed]]) & by_time
        claimed = claimed[(at > epoch) | sooner]
        own = shared_units(units, now, j[claimed], j[claimed]) >= reached[claimed]
        found[claimed[own]] = never
        claimed = claimed[~own]
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
