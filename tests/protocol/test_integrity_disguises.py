"""Copies in disguise, and honest miners that look alike: where the rules of integrity end.

Copiers that know the rules change what they copy; honest miners that think alike hold alike. Real
weeks and prices as in ``test_integrity_false_alarms``; the long run writes the second tables of
``docs/integrity.md``.
"""

import re
from collections.abc import Callable

import numpy as np
import pytest

from . import measured_page
from .real_population import (
    COPIED_FROM,
    WEEKS,
    FloatArray,
    Population,
    capped,
    drawn_weights,
    population,
)
from .test_integrity_false_alarms import PAGE, Verdicts, judged, mean, real_data

DISGUISED = re.compile(r"(<!-- disguised -->\n).*(<!-- end of disguises -->)", re.DOTALL)
MANY, MINERS, COPIERS = 10, 128, 16  # of the long run: populations, honest miners, copiers

Disguise = Callable[[np.random.Generator, FloatArray, int, FloatArray, FloatArray], FloatArray]


def basis_point(
    rng: np.random.Generator, seen: FloatArray, week: int, _own: FloatArray, _other: FloatArray
) -> FloatArray:
    """This week's portfolio, a basis point moved between two of its names."""
    held = seen[week].copy()
    one, other = rng.choice(np.flatnonzero(held > 1e-3), 2, replace=False)
    held[one], held[other] = held[one] - 1e-4, held[other] + 1e-4
    return held


def swapped(share: float) -> Disguise:
    """This week's portfolio with a share of its names, the smallest, replaced by others."""

    def disguise(
        rng: np.random.Generator, seen: FloatArray, week: int, _own: FloatArray, _other: FloatArray
    ) -> FloatArray:
        held = seen[week].copy()
        names = np.flatnonzero(held)
        gone = names[np.argsort(held[names])][: max(1, round(share * len(names)))]
        new = rng.choice(np.flatnonzero(held == 0), len(gone), replace=False)
        held[new], held[gone] = held[gone], 0.0
        return held

    return disguise


def levelled(
    _rng: np.random.Generator, seen: FloatArray, week: int, _own: FloatArray, _other: FloatArray
) -> FloatArray:
    """The names of this week's portfolio, in equal parts."""
    return np.asarray((seen[week] > 0) / np.count_nonzero(seen[week]))


def behind(lag: int) -> Disguise:
    """The portfolio of some weeks before; its own until there is one."""
    return lambda _rng, seen, week, own, _other: seen[week - lag] if week >= lag else own[week]


def in_turn(
    _rng: np.random.Generator, seen: FloatArray, week: int, _own: FloatArray, other: FloatArray
) -> FloatArray:
    """Two originals, one this week and the other the next."""
    return np.asarray((seen if week % 2 else other)[week])


def half_and_half(
    _rng: np.random.Generator, seen: FloatArray, week: int, _own: FloatArray, other: FloatArray
) -> FloatArray:
    """Half of each of two originals."""
    return np.asarray((seen[week] + other[week]) / 2)


def half_own(
    _rng: np.random.Generator, seen: FloatArray, week: int, own: FloatArray, _other: FloatArray
) -> FloatArray:
    """Half of an original, half of its own."""
    return np.asarray((seen[week] + own[week]) / 2)


DISGUISES: dict[str, Disguise] = {
    "a basis point moved": basis_point,
    "a name in ten replaced": swapped(0.10),
    "a name in five replaced": swapped(0.20),
    "a name in three replaced": swapped(0.34),
    "the same names in equal parts": levelled,
    "five weeks behind": behind(5),
    "seven weeks behind": behind(7),
    "two originals in turn": in_turn,
    "half of each of two originals": half_and_half,
    "half of an original, half its own": half_own,
}


def disguised(honest: Population, rng: np.random.Generator, disguise: Disguise) -> Population:
    """The same and miners that from the fifth week on hold an honest one's portfolio, changed."""
    miners = len(honest.hotkeys)
    chosen, second = rng.permutation(miners)[: 2 * COPIERS].reshape(2, COPIERS)
    own = drawn_weights(rng, COPIERS, len(honest.tickers))
    sent = own.copy()
    for at, (one, other) in enumerate(zip(chosen, second, strict=True)):
        for week in range(COPIED_FROM, WEEKS):
            seen = honest.weights[:, one]
            sent[week, at] = disguise(rng, seen, week, own[:, at], honest.weights[:, other])
    return honest.beside([f"copy-of-{honest.hotkeys[at]}" for at in chosen], sent)


# Honest miners that think alike


def popular(rng: np.random.Generator, honest: Population) -> FloatArray:
    """Names that are drawn and weighed by how popular they are: the tenth a tenth of the first."""
    fame = 1.0 / np.arange(1.0, len(honest.tickers) + 1.0)
    weights = np.zeros_like(honest.weights)
    for miner in range(weights.shape[1]):
        names = rng.choice(len(fame), rng.integers(5, 31), replace=False, p=fame / fame.sum())
        for week in range(WEEKS):
            weights[week, miner, names] = capped(fame[names] * rng.lognormal(0, 0.3, len(names)))
    return weights


def same_rule(rng: np.random.Generator, honest: Population) -> FloatArray:
    """The winners of the last 10 to 20 sessions in equal parts, as many as each likes."""
    weights = honest.weights.copy()
    for miner in range(weights.shape[1]):
        looked, count = int(rng.integers(10, 21)), int(rng.integers(5, 31))
        for week in range(4, WEEKS):
            past = honest.moves[5 * week - looked : 5 * week].sum(axis=0)
            weights[week, miner] = 0.0
            weights[week, miner, np.argsort(-past)[:count]] = 1.0 / count
    return weights


def hugging(rng: np.random.Generator, honest: Population) -> FloatArray:
    """The thirty largest names by one list of sizes, each weight moved by a fifth."""
    sizes = np.sort(rng.pareto(1.2, len(honest.tickers)) + 1)[::-1][:30]
    weights = np.zeros_like(honest.weights)
    for miner in range(weights.shape[1]):
        for week in range(WEEKS):
            weights[week, miner, :30] = capped(sizes * rng.lognormal(0, 0.2, 30))
    return weights


CROWDS: dict[str, Callable[[np.random.Generator, Population], FloatArray]] = {
    "popular names, held by popularity": popular,
    "one public rule: the last weeks' winners": same_rule,
    "one list of the thirty largest": hugging,
}


@real_data
@pytest.mark.parametrize(
    ("name", "suspected", "unoriginal"),
    [
        ("a basis point moved", True, False),
        ("a name in ten replaced", True, False),
        ("two originals in turn", False, False),  # three of four weeks are never of one original
    ],
)
def test_what_a_disguise_hides(name: str, *, suspected: bool, unoriginal: bool) -> None:
    honest = population(0, 64)
    found = judged(disguised(honest, np.random.default_rng(0), DISGUISES[name]))
    assert (found.suspected[64:].mean() > 0.8) == suspected
    assert (found.originality[64:].mean() < 0.5) == unoriginal
    assert not found.suspected[:64].any()


@real_data
@pytest.mark.soak
def test_the_page_shows_what_disguises_hide(request: pytest.FixtureRequest) -> None:
    text = "\n".join([_disguises(), _crowds()])
    measured_page.compare(PAGE, DISGUISED, text, request)


def _disguises() -> str:
    rows = []
    for number, (name, disguise) in enumerate(DISGUISES.items()):
        found = [
            judged(
                disguised(population(seed, MINERS), np.random.default_rng([seed, number]), disguise)
            )
            for seed in range(MANY)
        ]
        theirs = [one.originality[MINERS:] for one in found]
        rows.append(
            f"| {name} | {mean(one.suspected[MINERS:] for one in found):.1%} "
            f"| {mean(one < 1.0 for one in theirs):.1%} | {mean(theirs):.3f} "
            f"| {sum(int(one.suspected[:MINERS].sum()) for one in found)} |"
        )
    return measured_page.table(
        "| copies in disguise | suspected | originality below 1 | mean originality "
        "| honest ones suspected |",
        rows,
    )


def _crowds() -> str:
    rows = []
    for number, (name, crowd) in enumerate(CROWDS.items()):
        found = list[Verdicts]()
        for seed in range(MANY):
            honest = population(seed, MINERS)
            held = crowd(np.random.default_rng([seed, 100 + number]), honest)
            found.append(judged(honest.holding(held)))
        rows.append(
            f"| {name} | {mean(one.suspected for one in found):.1%} "
            f"| {mean(one.originality < 1.0 for one in found):.1%} "
            f"| {mean(one.originality for one in found):.3f} "
            f"| {mean(one.variance_factor < 1.0 for one in found):.1%} |"
        )
    return measured_page.table(
        "| honest crowds | suspected of plagiarism | originality below 1 | mean originality "
        "| variance factor below 1 |",
        rows,
    )
