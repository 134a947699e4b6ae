"""Plays every season of every seed, several at a time, and gathers what they show."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from quanta_pipelines.red_team.casts import cast_of, names_of_casts
from quanta_pipelines.red_team.findings import Findings
from quanta_pipelines.red_team.measures import FalseAlarms, Line, false_alarms, lines
from quanta_pipelines.red_team.season import Season, warm_up
from quanta_pipelines.red_team.world import HONEST, WARM_UP, build, opened
from quanta_pipelines.simulation.price_table import PriceTable

MEMORY = Path("/dev/shm")  # noqa: S108  a disk would be asked to keep every simulated commitment


@dataclass(frozen=True, slots=True)
class Size:
    """How much is played."""

    epochs: int = 40
    seeds: int = 5
    tickers: int = 100
    honest: int = HONEST


@dataclass(frozen=True, slots=True)
class Played:
    """Weeks of one seed."""

    seed: int
    first: str
    last: str


@dataclass(frozen=True)
class Campaign:
    """What a run found."""

    size: Size
    weeks: tuple[Played, ...]
    lines: tuple[Line, ...]
    false_alarms: tuple[FalseAlarms, ...]
    seasons: dict[tuple[int, str], Findings]


def campaign(
    prices: PriceTable,
    size: Size,
    attacks: Sequence[str],
    *,
    jobs: int = 1,
    apart: bool = False,
    audited: bool = False,
    on_done: Callable[[int, int], None] = lambda _done, _all: None,
) -> Campaign:
    """Every attack over every seed; ``on_done`` hears how many seasons of how many are played."""
    casts = names_of_casts(attacks, apart=apart)
    place = str(MEMORY) if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="quanta-red-team-", dir=place) as folder:
        table = Path(folder) / "prices.parquet"
        prices.rows.to_parquet(table)
        weeks, seasons = _played(
            Path(folder),
            replace(prices, rows=prices.rows.head(0)),
            size,
            casts,
            jobs=jobs,
            audited=audited,
            on_done=on_done,
        )
    return Campaign(
        size=size,
        weeks=weeks,
        lines=tuple(lines(attacks, seasons, apart=apart)),
        false_alarms=tuple(false_alarms(seasons)),
        seasons=seasons,
    )


def _played(
    folder: Path,
    vendor: PriceTable,
    size: Size,
    casts: Sequence[str],
    *,
    jobs: int,
    audited: bool,
    on_done: Callable[[int, int], None],
) -> tuple[tuple[Played, ...], dict[tuple[int, str], Findings]]:
    """Worlds first, then their seasons, in other processes unless one job is asked for."""
    seeds = range(1, size.seeds + 1)
    total, done = size.seeds * len(casts), 0
    weeks: dict[int, Played] = {}
    found: dict[tuple[int, str], Findings] = {}
    with _Workers(jobs) as workers:
        waiting: set[Future[Played | Findings]] = {
            workers.submit(_build, folder, vendor.name, seed, size) for seed in seeds
        }
        while waiting:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for result in sorted((future.result() for future in ready), key=lambda one: one.seed):
                if isinstance(result, Played):
                    weeks[result.seed] = result
                    waiting |= {
                        workers.submit(_season, folder, result.seed, cast, audited)
                        for cast in casts
                    }
                else:
                    found[result.seed, result.cast] = result
                    done += 1
                    on_done(done, total)
    return (
        tuple(weeks[seed] for seed in seeds),
        {(seed, cast): found[seed, cast] for seed in seeds for cast in casts},
    )


class _Workers:
    """Processes, or this one where a single job is asked for."""

    def __init__(self, jobs: int) -> None:
        self._pool = (
            ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) if jobs > 1 else None
        )

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, kind: object, *_rest: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=kind is not None)

    def submit(
        self, function: "Callable[..., Played | Findings]", *arguments: object
    ) -> "Future[Played | Findings]":
        if self._pool is not None:
            return self._pool.submit(function, *arguments)
        future: Future[Played | Findings] = Future()
        future.set_result(function(*arguments))
        return future


def _build(folder: Path, vendor: str, seed: int, size: Size) -> Played:
    prices = PriceTable(pd.read_parquet(folder / "prices.parquet"), vendor)
    world = build(
        folder / f"seed {seed}",
        prices,
        seed=seed,
        tickers=size.tickers,
        epochs=size.epochs,
        honest=size.honest,
    )
    warm_up(world)
    return Played(seed, world.epochs[WARM_UP].id, world.epochs[-1].id)


def _season(folder: Path, seed: int, cast: str, audited: bool) -> Findings:  # noqa: FBT001
    world = opened(folder / f"seed {seed}")
    home = Path(tempfile.mkdtemp(dir=folder))
    findings = Season(world, cast_of(cast, world), home, audited=audited).play()
    shutil.rmtree(home)
    return findings
