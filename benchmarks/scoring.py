"""What scoring costs, and what others' code costs on the same arrays in the same run.

One core, processor time, the best of a few repetitions. Nothing is asserted; a peer that is not
installed is reported as absent.
"""

import json
import platform
import resource
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from timing import Absent, Timing, panel, timed  # isort: skip  it limits numpy to one thread
import click
import peers
import whole_epoch

from quanta_pipelines.protocol import metrics
from quanta_pipelines.protocol.bootstrap import intervals as composite_intervals

SIZES = (500, 5_000, 50_000)


@dataclass(frozen=True)
class Ratio:
    """How many times the engine's processor time, per portfolio, someone else's code takes."""

    work: str
    by: str
    engine_portfolios: int
    times: float


@dataclass(frozen=True)
class Target:
    """What was asked for beside what was measured."""

    what: str
    wanted: str
    measured: float
    met: bool


# The engine


def engine(size: int) -> Iterator[Timing]:
    """Metrics and intervals of one size, and what three metrics of others are compared with."""
    known, traded = panel(size)
    by = "quanta"
    repeat = 5 if size < max(SIZES) else 2
    yield timed(
        "metrics of 3 horizons",
        by,
        size,
        lambda: [metrics.measure(known[:, -horizon:], traded) for horizon in peers.HORIZONS],
        repeat=repeat,
    )
    yield timed("metrics of 90 sessions", by, size, lambda: metrics.measure(known, traded))
    yield timed(
        "composite intervals",
        by,
        size,
        lambda: composite_intervals(known, traded, epoch_id=whole_epoch.EPOCH.id),
        repeat=min(repeat, 3),
    )


# The report


def collected(sizes: Sequence[int], say: Callable[[str], None]) -> tuple[list[Timing], list[str]]:
    """All timings, and the peers that are absent."""
    works: list[Callable[[], Timing | Iterable[Timing]]] = [
        whole_epoch.epoch_timing,
        peers.quantstats_metrics,
        peers.ffn_metrics,
        peers.arch_intervals,
        peers.arch_score_intervals,
        peers.scipy_intervals,
        peers.specification_intervals,
    ]
    for size in sizes:
        works += [
            partial(engine, size),
            partial(peers.empyrical_metrics, size),
            partial(peers.skfolio_metrics, size),
        ]
    timings: list[Timing] = []
    absent: list[str] = []
    for work in works:
        try:
            with quiet():
                found = work()
                timings += [found] if isinstance(found, Timing) else list(found)
        except Absent as error:
            if str(error) not in absent:
                absent.append(str(error))
                say(str(error))
            continue
        say(f"timed {timings[-1].work} by {timings[-1].by}")
    return timings, absent


@contextmanager
def quiet() -> Iterator[None]:
    """Peers warn of short samples and of divisions by zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ratios(timings: Sequence[Timing]) -> list[Ratio]:
    """Every peer against the engine at every size; a peer with a size of its own, at that size."""
    own = [timing for timing in timings if timing.by == "quanta"]
    others = [timing for timing in timings if timing.by != "quanta"]
    return [
        Ratio(mine.work, other.by, mine.portfolios, other.microseconds / mine.microseconds)
        for mine in own
        for other in others
        if other.work == mine.work
        and ("2-D" not in other.by or other.portfolios == mine.portfolios)
    ]


def targets(timings: Sequence[Timing], found: Sequence[Ratio]) -> list[Target]:
    """The figures that were asked for, where this run measured them."""
    limits = [
        ("metrics of 3 horizons", 500, 0.010),
        ("metrics of 3 horizons", 50_000, 0.5),
        ("composite intervals", 500, 0.3),
        ("composite intervals", 50_000, 20.0),
        ("a whole epoch, to Parquet", 500, 0.2),
    ]
    least = {
        "the specification's bootstrap": 4_000,
        peers.ARCH_PLAIN: 1_000,
        peers.ARCH_SCORE: 1_000,
        "scipy.stats.bootstrap, vectorized": 15,
        "empyrical-reloaded, 3 metrics 2-D": 1,
        "skfolio, 3 metrics 2-D": 1,
    }
    own = [timing for timing in timings if timing.by == "quanta"]
    seconds = [
        Target(
            f"{work}, {size} portfolios",
            f"< {limit} s",
            timing.seconds,
            timing.seconds < limit,
        )
        for work, size, limit in limits
        for timing in own
        if (timing.work, timing.portfolios) == (work, size)
    ]
    memory = [
        Target("memory of intervals above inputs", "< 1024 MiB", one.peak_mib, one.peak_mib < 1024)
        for one in own
        if (one.work, one.portfolios) == ("composite intervals", max(SIZES))
    ]
    faster = [
        Target(
            f"{ratio.by} / engine, {ratio.engine_portfolios} portfolios",
            f">= {least[ratio.by]:,}",
            ratio.times,
            ratio.times >= least[ratio.by],
        )
        for ratio in found
        if ratio.by in least and ("2-D" not in ratio.by or ratio.engine_portfolios == max(SIZES))
    ]
    return seconds + memory + faster


def environment() -> dict[str, str]:
    """What the figures were measured with."""
    packages = ("numpy", "pandas", "scipy", "pyarrow")
    return {
        "python": platform.python_version(),
        "processor": _processor(),
        **{name: version(name) for name in packages},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo")
    text = lines.read_text() if lines.exists() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write all figures as JSON.")
@click.option("--size", "sizes", type=int, multiple=True, help="Portfolios; may be repeated.")
def main(out: Path | None, sizes: tuple[int, ...]) -> None:
    """Time the scoring engine and its peers on one core."""
    peers.check_plain_score()
    timings, absent = collected(sizes or SIZES, lambda text: click.echo(text, err=True))
    found = ratios(timings)
    reached = targets(timings, found)
    click.echo(f"{'work':<26} {'by':<36} {'portfolios':>10} {'s':>9} {'us each':>11} {'MiB':>7}")
    for one in timings:
        click.echo(
            f"{one.work:<26} {one.by:<36} {one.portfolios:>10,} {one.seconds:>9.4f} "
            f"{one.microseconds:>11.2f} {one.peak_mib:>7.1f}"
        )
    click.echo()
    for ratio in found:
        click.echo(
            f"{ratio.work:<26} {ratio.by:<36} {ratio.engine_portfolios:>10,} {ratio.times:>9.1f} x"
        )
    click.echo()
    for target in reached:
        mark = "met" if target.met else "missed"
        click.echo(f"{target.what:<60} {target.wanted:>12} {target.measured:>12.4f}  {mark}")
    for text in absent:
        click.echo(text)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(f"largest resident size of the whole run: {most:.0f} MiB")
    if out is not None:
        report = {
            "environment": environment(),
            "absent": absent,
            "timings": [{**asdict(one), "microseconds": one.microseconds} for one in timings],
            "ratios": [asdict(one) for one in found],
            "targets": [asdict(one) for one in reached],
            "max_resident_mib": most,
        }
        out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
