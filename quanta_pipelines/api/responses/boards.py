"""Answers about rankings, miners, epochs and the network."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from quanta_pipelines.api.fields import BOB, Moment, Rao, Tokens
from quanta_pipelines.api.responses.examples import example

Tier = Literal["top_tier", "profitable", "break_even", "penalty_band"]
Bucket = Literal["0-5%", "5-10%", "10-15%", "15-20%"]


class LeaderboardEntry(BaseModel):
    """One ranked miner; a number is null where its horizon does not exist yet."""

    model_config = ConfigDict(extra="forbid")

    rank: int = Field(ge=1)
    miner_hotkey: str
    composite_score: float | None
    score_lower: float | None
    score_upper: float | None
    performance_tier: Tier
    eligible: bool
    final_tier: Tier | None
    consensus_weight: float
    portfolio_tier: str | None
    return_7d: float | None
    return_30d: float | None
    sharpe_30d: float | None
    max_drawdown_30d: float | None
    epochs_participated: int = Field(ge=0)
    avg_rank_percentile: float
    ante: Tokens
    ante_rao: Rao
    reward: Tokens
    reward_rao: Rao
    payout: Tokens
    payout_rao: Rao


ENTRY: dict[str, JsonValue] = {
    "rank": 1,
    "miner_hotkey": BOB,
    "composite_score": 0.529344,
    "score_lower": 0.295,
    "score_upper": 0.851,
    "performance_tier": "top_tier",
    "eligible": True,
    "final_tier": "top_tier",
    "consensus_weight": 0.023941,
    "portfolio_tier": "medium",
    "return_7d": -0.0167,
    "return_30d": 0.0132,
    "sharpe_30d": 0.59,
    "max_drawdown_30d": 0.0258,
    "epochs_participated": 3,
    "avg_rank_percentile": 0.91,
    "ante": "64.070000000",
    "ante_rao": "64070000000",
    "reward": "567.856000000",
    "reward_rao": "567856000000",
    "payout": "620.568880000",
    "payout_rao": "620568880000",
}


class LeaderboardResponse(BaseModel):
    """A page of an epoch's ranking; totals are over the whole epoch, before filter and page."""

    model_config = example(
        epoch_id="2019-Q3-W31",
        updated_at="2019-08-04T01:10:00Z",
        total_miners=64,
        entries=[ENTRY],
        avg_return_7d=-0.0213,
        median_score=0.334495,
        top_performer_return=0.0132,
    )

    epoch_id: str
    updated_at: Moment
    total_miners: int = Field(ge=0)
    entries: list[LeaderboardEntry]
    avg_return_7d: float | None
    median_score: float | None
    top_performer_return: float | None = Field(description="30-session return of rank 1.")


class TrackRecord(BaseModel):
    """Measures of the last settled epoch; null where the horizon does not exist."""

    model_config = ConfigDict(extra="forbid")

    return_7d: float | None
    return_30d: float | None
    return_90d: float | None
    sharpe_30d: float | None
    sortino_30d: float | None
    max_drawdown_30d: float | None


class Holding(BaseModel):
    """A position: to its owner with its weight, to others in a bucket."""

    model_config = ConfigDict(extra="forbid")

    ticker: str
    weight: str | None = Field(description="Submitted weight with six decimals, to its owner only.")
    bucket: Bucket


class HeldPortfolio(BaseModel):
    """Positions of the newest epoch that the caller may see."""

    model_config = ConfigDict(extra="forbid")

    epoch_id: str | None
    positions: list[Holding]
    last_updated: Moment | None


class MinerResponse(BaseModel):
    """A miner's standing in the last settled epoch, its record, and its portfolio."""

    model_config = example(
        miner_hotkey=BOB,
        epoch_id="2019-Q3-W31",
        standing="ranked",
        reason="",
        current_rank=1,
        current_score=0.529344,
        performance_tier="top_tier",
        epochs_participated=3,
        avg_rank_percentile=0.91,
        track_record={
            "return_7d": -0.0167,
            "return_30d": 0.0132,
            "return_90d": None,
            "sharpe_30d": 0.59,
            "sortino_30d": 0.82,
            "max_drawdown_30d": 0.0258,
        },
        portfolio={
            "epoch_id": "2019-Q3-W31",
            "positions": [{"ticker": "AAPL", "weight": None, "bucket": "10-15%"}],
            "last_updated": "2019-07-26T14:00:00Z",
        },
    )

    miner_hotkey: str
    epoch_id: str
    standing: str
    reason: str
    current_rank: int | None
    current_score: float | None
    performance_tier: Tier | None
    epochs_participated: int = Field(ge=0)
    avg_rank_percentile: float | None
    track_record: TrackRecord
    portfolio: HeldPortfolio


class NetworkResponse(BaseModel):
    """Totals of the network as the published marts and the store have them."""

    model_config = example(
        epoch_id="2019-Q3-W31",
        updated_at="2019-08-04T01:10:00Z",
        total_signal_generators=60,
        solo_miners=4,
        pool_operators=2,
        validators=8,
        total_stake="8000.000000000",
        total_stake_rao="8000000000000",
        total_rewards_distributed="9876.543210000",
        total_rewards_distributed_rao="9876543210000",
        total_burned="1234.567890000",
        total_burned_rao="1234567890000",
        network_avg_return_30d=-0.0021,
        top_10_avg_return_30d=0.0049,
    )

    epoch_id: str
    updated_at: Moment
    total_signal_generators: int = Field(ge=0)
    solo_miners: int = Field(ge=0)
    pool_operators: int = Field(ge=0)
    validators: int = Field(ge=0)
    total_stake: Tokens = Field(description="Validators' stake in the epoch's snapshot.")
    total_stake_rao: Rao
    total_rewards_distributed: Tokens
    total_rewards_distributed_rao: Rao
    total_burned: Tokens
    total_burned_rao: Rao
    network_avg_return_30d: float | None
    top_10_avg_return_30d: float | None = Field(description="Mean over ranks 1 to 10.")


class ScoreDistribution(BaseModel):
    """Ranked miners by tier."""

    model_config = ConfigDict(extra="forbid")

    top_tier_count: int = Field(ge=0)
    profitable_count: int = Field(ge=0)
    break_even_count: int = Field(ge=0)
    penalty_band_count: int = Field(ge=0)


class EpochResponse(BaseModel):
    """A settled epoch in numbers: who took part, and where every token came from and went.

    emission + external + total_ante + carry_in =
    network_rake + total_distributed + total_burned + fees_to_treasury + carry_out
    """

    model_config = example(
        epoch_id="2019-Q3-W31",
        has_consensus=True,
        total_signals=64,
        provisional=2,
        unranked=0,
        unrevealed=0,
        avg_score=0.345492,
        score_distribution={
            "top_tier_count": 10,
            "profitable_count": 22,
            "break_even_count": 13,
            "penalty_band_count": 19,
        },
        **{
            f"{name}{suffix}": value
            for name in (
                "emission",
                "external",
                "total_ante",
                "carry_in",
                "network_rake",
                "total_distributed",
                "total_burned",
                "fees_to_treasury",
                "carry_out",
            )
            for suffix, value in (("", "10.000000000"), ("_rao", "10000000000"))
        },
    )

    epoch_id: str
    has_consensus: bool
    total_signals: int = Field(ge=0, description="Ranked miners.")
    provisional: int = Field(ge=0)
    unranked: int = Field(ge=0)
    unrevealed: int = Field(ge=0)
    avg_score: float | None
    score_distribution: ScoreDistribution
    emission: Tokens
    emission_rao: Rao
    external: Tokens
    external_rao: Rao
    total_ante: Tokens
    total_ante_rao: Rao
    carry_in: Tokens
    carry_in_rao: Rao
    network_rake: Tokens
    network_rake_rao: Rao
    total_distributed: Tokens = Field(description="Rewards after fees, and antes returned.")
    total_distributed_rao: Rao
    total_burned: Tokens = Field(description="Antes and fees that were destroyed.")
    total_burned_rao: Rao
    fees_to_treasury: Tokens
    fees_to_treasury_rao: Rao
    carry_out: Tokens
    carry_out_rao: Rao
