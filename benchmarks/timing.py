# ruff: noqa: E402  threads are limited before numpy is imported
"""What all timings share: one core, processor time, memory above the inputs, simulated returns."""

import os

for threads in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR"):
    os.environ[f"{threads}_NUM_THREADS"] = "1"  # numpy reads it when it is first imported

import gc
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
Work: TypeAlias = Callable[[], object]

SESSIONS = 90
MIB = 2**20


@dataclass(frozen=True)
class Timing:
    """Processor time of some work, and the memory it took above its inputs."""

    work: str
    by: str
    portfolios: int
    seconds: float
    peak_mib: float

    @property
    def microseconds(self) -> float:
        """Per portfolio."""
        return 1e6 * self.seconds / self.portfolios


class Absent(Exception):
    """A peer that is not installed, with the command that installs it."""


def peer(module: str, package: str) -> Any:
    """A peer's module; plots and warnings of its own stay out of the report."""
    os.environ.setdefault("MPLBACKEND", "agg")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(module)
    except ImportError as error:
        raise Absent(f"{package} is absent: pip install {package}") from error


def timed(work: str, by: str, portfolios: int, run: Work, *, repeat: int = 3) -> Timing:
    """The best of some runs; memory is traced in a run of its own, since tracing slows."""
    best = min(_processor_seconds(run) for _ in range(repeat))
    gc.collect()
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Timing(work, by, portfolios, best, peak / MIB)


def _processor_seconds(run: Work) -> float:
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run()
    return time.process_time() - start


def panel(portfolios: int) -> tuple[FloatArray, FloatArray]:
    """Simulated returns of 90 sessions, and turnover."""
    rng = np.random.default_rng(portfolios)
    return rng.normal(0.0005, 0.012, (portfolios, SESSIONS)), rng.random(portfolios)
