"""Stage scoring: returns of held portfolios, metrics per horizon, one score per miner."""

import pandas as pd

from data_contracts.scoring import (
    HorizonMetrics,
    PortfolioReturns,
    ProvisionalScores,
    ScoreIntervals,
    Scores,
)
from data_contracts.signals import Portfolios
from quanta_pipelines.contract_type import epoch_asset
from quanta_pipelines.protocol import horizons, integrity, intervals, oracle, returns, scoring
from quanta_pipelines.protocol.epoch import first_evening
from quanta_pipelines.provisional import scores_so_far
from quanta_pipelines.resources import EpochRun


@epoch_asset(PortfolioReturns)
def portfolio_returns(
    run: EpochRun, portfolios: pd.DataFrame, validated_prices: pd.DataFrame
) -> pd.DataFrame:
    """Multiplies the weights of this epoch with its returns, never weights of a later one."""
    return returns.epoch_returns(
        portfolios,
        run.previous("portfolios", Portfolios.gates()),
        validated_prices,
        oracle.benchmark_returns(validated_prices, run.params),
        epoch_id=run.id,
        params=run.params,
    )


@epoch_asset(HorizonMetrics)
def horizon_metrics(run: EpochRun, portfolio_returns: pd.DataFrame) -> pd.DataFrame:
    """Measures the last 7, 30 and 90 sessions, with the published returns of earlier epochs."""
    return horizons.horizon_table(
        _history(run, portfolio_returns), epoch_id=run.id, params=run.params
    )


@epoch_asset(ScoreIntervals)
def score_intervals(run: EpochRun, portfolio_returns: pd.DataFrame) -> pd.DataFrame:
    """Resamples the same history: every validator draws the same blocks."""
    return intervals.interval_table(
        _history(run, portfolio_returns), epoch_id=run.id, params=run.params
    )


def _history(run: EpochRun, portfolio_returns: pd.DataFrame) -> pd.DataFrame:
    """Returns of this epoch and of the earlier ones that a rule asks for."""
    rules = run.params.scoring
    longest = max(*rules.horizons, rules.provisional_sessions) - len(run.sessions)
    earlier = run.history("portfolio_returns", PortfolioReturns.gates(), longest)
    return pd.concat([portfolio_returns, *earlier], ignore_index=True)


@epoch_asset(Scores)
def scores(
    run: EpochRun,
    horizon_metrics: pd.DataFrame,
    portfolios: pd.DataFrame,
    portfolio_returns: pd.DataFrame,
    commitments: pd.DataFrame,
    integrity_flags: pd.DataFrame,
    integrity_cases: pd.DataFrame,
) -> pd.DataFrame:
    """Weighs the horizons, lowers scores as flagged, gives standings, and ranks the ranked."""
    return scoring.score_table(
        horizon_metrics,
        portfolios,
        portfolio_returns,
        commitments,
        epoch_id=run.id,
        final=run.sessions == run.epoch.sessions,
        integrity=integrity.for_scores(
            integrity_flags, integrity.plagiarists(integrity_cases, run.id, run.params)
        ),
        params=run.params,
    )


@epoch_asset(ProvisionalScores, pool="vendors", due=first_evening)
def provisional_scores(run: EpochRun) -> pd.DataFrame:
    """Goes from prices to scores of the sessions so far, in memory, and publishes the scores."""
    return scores_so_far(run)
