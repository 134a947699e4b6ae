"""What one return series shows: return, risk, ratios, and their scores between 0 and 1.

Every measure takes simple returns, 0.01 for one percent, oldest first, of shape ``[..., n]`` with
sessions on the last axis, and gives one number per series. NaN and infinity are refused, so an
absent return must be handled before it comes here. How horizons become one composite lives in
``scoring``.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from quanta_pipelines.protocol.errors import InvalidReturns, NotEnoughHistory
from quanta_pipelines.protocol.params import QUANTA, ScoringParams

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

# The range that the tables' contracts allow; 11 ** 252 fits a float64, so no year overflows
LOWEST_RETURN, HIGHEST_RETURN = -1.0, 10.0
ROWS_AT_A_TIME = 1024  # of 90 sessions stay in a processor's cache


@dataclass(frozen=True, slots=True)
class HorizonMetrics:
    """Measures of many series over one horizon, an array each."""

    total_return: FloatArray
    annualised_return: FloatArray
    volatility: FloatArray
    downside_deviation: FloatArray
    max_drawdown: FloatArray
    drawdown_duration: IntArray
    sharpe_ratio: FloatArray
    sortino_ratio: FloatArray
    calmar_ratio: FloatArray
    sortino_score: FloatArray
    calmar_score: FloatArray
    drawdown_score: FloatArray
    turnover_score: FloatArray
    horizon_score: FloatArray


class Scored(NamedTuple):
    """Ratios and scores of one horizon: what follows from return, shortfall and drawdown."""

    sortino_ratio: FloatArray
    calmar_ratio: FloatArray
    sortino_score: FloatArray
    calmar_score: FloatArray
    drawdown_score: FloatArray
    turnover_score: FloatArray
    horizon_score: FloatArray


def total_return(
    returns: FloatArray,
    params: ScoringParams = QUANTA.scoring,  # noqa: ARG001  all measures share one signature
) -> FloatArray:
    """Compounded return of all sessions."""
    return _growth(checked_returns(returns))[..., -1] - 1.0


def annualised_return(returns: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """Return of a year at the pace of these sessions; -1 after a total loss."""
    known = checked_returns(returns)
    return annualised(_growth(known)[..., -1], known.shape[-1], params)


def volatility(returns: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """Annualised standard deviation, the sample's (ddof 1) unless ``std_ddof`` says otherwise."""
    return _volatility(checked_returns(returns, needed=2), params)


def downside_deviation(returns: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """Annualised root mean square shortfall below the daily risk-free rate.

    Every session counts in the mean, one at or above target with zero shortfall: averaging over
    losing sessions alone would not see how often they come (Sortino and van der Meer, 1991).
    """
    short = shortfall(checked_returns(returns, needed=2), params)
    return shortfall_deviation(np.sum(short**2, axis=-1), _sessions_meant(short, params), params)


def max_drawdown(returns: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """Largest loss from a peak, a positive fraction; the path starts at 1 before any return."""
    growth = _growth(checked_returns(returns))
    return _deepest(growth, _peak(growth, params))


def drawdown_duration(returns: FloatArray, params: ScoringParams = QUANTA.scoring) -> IntArray:
    """Longest run of sessions that end below an earlier peak."""
    growth = _growth(checked_returns(returns))
    return _longest_run(growth < _peak(growth, params))


def sharpe_ratio(returns: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """Annualised mean excess return per standard deviation; NaN where returns do not vary."""
    known = checked_returns(returns, needed=2)
    return _sharpe(known, _volatility(known, params), params)


def sortino_ratio(returns: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """Annualised return above the risk-free rate per downside deviation, bounded."""
    excess = annualised_return(returns, params) - params.risk_free_rate
    return bounded_ratio(excess, downside_deviation(returns, params), params)


def calmar_ratio(returns: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """Annualised return per maximum drawdown, bounded."""
    return bounded_ratio(annualised_return(returns, params), max_drawdown(returns, params), params)


def sortino_score(ratio: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """Logistic of a Sortino ratio, one half at the midpoint."""
    return _logistic(ratio, params.sortino_steepness, params.sortino_midpoint)


def calmar_score(ratio: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """Logistic of a Calmar ratio, one half at the midpoint."""
    return _logistic(ratio, params.calmar_steepness, params.calmar_midpoint)


def drawdown_score(drawdown: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """1 without a drawdown, 0 from the threshold on, linear between."""
    found = np.asarray(1.0 - drawdown / params.max_drawdown_threshold)
    return _floats(np.clip(found, 0.0, 1.0, out=found))


def turnover_score(turnover: FloatArray, params: ScoringParams = QUANTA.scoring) -> FloatArray:
    """1 for an unchanged portfolio, 0 from the weekly limit on, linear between."""
    return np.clip(1.0 - turnover / params.max_turnover_per_week, 0.0, 1.0)


def measure(
    returns: FloatArray, turnover: FloatArray, params: ScoringParams = QUANTA.scoring
) -> HorizonMetrics:
    """Every measure of many portfolios over one horizon, shared steps computed once.

    ``returns`` has shape ``[p, h]`` with the horizon's sessions, ``turnover`` ``[p]``.
    """
    known = checked_returns(returns, needed=2)
    starts = range(0, max(len(known), 1), ROWS_AT_A_TIME)
    blocks = [slice(start, start + ROWS_AT_A_TIME) for start in starts]
    parts = [_measured(known[block], turnover[block], params) for block in blocks]
    columns = (field.name for field in fields(HorizonMetrics))
    return HorizonMetrics(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
    )


def _measured(known: FloatArray, turnover: FloatArray, params: ScoringParams) -> HorizonMetrics:
    growth = _growth(known)
    peak, short, spread = (
        _peak(growth, params),
        shortfall(known, params),
        _volatility(known, params),
    )
    yearly = annualised(growth[..., -1], known.shape[-1], params)
    missed = np.sum(short**2, axis=-1)
    downside = shortfall_deviation(missed, _sessions_meant(short, params), params)
    drawdown = _deepest(growth, peak)
    never = np.full_like(spread, np.nan)
    return HorizonMetrics(
        total_return=growth[..., -1] - 1.0,
        annualised_return=yearly,
        volatility=spread,
        downside_deviation=downside,
        max_drawdown=drawdown,
        drawdown_duration=_longest_run(growth < peak),
        sharpe_ratio=_sharpe(known, spread, params) if params.sharpe_reported else never,
        **scored(yearly, downside, drawdown, turnover, params)._asdict(),
    )


def scored(
    yearly: FloatArray,
    downside: FloatArray,
    drawdown: FloatArray,
    turnover: FloatArray,
    params: ScoringParams = QUANTA.scoring,
) -> Scored:
    """Ratios and scores from annualised return, downside deviation, drawdown and turnover."""
    sortino = bounded_ratio(yearly - params.risk_free_rate, downside, params)
    calmar = bounded_ratio(yearly, drawdown, params)
    scores = (
        sortino_score(sortino, params),
        calmar_score(calmar, params),
        drawdown_score(drawdown, params),
        turnover_score(turnover, params),
    )
    total = np.asarray(params.sortino_weight * scores[0])
    total += params.calmar_weight * scores[1]
    total += params.max_drawdown_weight * scores[2]
    total += params.turnover_weight * scores[3]
    return Scored(sortino, calmar, *scores, horizon_score=_floats(total))


def bounded_ratio(
    numerator: FloatArray, denominator: FloatArray, params: ScoringParams = QUANTA.scoring
) -> FloatArray:
    """A ratio with a floored denominator, clipped on both sides.

    ``floor_only`` is the specification's rule: the cap replaces a ratio whose denominator lies
    under the floor, any other ratio is unbounded.
    """
    ratio = np.asarray(numerator / np.maximum(denominator, params.ratio_floor))
    if params.ratio_clip == "both_sides":
        return _floats(np.clip(ratio, -params.ratio_cap, params.ratio_cap, out=ratio))
    return _floats(np.where(denominator < params.ratio_floor, params.ratio_cap, ratio))


def annualised(growth: FloatArray, sessions: int, params: ScoringParams) -> FloatArray:
    """Return of a year from the growth (1.05 for five percent) of some sessions."""
    return _floats(growth ** (params.trading_days_per_year / sessions) - 1.0)


def shortfall(returns: FloatArray, params: ScoringParams) -> FloatArray:
    """How far each session falls below the daily risk-free rate: zero or negative."""
    return _floats(np.minimum(returns - _daily_rate(params), 0.0))


def shortfall_deviation(
    missed: FloatArray, sessions: FloatArray | int, params: ScoringParams
) -> FloatArray:
    """Annualised root mean square from a sum of squared shortfalls over a number of sessions.

    No session at all, which only ``below_target`` knows, gives the ratio's floor as the
    specification does.
    """
    deviation = np.sqrt(missed / np.maximum(sessions, 1) * params.trading_days_per_year)
    if np.all(sessions):
        return _floats(deviation)
    return _floats(np.where(np.equal(sessions, 0), params.ratio_floor, deviation))


def checked_returns(returns: FloatArray, needed: int = 1) -> FloatArray:
    """The returns, if each is a number that a session can return and there are enough."""
    # One memory layout: the order of a sum, and so its last bit, follows the strides
    known: FloatArray = np.ascontiguousarray(returns, dtype=np.float64)
    if known.shape[-1] < needed:
        raise NotEnoughHistory(f"{needed} sessions are needed, got {known.shape[-1]}")
    wrong = ~((known >= LOWEST_RETURN) & (known <= HIGHEST_RETURN))  # NaN fails both
    if wrong.any():
        place = tuple(int(at) for at in np.argwhere(wrong)[0])
        raise InvalidReturns(
            f"returns{list(place)} is {known[place]}: "
            f"a session returns {LOWEST_RETURN:g} to {HIGHEST_RETURN:g}"
        )
    return known


def _growth(returns: FloatArray) -> FloatArray:
    return _floats(np.cumprod(1.0 + returns, axis=-1))


def _peak(growth: FloatArray, params: ScoringParams) -> FloatArray:
    peak = np.maximum.accumulate(growth, axis=-1)
    return peak if params.drawdown_start == "first_return" else np.maximum(peak, 1.0)


def _deepest(growth: FloatArray, peak: FloatArray) -> FloatArray:
    # A path that starts at zero, after a return of -1, has no peak and has lost everything
    left = np.divide(growth, peak, out=np.zeros_like(growth), where=peak > 0.0)
    return _floats(1.0 - np.min(left, axis=-1))


def _longest_run(under: BoolArray) -> IntArray:
    at = np.arange(under.shape[-1])
    last_above = np.maximum.accumulate(np.where(under, -1, at), axis=-1)
    longest: IntArray = np.max(at - last_above, axis=-1)
    return longest


def _volatility(returns: FloatArray, params: ScoringParams) -> FloatArray:
    spread = np.std(returns, axis=-1, ddof=params.std_ddof)
    return _floats(spread * np.sqrt(params.trading_days_per_year))


def _sharpe(returns: FloatArray, spread: FloatArray, params: ScoringParams) -> FloatArray:
    excess = np.mean(returns - _daily_rate(params), axis=-1) * params.trading_days_per_year
    # Equal returns have a deviation of zero or of a rounding error: the range tells them exactly
    varies = (np.ptp(returns, axis=-1) > 0.0) & (spread > 0.0)
    return _floats(np.divide(excess, spread, out=np.full_like(spread, np.nan), where=varies))


def _sessions_meant(short: FloatArray, params: ScoringParams) -> FloatArray | int:
    if params.downside_over == "all":
        return int(short.shape[-1])
    return _floats(np.count_nonzero(short, axis=-1))


def _daily_rate(params: ScoringParams) -> float:
    rate: float = (1.0 + params.risk_free_rate) ** (1.0 / params.trading_days_per_year) - 1.0
    return rate


def _logistic(ratio: FloatArray, steepness: float, midpoint: float) -> FloatArray:
    """One over one plus e to the scaled distance below the midpoint, in one array's memory."""
    found = np.asarray(midpoint - ratio)
    found *= steepness
    # The exponential of a very low ratio overflows to infinity, and the score to its limit, zero
    with np.errstate(over="ignore"):
        np.exp(found, out=found)
    found += 1.0
    return _floats(np.divide(1.0, found, out=found))


def _floats(values: npt.ArrayLike) -> FloatArray:
    """An array; the number itself where there is one series."""
    found: FloatArray = np.asarray(values, dtype=np.float64)[()]
    return found
