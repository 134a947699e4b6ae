"""Others' code on the same simulated returns: three metrics, and intervals of the composite.

Each function raises ``Absent`` where its package is not installed. Those that take one portfolio at
a time are timed on a few.
"""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import specification
from timing import FloatArray, Timing, panel, peer, timed

from quanta_pipelines.protocol import metrics, scoring
from quanta_pipelines.protocol.params import QUANTA

HORIZONS, WEIGHTS = QUANTA.scoring.horizons, QUANTA.scoring.horizon_weights
RESAMPLES, BLOCK = QUANTA.scoring.bootstrap_iterations, QUANTA.scoring.bootstrap_block
DAILY_RATE = 1.05 ** (1 / 252) - 1
ARCH_PLAIN = "arch blocks of 5, plain score"
ARCH_SCORE = "arch blocks of 5, scoring.score"


# Metrics of others: volatility, downside deviation and maximum drawdown of 90 sessions


def empyrical_metrics(size: int) -> Timing:
    """Three metrics, all portfolios at once."""
    empyrical = peer("empyrical", "empyrical-reloaded")
    columns = np.ascontiguousarray(panel(size)[0].T)

    def run() -> None:
        empyrical.annual_volatility(columns)
        empyrical.downside_risk(columns, DAILY_RATE)
        empyrical.max_drawdown(columns)

    return timed("metrics of 90 sessions", "empyrical-reloaded, 3 metrics 2-D", size, run)


def skfolio_metrics(size: int) -> Timing:
    """Three metrics, all portfolios at once."""
    measures = peer("skfolio.measures", "skfolio")
    columns = np.ascontiguousarray(panel(size)[0].T)

    def run() -> None:
        measures.standard_deviation(columns)
        measures.semi_deviation(columns, min_acceptable_return=DAILY_RATE)
        measures.max_drawdown(measures.get_drawdowns(columns, compounded=True))

    return timed("metrics of 90 sessions", "skfolio, 3 metrics 2-D", size, run)


def quantstats_metrics(few: int = 50) -> Timing:
    """Three metrics, one portfolio at a time, as the package takes them."""
    stats = peer("quantstats.stats", "quantstats")
    series = dated(panel(few)[0])

    def run() -> None:
        for one in series:
            stats.volatility(one)
            stats.sortino(one, rf=0.05)
            stats.max_drawdown(one)

    return timed("metrics of 90 sessions", "quantstats, 3 metrics", few, run)


def ffn_metrics(few: int = 50) -> Timing:
    """Three metrics, one portfolio at a time; a drawdown is taken from prices."""
    ffn = peer("ffn.core", "ffn")
    series = dated(panel(few)[0])

    def run() -> None:
        for one in series:
            ffn.calc_sharpe(one, rf=0.05, nperiods=252)
            ffn.calc_sortino_ratio(one, rf=0.05, nperiods=252)
            ffn.calc_max_drawdown((1.0 + one).cumprod())

    return timed("metrics of 90 sessions", "ffn, 3 metrics", few, run)


def dated(known: FloatArray) -> list["pd.Series[float]"]:
    """Each portfolio as a series of business days."""
    days = pd.bdate_range("2019-08-01", periods=known.shape[1])
    return [pd.Series(row, index=days) for row in known]


# Intervals of others: 1000 resamples of the composite of 7, 30 and 90 sessions


def plain_horizon_score(
    known: FloatArray, turnover: FloatArray | float, axis: int = -1
) -> FloatArray:
    """A horizon's score in as few array operations as it takes: what a user of others would write.

    The result is that of ``metrics.measure``; ``check_plain_score`` compares them.
    """
    growth = np.cumprod(1.0 + known, axis=axis)
    peak = np.maximum(np.maximum.accumulate(growth, axis=axis), 1.0)
    drawdown = 1.0 - np.min(growth / peak, axis=axis)
    yearly = np.take(growth, -1, axis=axis) ** (252 / known.shape[axis]) - 1.0
    downside = np.sqrt(np.mean(np.minimum(known - DAILY_RATE, 0.0) ** 2, axis=axis) * 252)
    sortino = np.clip((yearly - 0.05) / np.maximum(downside, 0.0001), -10.0, 10.0)
    calmar = np.clip(yearly / np.maximum(drawdown, 0.0001), -10.0, 10.0)
    total = (
        0.35 / (1.0 + np.exp(-0.5 * (sortino - 1.0)))
        + 0.25 / (1.0 + np.exp(-0.3 * (calmar - 1.0)))
        + 0.25 * np.clip(1.0 - drawdown / 0.10, 0.0, 1.0)
        + 0.15 * np.clip(1.0 - turnover, 0.0, 1.0)
    )
    return np.asarray(total)


def check_plain_score() -> None:
    """The plain score is the engine's, or the comparison would be of different things."""
    known, _ = panel(100)
    for horizon in HORIZONS:
        expected = metrics.measure(known[:, -horizon:], np.full(100, 0.2)).horizon_score
        np.testing.assert_allclose(plain_horizon_score(known[:, -horizon:], 0.2), expected)


def arch_intervals(few: int = 3) -> Timing:
    """Circular block bootstrap of each horizon's score, weighed into the composite's interval."""
    bootstrap = peer("arch.bootstrap", "arch")
    known, traded = panel(few)

    def run() -> None:
        for row, turnover in zip(known, traded, strict=True):
            composites = np.zeros(RESAMPLES)
            for horizon, weight in zip(HORIZONS, WEIGHTS, strict=True):
                drawn = bootstrap.CircularBlockBootstrap(BLOCK, row[-horizon:], seed=1)
                found = drawn.apply(
                    plain_horizon_score, RESAMPLES, extra_kwargs={"turnover": turnover}
                )
                composites += weight * found.ravel()
            np.percentile(composites, [2.5, 97.5])

    return timed("composite intervals", ARCH_PLAIN, few, run)


def arch_score_intervals(few: int = 3) -> Timing:
    """The same block bootstrap of 90 sessions with the project's own score as the statistic."""
    bootstrap = peer("arch.bootstrap", "arch")
    known, traded = panel(few)

    def run() -> None:
        for row, turnover in zip(known, traded, strict=True):
            held = np.array([turnover])

            def statistic(drawn: FloatArray, held: FloatArray = held) -> FloatArray:
                return scoring.score(drawn[np.newaxis], held).composite

            drawn = bootstrap.CircularBlockBootstrap(BLOCK, row, seed=1)
            drawn.conf_int(statistic, RESAMPLES, method="percentile")

    return timed("composite intervals", ARCH_SCORE, few, run)


def scipy_intervals(few: int = 100) -> Timing:
    """Vectorized bootstrap of scipy: single sessions, all portfolios at once."""
    stats = peer("scipy.stats", "scipy")
    known, traded = panel(few)
    rng = np.random.default_rng(1)

    def run() -> None:
        composites = np.zeros((few, RESAMPLES))
        for horizon, weight in zip(HORIZONS, WEIGHTS, strict=True):

            def statistic(drawn: FloatArray, axis: int) -> FloatArray:
                # scipy puts resamples between portfolios and sessions; the sample itself has none
                turnover = traded if drawn.ndim == 2 else traded[:, np.newaxis]
                return plain_horizon_score(drawn, turnover, axis)

            found = stats.bootstrap(
                (known[:, -horizon:],),
                statistic,
                n_resamples=RESAMPLES,
                batch=50,
                vectorized=True,
                axis=-1,
                method="percentile",
                rng=rng,
            )
            composites += weight * found.bootstrap_distribution
        np.percentile(composites, [2.5, 97.5], axis=1)

    return timed("composite intervals", "scipy.stats.bootstrap, vectorized", few, run)


def specification_intervals(few: int = 1) -> Timing:
    """The specification's own code for its three horizons."""
    known, _ = panel(few)
    validator = specification.BootstrapValidator(RESAMPLES)
    calculator = specification.MetricsCalculator()

    def run() -> None:
        for row in known:
            for horizon, name in zip(HORIZONS, specification.TimeHorizon, strict=True):
                daily = [
                    specification.DailyReturn(datetime(2019, 1, 1) + timedelta(day), value, 1000.0)  # noqa: DTZ001
                    for day, value in enumerate(row[-horizon:])
                ]
                validator.validate_score(daily, calculator, name)

    return timed("composite intervals", "the specification's bootstrap", few, run, repeat=2)
