"""How sure a composite is: circular block bootstrap, the same bytes on every validator.

Each horizon is resampled from its own window, with starts of blocks that all portfolios share.
What a block does to a path is computed once for every start; a resample joins blocks and never
visits a session again. The point estimate lives in ``scoring``.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quanta_pipelines.protocol.horizons import history_sessions
from quanta_pipelines.protocol.metrics import (
    FloatArray,
    IntArray,
    annualised,
    scored,
    shortfall,
    shortfall_deviation,
)
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams, ScoringParams
from quanta_pipelines.protocol.scoring import checked_panel, score

BLOCK_ROWS = 100  # portfolios at a time
STRIP_CELLS = 10_000  # resamples times portfolios at a time: 80 KiB stay in a processor's cache
_NO_PEAK = 1e200  # level over any peak, for a path that has none before its first return


@dataclass(frozen=True, slots=True)
class _Window:
    """The last sessions of a history, and where resampled blocks start in them."""

    sessions: int
    block: int
    starts: IntArray  # [blocks, iterations]
    distinct: IntArray  # the same without repetition
    place: IntArray | None  # of each iteration among them, where they differ from the starts

    @property
    def last_block(self) -> int:
        """Length of the last block, cut so that a resample is as long as the window."""
        return self.sessions - self.block * (len(self.starts) - 1)


@dataclass(frozen=True, slots=True)
class _Group:
    """Portfolios that are resampled from the same windows."""

    rows: IntArray
    windows: list[_Window]
    weights: FloatArray  # [windows, rows], each column sums to 1


@dataclass(frozen=True, slots=True)
class _Blocks:
    """What a block of sessions does to a path: ``[n, q]`` for every start and portfolio."""

    growth: FloatArray  # its end over its beginning
    lowest: FloatArray  # its lowest level over its beginning
    deepest: FloatArray  # its smallest level over an earlier peak of the same block
    end: FloatArray  # its end over its peak
    missed: FloatArray  # sum of squared shortfalls
    below: FloatArray  # sessions below target


def intervals(
    returns: FloatArray,
    turnover: FloatArray,
    *,
    epoch_id: str,
    params: ProtocolParams = QUANTA,
    block_rows: int = BLOCK_ROWS,
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper end of each composite's percentile interval, 6 decimals.

    ``returns`` ``[p, n]`` and ``turnover`` ``[p]`` are those of ``score``; NaN under 20 sessions.
    An interval depends on its row and the epoch alone; ``block_rows`` bounds memory and no more.
    """
    known, traded = checked_panel(returns, turnover)
    ends = np.full((2, len(known)), np.nan)
    if params.scoring.short_interval == "ten_percent":
        point = score(known, traded, params).composite
        ends = np.array([0.9 * point, 1.1 * point])
    if params.scoring.interval_of == "one_horizon":
        traded = np.zeros_like(traded)
    for group in _groups(history_sessions(known), epoch_id, params.scoring):
        for at in range(0, group.rows.size, block_rows):
            part = slice(at, at + block_rows)
            rows = group.rows[part]
            resampled = np.zeros((params.scoring.bootstrap_iterations, rows.size))
            for window, weight in zip(group.windows, group.weights[:, part], strict=True):
                for which, scores in _resampled(known[rows], traded[rows], window, params.scoring):
                    resampled[which] += weight * scores
            ends[:, rows] = _middle(resampled, params.scoring.confidence_level)
    return np.round(ends[0], 6), np.round(ends[1], 6)


def _middle(resampled: FloatArray, share: float) -> tuple[FloatArray, FloatArray]:
    """Ends of the middle ``share`` of each column; between two ranks they are interpolated.

    ``numpy.percentile`` gives the same and takes a third longer.
    """
    last = len(resampled) - 1
    tail = 0.5 * (1.0 - share) * last
    below = int(tail)
    inner = min(below + 1, last)
    ranks = [below, inner, last - inner, last - below]
    ordered = np.ascontiguousarray(resampled.T)
    ordered.partition(ranks, axis=1)
    low, next_to_low, next_to_high, high = ordered[:, ranks].T
    part = tail - below
    return low + (next_to_low - low) * part, high - (high - next_to_high) * part


def epoch_rng(epoch_id: str, purpose: str) -> np.random.Generator:
    """The same stream on every validator, a different one for every epoch and purpose."""
    digest = hashlib.sha256(f"quanta/{purpose}/{epoch_id}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def _groups(sessions: IntArray, epoch_id: str, params: ScoringParams) -> Iterator[_Group]:
    """All portfolios with enough sessions; those of one length together for ``one_horizon``."""
    enough = sessions >= params.min_interval_sessions
    if params.interval_of == "one_horizon":
        counted = np.minimum(sessions, max(params.horizons))
        for length in np.unique(counted[enough]):
            rows = np.flatnonzero(enough & (counted == length))
            window = _window(int(length), epoch_id, params)
            yield _Group(rows, [window], np.ones((1, rows.size)))
        return
    horizons = np.array(params.horizons)
    exists = horizons[:, np.newaxis] <= sessions
    weights = np.where(exists, np.array([params.horizon_weights]).T, 0.0)
    rows = np.flatnonzero(enough & weights.any(axis=0))
    weights = weights[:, rows] / weights[:, rows].sum(axis=0)
    used = weights.any(axis=1)
    windows = [_window(int(horizon), epoch_id, params) for horizon in horizons[used]]
    yield _Group(rows, windows, weights[used])


def _window(sessions: int, epoch_id: str, params: ScoringParams) -> _Window:
    block = 1 if params.bootstrap_method == "iid" else min(params.bootstrap_block, sessions)
    shape = (-(-sessions // block), params.bootstrap_iterations)
    stream = epoch_rng(epoch_id, f"interval/{sessions}").bit_generator
    # numpy promises that raw streams stay as they are, not what integers() makes of them (NEP 19)
    drawn = stream.random_raw(shape[0] * shape[1]) % np.uint64(sessions)
    starts = drawn.astype(np.int64).reshape(shape)
    return _Window(sessions, block, starts, *_distinct(starts, sessions))


def _distinct(starts: IntArray, sessions: int) -> tuple[IntArray, IntArray | None]:
    """Starts without repetition, and the place of each iteration among them.

    Two blocks in 7 sessions start in 49 ways, so a thousand resamples need no more. Where there are
    more ways than resamples hardly any repeats, and all stay as they are.
    """
    if sessions ** len(starts) > starts.shape[1]:
        return starts, None
    ways = np.ravel_multi_index(tuple(starts), (sessions,) * len(starts))
    found, place = np.unique(ways, return_inverse=True)
    return np.array(np.unravel_index(found, (sessions,) * len(starts))), place


def _resampled(
    returns: FloatArray, turnover: FloatArray, window: _Window, params: ScoringParams
) -> Iterator[tuple[slice, FloatArray]]:
    """Horizon scores of resampled windows, some iterations at a time, all portfolios side by side.

    They come while they are in the processor's cache: nothing collects them before they are added.
    """
    # Time first: a resample then takes whole rows
    recent = np.ascontiguousarray(np.nan_to_num(returns[:, -window.sessions :]).T)
    blocks = last = _blocks(recent, window.block, params)
    if window.last_block != window.block:
        last = _blocks(recent, window.last_block, params)
    iterations = window.distinct.shape[1]
    strip = min(max(1, STRIP_CELLS // len(returns)), iterations)
    tables = [blocks] * (len(window.starts) - 1) + [last]
    paths = _Paths((strip, len(returns)), tables[0], params)
    repeated = []
    for at in range(0, iterations, strip):
        starts = window.distinct[:, at : at + strip]
        paths.begin(starts[0])
        for table, begun in zip(tables[1:], starts[1:], strict=True):
            paths.extend(table, begun)
        scores = paths.scores(turnover, window.sessions)
        if window.place is None:
            yield slice(at, at + strip), scores
        else:
            repeated.append(scores)
    if window.place is not None:
        yield slice(None), np.concatenate(repeated)[window.place]


class _Paths:
    """Resampled paths so far, ``[iterations, q]``, extended in place.

    The memory is taken once: giving back and taking anew what exceeds a page or two costs more than
    a step of arithmetic.
    """

    def __init__(self, shape: tuple[int, int], first: _Blocks, params: ScoringParams) -> None:
        self.params = params
        before = _NO_PEAK if params.drawdown_start == "first_return" else 1.0
        self._first = first
        self._first_deepest = np.minimum(first.lowest * before, first.deepest)
        self._first_level = np.minimum(first.growth * before, first.end)
        self._memory = np.empty((6, *shape))

    def begin(self, starts: IntArray) -> None:
        """One path for each start, a block long."""
        *paths, self.scratch = self._memory[:, : starts.size]
        self.growth, self.missed, self.below, self.deepest, self.level = paths
        first = self._first
        # The level is the last value over the peak so far
        tables = first.growth, first.missed, first.below, self._first_deepest, self._first_level
        for table, path in zip(tables, paths, strict=True):
            _rows(table, starts, path)

    def extend(self, blocks: _Blocks, starts: IntArray) -> None:
        """Join one block to each path, a start for each iteration."""
        fallen = self._take(blocks.lowest, starts)
        fallen *= self.level
        np.minimum(self.deepest, fallen, out=self.deepest)
        np.minimum(self.deepest, self._take(blocks.deepest, starts), out=self.deepest)
        grown = self._take(blocks.growth, starts)
        self.growth *= grown
        self.level *= grown
        np.minimum(self.level, self._take(blocks.end, starts), out=self.level)
        self.missed += self._take(blocks.missed, starts)
        if self.params.downside_over == "below_target":
            self.below += self._take(blocks.below, starts)

    def scores(self, turnover: FloatArray, sessions: int) -> FloatArray:
        """Horizon score of each path."""
        counted = sessions if self.params.downside_over == "all" else self.below
        yearly = annualised(self.growth, sessions, self.params)
        downside = shortfall_deviation(self.missed, counted, self.params)
        return scored(yearly, downside, 1.0 - self.deepest, turnover, self.params).horizon_score

    def _take(self, table: FloatArray, starts: IntArray) -> FloatArray:
        return _rows(table, starts, self.scratch)


def _rows(table: FloatArray, starts: IntArray, out: FloatArray) -> FloatArray:
    # Starts are in range; another mode than clip would copy the result once more
    return table.take(starts, axis=0, out=out, mode="clip")


def _blocks(returns: FloatArray, length: int, params: ScoringParams) -> _Blocks:
    """Blocks of ``length`` sessions from every start in a window ``[n, q]`` that is a circle."""
    around = np.concatenate([returns, returns[: length - 1]])
    missing, sessions = shortfall(around, params), len(returns)
    growth, top = np.ones_like(returns), np.zeros_like(returns)
    lowest, deepest = np.full_like(returns, np.inf), np.ones_like(returns)
    missed, below = np.zeros_like(returns), np.zeros_like(returns)
    for step in range(length):
        growth = growth * (1.0 + around[step : step + sessions])
        top, lowest = np.maximum(top, growth), np.minimum(lowest, growth)
        deepest = np.minimum(deepest, _over(growth, top))
        fell = missing[step : step + sessions]
        missed = missed + fell**2
        if params.downside_over == "below_target":
            below = below + (fell < 0.0)
    return _Blocks(growth, lowest, deepest, _over(growth, top), missed, below)


def _over(level: FloatArray, peak: FloatArray) -> FloatArray:
    """Level over peak; nothing is left of a path whose first return is a total loss."""
    return level / np.maximum(peak, np.finfo(np.float64).tiny)
