"""Weights ``p^-gamma`` of the winners' positions, as whole numbers that every machine agrees on.

``pow`` of floats belongs to the C library and differs between machines in its last bits. The
decimal arithmetic used here is defined to the digit.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from math import lcm

import numpy as np

from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

_UNIT = 10**30  # the weight of position 1
_GUARD = 10**6  # further digits that products may lose
_DIGITS = Context(prec=50, rounding=ROUND_HALF_EVEN)


def winner_weights(
    ranks: Sequence[int], antes: Sequence[int], params: ProtocolParams = QUANTA
) -> list[int]:
    """Weight of each winner, best first, in one common unit; equal ranks are tied.

    Winners take positions 1 to k. Those that are tied share the mean of their positions' weights,
    exactly: all weights are scaled by what makes each mean whole. With ``ante_theta`` above 0 the
    weight is multiplied by ``(ante / mean ante)^theta``.
    """
    rules = params.tokenomics
    weights = position_weights(len(ranks), rules.power_law_gamma)
    sizes = list(Counter(ranks).values())  # best first, so equal ranks stand together
    scale = lcm(*sizes)
    shared: list[int] = []
    for size in sizes:
        if size == 1:
            shared.append(weights[len(shared)] * scale)
            continue
        positions = weights[len(shared) : len(shared) + size]
        shared += [sum(positions) * (scale // size)] * size
    if rules.ante_theta == 0 or not any(antes):
        return shared
    factors = _ante_factors(antes, rules.ante_theta)
    return [weight * factor for weight, factor in zip(shared, factors, strict=True)]


@lru_cache(maxsize=16)
def position_weights(count: int, gamma: Decimal) -> tuple[int, ...]:
    """``p^-gamma`` for p from 1 to ``count``, in units of 10^-30, rounded half up.

    The power is completely multiplicative, so it is computed for primes and multiplied up.
    """
    smallest = _smallest_factors(count)
    fine = [0, _UNIT * _GUARD]
    for p in range(2, count + 1):
        q = smallest[p]
        if q == p:
            fine.append(_prime_weight(p, gamma))
        else:
            fine.append(fine[q] * fine[p // q] // (_UNIT * _GUARD))
    return tuple((weight + _GUARD // 2) // _GUARD for weight in fine[1 : count + 1])


def _prime_weight(p: int, gamma: Decimal) -> int:
    """``p^-gamma`` in units of 10^-36; at whole and half exponents a root is 30 times faster."""
    if (halves := 2 * gamma) != int(halves):
        return _scaled_power(Decimal(p), gamma.copy_negate(), _UNIT * _GUARD)
    power = _DIGITS.power(_DIGITS.sqrt(Decimal(p)), int(halves))
    return int(_DIGITS.divide(_UNIT * _GUARD, power).to_integral_value(ROUND_HALF_EVEN))


def _smallest_factors(limit: int) -> list[int]:
    """Smallest prime factor of each number up to ``limit``; a prime's is itself."""
    factors = np.arange(limit + 1)
    for p in range(int(limit**0.5), 1, -1):  # downwards: the smallest is written last
        factors[p * p :: p] = p
    found: list[int] = factors.tolist()
    return found


def _ante_factors(antes: Sequence[int], theta: Decimal) -> list[int]:
    mean = _DIGITS.divide(Decimal(sum(antes)), Decimal(len(antes)))
    return [_scaled_power(_DIGITS.divide(Decimal(ante), mean), theta, _UNIT) for ante in antes]


def _scaled_power(base: Decimal, exponent: Decimal, unit: int) -> int:
    power = _DIGITS.power(base, exponent)
    return int(_DIGITS.multiply(power, Decimal(unit)).to_integral_value(ROUND_HALF_EVEN))
