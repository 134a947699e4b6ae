"""What is usual: limits of a statistic from the epochs before, and limits that always hold.

The usual value is the median of the earlier epochs, its spread 1.4826 times their median absolute
deviation (the standard deviation of a normal distribution; Rousseeuw and Croux, 1993), so that one
odd epoch among them moves neither. A floor keeps quiet epochs from making the next one odd.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

TRAILING_EPOCHS = 13  # a quarter of a year
SIGMAS = 4.0
_MAD_TO_SIGMA = 1.4826

Scale = Literal["difference", "ratio", "relative"]
Aggregate = Literal["mean", "median", "stdev", "distinct"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """How one number of an epoch is judged.

    ``of`` is the column of the judged table that it describes, ``by`` how: its mean, median,
    standard deviation, or count of distinct values. ``always`` are limits that need no history.
    Beside them it may lie ``SIGMAS`` robust sigma from its usual value, and at least ``floor``: a
    difference, a factor (``ratio``, for what varies by factors), or a share of the usual value
    (``relative``). What is not ``compared`` has only limits that always hold. ``percent`` says how
    it is written, ``why`` what a reader learns from it.
    """

    name: str  # of the field of a profile
    words: str
    of: str
    by: Aggregate = "mean"
    always: tuple[float, float]
    floor: float = 0.0
    scale: Scale = "difference"
    compared: bool = True
    above: bool = True  # whether more than usual is odd too
    percent: bool = False
    why: str = ""

    def written(self, value: float) -> str:
        """A value as a reader sees it."""
        if not np.isfinite(value):
            return "none" if np.isnan(value) else "any"
        return f"{100 * value:.4g} %" if self.percent else f"{value:,.6g}"

    def between(self, low: float, high: float) -> str:
        """A range as a reader sees it."""
        if np.isinf(high):
            return f"at least {self.written(low)}"
        return f"{self.written(low)} to {self.written(high)}"


STATISTICS = {
    statistic.name: statistic
    for statistic in (
        Statistic(
            name="median_return",
            words="Location of returns (median total return of a session)",
            of="total_return",
            by="median",
            always=(-0.10, 0.10),  # beyond any index's day but October 1987
            floor=0.01,
            percent=True,
        ),
        Statistic(
            name="return_spread",
            words="Spread of returns (standard deviation of a session's total return)",
            of="total_return",
            by="stdev",
            always=(0.0005, 0.25),
            floor=3.0,
            scale="ratio",
            percent=True,
        ),
        Statistic(
            name="agreement",
            words="Share of compared prices on which all vendors agree",
            of="agreement",
            always=(0.90, 1.0),
            floor=0.03,
            above=False,
            percent=True,
        ),
        Statistic(
            name="vendors",
            words="Vendors compared per price, on average",
            of="n_vendors",
            always=(0.9, np.inf),
            floor=0.1,
            above=False,
        ),
        Statistic(
            name="volume",
            words="Median volume of a ticker's session, shares",
            of="volume",
            by="median",
            always=(1.0, np.inf),
            floor=3.0,
            scale="ratio",
        ),
        Statistic(
            name="volume_known",
            words="Share of prices for which a vendor reports a volume",
            of="volume_known",
            always=(0.0, 1.0),
            floor=0.05,
            above=False,
            percent=True,
        ),
        Statistic(
            name="tickers",
            words="Number of tickers",
            of="ticker",
            by="distinct",
            always=(1.0, np.inf),
            floor=0.05,
            scale="relative",
        ),
        Statistic(
            name="settled",
            words="Share of prices that are settled",
            of="settled",
            always=(0.95, 1.0),
            floor=0.02,
            above=False,
            percent=True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a statistic may lie, and the numbers that this comes from.

    ``usual`` and ``sigma`` are NaN where no earlier epoch has the statistic; ``sigma`` is of the
    natural logarithm where the statistic varies by factors.
    """

    statistic: Statistic
    low: float
    high: float
    usual: float
    sigma: float
    epochs: int

    @property
    def basis(self) -> str:
        """Where the limits come from, in words."""
        written = self.statistic.written
        always = self.statistic.between(*self.statistic.always)
        if not self.statistic.compared:
            return f"Always: {always}."
        if not self.epochs:
            return f"Always: {always}. No earlier epoch has this number."
        few = "" if self.epochs >= TRAILING_EPOCHS else f", fewer than {TRAILING_EPOCHS}"
        sigma = (
            f"a factor of {np.exp(self.sigma):.3g}"
            if self.statistic.scale == "ratio"
            else written(self.sigma)
        )
        return (
            f"Usual: {written(self.usual)}, the median of {self.epochs} earlier epochs{few}; "
            f"robust sigma {sigma}; {SIGMAS:g} sigma and at least {self._least} allowed. "
            f"Always: {always}."
        )

    @property
    def _least(self) -> str:
        floor, scale = self.statistic.floor, self.statistic.scale
        if scale == "ratio":
            return f"a factor of {floor:g}"
        return f"{100 * floor:g} % of it" if scale == "relative" else self.statistic.written(floor)


def limits_of(statistic: Statistic, trailing: Sequence[object]) -> Limits:
    """Limits of one statistic, from the profiles of earlier epochs in any order."""
    low, high = statistic.always
    if not statistic.compared:
        return Limits(statistic, low, high, np.nan, np.nan, 0)
    seen = np.array([getattr(profile, statistic.name) for profile in trailing], dtype=np.float64)
    ratio = statistic.scale == "ratio"
    seen = seen[np.isfinite(seen) & ((seen > 0.0) | (not ratio))]
    if not seen.size:
        return Limits(statistic, low, high, np.nan, np.nan, 0)
    values = np.log(seen) if ratio else seen
    usual = float(np.median(values))
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(values - usual)))
    least = {
        "difference": statistic.floor,
        "ratio": np.log(statistic.floor),
        "relative": statistic.floor * abs(usual),
    }[statistic.scale]
    reach = max(SIGMAS * sigma, float(least))
    bottom, top = usual - reach, usual + reach
    if ratio:
        usual, bottom, top = (float(np.exp(value)) for value in (usual, bottom, top))
    low = max(low, _shown(bottom))
    high = min(high, _shown(top)) if statistic.above else high
    if low > high:  # what was usual never holds
        low, high = statistic.always
    return Limits(statistic, low, high, usual, sigma, int(seen.size))


def _shown(value: float) -> float:
    """Four digits, so that a reader sees the limit that is applied."""
    return float(f"{value:.4g}")
