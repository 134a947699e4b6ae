"""How often a 95 % interval holds what it is an interval of, on simulated processes.

The expected composite of a process is the mean of the composite over its own sampling distribution,
with the same windows and turnover, from an independent simulation. ``docs/interval-coverage.md``
explains the figures; with ``--golden-update`` the long run writes them there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from quanta_pipelines.protocol.bootstrap import epoch_rng, intervals
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.scoring import score

from . import measured_page

FloatArray: TypeAlias = npt.NDArray[np.float64]
Ends: TypeAlias = tuple[FloatArray, FloatArray]
Interval: TypeAlias = Callable[[FloatArray, str], Ends]

PAGE = Path(__file__).parents[2] / "docs" / "interval-coverage.md"
MEASURED = re.compile(r"(<!-- measured -->\n).*(<!-- end -->)", re.DOTALL)
EPOCHS = [epoch.id for epoch in Epoch.range("2024-Q1-W01", "2024-Q2-W20")]  # streams in turn
SESSIONS, TURNOVER = 90, 0.2
MANY, FEW = 2_000, 200  # processes
REFERENCE, PART = 200, 20_000  # paths behind an expected composite: a process's, at a time


@dataclass(frozen=True)
class Process:
    """Daily returns with a mean of 15 % and a volatility of 16 % a year, and a memory of one day.

    The marginal distribution is the same normal one whatever ``memory`` is.
    """

    name: str
    memory: float

    def paths(self, rng: np.random.Generator, count: int) -> FloatArray:
        noise = rng.standard_normal((count, SESSIONS))
        state = noise.copy()
        for day in range(1, SESSIONS):
            fresh = np.sqrt(1.0 - self.memory**2) * noise[:, day]
            state[:, day] = self.memory * state[:, day - 1] + fresh
        return 0.0006 + 0.01 * state


@lru_cache
def expected_composite(process: Process, params: ProtocolParams, count: int) -> float:
    rng, traded = epoch_rng(process.name, "expected composite"), np.full(PART, TURNOVER)
    parts = range(0, count, PART)
    means = [score(process.paths(rng, PART), traded, params).composite.mean() for _ in parts]
    return float(np.mean(means))


@dataclass(frozen=True)
class Coverage:
    """Shares of processes, and the intervals' mean width."""

    covered: float
    above: float  # the interval lies above the expected composite
    width: float


IID = Process("independent", 0.0)
TRENDING = Process("AR(1), 0.3", 0.3)
REVERTING = Process("AR(1), -0.3", -0.3)


def of_the_protocol(**changes: Any) -> Interval:
    params = QUANTA.changed(**changes)

    def interval(returns: FloatArray, epoch_id: str) -> Ends:
        traded = np.full(len(returns), TURNOVER)
        return intervals(returns, traded, epoch_id=epoch_id, params=params)

    return interval


def of_one_path(block: int) -> Interval:
    """The other way: 90 sessions are resampled once, and all horizons are read from that path."""

    def interval(returns: FloatArray, epoch_id: str) -> Ends:
        rules = QUANTA.scoring
        shape = (rules.bootstrap_iterations, SESSIONS // block, 1)
        starts = epoch_rng(epoch_id, "one path").integers(SESSIONS, size=shape)
        drawn = ((starts + np.arange(block)) % SESSIONS).reshape(-1, SESSIONS)
        traded = np.full(len(drawn), TURNOVER)
        composites = [score(path[drawn], traded).composite for path in returns]
        lower, upper = np.percentile(composites, [2.5, 97.5], axis=1)
        return lower, upper

    return interval


def measured(
    process: Process, interval: Interval, count: int, params: ProtocolParams = QUANTA
) -> Coverage:
    """Coverage over ``count`` paths, a twentieth of them with each epoch's stream."""
    expected = expected_composite(process, params, REFERENCE * count)
    rng = epoch_rng(process.name, "paths")
    parts = [interval(process.paths(rng, count // len(EPOCHS)), epoch_id) for epoch_id in EPOCHS]
    lower, upper = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    return Coverage(
        covered=float(np.mean((lower <= expected) & (expected <= upper))),
        above=float(np.mean(expected < lower)),
        width=float(np.mean(upper - lower)),
    )


def only(horizon: int) -> dict[str, float]:
    """Parameters under which one horizon is the whole composite."""
    return {
        f"scoring__horizon_{days}d_weight": float(days == horizon)
        for days in QUANTA.scoring.horizons
    }


METHODS: dict[str, Interval] = {
    "blocks of 5 (the rule)": of_the_protocol(),
    "blocks of 2": of_the_protocol(scoring__bootstrap_block=2),
    "blocks of 3": of_the_protocol(scoring__bootstrap_block=3),
    "blocks of 10": of_the_protocol(scoring__bootstrap_block=10),
    "`iid` (the switch)": of_the_protocol(scoring__bootstrap_method="iid"),
    "one path of 90, blocks of 5": of_one_path(5),
    "one path of 90, single sessions": of_one_path(1),
}


def test_the_processes_are_what_they_say() -> None:
    for process in (IID, TRENDING, REVERTING):
        paths = process.paths(np.random.default_rng(1), 20_000)
        assert paths.mean() == pytest.approx(0.0006, abs=5e-5)
        assert paths.std(axis=0) == pytest.approx(np.full(SESSIONS, 0.01), rel=0.03)
        pairs = np.corrcoef(paths[:, 40], paths[:, 41])[0, 1]
        assert pairs == pytest.approx(process.memory, abs=0.03)


@pytest.mark.parametrize(
    ("process", "covered"),
    [(IID, 0.80), (TRENDING, 0.74), (REVERTING, 0.83)],
    ids=["iid", "trending", "reverting"],
)
def test_intervals_hold_the_expected_composite_as_often_as_documented(
    process: Process, covered: float
) -> None:
    # three standard errors of a share among 200
    found = measured(process, of_the_protocol(), FEW)
    error = np.sqrt(covered * (1 - covered) / FEW)
    assert found.covered == pytest.approx(covered, abs=3 * error)


def test_a_wider_level_covers_more() -> None:
    narrow = measured(IID, of_the_protocol(scoring__confidence_level=0.5), FEW)
    wide = measured(IID, of_the_protocol(scoring__confidence_level=0.99), FEW)
    assert narrow.covered < 0.50 < 0.80 < wide.covered


def test_blocks_of_five_in_seven_sessions_hide_most_of_the_variance() -> None:
    # blocks of b in a circle of n independent sessions keep 1 - b/n of the variance of their sum:
    # one block of 5 keeps 2/7, one of 2 keeps 5/7, together (5 * 2/7 + 2 * 5/7) / 7 = 20/49
    rng = np.random.default_rng(5)
    circles = rng.standard_normal((100_000, 7))
    starts = rng.integers(7, size=(2, 100_000, 1))
    rows = np.arange(100_000)[:, np.newaxis]
    long = circles[rows, (starts[0] + np.arange(5)) % 7].sum(axis=1)
    short = circles[rows, (starts[1] + np.arange(2)) % 7].sum(axis=1)
    drawn = long + short - circles.sum(axis=1)
    assert drawn.var() == pytest.approx(7 * 20 / 49, rel=0.03)


@pytest.mark.soak
def test_the_page_shows_what_two_thousand_processes_gave(request: pytest.FixtureRequest) -> None:
    text = f"{_by_method()}\n{_by_horizon()}\n"
    measured_page.compare(PAGE, MEASURED, text, request)


def _by_method() -> str:
    lines = [
        "| process | expected composite | resampling | covers | too high | mean width |",
        "|---|---|---|---|---|---|",
    ]
    for process in (IID, TRENDING, REVERTING):
        expected = expected_composite(process, QUANTA, REFERENCE * MANY)
        for name, interval in METHODS.items():
            found = measured(process, interval, MANY)
            lines.append(f"| {process.name} | {expected:.3f} | {name} | {_cells(found)} |")
    return "\n".join(lines) + "\n"


def _by_horizon() -> str:
    lines = [
        "| horizon alone, independent returns | resampling | covers | too high | mean width |",
        "|---|---|---|---|---|",
    ]
    for horizon in QUANTA.scoring.horizons:
        weights = only(horizon)
        for name, method in (("blocks of 5", "circular_block"), ("`iid`", "iid")):
            interval = of_the_protocol(scoring__bootstrap_method=method, **weights)
            found = measured(IID, interval, MANY, QUANTA.changed(**weights))
            lines.append(f"| {horizon} sessions | {name} | {_cells(found)} |")
    return "\n".join(lines)


def _cells(found: Coverage) -> str:
    return f"{found.covered:.1%} | {found.above:.1%} | {found.width:.3f}"
