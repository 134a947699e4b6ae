"""Validators' stakes as exact numbers: who is present, and how much one of them may count.

Whether a median flips can hang on one unit of stake, so nothing here is decided by a floating-point
sum. What the stakes vote on lives in ``yuma``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from numbers import Integral
from typing import TypeAlias

import numpy as np

from quanta_pipelines.protocol.errors import InvalidWeights
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

Exact: TypeAlias = int | float | Decimal | Fraction
Stakes: TypeAlias = Sequence[Exact] | FloatArray | IntArray


@dataclass(frozen=True, slots=True)
class CappedStakes:
    """Shares of all stake after capping, summing to 1, and the cap that was feasible."""

    shares: tuple[Fraction, ...]
    cap: Fraction


def exact(value: Exact) -> Fraction:
    """The number that was written: a float stands for its shortest decimal, 0.1 for 1/10."""
    if isinstance(value, Integral):
        return Fraction(int(value))  # numpy integers would overflow inside a fraction
    return Fraction(str(float(value))) if isinstance(value, float) else Fraction(value)


def exact_stakes(stakes: Stakes) -> list[int]:
    """Stakes as coprime integers in the same proportions."""
    fractions = _fractions(stakes)
    scale = math.lcm(*(stake.denominator for stake in fractions))
    units = [stake.numerator * (scale // stake.denominator) for stake in fractions]
    common = math.gcd(*units) or 1
    return [unit // common for unit in units]


def _fractions(stakes: Stakes) -> list[Fraction]:
    listed = stakes.tolist() if isinstance(stakes, np.ndarray) else list(stakes)
    if not all(0 <= stake < math.inf for stake in listed):  # NaN fails every comparison
        raise InvalidWeights(f"stakes and weights are finite and not negative: {listed}")
    return [exact(stake) for stake in listed]


def quorum(stakes: Stakes, present: Sequence[bool] | BoolArray, kappa: Exact) -> bool:
    """Whether the validators that voted hold at least ``kappa`` of all eligible stake."""
    units = exact_stakes(stakes)
    heard = sum(unit for unit, voted in zip(units, present, strict=True) if voted)
    return heard > 0 and heard >= exact(kappa) * sum(units)


def cap_stakes(stakes: Stakes, params: ProtocolParams = QUANTA) -> FloatArray:
    """Stakes after capping, in their own unit and with their own total."""
    total = sum(_fractions(stakes))
    shares = capped_stakes(stakes, params).shares
    return np.array([float(share * total) for share in shares], dtype=np.float64)


def capped_stakes(stakes: Stakes, params: ProtocolParams = QUANTA) -> CappedStakes:
    """Shares of stake after water-filling under the cap.

    What a large validator holds above the cap goes to the others in proportion to their stake, and
    again where that lifts another to the cap. No share grows beyond ``max_stake_growth`` times its
    raw one; with too few or too small validators for that, the smallest feasible cap applies.
    Without any stake all shares are 0.
    """
    units = exact_stakes(stakes)
    total = sum(units)
    nominal = Fraction(params.consensus.max_validator_stake)
    if total == 0:
        return CappedStakes((Fraction(0),) * len(units), nominal)
    raw = [Fraction(unit, total) for unit in units]
    cap = max(nominal, _smallest_cap(raw, Fraction(params.consensus.max_stake_growth)))
    level = _water_level(raw, cap)
    return CappedStakes(tuple(min(cap, level * share) for share in raw), cap)


def _smallest_cap(raw: Sequence[Fraction], growth: Fraction) -> Fraction:
    """The cap c where ``sum min(c, growth * share)`` reaches 1: below it some stake has no home.

    With the k largest at the cap the sum is ``k c + growth * rest``. The first k whose c is not
    below the next grown share is the right one; at the last k nothing is left and c is 1 / k.
    """
    shares, rest = _largest_first(raw)
    caps = ((1 - growth * rest[k]) / k for k in range(1, len(shares)))
    return next(
        cap for cap, following in zip(caps, shares[1:], strict=True) if cap >= growth * following
    )


def _water_level(raw: Sequence[Fraction], cap: Fraction) -> Fraction:
    """The factor f where ``sum min(cap, f * share)`` is 1, for a cap that is feasible."""
    shares, rest = _largest_first(raw)
    levels = ((1 - k * cap) / rest[k] for k in range(len(shares) - 1))
    return next(level for level, share in zip(levels, shares, strict=False) if level * share <= cap)


def _largest_first(raw: Sequence[Fraction]) -> tuple[list[Fraction], list[Fraction]]:
    """Positive shares, largest first and closed by a 0, and what is left after k of them."""
    shares = [*sorted((share for share in raw if share), reverse=True), Fraction(0)]
    return shares, list(accumulate(shares, lambda left, share: left - share, initial=Fraction(1)))
