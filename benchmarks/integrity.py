"""What the search for similar miners costs, and what a table of all pairs costs in the same run.

One core, processor time, the best of a few repetitions, and the memory above the inputs. Returns
and portfolios are simulated. Nothing is asserted.
"""

import json
import resource
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from timing import FloatArray, Timing, timed  # isort: skip  it limits numpy to one thread
import click
import numpy as np
from scipy import sparse
from scoring import Target, environment

from quanta_pipelines.protocol.integrity import (
    active_returns,
    correlated_blocks,
    overlapping_blocks,
)
from quanta_pipelines.protocol.params import QUANTA

SIZES = (500, 5_000, 50_000)
SESSIONS, TICKERS, THEMES = 30, 500, 200
LARGEST_TABLE = 10_000  # miners above which a table of all pairs is left out: it takes gigabytes
ABOVE, BELOW = QUANTA.scoring.originality_correlation_threshold, -QUANTA.security.sybil_correlation


@dataclass(frozen=True)
class Ratio:
    """What the table of all pairs takes, in times of the search."""

    work: str
    by: str
    miners: int
    seconds: float
    memory: float


@dataclass(frozen=True)
class Miners:
    """Simulated returns and portfolios: the market, a theme that some share, and noise."""

    returns: FloatArray  # [p, 30]
    benchmark: FloatArray
    universe: FloatArray
    held: sparse.csr_array  # [p, k]


def simulated(size: int) -> Miners:
    """Miners that each hold 5 to 30 of 500 tickers, popular ones more often; a few are alike."""
    rng = np.random.default_rng(size)
    benchmark = rng.normal(0.0005, 0.01, SESSIONS)
    universe = benchmark + rng.normal(0.0, 0.003, SESSIONS)
    theme = rng.normal(0.0, 0.01, (THEMES, SESSIONS))[rng.integers(THEMES, size=size)]
    follows = rng.random((size, 1)) < 0.02
    returns = benchmark + np.where(follows, theme, 0.0) + rng.normal(0.0, 0.005, (size, SESSIONS))
    popular = 1.0 / np.sqrt(np.arange(1.0, TICKERS + 1.0))
    count = rng.integers(5, 31, size)
    # The largest of exponential draws over popularity: sampling without replacement
    draws = rng.exponential(size=(size, TICKERS)).astype(np.float32) / popular.astype(np.float32)
    order = np.argpartition(draws, 30, axis=1)[:, :31]
    taken = np.arange(31) < count[:, None]
    rows = np.repeat(np.arange(size), 31)[taken.ravel()]
    ones = np.ones(len(rows), dtype=np.int32)
    held = sparse.csr_array((ones, (rows, order.ravel()[taken.ravel()])), shape=(size, TICKERS))
    return Miners(returns, benchmark, universe, held)


# The search


def search(size: int, miners: Miners) -> Iterator[Timing]:
    """Active returns, pairs that move alike, pairs that hold the same names."""
    repeat = 3 if size < max(SIZES) else 1
    active = active_returns(miners.returns, miners.benchmark, miners.universe)

    def residuals() -> None:
        active_returns(miners.returns, miners.benchmark, miners.universe)

    def alike() -> None:
        for _ in correlated_blocks(active.values, above=ABOVE, below=BELOW):
            pass

    def overlapping() -> None:
        for _ in overlapping_blocks(miners.held, miners.held):
            pass

    yield timed("active returns", "quanta", size, residuals, repeat=repeat)
    yield timed("pairs that move alike", "quanta", size, alike, repeat=repeat)
    yield timed("pairs with the same names", "quanta", size, overlapping, repeat=repeat)


# Tables of all pairs


def tables(size: int, miners: Miners) -> Iterator[Timing]:
    """The plain way: numpy's correlation matrix, and a dense product of the holdings."""
    if size > LARGEST_TABLE:
        return
    active = active_returns(miners.returns, miners.benchmark, miners.universe).values

    def alike() -> None:
        table = np.corrcoef(active)
        np.argwhere(np.triu((table >= ABOVE) | (table <= BELOW), 1))

    def overlapping() -> None:
        dense = miners.held.toarray().astype(np.float64)
        counted = dense.sum(axis=1)
        smaller = np.minimum(counted[:, None], counted)
        np.argwhere(np.triu(dense @ dense.T >= 0.9 * smaller - 1e-9, 1))

    yield timed("pairs that move alike", "numpy.corrcoef", size, alike, repeat=3)
    yield timed("pairs with the same names", "numpy dense product", size, overlapping, repeat=2)


def same_pairs(miners: Miners) -> bool:
    """Whether the search and the table find the same pairs that move alike."""
    active = active_returns(miners.returns, miners.benchmark, miners.universe).values
    table = np.round(np.corrcoef(active), 9)
    plain = {
        (int(i), int(j)) for i, j in np.argwhere(np.triu((table >= ABOVE) | (table <= BELOW), 1))
    }
    found = {
        (int(i), int(j))
        for pairs in correlated_blocks(active, above=ABOVE, below=BELOW)
        for i, j in zip(pairs.first, pairs.second, strict=True)
    }
    return found == plain


# The report


def collected(sizes: tuple[int, ...], say: Callable[[str], None]) -> list[Timing]:
    """All timings."""
    timings: list[Timing] = []
    for size in sizes:
        miners = simulated(size)
        if size <= LARGEST_TABLE:
            assert same_pairs(miners), f"the search differs from the table for {size} miners"
        for work in (search, tables):
            for timing in work(size, miners):
                say(f"timed {timing.work} of {size:,} miners by {timing.by}")
                timings.append(timing)
    return timings


def ratios(timings: list[Timing]) -> list[Ratio]:
    """The tables of all pairs against the search, at each size that has both."""
    own = {(one.work, one.portfolios): one for one in timings if one.by == "quanta"}
    return [
        Ratio(
            other.work,
            other.by,
            other.portfolios,
            other.seconds / own[other.work, other.portfolios].seconds,
            other.peak_mib / own[other.work, other.portfolios].peak_mib,
        )
        for other in timings
        if other.by != "quanta"
    ]


def targets(timings: list[Timing]) -> list[Target]:
    """The limits for both searches together, where this run measured them."""
    found = []
    for size, seconds in ((5_000, 2.0), (50_000, 30.0)):
        own = [one for one in timings if one.by == "quanta" and one.portfolios == size]
        if own:
            total, peak = sum(one.seconds for one in own), max(one.peak_mib for one in own)
            what = f"similarity of {size:,} miners"
            found.append(Target(f"{what}, s", f"< {seconds:g}", total, total < seconds))
            found.append(Target(f"{what}, peak MiB", "< 1024", peak, peak < 1024))
    return found


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write all figures as JSON.")
@click.option("--size", "sizes", type=int, multiple=True, help="Miners; may be repeated.")
def main(out: Path | None, sizes: tuple[int, ...]) -> None:
    """Time the search for similar miners beside tables of all pairs, on one core."""
    timings = collected(sizes or SIZES, lambda text: click.echo(text, err=True))
    found, reached = ratios(timings), targets(timings)
    click.echo(f"{'work':<28} {'by':<22} {'miners':>8} {'s':>9} {'MiB':>8}")
    for one in timings:
        click.echo(
            f"{one.work:<28} {one.by:<22} {one.portfolios:>8,} {one.seconds:>9.4f} "
            f"{one.peak_mib:>8.1f}"
        )
    click.echo()
    for ratio in found:
        click.echo(
            f"{ratio.work:<28} {ratio.by:<22} {ratio.miners:>8,} {ratio.seconds:>7.1f} x time "
            f"{ratio.memory:>7.1f} x memory"
        )
    click.echo()
    for target in reached:
        mark = "met" if target.met else "missed"
        click.echo(f"{target.what:<44} {target.wanted:>8} {target.measured:>10.3f}  {mark}")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(f"largest resident size of the whole run: {most:.0f} MiB")
    if out is not None:
        report = {
            "environment": environment(),
            "timings": [asdict(one) for one in timings],
            "ratios": [asdict(one) for one in found],
            "targets": [asdict(one) for one in reached],
            "max_resident_mib": most,
        }
        out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
