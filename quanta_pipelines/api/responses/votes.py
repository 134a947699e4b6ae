"""Answers about votes and the consensus that came of them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quanta_pipelines.api.fields import ALICE, BOB, Hex64, Moment
from quanta_pipelines.api.responses.boards import Tier
from quanta_pipelines.api.responses.examples import example


class WeightsResponse(BaseModel):
    """A vote that was recorded."""

    model_config = example(
        status="accepted",
        submission_id=17,
        epoch_id="2019-Q3-W31",
        n_miners=64,
        received_at="2019-08-03T00:41:00Z",
    )

    status: Literal["accepted"] = "accepted"
    submission_id: int
    epoch_id: str
    n_miners: int = Field(ge=0)
    received_at: Moment


class RecordedWeight(BaseModel):
    """One cell of a recorded vote."""

    model_config = ConfigDict(extra="forbid")

    miner_hotkey: str
    weight_units: int
    composite: float
    max_drawdown_7d: float | None
    max_drawdown_30d: float | None
    max_drawdown_90d: float | None


class VoteResponse(BaseModel):
    """The caller's vote for an epoch, as recorded."""

    model_config = example(
        validator_hotkey=ALICE,
        epoch_id="2019-Q3-W31",
        data_hash="a" * 64,
        price_sources=["tiingo", "yahoo"],
        received_at="2019-08-03T00:41:00Z",
        weights=[
            {
                "miner_hotkey": BOB,
                "weight_units": 1_000_000_000,
                "composite": 0.512345,
                "max_drawdown_7d": 0.021,
                "max_drawdown_30d": 0.043,
                "max_drawdown_90d": None,
            }
        ],
    )

    validator_hotkey: str
    epoch_id: str
    data_hash: Hex64
    price_sources: list[str]
    received_at: Moment
    weights: list[RecordedWeight]


class AgreedMiner(BaseModel):
    """What the validators agree on for one miner."""

    model_config = ConfigDict(extra="forbid")

    miner_hotkey: str
    rank: int = Field(ge=1)
    consensus_weight: float
    incentive: float
    trust: float | None
    performance_tier: Tier
    eligible: bool
    reason: str


class ConsensusResponse(BaseModel):
    """The consensus of a settled epoch, by rank."""

    model_config = example(
        epoch_id="2019-Q3-W31",
        n_validators=8,
        miners=[
            {
                "miner_hotkey": BOB,
                "rank": 1,
                "consensus_weight": 0.023941,
                "incentive": 0.024,
                "trust": 0.98,
                "performance_tier": "top_tier",
                "eligible": True,
                "reason": "",
            }
        ],
    )

    epoch_id: str
    n_validators: int = Field(ge=0)
    miners: list[AgreedMiner]
