"""From scores to order: who takes part, ranks, the order inside ties, tiers, eligibility.

The same functions serve one validator's scores and the consensus of all; where the numbers come
from lives in ``scoring`` and ``consensus``. Cuts between tiers are compared in exact integers.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pandas as pd

from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


class PerformanceTier(StrEnum):
    """What a rank means for an ante, best first."""

    TOP_TIER = "top_tier"
    PROFITABLE = "profitable"
    BREAK_EVEN = "break_even"
    PENALTY_BAND = "penalty_band"


class Standing(StrEnum):
    """How a miner takes part in an epoch."""

    RANKED = "ranked"
    PROVISIONAL = "provisional"
    UNRANKED = "unranked"
    UNREVEALED = "unrevealed"


def standings(facts: pd.DataFrame, params: ProtocolParams = QUANTA) -> pd.DataFrame:
    """Columns ``standing`` and ``reason`` (empty for the ranked): the first rule that holds.

    ``facts`` has one row per miner: committed, filled_epochs (NaN without a portfolio),
    unpriced_weight, composite, history_sessions, volatility, benchmark_volatility, and from
    integrity cluster_member and below_least_stake.
    """
    least = low_variance_limit(facts["benchmark_volatility"].to_numpy(), params)
    judged = facts.assign(least=least)
    standing = pd.Series(str(Standing.RANKED), index=facts.index, dtype=object)
    reason = pd.Series("", index=facts.index, dtype=object)
    for holds, found, words in reversed(_rules_of_standing(judged, params)):
        if not holds.any():
            continue
        standing[holds] = str(found)
        texts = [words.format(miner=miner) for miner in judged[holds].itertuples()]
        reason[holds] = np.array(texts, dtype=object)
    return pd.DataFrame({"standing": standing, "reason": reason})


def _rules_of_standing(
    facts: pd.DataFrame, params: ProtocolParams
) -> list[tuple["pd.Series[bool]", Standing, str]]:
    """Who is not ranked: where a rule holds, the standing it gives, and the reason's words."""
    rules, most = params.scoring, params.market_data.max_unpriced_weight
    waiting = (facts["history_sessions"] < rules.provisional_sessions) & rules.provisional_applied
    shortest = min(rules.horizons)
    without = facts["filled_epochs"].isna() | (facts["filled_epochs"] > 0)
    return [
        (
            facts["committed"] & without,
            Standing.UNREVEALED,
            "the commitment was not revealed",
        ),
        (
            without,
            Standing.UNRANKED,
            "epochs in a row without a portfolio of its own: {miner.filled_epochs:g}",
        ),
        (
            facts["cluster_member"],
            Standing.UNRANKED,
            "another member of its cluster holds the rank position",
        ),
        (
            facts["below_least_stake"],
            Standing.UNRANKED,
            "the stake at opens_at lies below S_min",
        ),
        (
            is_unpriced(facts["unpriced_weight"], params),
            Standing.UNRANKED,
            f"unpriced weight {{miner.unpriced_weight:.6f}}, the limit is {most:g}",
        ),
        (
            facts["composite"].isna(),
            Standing.PROVISIONAL,
            f"{{miner.history_sessions}} sessions, the shortest horizon needs {shortest}",
        ),
        (
            facts["volatility"] < facts["least"],
            Standing.UNRANKED,
            "annualised volatility {miner.volatility:.4f}, a signal has at least {miner.least:.4f}",
        ),
        (
            waiting,
            Standing.PROVISIONAL,
            f"{{miner.history_sessions}} sessions, a rank needs {rules.provisional_sessions}",
        ),
    ]


def is_unpriced(unpriced_weight: "pd.Series[float]", params: ProtocolParams) -> "pd.Series[bool]":
    """Whether too much of a portfolio has no price for it to be scored."""
    return unpriced_weight > params.market_data.max_unpriced_weight


def low_variance_limit(benchmark_volatility: FloatArray, params: ProtocolParams) -> FloatArray:
    """Volatility under which a portfolio is like cash; the floor where the benchmark is NaN."""
    share = params.scoring.low_variance_benchmark_share * benchmark_volatility
    return np.asarray(np.fmax(share, params.scoring.low_variance_floor))


def rank(final_score: FloatArray, tie_break: Sequence[npt.ArrayLike] | None = None) -> IntArray:
    """Competition ranks, the highest score first: 1, 2, 2, 4.

    ``tie_break`` holds further keys, most significant first, ascending: ranks inside a tie become
    distinct where these keys differ.
    """
    keys = _keys(final_score, tie_break or ())
    best_first = np.lexsort(keys[::-1])
    ordered = keys[:, best_first]
    position = np.arange(best_first.size)
    starts = np.ones(best_first.size, dtype=bool)
    starts[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    ranks = np.empty(best_first.size, dtype=np.int64)
    ranks[best_first] = np.maximum.accumulate(np.where(starts, position, 0)) + 1
    return ranks


def order(
    final_score: FloatArray,
    drawdown: FloatArray,
    committed_at: npt.ArrayLike,
    hotkeys: npt.ArrayLike,
    params: ProtocolParams = QUANTA,
) -> IntArray:
    """Positions of the miners from first to last, the same for everyone.

    Inside a tie: lower 30-session ``drawdown`` (absent last), earlier commitment, hotkey. Where
    ``tie_order`` is ``arrival``, the drawdown does not count.
    """
    tie_break = [drawdown, committed_at, hotkeys]
    if params.scoring.tie_order == "arrival":
        tie_break = tie_break[1:]
    return np.asarray(np.lexsort(_keys(final_score, tie_break)[::-1]), dtype=np.int64)


def percentile(ranks: IntArray, n: int) -> FloatArray:
    """1 for the first of ``n``, 1/n for the last."""
    return 1.0 - (_checked_ranks(ranks, n) - 1) / max(n, 1)


def tiers(ranks: IntArray, n: int, params: ProtocolParams = QUANTA) -> list[PerformanceTier]:
    """Tier of each rank among ``n`` ranked miners.

    Of 100 miners, 15, 35, 20 and 30 fall into the four tiers by exact comparison. The
    specification's ``percentile`` rule compares floats inclusively, which gives 16, 35, 20 and 29.
    """
    known = _checked_ranks(ranks, n)
    rules = params.scoring
    winners = rules.profitable_tier_percent
    shares = (rules.top_tier_percent, winners, winners + rules.break_even_percent)
    if rules.tier_rule == "percentile":
        position = percentile(known, n)
        index = sum((position < float(1 - share)).astype(np.int64) for share in shares)
    else:
        # rank - 1 < share * n, for whole numbers the same as rank - 1 < ceil(share * n)
        cuts = [math.ceil(Fraction(share) * n) for share in shares]
        index = np.searchsorted(cuts, known - 1, side="right")
    names = list(PerformanceTier)
    return [names[at] for at in np.atleast_1d(index)]


def portfolio_tier(volatility: FloatArray, params: ProtocolParams = QUANTA) -> list[str | None]:
    """``low``, ``medium`` or ``high`` by annualised volatility; None where it is not known."""
    rules = params.scoring
    limits = (rules.low_volatility_below, rules.medium_volatility_below)
    classes = np.digitize(volatility, limits)
    names = ("low", "medium", "high")
    return [
        None if absent else names[at]
        for at, absent in zip(classes, np.isnan(volatility), strict=True)
    ]


def drawdown_limits(benchmark_drawdowns: FloatArray, params: ProtocolParams = QUANTA) -> FloatArray:
    """Drawdown that a winner stays under: the threshold, or the benchmark's where that is deeper.

    The threshold alone where the benchmark is not known (NaN) or the gate is ``absolute``.
    """
    threshold = params.scoring.max_drawdown_threshold
    if params.scoring.drawdown_gate == "absolute":
        return np.full_like(benchmark_drawdowns, threshold)
    return np.asarray(np.fmax(benchmark_drawdowns, threshold))


def eligible(
    composite: FloatArray,
    median: float,
    drawdowns: FloatArray,
    benchmark_drawdowns: FloatArray,
    params: ProtocolParams = QUANTA,
) -> BoolArray:
    """Who may be rewarded: above the median, and under the drawdown limit on every horizon.

    ``composite`` is ``[p]``; ``drawdowns`` is ``[p, 3]`` with NaN where a horizon does not exist,
    ``benchmark_drawdowns`` ``[3]`` or ``[p, 3]``. Both comparisons are strict.
    """
    if not params.scoring.eligibility_applied:
        return np.ones(len(composite), dtype=bool)
    above = np.asarray(composite) > median
    return above & ~_too_deep(drawdowns, benchmark_drawdowns, params).any(axis=1)


def ineligibility(
    composite: FloatArray,
    median: float,
    drawdowns: FloatArray,
    benchmark_drawdowns: FloatArray,
    params: ProtocolParams = QUANTA,
) -> list[str]:
    """Why each miner is not eligible, in words; empty where it is."""
    rows = zip(
        eligible(composite, median, drawdowns, benchmark_drawdowns, params),
        composite,
        drawdowns,
        _too_deep(drawdowns, benchmark_drawdowns, params),
        np.broadcast_to(drawdown_limits(benchmark_drawdowns, params), np.shape(drawdowns)),
        strict=True,
    )
    horizons = params.scoring.horizons
    return [
        ""
        if allowed
        else "; ".join(
            _below_median(score, median)
            + [
                f"drawdown {drawdown:.4f} over {horizon} sessions is not below {limit:.4f}"
                for horizon, drawdown, deep, limit in zip(horizons, fell, at, limits, strict=True)
                if deep
            ]
        )
        for allowed, score, fell, at, limits in rows
    ]


def _below_median(score: float, median: float) -> list[str]:
    if np.isnan(score):
        return ["there is no composite"]
    return [] if score > median else [f"composite {score:.6f} is not above the median {median:.6f}"]


def _too_deep(
    drawdowns: FloatArray, benchmark_drawdowns: FloatArray, params: ProtocolParams
) -> BoolArray:
    return np.asarray(drawdowns >= drawdown_limits(benchmark_drawdowns, params))  # NaN is not


def _keys(final_score: FloatArray, tie_break: Sequence[npt.ArrayLike]) -> FloatArray:
    """Sort keys, most significant first, each a row of numbers; equal values are equal numbers."""
    scores = np.asarray(final_score, dtype=np.float64)
    if np.isnan(scores).any():
        raise ProtocolError(f"final_score[{int(np.argmax(np.isnan(scores)))}] is nan: no rank")
    codes = [np.unique(np.asarray(key), return_inverse=True)[1] for key in tie_break]
    return np.array([-scores, *codes], dtype=np.float64)


def _checked_ranks(ranks: IntArray, n: int) -> IntArray:
    known = np.asarray(ranks, dtype=np.int64)
    if known.size and not (known.min() >= 1 and known.max() <= n):
        raise ProtocolError(f"ranks among {n} lie in 1 to {n}, not {known.min()} to {known.max()}")
    return known
