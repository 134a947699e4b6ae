"""Answers of the service. Money is text: ALPHA with nine decimals, and rao beside it."""

from quanta_pipelines.api.responses.boards import (
    Bucket,
    EpochResponse,
    HeldPortfolio,
    Holding,
    LeaderboardEntry,
    LeaderboardResponse,
    MinerResponse,
    NetworkResponse,
    ScoreDistribution,
    Tier,
    TrackRecord,
)
from quanta_pipelines.api.responses.health import (
    Component,
    DetailedHealthResponse,
    EpochPhaseNow,
    HealthResponse,
    ProblemDocument,
)
from quanta_pipelines.api.responses.records import (
    ClockResponse,
    CorrectionResponse,
    DisputeResponse,
    ParticipantResponse,
    PoolResponse,
)
from quanta_pipelines.api.responses.signals import (
    CommitResponse,
    RevealResponse,
    RevealVerdict,
    SignalResponse,
    SubmitResponse,
)
from quanta_pipelines.api.responses.votes import (
    AgreedMiner,
    ConsensusResponse,
    RecordedWeight,
    VoteResponse,
    WeightsResponse,
)

__all__ = [
    "AgreedMiner",
    "Bucket",
    "ClockResponse",
    "CommitResponse",
    "Component",
    "ConsensusResponse",
    "CorrectionResponse",
    "DetailedHealthResponse",
    "DisputeResponse",
    "EpochPhaseNow",
    "EpochResponse",
    "HealthResponse",
    "HeldPortfolio",
    "Holding",
    "LeaderboardEntry",
    "LeaderboardResponse",
    "MinerResponse",
    "NetworkResponse",
    "ParticipantResponse",
    "PoolResponse",
    "ProblemDocument",
    "RecordedWeight",
    "RevealResponse",
    "RevealVerdict",
    "ScoreDistribution",
    "SignalResponse",
    "SubmitResponse",
    "Tier",
    "TrackRecord",
    "VoteResponse",
    "WeightsResponse",
]
