"""Yuma consensus: from a matrix of weights, validators by miners, to incentives and dividends.

The median is decided by exact stakes, and sums are taken in a fixed order, so that every validator
gets the same bytes. Capping stakes and quorum live in ``stakes``, the tables in ``consensus``.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from quanta_pipelines.protocol.errors import InvalidWeights
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.stakes import Exact, Stakes, exact, exact_stakes

# Far above the rounding of 10^5 added shares; what lies closer to kappa is decided in integers
_DOUBT = 1e-9
_RULES = QUANTA.consensus  # where the defaults of all arguments stand


class LiquidAlpha(NamedTuple):
    """Bounds of a cell's weight of the new observation, and the logistic curve between them."""

    low: float
    high: float
    steepness: float = _RULES.liquid_alpha_steepness
    midpoint: float = _RULES.liquid_alpha_midpoint


@dataclass(frozen=True, slots=True)
class Clipped:
    """What validators agree on, and their weights cut down to it."""

    consensus: FloatArray  # [m]
    clipped: FloatArray  # [v, m], not renormalised
    rank: FloatArray  # [m], stake-weighted sum of the clipped weights
    trust: FloatArray  # [m], part of the votes that survived; NaN where nobody voted
    incentive: FloatArray  # [m], sums to 1, or all 0 without any vote


@dataclass(frozen=True, slots=True)
class YumaResult(Clipped):
    """Consensus with what validators earn from it."""

    validator_trust: FloatArray  # [v], what is left of a validator's row
    bonds: FloatArray  # [v, m], to be handed to the next epoch
    dividends: FloatArray  # [v], sums to 1, or all 0


def stake_weighted_median(
    weights: FloatArray,
    stakes: Stakes,
    kappa: Exact = _RULES.kappa,
    *,
    median: str = _RULES.median,
) -> FloatArray:
    """Largest weight per miner that at least ``kappa`` of the stake supports.

    ``weights`` has shape (validators, miners). ``max{ w : sum_i S_i [W_ij >= w] >= kappa }``, so an
    exact tie takes the higher weight; ``median="lower"`` asks for more than ``kappa`` and takes
    the lower one. Without any stake the answer is 0.
    """
    given = _checked(weights, stakes)
    return np.nan_to_num(median_of_reported(given, stakes, kappa, median=median), nan=0.0)


def median_of_reported(
    values: FloatArray,
    stakes: Stakes,
    kappa: Exact = _RULES.kappa,
    *,
    median: str = _RULES.median,
) -> FloatArray:
    """The same among the validators that reported a cell; NaN in ``values`` means not reported.

    NaN where no stake reported the miner at all.
    """
    if not 0 < exact(kappa) <= 1:
        raise InvalidWeights(f"kappa is a share above 0 and up to 1, not {kappa}")
    values = _matrix(values, stakes)
    units, reported = exact_stakes(stakes), ~np.isnan(values)
    if not any(units):
        return np.full(values.shape[1], np.nan)
    falling = np.where(reported, -values, np.inf).T
    order = np.argsort(falling, axis=1, kind="stable")
    heard = np.take_along_axis(reported.T, order, axis=1)
    # The first place where support suffices; a row without stake adds none, so it never is one
    at = _enough(order, heard, units, kappa=exact(kappa), strict=median == "lower").argmax(axis=1)
    result: FloatArray = -np.take_along_axis(falling, order[np.arange(len(at)), at][:, None], 1)
    voted = (reported.T & [unit > 0 for unit in units]).any(axis=1)
    return np.where(voted, result[:, 0], np.nan) + 0.0  # turns -0.0 into 0.0


def _enough(
    order: IntArray, heard: BoolArray, units: list[int], *, kappa: Fraction, strict: bool
) -> BoolArray:
    """Where the stake of the first validators in ``order`` reaches kappa of what was heard."""
    total = sum(units)
    shares = np.array([unit / total for unit in units])
    support = np.cumsum(np.where(heard, shares[order], 0.0), axis=1)
    margin = support - float(kappa) * support[:, -1:]
    enough: BoolArray = margin > 0
    doubtful = (np.abs(margin) < _DOUBT).any(axis=1)
    enough[doubtful] = _exactly_enough(
        order[doubtful], heard[doubtful], units, kappa=kappa, strict=strict
    )
    return enough


def _exactly_enough(
    order: IntArray, heard: BoolArray, units: list[int], *, kappa: Fraction, strict: bool
) -> BoolArray:
    """The same in integers: ``sum * den >= num * total``."""
    fits = sum(units) * kappa.denominator < 2**63
    stakes = np.array(units, dtype=np.int64 if fits else object)
    support = np.cumsum(stakes[order] * heard, axis=1)
    total = support[:, -1:]
    reached, asked = support * kappa.denominator, kappa.numerator * total
    if strict:  # all of the stake suffices, or kappa = 1 could never be met
        return np.asarray((reached > asked) | (support == total), dtype=np.bool_)
    return np.asarray(reached >= asked, dtype=np.bool_)


def clip(
    weights: FloatArray,
    stakes: Stakes,
    kappa: Exact = _RULES.kappa,
    *,
    median: str = _RULES.median,
) -> Clipped:
    """Consensus, and the weights cut down to it; rows are taken as they are."""
    weights = _checked(weights, stakes)
    consensus = stake_weighted_median(weights, stakes, kappa, median=median)
    clipped = np.minimum(weights, consensus)
    shares = _shares(stakes)
    rank, given = _weighted_sum(shares, clipped), _weighted_sum(shares, weights)
    trust = np.divide(rank, given, out=np.full_like(rank, np.nan), where=given > 0)
    return Clipped(
        consensus=consensus, clipped=clipped, rank=rank, trust=trust, incentive=_normalised(rank)
    )


def yuma(
    weights: FloatArray,
    stakes: Stakes,
    *,
    kappa: Exact = _RULES.kappa,
    median: str = _RULES.median,
    bonds: FloatArray | None = None,
    mode: str = "yuma1",
    row_normalise: bool = True,
    bond_alpha: float = _RULES.bond_ema_alpha,
    bond_penalty: float = _RULES.bond_penalty_beta,
    liquid_alpha: tuple[float, ...] | None = None,
) -> YumaResult:
    """One epoch of Yuma consensus; stakes are taken as they are, uncapped.

    ``bonds`` are those of the epoch before, none at genesis. ``bond_alpha`` is the weight of the
    new observation; with ``liquid_alpha=(lo, hi)``, or a ``LiquidAlpha``, in mode ``yuma3`` it
    follows each cell's distance from consensus. An empty row or column, or no stake at all, gives
    zeros and trust NaN. ``yuma_by`` takes all of it from a rule set.
    """
    if mode not in ("yuma1", "yuma3") or (liquid_alpha is not None and mode != "yuma3"):
        raise InvalidWeights(f"mode is yuma1 or yuma3, liquid alpha needs yuma3; got {mode}")
    given = _checked(weights, stakes)
    given = normalised_rows(given) if row_normalise else given
    agreed = clip(given, stakes, kappa, median=median)
    watched = given + bond_penalty * (agreed.clipped - given)
    old = np.zeros_like(given) if bonds is None else _checked(bonds, stakes)
    if mode == "yuma1":
        new = _bonds_of_stake(watched, _shares(stakes), old, bond_alpha)
    else:
        alpha = bond_alpha if liquid_alpha is None else _liquid(watched, old, agreed, liquid_alpha)
        new = np.minimum(1.0, (1 - alpha) * old + alpha * watched)
    return YumaResult(
        consensus=agreed.consensus,
        clipped=agreed.clipped,
        rank=agreed.rank,
        trust=agreed.trust,
        incentive=agreed.incentive,
        validator_trust=row_sums(agreed.clipped),
        bonds=new,
        dividends=dividends(new, agreed.incentive, stakes, mode=mode),
    )


def yuma_by(
    params: ProtocolParams,
    weights: FloatArray,
    stakes: Stakes,
    *,
    bonds: FloatArray | None = None,
    row_normalise: bool = True,
) -> YumaResult:
    """``yuma`` with everything that a rule set says."""
    rules = params.consensus
    mode, _, liquid = rules.bond_mode.partition("_")
    curve = LiquidAlpha(
        rules.liquid_alpha_low,
        rules.liquid_alpha_high,
        rules.liquid_alpha_steepness,
        rules.liquid_alpha_midpoint,
    )
    return yuma(
        weights,
        stakes,
        kappa=rules.kappa,
        median=rules.median,
        bonds=bonds,
        mode=mode,
        row_normalise=row_normalise,
        bond_alpha=rules.bond_ema_alpha,
        bond_penalty=rules.bond_penalty_beta,
        liquid_alpha=curve if liquid else None,
    )


def dividends(
    bonds: FloatArray, incentive: FloatArray, stakes: Stakes, *, mode: str = "yuma1"
) -> FloatArray:
    """What bonds ``[v, m]`` earn of the miners' incentive ``[m]``; sums to 1, or all 0.

    In ``yuma1`` bonds were bought by stake; in ``yuma3`` they are a validator's own and its stake
    counts when they earn.
    """
    if mode == "yuma1":
        return _normalised(row_sums(bonds * incentive))
    return _normalised(_shares(stakes) * row_sums(normalised_columns(bonds) * incentive))


def _bonds_of_stake(
    watched: FloatArray, shares: FloatArray, old: FloatArray, alpha: float
) -> FloatArray:
    """Yuma 1: bonds are shares of a miner, bought by stake."""
    bought = normalised_columns(shares[:, None] * watched)
    return normalised_columns(alpha * bought + (1 - alpha) * normalised_columns(old))


def _liquid(
    watched: FloatArray, old: FloatArray, agreed: Clipped, bounds: tuple[float, ...]
) -> FloatArray:
    """Yuma 3: bonds move faster in a cell that leaves consensus upwards or is sold off."""
    low, high, slope, midpoint = LiquidAlpha(*bounds)
    bought, sold = watched - agreed.consensus, old - watched
    distance = np.clip(np.where(watched >= old, bought, sold), 0.0, 1.0)
    alpha: FloatArray = low + (high - low) / (1 + np.exp(-slope * (distance - midpoint)))
    return alpha


def _checked(matrix: FloatArray, stakes: Stakes) -> FloatArray:
    """The matrix as float64, one row per stake, finite and not negative."""
    given = _matrix(matrix, stakes)
    wrong = ~(np.isfinite(given) & (given >= 0))
    if wrong.any():
        row, column = (int(at) for at in np.argwhere(wrong)[0])
        raise InvalidWeights(
            f"a weight is finite and not negative, [{row}, {column}] is {given[row, column]}"
        )
    return given


def _matrix(values: FloatArray, stakes: Stakes) -> FloatArray:
    """The values as float64, one row per stake; lists of rows will do."""
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 2 or given.shape[0] != len(stakes):
        raise InvalidWeights(
            f"weights have the shape (validators, miners), one row for each of {len(stakes)} "
            f"stakes, not {given.shape}"
        )
    return given


def normalised_rows(weights: FloatArray) -> FloatArray:
    """Rows that sum to 1; a row without any weight stays empty."""
    sums = row_sums(weights)[:, None]
    return np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)


def normalised_columns(matrix: FloatArray) -> FloatArray:
    """Columns that sum to 1; one without any bond stays empty."""
    sums = _weighted_sum(np.ones(len(matrix)), matrix)
    return np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0)


def _normalised(vector: FloatArray) -> FloatArray:
    total = math.fsum(vector)
    return vector / total if total > 0 else np.zeros_like(vector)


def row_sums(matrix: FloatArray) -> FloatArray:
    """Sum of each row, rounded once."""
    return np.array([math.fsum(row) for row in matrix], dtype=np.float64)


def _shares(stakes: Stakes) -> FloatArray:
    units = exact_stakes(stakes)
    total = sum(units) or 1
    return np.array([unit / total for unit in units], dtype=np.float64)


def _weighted_sum(shares: FloatArray, matrix: FloatArray) -> FloatArray:
    """``shares @ matrix``, one row after the other: BLAS adds in an order of its own."""
    total = np.zeros(matrix.shape[1])
    for share, row in zip(shares, matrix, strict=True):
        total += share * row
    return total
