"""Seeds put together: means with 95 % intervals, with and without emission.

The interval is Student's over seeds, so it is about who the miners happen to be and what they
happen to like. Prices are the same for every seed: it says nothing about another market.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from quanta_pipelines.protocol.metrics import FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams, params_version
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.simulation.economy.market import WEEKS_A_YEAR, Market
from quanta_pipelines.simulation.economy.years import DECILES, Assumptions, Record, years

LEVEL = 0.95
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds, and the interval of it; none with a single seed."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Decile:
    """Miners of one skill."""

    coefficient: float  # information coefficient
    result: Estimate  # net result per token at stake
    yearly: Estimate  # net result of a seat in ALPHA a year
    broke: Estimate  # per hundred seats a year


@dataclass(frozen=True, slots=True)
class Path:
    """A total that grows over the epochs, in ALPHA: mean over seeds and its interval."""

    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """The economy with the subnet's emission, or without it."""

    emission: bool
    lost: Estimate  # of every token at stake, the average miner's
    burned: Estimate  # per token at stake, fees included
    treasury: Estimate  # per token at stake
    yearly: Estimate  # net result of an average seat in ALPHA a year
    broke: Estimate  # per hundred seats a year
    life: Estimate | None  # median epochs of miners who went broke; none where nobody did
    ranked: Estimate  # miners an epoch
    burned_a_year: Estimate  # ALPHA
    treasury_a_year: Estimate
    issued_a_year: Estimate
    supply_a_year: Estimate  # issued less burned
    carry_at_end: Estimate
    deciles: tuple[Decile, ...]
    paths: dict[str, Path]


@dataclass(frozen=True, slots=True)
class Economy:
    """Both scenes, and what they rest on."""

    source: str
    first: str
    last: str
    epochs: int
    asked_epochs: int
    tickers: int
    left_out: int
    benchmark: str
    seeds: int
    assumed: Assumptions
    params_version: str
    default_rules: bool
    without: Scene
    emitting: Scene


def economy(
    prices: Market,
    *,
    years_asked: int,
    seeds: int,
    jobs: int = 1,
    assumed: Assumptions | None = None,
    params: ProtocolParams = QUANTA,
    on_done: Callable[[str], None] = lambda _: None,
) -> Economy:
    """Run seeds 0, 1, … with and without emission; ``jobs`` changes nothing but the time."""
    people = assumed or Assumptions()
    work = [(seed, emission) for emission in (False, True) for seed in range(seeds)]
    records: list[Record] = []
    for record, (seed, emission) in zip(
        _records(prices, work, jobs, people, params), work, strict=True
    ):
        records.append(record)
        on_done(f"seed {seed} {'with' if emission else 'without'} emission")
    return Economy(
        source=prices.source,
        first=prices.epochs[0].id,
        last=prices.epochs[-1].id,
        epochs=len(prices.epochs),
        asked_epochs=years_asked * WEEKS_A_YEAR,
        tickers=len(prices.tickers),
        left_out=prices.left_out,
        benchmark=prices.benchmark_name,
        seeds=seeds,
        assumed=people,
        params_version=params_version(params),
        default_rules=params == QUANTA,
        without=_scene(records[:seeds], people, emission=False),
        emitting=_scene(records[seeds:], people, emission=True),
    )


def _records(
    prices: Market,
    work: Sequence[tuple[int, bool]],
    jobs: int,
    assumed: Assumptions,
    params: ProtocolParams,
) -> Iterator[Record]:
    run = partial(_run, prices, assumed, params)
    if jobs == 1:
        yield from map(run, work)
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(min(jobs, len(work)), mp_context=context) as pool:
        yield from pool.map(run, work)


def _run(
    prices: Market, assumed: Assumptions, params: ProtocolParams, one: tuple[int, bool]
) -> Record:
    seed, emission = one
    return years(prices, seed, emission=emission, assumed=assumed, params=params)


def _scene(records: Sequence[Record], assumed: Assumptions, *, emission: bool) -> Scene:
    net, staked, broke = (
        np.array([getattr(one, name) for one in records], dtype=np.float64)
        for name in ("net", "at_stake", "broke")
    )  # [seeds, epochs, deciles]
    span = net.shape[1] / WEEKS_A_YEAR
    by_name = {
        name: np.array([getattr(one, name) for one in records], dtype=np.float64) / RAO
        for name in ("burned", "treasury", "issued", "carry")
    }  # [seeds, epochs]
    totals = {name: flow.sum(axis=1) for name, flow in by_name.items()}
    stake = staked.sum(axis=(1, 2)) / RAO
    lives = [float(np.median(one.lives)) for one in records if one.lives]
    flows = {
        "burned": by_name["burned"],
        "treasury": by_name["treasury"],
        "supply": by_name["issued"] - by_name["burned"],
        "miners": net.sum(axis=2) / RAO,
    }
    return Scene(
        emission=emission,
        lost=estimate(-net.sum(axis=(1, 2)) / RAO / stake),
        burned=estimate(totals["burned"] / stake),
        treasury=estimate(totals["treasury"] / stake),
        yearly=estimate(net.sum(axis=(1, 2)) / RAO / span / assumed.miners),
        broke=estimate(broke.sum(axis=(1, 2)) / span / assumed.miners * 100),
        life=estimate(np.array(lives)) if lives else None,
        ranked=estimate(np.array([np.mean(one.ranked) for one in records])),
        burned_a_year=estimate(totals["burned"] / span),
        treasury_a_year=estimate(totals["treasury"] / span),
        issued_a_year=estimate(totals["issued"] / span),
        supply_a_year=estimate((totals["issued"] - totals["burned"]) / span),
        carry_at_end=estimate(by_name["carry"][:, -1]),
        deciles=tuple(
            _decile(at, net[..., at] / RAO, staked[..., at] / RAO, broke[..., at], span, assumed)
            for at in range(DECILES)
        ),
        paths={name: _path(np.cumsum(flow, axis=1)) for name, flow in flows.items()},
    )


def _decile(
    at: int,
    net: FloatArray,
    staked: FloatArray,
    broke: FloatArray,
    span: float,
    assumed: Assumptions,
) -> Decile:
    seats = int((assumed.deciles() == at).sum())
    return Decile(
        coefficient=round(at * assumed.coefficient_step, _DIGITS),
        result=estimate(net.sum(axis=1) / staked.sum(axis=1)),
        yearly=estimate(net.sum(axis=1) / span / seats),
        broke=estimate(broke.sum(axis=1) / span / seats * 100),
    )


def estimate(values: FloatArray) -> Estimate:
    """Mean of one number per seed, with Student's 95 % interval."""
    middle = float(np.mean(values))
    if len(values) < 2:
        return Estimate(round(middle, _DIGITS), None, None)
    half = float(_half_width(values[:, None])[0])
    return Estimate(*(round(bound, _DIGITS) for bound in (middle, middle - half, middle + half)))


def _path(totals: FloatArray) -> Path:
    """``totals`` is ``[seeds, epochs]``."""
    middle = totals.mean(axis=0)
    half = _half_width(totals) if len(totals) > 1 else np.zeros_like(middle)
    return Path(
        *(tuple(np.round(line, 3).tolist()) for line in (middle, middle - half, middle + half))
    )


def _half_width(values: FloatArray) -> FloatArray:
    """Half the interval of the mean over the first axis."""
    from scipy.stats import t

    n = len(values)
    spread = values.std(axis=0, ddof=1) / np.sqrt(n)
    return np.asarray(t.ppf((1 + LEVEL) / 2, n - 1) * spread)
