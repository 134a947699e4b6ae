"""Which miners move alike, without a table of all pairs.

Blocks of a single-precision product find the candidates. Each candidate is then computed again in
double precision and a fixed order, so that no number depends on the size of a block, on the BLAS or
on its threads. What a similar pair means lives in the modules beside this.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity.active_returns import NOTHING_LEFT, require_histories
from quanta_pipelines.protocol.integrity.ordered import ordered_dot, ordered_sum, rounded
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

BLOCK = 1024  # rows at a time; a block of products fits a processor's cache
# Single precision errs by less than 1e-5 on 252 products of unit vectors
MARGIN = 1e-4


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows with a correlation each."""

    first: IntArray
    second: IntArray
    correlation: FloatArray  # 9 decimals

    def chosen(self, rows: BoolArray) -> "Pairs":
        """The pairs of some rows."""
        return Pairs(self.first[rows], self.second[rows], self.correlation[rows])

    def __len__(self) -> int:
        """Pairs."""
        return len(self.first)


@dataclass(slots=True)
class Strongest:
    """The largest correlation of each row, and with whom; ties: the lowest other row."""

    size: int
    correlation: FloatArray = field(init=False)  # -inf where no pair was seen
    other: IntArray = field(init=False)  # -1 where no pair was seen

    def __post_init__(self) -> None:
        self.correlation = np.full(self.size, -np.inf)
        self.other = np.full(self.size, -1, dtype=np.int64)

    def see(self, row: IntArray, other: IntArray, correlation: FloatArray) -> None:
        """Pairs that count for ``row`` alone."""
        best_first = np.lexsort((other, -correlation, row))
        row, other = row[best_first], other[best_first]
        correlation = correlation[best_first]
        first = np.ones(len(row), dtype=bool)
        first[1:] = row[1:] != row[:-1]
        row, other, correlation = row[first], other[first], correlation[first]
        tie = (correlation == self.correlation[row]) & (other < self.other[row])
        better = (correlation > self.correlation[row]) | tie
        self.correlation[row[better]] = correlation[better]
        self.other[row[better]] = other[better]


def correlated_blocks(
    active: FloatArray,
    *,
    above: float,
    below: float | None = None,
    least_sessions: int | None = None,
    block: int = BLOCK,
    params: ProtocolParams = QUANTA,
) -> Iterator[Pairs]:
    """Pairs whose correlation is at least ``above`` or at most ``below``, each once, in parts.

    ``active`` is ``[p, n]``, NaN before a history began. A pair is compared over its common
    sessions if they are at least ``least_sessions`` (10 unless said otherwise). A series that does
    not vary correlates with nobody. Correlations have 9 decimals before they are compared. Memory:
    a few blocks, and what is found in one.
    """
    known = np.asarray(active, dtype=np.float64)
    if known.ndim != 2:
        raise InvalidIntegrityInput(f"active returns have two axes, not the shape {known.shape}")
    require_histories(known, "active_returns")
    least = params.security.min_active_sessions if least_sessions is None else least_sessions
    counted = np.count_nonzero(~np.isnan(known), axis=1)
    for length in np.unique(counted[counted >= least]):
        # Rows of this length against themselves and against the longer ones
        rows = np.concatenate([np.flatnonzero(counted == length), np.flatnonzero(counted > length)])
        shorter = int(np.count_nonzero(counted == length))
        unit = _standardised(known[rows, -length:].T)
        for i, j in _candidates(unit, shorter, above, below, block):
            value = np.clip(rounded(ordered_dot_at(unit, i, j)), -1.0, 1.0)
            holds = value >= above
            if below is not None:
                holds |= value <= below
            yield _ordered(rows[i[holds]], rows[j[holds]], value[holds])


def correlated_pairs(
    active: FloatArray,
    *,
    above: float,
    below: float | None = None,
    least_sessions: int | None = None,
    params: ProtocolParams = QUANTA,
) -> Pairs:
    """All pairs of ``correlated_blocks`` at once, ordered by first and second row."""
    parts = list(
        correlated_blocks(
            active, above=above, below=below, least_sessions=least_sessions, params=params
        )
    )
    return collected(parts)


def collected(parts: Iterable[Pairs]) -> Pairs:
    """Parts as one, ordered by first and second row."""
    listed = list(parts)
    empty = np.zeros(0, dtype=np.int64)
    first = np.concatenate([empty, *(part.first for part in listed)])
    second = np.concatenate([empty, *(part.second for part in listed)])
    value = np.concatenate([np.zeros(0), *(part.correlation for part in listed)])
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], value[order])


def together(parts: Iterable[Pairs], least: int = 2**16) -> Iterator[Pairs]:
    """The same pairs in fewer parts, of at least so many but for the last."""
    waiting = list[Pairs]()
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= least:
            yield collected(waiting)
            waiting = []
    if waiting:
        yield collected(waiting)


def _standardised(series: FloatArray) -> FloatArray:
    """Columns of ``[n, p]`` with mean 0 and length 1; all 0 where a column does not vary."""
    centred = series - ordered_sum(series) / len(series)
    length = np.sqrt(ordered_dot(centred, centred))
    size = np.sqrt(ordered_dot(series, series))
    varies = length > NOTHING_LEFT * size
    return np.where(varies, centred / np.where(varies, length, 1.0), 0.0)


def _candidates(
    unit: FloatArray, shorter: int, above: float, below: float | None, block: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """Places of pairs near a threshold, the first of each among the ``shorter`` rows."""
    fast = np.ascontiguousarray(unit.T, dtype=np.float32)
    for top in range(0, shorter, block):
        rows = fast[top : min(top + block, shorter)]
        for left in range(top, len(fast), block):
            product = rows @ fast[left : left + block].T
            near = product >= above - MARGIN
            if below is not None:
                near |= product <= below + MARGIN
            at = np.flatnonzero(near)
            i, j = top + at // product.shape[1], left + at % product.shape[1]
            once = j > i
            if once.any():
                yield i[once], j[once]


def ordered_dot_at(unit: FloatArray, i: IntArray, j: IntArray) -> FloatArray:
    """Dot products of chosen pairs of columns, added in the order of the sessions."""
    return ordered_sum(session[i] * session[j] for session in unit)


def _ordered(one: IntArray, other: IntArray, value: FloatArray) -> Pairs:
    return Pairs(np.minimum(one, other), np.maximum(one, other), value)
