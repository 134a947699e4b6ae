"""How often the rules of integrity accuse the honest, and how often they find the guilty.

Honest miners hold random portfolios of real stocks over real weeks and know of nobody; copiers are
planted beside them. ``docs/integrity.md`` explains the figures; with ``--golden-update`` the long
run writes them there.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.protocol import integrity
from quanta_pipelines.protocol.integrity.ordered import rounded

from . import measured_page
from .real_population import FOLDER, FloatArray, Population, epoch_ids, population

PAGE = Path(__file__).parents[2] / "docs" / "integrity.md"
MEASURED = re.compile(r"(<!-- measured -->\n).*(<!-- end -->)", re.DOTALL)
MANY, MINERS = 50, 256  # populations of the long run, miners in each
FEW, FEWER_MINERS = 2, 128
COPIERS, LAGS = 16, (0, 1, 4)  # in each population; weeks behind
VALIDATORS, SCORED, NOISE, SEASONS = 20, 30, 0.02, 200
EPOCHS = epoch_ids()

real_data = pytest.mark.skipif(
    not FOLDER, reason="QUANTA_REFERENCE_DATA does not name a folder with real prices"
)


@dataclass(frozen=True)
class Verdicts:
    """What the rules say of a population: arrays are ``[miners]``."""

    originality: FloatArray
    suspected: "np.typing.NDArray[np.bool_]"
    variance_factor: FloatArray
    active: FloatArray  # [miners, sessions]
    raw_alike: float  # share of pairs whose raw returns correlate above 0.70


def judged(honest: Population) -> Verdicts:
    holdings = integrity.holdings_of(
        integrity.committed_positions(honest.table()), honest.hotkeys, EPOCHS
    )
    active = integrity.active_returns(honest.returns, honest.benchmark, honest.universe)
    sessions = pd.DatetimeIndex(pd.bdate_range("2020-01-06", periods=honest.returns.shape[1]))
    table = integrity.originality_table(active, holdings, sessions)
    suspects = set(integrity.plagiarism_evidence(holdings)["hotkey"])
    pairs = np.triu_indices(len(honest.hotkeys), 1)
    return Verdicts(
        originality=table["originality"].to_numpy(),
        suspected=np.array([hotkey in suspects for hotkey in honest.hotkeys]),
        variance_factor=integrity.variance_factor(integrity.variance_ratio(honest.returns)),
        active=active.values,
        raw_alike=float((np.corrcoef(honest.returns[:, -30:])[pairs] > 0.70).mean()),
    )


@cache
def judged_alone(seed: int, miners: int) -> Verdicts:
    return judged(population(seed, miners))


@dataclass(frozen=True)
class Shares:
    """Shares over all miners, or all pairs, of some populations."""

    unoriginal: float
    plagiarism: float
    variance: float
    sybil_pairs: float
    opposite_pairs: float
    active_alike: float
    raw_alike: float


@cache
def honest_shares(populations: int, miners: int) -> Shares:
    found = [judged_alone(seed, miners) for seed in range(populations)]
    pairs = populations * miners * (miners - 1) / 2

    def alike(above: float, below: float | None = None) -> list[FloatArray]:
        return [
            integrity.correlated_pairs(one.active, above=above, below=below).correlation
            for one in found
        ]

    extreme = np.concatenate(alike(0.95, -0.95))
    return Shares(
        unoriginal=mean(one.originality < 1.0 for one in found),
        plagiarism=mean(one.suspected for one in found),
        variance=mean(one.variance_factor < 1.0 for one in found),
        sybil_pairs=float((extreme > 0).sum() / pairs),
        opposite_pairs=float((extreme < 0).sum() / pairs),
        active_alike=sum(map(len, alike(0.70))) / pairs,
        raw_alike=float(np.mean([one.raw_alike for one in found])),
    )


def mean(parts: Iterable["np.typing.NDArray[np.generic]"]) -> float:
    return float(np.concatenate(list(parts)).mean())


@dataclass(frozen=True)
class Found:
    """Shares of the planted copiers, and their mean originality."""

    suspected: float
    unoriginal: float
    originality: float
    lowered: int  # honest miners whose originality the copiers moved
    accused: int  # honest miners that are suspected


def copiers_found(lag: int, populations: int, miners: int) -> Found:
    verdicts, lowered, accused = [], 0, 0
    for seed in range(populations):
        rng = np.random.default_rng([seed, lag])
        both = judged(population(seed, miners).with_copiers(rng, COPIERS, lag))
        alone = judged_alone(seed, miners).originality
        lowered += int((both.originality[:miners] != alone).sum())
        accused += int(both.suspected[:miners].sum())
        verdicts.append(both)
    originality = np.concatenate([one.originality[miners:] for one in verdicts])
    return Found(
        suspected=mean(one.suspected[miners:] for one in verdicts),
        unoriginal=float((originality < 1.0).mean()),
        originality=float(originality.mean()),
        lowered=lowered,
        accused=accused,
    )


def votes(rng: np.random.Generator, push: float) -> FloatArray:
    """Votes of validators with noise of their own, of which two push the same third of miners."""
    truth = rng.dirichlet(np.full(SCORED, 5.0))
    rows = truth * (1.0 + NOISE * rng.standard_normal((VALIDATORS, SCORED)))
    rows[:2] *= 1.0 + push * (rng.random(SCORED) < 1 / 3)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def accused_pairs(seasons: int, push: float) -> tuple[float, float]:
    """Share of seasons of five epochs in which the first two are accused, and of honest pairs."""
    guilty, honest = 0, 0
    names = {epoch: [f"v{at:02d}" for at in range(VALIDATORS)] for epoch in EPOCHS[:5]}
    for season in range(seasons):
        rng = np.random.default_rng([season, int(1000 * push)])
        found = integrity.collusion_evidence({epoch: votes(rng, push) for epoch in names}, names)
        pairs = set(zip(found["validator"], found["other"], strict=True))
        guilty += ("v00", "v01") in pairs
        honest += len(pairs - {("v00", "v01")})
    return guilty / seasons, honest / seasons / (VALIDATORS * (VALIDATORS - 1) / 2 - 1)


@real_data
def test_honest_miners_are_seldom_accused() -> None:
    found = honest_shares(FEW, FEWER_MINERS)
    assert found.unoriginal < 0.01
    assert found.plagiarism == 0.0
    assert found.variance < 0.05
    assert found.sybil_pairs == 0.0
    assert found.active_alike < 0.01 < found.raw_alike  # what raw returns would say of them


@real_data
@pytest.mark.parametrize("lag", LAGS)
def test_copiers_are_found_and_hardly_anybody_else_pays(lag: int) -> None:
    found = copiers_found(lag, 1, FEWER_MINERS)
    assert found.suspected > 0.9
    assert found.lowered + found.accused <= 1  # one in sixty of the copied, see the page
    if lag == 1:  # of the same week neither is earlier; four weeks behind moves differently
        assert found.unoriginal > 0.75


@real_data
def test_active_returns_of_real_stocks_are_least_squares_residuals() -> None:
    some = population(1, 40)
    found = integrity.active_returns(some.returns, some.benchmark, some.universe).values
    design = np.column_stack([np.ones(30), some.benchmark[-30:], some.universe[-30:]])
    returns = some.returns[:, -30:].T
    expected = (returns - design @ np.linalg.lstsq(design, returns, rcond=None)[0]).T
    np.testing.assert_array_equal(rounded(found), rounded(expected))


def test_honest_validators_are_left_alone_and_a_pair_is_found() -> None:
    guilty, honest = accused_pairs(10, 0.0)
    assert (guilty, honest) == (0.0, 0.0)
    guilty, honest = accused_pairs(10, 0.5)
    assert (guilty, honest) == (1.0, 0.0)


def figures() -> dict[str, list[float]]:
    """Rows of the page's measured tables: what stands in the first cell, and the numbers."""
    shown = MEASURED.search(PAGE.read_text())
    assert shown is not None
    found = {}
    for row in shown[0].splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        numbers = [cell.rstrip("%") for cell in cells[1:]]
        if row.startswith("|") and all(re.fullmatch(r"[0-9.]+", number) for number in numbers):
            found[cells[0]] = [float(number) for number in numbers]
    return found


def test_the_figures_of_fifty_populations_keep_the_limits() -> None:
    found = figures()
    assert found["miners suspected of plagiarism"] == [0.0]
    assert found["miners with a variance factor below 1"][0] < 1.0
    assert found["pairs in one cluster, correlation of active returns at least 0.95"][0] < 0.1
    suspected = {name: row[0] for name, row in found.items() if "behind" in name or "same" in name}
    assert len(suspected) == 3
    assert min(suspected.values()) >= 95.0
    pushed = {name: row for name, row in found.items() if re.fullmatch(r"[0-9]+%", name)}
    assert all(honest == 0.0 for _, honest in pushed.values())
    assert min(pushed[push][0] for push in ("30%", "50%")) >= 95.0


@real_data
@pytest.mark.soak
def test_the_page_shows_what_fifty_populations_gave(request: pytest.FixtureRequest) -> None:
    text = "\n".join(lines() for lines in (_honest, _copiers, _validators))
    measured_page.compare(PAGE, MEASURED, text, request)


def _honest() -> str:
    found = honest_shares(MANY, MINERS)
    rows: dict[str, float] = {
        "miners with originality below 1": found.unoriginal,
        "miners suspected of plagiarism": found.plagiarism,
        "miners with a variance factor below 1": found.variance,
        "pairs in one cluster, correlation of active returns at least 0.95": found.sybil_pairs,
        "pairs with a correlation of at most -0.95": found.opposite_pairs,
        "pairs with a correlation of active returns of at least 0.70": found.active_alike,
        "pairs with a correlation of raw returns above 0.70": found.raw_alike,
    }
    return measured_page.table(
        "| of the honest | share |", (f"| {name} | {share:.3%} |" for name, share in rows.items())
    )


def _copiers() -> str:
    names = {0: "the same week, sent later", 1: "one week behind", 4: "four weeks behind"}
    found = {lag: copiers_found(lag, MANY, MINERS) for lag in LAGS}
    return measured_page.table(
        "| exact copies | suspected | originality below 1 | mean originality "
        "| honest ones lowered | honest ones suspected |",
        (
            f"| {names[lag]} | {one.suspected:.1%} | {one.unoriginal:.1%} | {one.originality:.3f} "
            f"| {one.lowered} | {one.accused} |"
            for lag, one in found.items()
        ),
    )


def _validators() -> str:
    def row(push: float) -> str:
        guilty, honest = accused_pairs(SEASONS, push)
        return f"| {push:.0%} | {guilty:.1%} | {honest:.3%} |"

    return measured_page.table(
        "| two of twenty push a third of the miners by | pair accused | honest pairs accused |",
        (row(push) for push in (0.0, 0.1, 0.2, 0.3, 0.5)),
    )
