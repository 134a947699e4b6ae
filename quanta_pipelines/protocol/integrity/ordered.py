"""Sums whose bytes depend on nothing but their terms: one after the other, in a fixed order.

A matrix product or ``sum`` adds in an order that differs with the BLAS, its threads, the processor
and the shape; what is published or compared with a threshold is added here instead.
"""

from collections.abc import Iterable

import numpy as np

from quanta_pipelines.protocol.metrics import FloatArray

DECIMALS = 9  # of a published number; thresholds are compared with the rounded one


def ordered_sum(terms: Iterable[FloatArray]) -> FloatArray:
    """Elementwise sum of arrays of one shape, the first term first; there is at least one."""
    rest = iter(terms)
    total = np.array(next(rest), dtype=np.float64)
    for term in rest:
        total += term
    return total


def ordered_dot(first: FloatArray, second: FloatArray) -> FloatArray:
    """Dot products of the rows of ``[n, q]`` arrays along their first axis: ``[q]``."""
    return ordered_sum(one * other for one, other in zip(first, second, strict=True))


def rounded(values: FloatArray) -> FloatArray:
    """To 9 decimals, without a negative zero."""
    return np.asarray(np.round(values, DECIMALS) + 0.0)
