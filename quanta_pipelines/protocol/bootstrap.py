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
from quanta_pipelines.protocol.scoring import score

BLOCK_ROWS = 128  # portfolios at a time
STRIP_CELLS = 8192  # resamples times portfolios at a time: 64 KiB stay in a processor's cache
_NO_PEAK = 1e200  # level over any peak, for a path that has none before its first return


@dataclass(frozen=True, slots=True)
class _Window:
    """The last sessions of a history, and where resampled blocks start in them."""

    sessions: int
    block: int
    starts: IntArray  # [blocks, iterations]

    @property
    def last_block(self) -> int:
        """Length of the last block, cut so that a resample is as long as the window."""
        return self.sessions - self.block * (len(self.starts) - 1)

    def distinct(self) -> tuple[IntArray, IntArray | slice]:
        """Starts without repetition, and which of them each resample has.

        Two blocks in 7 sessions start in 49 ways: a thousand resamples are not worth more. Where
        more ways exist than resamples, hardly any repeats, and all are returned as they are.
        """
        if self.sessions ** len(self.starts) > self.starts.shape[1]:
            return self.starts, slice(None)
        starts, place = np.unique(self.starts, axis=1, return_inverse=True)
        return np.ascontiguousarray(starts), place.ravel()


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
    point = score(returns, turnover, params).composite
    known, traded = np.asarray(returns, dtype=np.float64), np.asarray(turnover, dtype=np.float64)
    if params.scoring.interval_of == "one_horizon":
        traded = np.zeros_like(traded)
    ends = np.full((2, point.size), np.nan)
    if params.scoring.short_interval == "ten_percent":
        ends = np.array([0.9 * point, 1.1 * point])
    tail = 50.0 * (1.0 - params.scoring.confidence_level)
    for group in _groups(history_sessions(known), epoch_id, params.scoring):
        for at in range(0, group.rows.size, block_rows):
            part = slice(at, at + block_rows)
            rows = group.rows[part]
            resampled = np.zeros((params.scoring.bootstrap_iterations, rows.size))
            for window, weight in zip(group.windows, group.weights[:, part], strict=True):
                resampled += weight * _resampled(known[rows], traded[rows], window, params.scoring)
            ends[:, rows] = np.percentile(resampled, [tail, 100.0 - tail], axis=0)
    return np.round(ends[0], 6), np.round(ends[1], 6)


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
    starts = stream.random_raw(shape[0] * shape[1]) % np.uint64(sessions)
    return _Window(sessions, block, starts.astype(np.int64).reshape(shape))


def _resampled(
    returns: FloatArray, turnover: FloatArray, window: _Window, params: ScoringParams
) -> FloatArray:
    """Horizon scores ``[iterations, q]`` of resampled windows."""
    # Time first: a resample then takes whole rows, side by side for all portfolios
    recent = np.ascontiguousarray(np.nan_to_num(returns[:, -window.sessions :]).T)
    blocks, last = (_blocks(recent, size, params) for size in (window.block, window.last_block))
    distinct, place = window.distinct()
    scores = np.empty((distinct.shape[1], len(returns)))
    strip = max(1, STRIP_CELLS // len(returns))
    for at in range(0, len(scores), strip):
        starts = distinct[:, at : at + strip]
        paths = _Paths((starts.shape[1], len(returns)), params)
        for begun in starts[:-1]:
            paths.extend(blocks, begun)
        paths.extend(last, starts[-1])
        scores[at : at + strip] = paths.scores(turnover, window.sessions)
    return scores[place]


class _Paths:
    """Resampled paths so far, ``[iterations, q]``, extended in place."""

    def __init__(self, shape: tuple[int, int], params: ScoringParams) -> None:
        self.params = params
        self.growth, self.deepest = np.ones(shape), np.ones(shape)
        self.missed, self.below = np.zeros(shape), np.zeros(shape)
        self.level = np.ones(shape)  # over the peak so far
        if params.drawdown_start == "first_return":
            self.level *= _NO_PEAK
        self.scratch = np.empty(shape)

    def extend(self, blocks: _Blocks, starts: IntArray) -> None:
        """Join one block to each path, a start for each iteration."""
        np.minimum(
            self.deepest,
            np.multiply(self._take(blocks.lowest, starts), self.level, out=self.scratch),
            out=self.deepest,
        )
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
        # Starts are in range; another mode than clip would copy the result once more
        return np.take(table, starts, axis=0, out=self.scratch, mode="clip")


def _blocks(returns: FloatArray, length: int, params: ScoringParams) -> _Blocks:
    """Blocks of ``length`` sessions from every start in a window ``[n, q]`` that is a circle."""
    short = shortfall(returns, params)
    growth, top = np.ones_like(returns), np.zeros_like(returns)
    lowest, deepest = np.full_like(returns, np.inf), np.ones_like(returns)
    missed, below = np.zeros_like(returns), np.zeros_like(returns)
    for step in range(length):
        growth = growth * np.roll(1.0 + returns, -step, axis=0)
        top, lowest = np.maximum(top, growth), np.minimum(lowest, growth)
        deepest = np.minimum(deepest, _over(growth, top))
        fell = np.roll(short, -step, axis=0)
        missed, below = missed + fell**2, below + (fell < 0.0)
    return _Blocks(growth, lowest, deepest, _over(growth, top), missed, below)


def _over(level: FloatArray, peak: FloatArray) -> FloatArray:
    """Level over peak; nothing is left of a path whose first return is a total loss."""
    return np.divide(level, peak, out=np.zeros_like(level), where=peak > 0.0)
