"""Suspicion of plagiarism: the same names with the same weights, again and again, after another.

A suspicion opens a case with its evidence; whether it is plagiarism an operator decides.
"""

from functools import cached_property
from itertools import pairwise, product

import numpy as np
import pandas as pd
from scipy import sparse, stats

from quanta_pipelines.protocol.integrity.holdings import (
    UNITS,
    Holdings,
    in_units,
    shared_units,
)
from quanta_pipelines.protocol.integrity.ordered import rounded
from quanta_pipelines.protocol.integrity.overlap import overlapping_blocks
from quanta_pipelines.protocol.integrity.precedence import FIRST, committed_first
from quanta_pipelines.protocol.metrics import FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

EVIDENCE_COLUMNS = {
    "hotkey": "object",  # who came later
    "earlier_hotkey": "object",
    "epoch_id": "object",  # of the later portfolio
    "earlier_epoch_id": "object",
    "lag": "int64",  # epochs between them
    "shared_tickers": "int64",
    "overlap": "float64",  # of the smaller portfolio's tickers
    "overlap_threshold": "float64",
    "shared_weight": "float64",
    "shared_weight_threshold": "float64",
    "tickers_in_use": "int64",
    "log10_chance": "float64",
    "log10_chance_threshold": "float64",
    "suspect_epochs": "int64",  # of the pair, in the window
}


def overlap_log10_chance(
    tickers: IntArray, first: IntArray, second: IntArray, shared: IntArray
) -> FloatArray:
    """Logarithm to base 10 of the chance that two portfolios share so many tickers, or more.

    Hypergeometric: ``second`` names are drawn from ``tickers``, ``first`` of which are held. Arrays
    of one shape; 9 decimals.
    """
    asked = np.stack([shared - 1, tickers, first, second], axis=-1)
    distinct, place = np.unique(asked.reshape(-1, 4), axis=0, return_inverse=True)
    chance = stats.hypergeom.logsf(*distinct.T) / np.log(10.0) if len(distinct) else np.zeros(0)
    return rounded(np.minimum(chance, 0.0))[place].reshape(np.shape(shared))


def plagiarism_evidence(holdings: Holdings, params: ProtocolParams = QUANTA) -> pd.DataFrame:
    """One row per suspicious pair, epoch and lag: which portfolios, how alike, how unlikely.

    A pair is suspicious when in at least 3 of the last 4 epochs a portfolio of one overlaps with a
    portfolio of the other, of the same epoch or up to 4 before, by 90 % of the smaller one's
    tickers (held at 1 % or more), with a shared weight of at least 0.80 and a chance below 10^-6
    among the tickers in use in the two epochs; and when the other was first
    (``precedence.committed_first``). Of many who hold the very same portfolio, the 8 that first
    committed anything stand for all as the other. ``holdings`` reaches back as far as precedence
    shall be known; lags are complete with ``plagiarism_window + plagiarism_max_lag`` epochs.
    """
    rules, last = params.security, len(holdings.epoch_ids)
    window = range(max(0, last - rules.plagiarism_window), last)
    books = _Books(holdings, params)
    # Who copies in 3 of 4 epochs copies in one of the last 2: only such pairs are looked at before
    searched = rules.plagiarism_window - rules.plagiarism_epochs + 1
    candidates = [_candidates(books, epoch) for epoch in window[-searched:]]
    pairs = pd.concat([_EMPTY, *candidates])[["later", "earlier"]].drop_duplicates()
    copies = [
        _copies(books, epoch, epoch - lag, pairs)
        for epoch, lag in product(window, range(rules.plagiarism_max_lag + 1))
        if epoch >= lag
    ]
    found = pd.concat([_EMPTY, *copies]).astype(_EMPTY.dtypes)
    epochs = found.groupby(["later", "earlier"])["epoch"].transform("nunique").astype("int64")
    enough = found.assign(suspect_epochs=epochs)[epochs >= rules.plagiarism_epochs]
    if enough.empty:
        return pd.DataFrame(columns=list(EVIDENCE_COLUMNS)).astype(EVIDENCE_COLUMNS)
    first = committed_first(
        holdings, enough["earlier"].to_numpy(), enough["later"].to_numpy(), params
    )
    return _named(enough[first == FIRST], holdings, params)


_EMPTY = pd.DataFrame(
    {
        name: pd.Series(dtype="int64")
        for name in ("later", "earlier", "epoch", "lag", "shared_tickers", "smaller")
    }
    | {"shared_units": pd.Series(dtype="int64"), "tickers_in_use": pd.Series(dtype="int64")}
    | {"log10_chance": pd.Series(dtype="float64")}
)


class _Books:
    """Holdings of the epochs that are asked about, each worked out once."""

    def __init__(self, holdings: Holdings, params: ProtocolParams) -> None:
        self.holdings, self.params = holdings, params
        self._held: dict[int, sparse.csr_array] = {}
        self._originals: dict[int, sparse.csr_array] = {}

    def held(self, epoch: int) -> sparse.csr_array:
        """1 where a ticker is held at 1 % or more."""
        if epoch not in self._held:
            self._held[epoch] = self.holdings.held(epoch, self.params)
        return self._held[epoch]

    def originals(self, epoch: int) -> sparse.csr_array:
        """The same for the first few holders of each portfolio, and nothing for the rest."""
        if epoch not in self._originals:
            first = _first_holders(self.holdings.units[epoch], self._line, self.params)
            self._originals[epoch] = sparse.csr_array(first @ self.held(epoch))
        return self._originals[epoch]

    @cached_property
    def _line(self) -> IntArray:
        """Miners by their first commitment ever, then by hotkey."""
        names = self.holdings.hotkeys.argsort().argsort()
        return np.lexsort((names, self.holdings.committed_at.min(axis=0)))


def _candidates(books: _Books, epoch: int) -> pd.DataFrame:
    """Pairs that may be copies at some lag: one search in all that the other held lately.

    Whoever shares enough tickers with one of the other's portfolios shares as many with their
    union; the smallest of them is the size that counts.
    """
    oldest = max(0, epoch - books.params.security.plagiarism_max_lag)
    earlier = [books.originals(before) for before in range(oldest, epoch + 1)]
    union = sparse.csr_array(sum(earlier[1:], start=earlier[0]))
    union.data = np.ones_like(union.data)
    sizes = np.array([np.diff(matrix.indptr) for matrix in earlier], dtype=np.int64)
    smallest = np.where(sizes > 0, sizes, np.iinfo(np.int64).max).min(axis=0)
    blocks = overlapping_blocks(
        books.held(epoch),
        union,
        earlier_sizes=np.where(sizes.any(axis=0), smallest, 0),
        params=books.params,
    )
    found = [(i, j) for i, j, _ in blocks]
    empty = np.zeros(0, dtype=np.int64)
    later, other = (np.concatenate([empty, *(pair[side] for pair in found)]) for side in (0, 1))
    return pd.DataFrame({"later": later, "earlier": other})


def _copies(books: _Books, epoch: int, before: int, pairs: pd.DataFrame) -> pd.DataFrame:
    """Which of some pairs have portfolios of two epochs that are alike."""
    holdings, rules = books.holdings, books.params.security
    later, earlier = books.held(epoch), books.originals(before)
    sizes = np.diff(later.indptr), np.diff(earlier.indptr)
    in_use = _in_use(later, earlier)
    i, j, shared = _overlapping(later, earlier, pairs, books.params)
    units = shared_units(holdings.units[epoch], holdings.units[before], i, j)
    alike = units >= in_units(rules.plagiarism_shared_weight)
    i, j, shared, units = i[alike], j[alike], shared[alike], units[alike]
    one, other = sizes[0][i].astype(np.int64), sizes[1][j].astype(np.int64)
    chance = overlap_log10_chance(np.full(len(i), in_use), one, other, shared)
    table = pd.DataFrame(
        {
            "later": i,
            "earlier": j,
            "epoch": epoch,
            "lag": epoch - before,
            "shared_tickers": shared,
            "smaller": np.minimum(one, other),
            "shared_units": units,
            "tickers_in_use": in_use,
            "log10_chance": chance,
        }
    )
    unlikely: pd.DataFrame = table[chance < np.log10(rules.plagiarism_chance)]
    return unlikely


def _overlapping(
    later: sparse.csr_array, earlier: sparse.csr_array, pairs: pd.DataFrame, params: ProtocolParams
) -> tuple[IntArray, IntArray, IntArray]:
    """What ``overlapping_blocks`` finds, among some pairs alone."""
    i, j = (pairs[name].to_numpy(dtype=np.int64) for name in ("later", "earlier"))
    shared = shared_units(later, earlier, i, j)
    smaller = np.minimum(np.diff(later.indptr)[i], np.diff(earlier.indptr)[j])
    share, of = params.security.ticker_overlap_threshold.as_integer_ratio()
    holds = (shared > 0) & (shared * of >= smaller * share)
    return i[holds], j[holds], shared[holds]


def _first_holders(
    units: sparse.csr_array, line: IntArray, params: ProtocolParams
) -> sparse.csr_array:
    """A diagonal of 1 for the first few holders of each portfolio of an epoch, 0 for the rest.

    ``line`` are the miners, who was first in front. A thousand copies of one portfolio would
    otherwise make a million pairs.
    """
    ends = units.indptr.tolist()
    names, weights = (memoryview(cells).cast("B") for cells in (units.indices, units.data))
    wide, deep = units.indices.itemsize, units.data.itemsize
    texts = [
        (bytes(names[a * wide : b * wide]), bytes(weights[a * deep : b * deep]))
        for a, b in pairwise(ends)
    ]
    portfolio = pd.factorize(pd.Series(texts, dtype=object))[0]
    place = pd.Series(portfolio[line]).groupby(portfolio[line]).cumcount().to_numpy()
    chosen = np.sort(line[place < params.security.plagiarism_originals])
    n = units.shape[0]
    ones = np.ones(len(chosen), dtype=np.int32)
    return sparse.csr_array((ones, (chosen, chosen)), shape=(n, n))


def _in_use(later: sparse.csr_array, earlier: sparse.csr_array) -> int:
    """Tickers that anybody holds in either epoch."""
    return len(np.union1d(later.indices, earlier.indices))


def _named(found: pd.DataFrame, holdings: Holdings, params: ProtocolParams) -> pd.DataFrame:
    rules, epoch_ids = params.security, np.array(holdings.epoch_ids, dtype=object)
    epoch, lag = found["epoch"].to_numpy(), found["lag"].to_numpy()
    chance = np.log10(rules.plagiarism_chance)
    table = found.assign(
        hotkey=holdings.hotkeys[found["later"]],
        earlier_hotkey=holdings.hotkeys[found["earlier"]],
        epoch_id=epoch_ids[epoch],
        earlier_epoch_id=epoch_ids[epoch - lag],
        overlap=rounded((found["shared_tickers"] / found["smaller"]).to_numpy()),
        overlap_threshold=float(rules.ticker_overlap_threshold),
        shared_weight=found["shared_units"] / UNITS,
        shared_weight_threshold=float(rules.plagiarism_shared_weight),
        log10_chance_threshold=chance,
    )
    keys = ["hotkey", "earlier_hotkey", "epoch_id", "lag"]
    table = table.sort_values(keys, ignore_index=True)
    return table[list(EVIDENCE_COLUMNS)].astype(EVIDENCE_COLUMNS)
