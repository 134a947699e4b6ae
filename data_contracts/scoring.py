"""Contracts of the stage scoring: returns, metrics per horizon, one score per miner."""

import pandas as pd
import pandera.pandas as pa

from data_contracts.columns import (
    HORIZONS,
    STANDINGS,
    TIERS,
    Instant,
    Int,
    count,
    daily_return,
    fraction,
    hotkey,
    instant,
    member,
    number,
    session,
    text,
)
from data_contracts.contract import EPOCH_ID, EpochTable


class PortfolioReturns(
    EpochTable, key=("hotkey", "session"), invariants=("returns_cover_the_epoch",)
):
    """One row per miner and session of the epoch: what the held portfolio returned."""

    hotkey: str = hotkey()
    session: pd.Timestamp = session()
    portfolio_return: float = daily_return("Return of the held portfolio")
    benchmark_return: float = daily_return("Return of the benchmark", nullable=True)
    unpriced_weight: float = fraction("Weight without a price that may be carried")
    turnover: float = fraction("One-way turnover against the previous epoch")
    filled_epochs: int = count("Epochs in a row without a portfolio of its own.")
    history_epoch: str = pa.Field(str_matches=EPOCH_ID, description="Start of unbroken history.")


class HorizonMetrics(
    EpochTable, key=("hotkey", "horizon"), invariants=("metrics_agree_with_returns",)
):
    """One row per miner and horizon that exists: the last 7, 30 or 90 sessions."""

    hotkey: str = hotkey()
    horizon: int = member(HORIZONS, "Sessions that were measured.")
    total_return: float = number("Compounded return of the horizon.", low=-1)
    annualised_return: float = number("Total return at 252 sessions a year.", low=-1)
    volatility: float = number("Annualised standard deviation.", low=0)
    downside_deviation: float = number("Annualised root mean square shortfall.", low=0)
    max_drawdown: float = fraction("Largest loss from a peak")
    drawdown_duration: int = count("Longest run of sessions under water.")
    sharpe_ratio: float = number("Sharpe ratio, empty where returns do not vary.", nullable=True)
    sortino_ratio: float = number("Sortino ratio.")
    calmar_ratio: float = number("Calmar ratio.")
    sortino_score: float = fraction("Score of the Sortino ratio")
    calmar_score: float = fraction("Score of the Calmar ratio")
    drawdown_score: float = fraction("Score of the drawdown")
    turnover_score: float = fraction("Score of the turnover")
    horizon_score: float = fraction("Weighted score of the horizon")
    benchmark_volatility: float = number(
        "Benchmark's volatility, same sessions.", nullable=True, low=0
    )
    benchmark_max_drawdown: float = fraction("Benchmark's drawdown, same sessions", nullable=True)
    history_sessions: int = count("Sessions of unbroken history.", low=1)


class ScoreIntervals(EpochTable, key=("hotkey",)):
    """One row per miner with a portfolio: bootstrap interval of its composite, nominally 95 %."""

    hotkey: str = hotkey()
    lower: float = fraction("Lower end of the interval", nullable=True)
    upper: float = fraction("Upper end of the interval", nullable=True)
    reason: str = text("Why there is no interval; empty when there is one.")

    @pa.dataframe_check
    @classmethod
    def ends_in_order(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """The lower end does not exceed the upper; a reason stands exactly where both are empty."""
        known = frame["lower"].notna() & frame["upper"].notna()
        return (known == (frame["reason"] == "")) & (~known | (frame["lower"] <= frame["upper"]))


class Scores(EpochTable, key=("hotkey",), invariants=("ranks_follow_scores",)):
    """One row per miner with a portfolio or a commitment: this validator's own score."""

    hotkey: str = hotkey()
    final: bool = pa.Field(isin=[True], description="All sessions are in: the score may be paid.")
    standing: str = member(STANDINGS, "How the miner takes part.")
    reason: str = text("Why it is not ranked; empty when it is.")
    composite: float = fraction("Weighted mean of the horizon scores", nullable=True)
    originality: float = fraction("Originality factor", nullable=True)
    variance_factor: float = fraction("Variance factor", nullable=True)
    final_score: float = fraction("Composite times both factors", nullable=True)
    score_rank: Int = pa.Field(ge=1, nullable=True, description="Competition rank of the ranked.")
    percentile: float = fraction("1 for the first, 1/n for the last", nullable=True)
    tier: str = member(TIERS, "Tier of the rank.", nullable=True)
    eligible: bool = text("Fulfils the conditions for rewards.")
    portfolio_tier: str = member(("low", "medium", "high"), "Volatility class.", nullable=True)
    history_sessions: int = count("Sessions of unbroken history.")
    max_drawdown_30d: float = fraction("Drawdown of 30 sessions, orders ties", nullable=True)
    committed_at: Instant = instant("When the portfolio was committed, orders ties")

    @pa.dataframe_check
    @classmethod
    def ranked_have_a_score(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """Score, rank and tier stand exactly where they must."""
        ranked = frame["standing"] == "ranked"
        return (ranked == frame["score_rank"].notna()) & (~ranked | frame["final_score"].notna())


class ProvisionalScores(Scores, key=("hotkey",)):
    """One row per miner: the score of a running epoch, from its sessions so far. Never paid."""

    final: bool = pa.Field(isin=[False], description="Sessions are to come: nothing is paid on it.")
    as_of: pd.Timestamp = session()
