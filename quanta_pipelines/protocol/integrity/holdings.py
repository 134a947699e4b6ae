"""Committed portfolios of some epochs as sparse matrices over the same miners and tickers.

Weights count in whole units of 10^-9, as votes do, so that a shared weight is an exact integer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
from scipy import sparse

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.metrics import IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

UNITS = 10**9  # of a weight of 1
PAIRS_AT_A_TIME = 2**16
NEVER = np.iinfo(np.int64).max  # the time of a commitment that does not exist


@dataclass(frozen=True, slots=True)
class Holdings:
    """What miners committed in each of some epochs, oldest first; an empty row: nothing."""

    hotkeys: pd.Index  # [p]
    tickers: pd.Index  # [k]
    epoch_ids: tuple[str, ...]  # [e]
    units: tuple[sparse.csr_array, ...]  # [e] of [p, k], int64
    committed_at: IntArray  # [e, p], nanoseconds of UTC; NEVER without a portfolio

    def held(self, epoch: int, params: ProtocolParams = QUANTA) -> sparse.csr_array:
        """1 where a ticker has at least 1 % of an epoch's portfolio: ``[p, k]``, int32."""
        least = in_units(params.security.min_held_weight)
        counts = (self.units[epoch] >= max(least, 1)).astype(np.int32)
        return sparse.csr_array(counts)


def holdings_of(
    portfolios: pd.DataFrame, hotkeys: Sequence[str], epoch_ids: Sequence[str]
) -> Holdings:
    """Holdings of the miners ``hotkeys`` in the epochs ``epoch_ids``, oldest first.

    ``portfolios`` holds rows of the table ``Portfolios`` of any epochs: epoch_id, hotkey, ticker,
    weight, filled_epochs and committed_at. A portfolio that only fills an epoch was not committed
    in it and does not count there; nor do other miners and epochs.
    """
    if list(epoch_ids) != sorted(set(epoch_ids)):
        raise InvalidIntegrityInput(f"epochs come oldest first, each once: {list(epoch_ids)}")
    own = portfolios[
        (portfolios["filled_epochs"] == 0)
        & portfolios["epoch_id"].isin(list(epoch_ids))
        & portfolios["hotkey"].isin(list(hotkeys))
    ]
    miners = pd.Index(list(hotkeys), dtype=object)
    tickers = pd.Index(sorted(own["ticker"].unique()), dtype=object)
    row, column = (
        miners.get_indexer(pd.Index(own["hotkey"])),
        tickers.get_indexer(pd.Index(own["ticker"])),
    )
    epoch = pd.Index(list(epoch_ids)).get_indexer(pd.Index(own["epoch_id"]))
    units = np.rint(own["weight"].to_numpy(dtype=np.float64) * UNITS).astype(np.int64)
    committed = np.full((len(epoch_ids), len(miners)), NEVER)
    times = own["committed_at"].dt.as_unit("ns").astype("int64").to_numpy()
    np.minimum.at(committed, (epoch, row), times)
    shape = (len(miners), len(tickers))
    matrices = tuple(
        _matrix(units[epoch == at], row[epoch == at], column[epoch == at], shape)
        for at in range(len(epoch_ids))
    )
    return Holdings(miners, tickers, tuple(epoch_ids), matrices, committed)


def _matrix(
    units: IntArray, row: IntArray, column: IntArray, shape: tuple[int, int]
) -> sparse.csr_array:
    matrix = sparse.csr_array((units, (row, column)), shape=shape)  # sorts, adds duplicates
    if matrix.nnz != len(units):
        raise InvalidIntegrityInput("a portfolio holds a ticker twice")
    matrix.eliminate_zeros()
    return matrix


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
