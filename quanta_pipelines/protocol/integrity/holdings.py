"""Committed portfolios of some epochs as sparse matrices over the same miners and tickers.

Weights count in whole units of 10^-9, as votes do, so that a shared weight is an exact integer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.metrics import IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

UNITS = 10**9  # of a weight of 1
PAIRS_AT_A_TIME = 2**16
CELLS_AT_A_TIME = 2**19  # of pairs by epochs, by tickers, or by positions of a history
Int32Array: TypeAlias = npt.NDArray[np.int32]
NEVER = np.iinfo(np.int64).max  # the time of a commitment that does not exist


@dataclass(frozen=True, slots=True)
class Positions:
    """Every committed position of some epochs, by miner, then epoch, then ticker: ``[r]``."""

    miner_ends: IntArray  # [p + 1]: where each miner's positions begin, and the end
    epoch: Int32Array
    ticker: Int32Array
    units: IntArray


@dataclass(frozen=True, slots=True)
class EpochMatrices(Sequence[sparse.csr_array]):
    """The positions of each epoch as ``[p, k]``, int64; built when it is first asked for."""

    positions: Positions
    shape: tuple[int, int]
    epochs: int
    _built: dict[int, sparse.csr_array] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.epochs

    def __getitem__(self, epoch: int) -> sparse.csr_array:  # type: ignore[override]
        """One epoch's portfolios; -1 is the last one."""
        at = range(self.epochs)[epoch]
        if at not in self._built:
            self._built[at] = self._matrix(at)
        return self._built[at]

    def _matrix(self, epoch: int) -> sparse.csr_array:
        rows = np.flatnonzero(self.positions.epoch == epoch)
        ends = np.searchsorted(rows, self.positions.miner_ends)
        parts = self.positions.units[rows], self.positions.ticker[rows], ends.astype(np.int32)
        return sparse.csr_array(parts, shape=self.shape)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What miners committed in each of some epochs, oldest first; an empty row: nothing."""

    hotkeys: pd.Index  # [p]
    tickers: pd.Index  # [k]
    epoch_ids: tuple[str, ...]  # [e]
    positions: Positions
    units: Sequence[sparse.csr_array]  # [e] of [p, k], int64
    committed_at: IntArray  # [e, p], nanoseconds of UTC; NEVER without a portfolio

    def held(self, epoch: int, params: ProtocolParams = QUANTA) -> sparse.csr_array:
        """1 where a ticker has at least 1 % of an epoch's portfolio: ``[p, k]``, int32."""
        least = in_units(params.security.min_held_weight)
        counts = (self.units[epoch] >= max(least, 1)).astype(np.int32)
        return sparse.csr_array(counts)


def holdings_of(
    positions: pd.DataFrame, hotkeys: Sequence[str], epoch_ids: Sequence[str]
) -> Holdings:
    """Holdings of the miners ``hotkeys`` in the epochs ``epoch_ids``, oldest first.

    ``positions`` are committed ones of any epochs (``committed_positions``): held_epoch,
    hotkey, ticker, weight and committed_at, texts or categories of text. Other miners and epochs do
    not count.
    """
    if list(epoch_ids) != sorted(set(epoch_ids)):
        raise InvalidIntegrityInput(f"epochs come oldest first, each once: {list(epoch_ids)}")
    miners, epochs = pd.Index(list(hotkeys), dtype=object), pd.Index(list(epoch_ids), dtype=object)
    row, epoch = _places(positions["hotkey"], miners), _places(positions["held_epoch"], epochs)
    counts = (row >= 0) & (epoch >= 0)
    own, row, epoch = positions[counts], row[counts], epoch[counts]
    tickers = pd.Index(sorted(own["ticker"].unique()), dtype=object)
    column = _places(own["ticker"], tickers)
    committed = np.full((len(epochs), len(miners)), NEVER)
    times = own["committed_at"].dt.as_unit("ns").astype("int64").to_numpy()
    np.minimum.at(committed, (epoch, row), times)
    units = np.rint(own["weight"].to_numpy(dtype=np.float64) * UNITS).astype(np.int64)
    shape = (len(miners), len(tickers))
    ordered = _in_order(units, row, epoch, column, (*shape, len(epochs)))
    matrices = EpochMatrices(ordered, shape, len(epochs))
    return Holdings(miners, tickers, tuple(epoch_ids), ordered, matrices, committed)


def _places(column: "pd.Series[str]", index: pd.Index) -> IntArray:
    """Where each text of a column stands in an index; -1 where it does not."""
    if isinstance(column.dtype, pd.CategoricalDtype):  # a text is looked up once
        found = index.get_indexer(column.cat.categories.astype(object))
        return np.asarray(found[column.cat.codes], dtype=np.int64)
    return np.asarray(index.get_indexer(pd.Index(column)), dtype=np.int64)


def _in_order(
    units: IntArray, row: IntArray, epoch: IntArray, column: IntArray, shape: tuple[int, int, int]
) -> Positions:
    p, k, e = shape
    key = (row * e + epoch) * k + column
    order = np.argsort(key, kind="stable")
    if (np.diff(key[order]) == 0).any():
        raise InvalidIntegrityInput("a portfolio holds a ticker twice")
    order = order[units[order] != 0]
    ends = np.searchsorted(row[order], np.arange(p + 1))
    small = epoch[order].astype(np.int32), column[order].astype(np.int32)
    return Positions(ends.astype(np.int64), *small, units[order])


def shared_by_epoch(holdings: Holdings, i: IntArray, j: IntArray) -> IntArray:
    """Units that ``i[q]``'s portfolio of each epoch shares with ``j[q]``'s last: ``[q, e]``.

    The sum of min weights. Takes memory of pairs by epochs and by tickers: ``pairs_at_a_time``.
    """
    own, e = holdings.positions, len(holdings.epoch_ids)
    first, length = own.miner_ends[i], np.diff(own.miner_ends)[i]
    pair = np.repeat(np.arange(len(i)), length)
    at = np.arange(len(pair)) - np.repeat(np.cumsum(length) - length, length) + first[pair]
    others, place = np.unique(j, return_inverse=True)
    now = holdings.units[-1][others].toarray()
    least = np.minimum(own.units[at], now[place[pair], own.ticker[at]])
    # Sums of whole units stay far below 2^53, so they are exact
    shared = np.bincount(pair * e + own.epoch[at], weights=least, minlength=len(i) * e)
    return shared.astype(np.int64).reshape(len(i), e)


def pairs_at_a_time(holdings: Holdings) -> int:
    """For how many pairs ``shared_by_epoch`` takes a fair part of memory."""
    longest = int(np.diff(holdings.positions.miner_ends).max(initial=1))
    return max(
        1, CELLS_AT_A_TIME // max(1, len(holdings.epoch_ids), len(holdings.tickers), longest)
    )


def shared_units(
    first: sparse.csr_array, second: sparse.csr_array, i: IntArray, j: IntArray
) -> IntArray:
    """Sum of min weights of row ``i[q]`` of one matrix and row ``j[q]`` of the other, in units."""
    parts = [np.zeros(0, dtype=np.int64)]
    for top in range(0, len(i), PAIRS_AT_A_TIME):
        some = slice(top, top + PAIRS_AT_A_TIME)
        least = first[i[some]].minimum(second[j[some]])
        parts.append(np.asarray(least.sum(axis=1), dtype=np.int64))
    return np.concatenate(parts)


def in_units(weight: Decimal) -> int:
    """A weight of the rules in whole units, rounded up: the least number of units that reach it."""
    return -int(-weight * UNITS // 1)
