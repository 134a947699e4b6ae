"""Whole units shared out in proportion: nothing is lost, and every machine gets the same parts.

The largest-remainder method on Python integers. What the units mean (votes, rao) is the caller's.
"""

from collections.abc import Sequence
from decimal import Decimal

from quanta_pipelines.protocol.errors import ProtocolError


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Whole parts of ``total`` in proportion to ``weights``; they sum to it exactly.

    What rounding down leaves over goes, one unit each, to the largest remainders; equal remainders
    are served in the order of ``weights``. A larger weight never gets less than a smaller one.

    >>> largest_remainder(17, [1, 1, 1])
    [6, 6, 5]
    """
    whole = sum(weights)
    if whole == 0:
        raise ProtocolError(f"{total} cannot be shared among {len(weights)} weights of 0")
    products = [total * weight for weight in weights]
    parts = [product // whole for product in products]
    left_over = total - sum(parts)
    if left_over:
        remainders = [
            product - taken * whole for product, taken in zip(products, parts, strict=True)
        ]
        largest = sorted(range(len(weights)), key=remainders.__getitem__, reverse=True)  # stable
        for at in largest[:left_over]:
            parts[at] += 1
    return parts


def part(share: Decimal, amount: int) -> int:
    """An exact share of an amount, rounded down to a whole number."""
    numerator, denominator = share.as_integer_ratio()
    return amount * numerator // denominator
