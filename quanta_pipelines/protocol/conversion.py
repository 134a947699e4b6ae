"""Amounts in other units, converted to rao of ALPHA at a rate that is recorded with the epoch.

Exact decimals, rounded down to whole rao. The amount stays recorded in its own unit beside the
rate, so what rounding leaves (less than one rao) can always be told. Where a rate comes from is the
caller's business.
"""

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.portfolio import RAO

ALPHA = "ALPHA"
PURPOSES = ("emission", "external")
DIGITS, SOURCE_LIMIT = 30, 200  # of a decimal before and after the point; of a source's text
_UNIT = re.compile("[A-Z][A-Z0-9]{1,11}")
_DECIMAL = re.compile(rf"[0-9]{{1,{DIGITS}}}(\.[0-9]{{1,{DIGITS}}})?")


class NoRate(InvalidEntries):
    """An amount in another unit without a rate for it."""


def exact(text: str, what: str) -> Decimal:
    """A decimal as it is written: digits and a point, nothing else; never negative."""
    if _DECIMAL.fullmatch(text) is None:
        raise InvalidEntries(
            f"{what} is written in digits, with up to {DIGITS} on each side of the point, "
            f"not {text!r}"
        )
    return Decimal(text)


@dataclass(frozen=True, slots=True)
class Rate:
    """ALPHA for one of a unit, who said so, and when; the decimal stays as it was written."""

    unit: str
    alpha: str
    source: str
    quoted_at: dt.datetime

    def __post_init__(self) -> None:
        if _UNIT.fullmatch(self.unit) is None or self.unit == ALPHA:
            raise InvalidEntries(
                f"a rate is for a unit of 2 to 12 capitals other than ALPHA, not {self.unit!r}"
            )
        if exact(self.alpha, f"the rate of {self.unit}") == 0:
            raise InvalidEntries(f"the rate of {self.unit} is above 0")
        if not self.source.strip() or len(self.source) > SOURCE_LIMIT:
            raise InvalidEntries(
                f"the rate of {self.unit} names its source in 1 to {SOURCE_LIMIT} characters"
            )
        if self.quoted_at.utcoffset() is None:
            raise InvalidEntries(
                f"the rate of {self.unit} is of a moment with its time zone, "
                f"{self.quoted_at.isoformat()} has none"
            )


@dataclass(frozen=True, slots=True)
class Conversion:
    """An amount of an epoch in its own unit, and the rate that it was converted at."""

    purpose: str  # 'emission' or 'external'
    amount: str
    rate: Rate

    def __post_init__(self) -> None:
        if self.purpose not in PURPOSES:
            raise InvalidEntries(f"emission and external are converted, not {self.purpose!r}")
        exact(self.amount, f"{self.purpose} in {self.rate.unit}")

    @property
    def exact_rao(self) -> Fraction:
        """Before it is rounded."""
        return Fraction(self.amount) * Fraction(self.rate.alpha) * RAO

    @property
    def rao(self) -> int:
        """What the epoch is settled with."""
        return int(self.exact_rao)

    @property
    def left_rao(self) -> Fraction:
        """What rounding left behind: at least 0, below 1."""
        return self.exact_rao - self.rao


def converted(purpose: str, amount: str, unit: str, rate: Rate | None) -> Conversion:
    """An amount in another unit; raises ``NoRate`` where there is no rate for it."""
    if rate is None or rate.unit != unit:
        raise NoRate(
            f"{purpose} is stated in {unit}, and no rate of {unit} in ALPHA is: "
            "nothing is converted by guess"
        )
    return Conversion(purpose, amount, rate)
