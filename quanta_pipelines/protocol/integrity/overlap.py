"""Which miners hold the same names, found by the rarest names of the smaller portfolio.

Two portfolios that share nine tenths of the smaller one miss few of its tickers, so one of its few
rarest is shared: only holders of those are compared. Prefix filtering, after Chaudhuri, Ganti and
Kaushik, "A Primitive Operator for Similarity Joins in Data Cleaning" (2006). Counts are integers
and exact. What an overlap means lives in ``plagiarism``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from quanta_pipelines.protocol.metrics import BoolArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

CELLS = 2**22  # of a block of the sparse product
BUNDLE = 2**16  # pairs that are not worth a product for each ticker

Found = tuple[IntArray, IntArray, IntArray]


def overlapping_blocks(
    later: sparse.csr_array,
    earlier: sparse.csr_array,
    *,
    earlier_sizes: IntArray | None = None,
    params: ProtocolParams = QUANTA,
) -> Iterator[Found]:
    """Pairs whose held tickers overlap by at least 90 % of the smaller portfolio, in parts.

    Both are ``[p, k]`` with 1 where a ticker is held and no stored zero. Gives rows of ``later``,
    rows of ``earlier`` and the number of shared tickers, exact; every ordered pair of two different
    rows is looked at, each found one comes in one part, and parts come in no order of rows. Where
    both are the same object, each pair comes once, the lower row first. ``earlier_sizes`` replaces
    the number of tickers of each row of ``earlier``, by at most as many; a row of size 0 overlaps
    with nobody. Memory: the longest list of holders of one ticker, a block, and what is found.
    """
    share, of = params.security.ticker_overlap_threshold.as_integer_ratio()
    own, other = (np.diff(matrix.indptr).astype(np.int64) for matrix in (later, earlier))
    if earlier_sizes is not None:
        other = np.asarray(earlier_sizes, dtype=np.int64)
    common = _rarest_first(later, earlier)
    one = _Side(common[0], own, _needed(own, share, of))
    two = _Side(common[1], other, _needed(other, share, of))
    if later is earlier:
        for i, j, count in _with_smaller(one, one):
            # Two of one size find each other
            once = (own[i] < own[j]) | (i < j)
            yield np.minimum(i, j)[once], np.maximum(i, j)[once], count[once]
        return
    for i, j, count in _with_smaller(one, two):
        apart = i != j
        yield i[apart], j[apart], count[apart]
    for j, i, count in _with_smaller(two, one):
        apart = (i != j) & (other[j] < own[i])  # of one size: found above
        yield i[apart], j[apart], count[apart]


@dataclass(frozen=True, slots=True)
class _Side:
    """Portfolios, the size that counts for each, and how many shared tickers that asks for."""

    held: sparse.csr_array  # [p, k], columns from the rarest ticker on
    sizes: IntArray  # [p]
    needed: IntArray  # [p]


def _needed(sizes: IntArray, share: int, of: int) -> IntArray:
    return np.asarray(-(-sizes * share // of), dtype=np.int64)


def _rarest_first(later: sparse.csr_array, earlier: sparse.csr_array) -> list[sparse.csr_array]:
    """Both with their columns ordered by number of holders, indices sorted."""
    k = later.shape[1]
    holders = sum(np.bincount(matrix.indices, minlength=k) for matrix in (later, earlier))
    place = np.empty(k, dtype=np.int64)
    place[np.argsort(holders, kind="stable")] = np.arange(k)
    found = []
    for matrix in (later, earlier):
        moved = sparse.csr_array(
            (np.ones(matrix.nnz, dtype=np.int32), place[matrix.indices], matrix.indptr),
            shape=matrix.shape,
        )
        moved.sort_indices()
        found.append(moved)
    return found


def _with_smaller(smaller: _Side, larger: _Side) -> Iterator[Found]:
    """Overlapping pairs of a row of ``smaller`` with a row of ``larger`` of no smaller size."""
    rare = _prefixes(smaller)
    asking, holding = rare.tocsc(), larger.held.tocsc()
    for low, high in _bundles(asking.indptr, holding.indptr):
        rows = np.unique(asking.indices[asking.indptr[low] : asking.indptr[high]])
        holders = np.unique(holding.indices[holding.indptr[low] : holding.indptr[high]])
        beside = larger.held[holders].T.tocsr()
        step = max(1, CELLS // max(1, len(holders)))
        for top in range(0, len(rows), step):
            some = rows[top : top + step]
            shared = sparse.csr_array(smaller.held[some] @ beside)
            row = np.repeat(some, np.diff(shared.indptr)).astype(np.int64)
            # Few reach it; what else must hold is asked of those alone
            at = np.flatnonzero(shared.data >= smaller.needed[row])
            i, j = row[at], holders[shared.indices[at]].astype(np.int64)
            holds = smaller.sizes[i] <= larger.sizes[j]
            i, j, count = i[holds], j[holds], shared.data[at][holds].astype(np.int64)
            by = _first_shared(rare, larger.held, i, j)
            here = (by >= low) & (by < high)
            yield i[here], j[here], count[here]


def _bundles(asking: IntArray, holding: IntArray) -> Iterator[tuple[int, int]]:
    """Runs of tickers that are searched together: one, or as many as make a small product."""
    low, last = 0, len(asking) - 1
    for high in range(1, last + 1):
        rows, holders = (int(ends[min(high + 1, last)] - ends[low]) for ends in (asking, holding))
        if high == last or rows * holders > BUNDLE:
            yield low, high
            low = high


def _prefixes(side: _Side) -> sparse.csr_array:
    """Of each row the rarest tickers, one of which is shared by whoever shares enough of it."""
    length = np.diff(side.held.indptr)
    keep = np.where(side.sizes > 0, length - side.needed + 1, 0)
    place = np.arange(side.held.nnz) - np.repeat(side.held.indptr[:-1], length)
    chosen: BoolArray = place < np.repeat(keep, length)
    kept = np.concatenate([[0], np.cumsum(np.clip(keep, 0, length))])
    return sparse.csr_array(
        (side.held.data[chosen], side.held.indices[chosen], kept), shape=side.held.shape
    )


def _first_shared(
    rare: sparse.csr_array, held: sparse.csr_array, i: IntArray, j: IntArray
) -> IntArray:
    """The rarest ticker of ``rare[i]`` that ``held[j]`` has: the one that a pair is reported by.

    -1 where there is none: the pair then shares too few tickers after all, or is found elsewhere.
    """
    both = sparse.csr_array(rare[i].multiply(held[j]))
    both.sort_indices()
    found = np.full(len(i), -1, dtype=np.int64)
    some = np.diff(both.indptr) > 0
    found[some] = both.indices[both.indptr[:-1][some]]
    return found
