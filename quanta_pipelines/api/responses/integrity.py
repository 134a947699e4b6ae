"""Answers about a miner's integrity: each verdict with its portfolios, sessions and thresholds."""

from typing import Literal

from pydantic import BaseModel, Field

from quanta_pipelines.api.fields import BOB, Rao
from quanta_pipelines.api.responses.examples import example


class SessionWindow(BaseModel):
    """Sessions that numbers rest on; days are null where there are none."""

    sessions: int = Field(ge=0)
    first: str | None
    last: str | None


class OriginalityEvidence(BaseModel):
    """How much the active return is an earlier miner's; the factor is null under 10 sessions."""

    factor: float | None
    correlation: float | None
    threshold: float
    earlier_hotkey: str | None
    earlier_since_epoch: str | None
    own_since_epoch: str | None
    shared_weight: float | None
    window: SessionWindow
    reason: str = Field(description="Why there is nothing to compare; empty where there is.")


class VarianceEvidence(BaseModel):
    """Variance over the median of all; null under 30 sessions."""

    factor: float | None
    ratio: float | None
    threshold: float
    high_epochs: int = Field(ge=0)
    flagged: bool
    window: SessionWindow


class ClusterEvidence(BaseModel):
    """Whose rank position it is, and why."""

    position_of: str
    identities: int = Field(ge=1)
    ranked_by_another: bool
    links: list[Literal["correlation", "coldkey", "case"]]
    most_alike: str | None
    correlation: float | None
    threshold: float
    window: SessionWindow


class PlagiarismEvidence(BaseModel):
    """Copies in the last epochs; the rows of evidence are among the pairs."""

    suspected: bool
    of: str | None
    epochs: int = Field(ge=0)
    threshold: int = Field(ge=1)


class StakeEvidence(BaseModel):
    """Stake at opens_at against S_min; null where no bonds are recorded."""

    stake_rao: Rao | None
    least_rao: Rao | None
    below: bool


class SimilarPair(BaseModel):
    """One comparison over a threshold: by returns, or one copy of a suspected pair."""

    hotkey: str
    other_hotkey: str
    measure: Literal["returns", "holdings"]
    held_epoch: str
    lag: int = Field(ge=0)
    correlation: float | None
    correlation_threshold: float | None
    window: SessionWindow
    shared_tickers: int = Field(ge=0)
    overlap: float
    overlap_threshold: float
    shared_weight: float
    shared_weight_threshold: float
    tickers_in_use: int = Field(ge=0)
    log10_chance: float
    log10_chance_threshold: float
    since_epoch: str | None
    other_since_epoch: str | None
    earlier_hotkey: str | None


class CaseSummary(BaseModel):
    """The newest case against the miner, as the epoch's tables have it."""

    case_id: str
    state: Literal["open", "under_review", "confirmed", "dismissed"]
    opened_epoch: str
    decide_by: str


class IntegrityResponse(BaseModel):
    """What integrity says of a miner in the last settled epoch, and what that rests on."""

    model_config = example(
        miner_hotkey=BOB,
        epoch_id="2019-Q3-W31",
        standing="ranked",
        originality={
            "factor": 0.520071,
            "correlation": 0.843979,
            "threshold": 0.7,
            "earlier_hotkey": BOB[:-1] + "x",
            "earlier_since_epoch": "2019-Q2-W23",
            "own_since_epoch": "2019-Q2-W24",
            "shared_weight": 0.637298,
            "window": {"sessions": 30, "first": "2019-06-21", "last": "2019-08-02"},
            "reason": "",
        },
        variance={
            "factor": 1.0,
            "ratio": 1.848897,
            "threshold": 3.0,
            "high_epochs": 0,
            "flagged": False,
            "window": {"sessions": 30, "first": "2019-06-21", "last": "2019-08-02"},
        },
        cluster={
            "position_of": BOB,
            "identities": 1,
            "ranked_by_another": False,
            "links": [],
            "most_alike": None,
            "correlation": None,
            "threshold": 0.95,
            "window": {"sessions": 30, "first": None, "last": "2019-07-26"},
        },
        plagiarism={"suspected": False, "of": None, "epochs": 0, "threshold": 3},
        stake={"stake_rao": None, "least_rao": None, "below": False},
        contribution=-0.022673,
        confirmed_cases=0,
        case=None,
        pairs=[],
    )

    miner_hotkey: str
    epoch_id: str
    standing: str
    originality: OriginalityEvidence
    variance: VarianceEvidence
    cluster: ClusterEvidence
    plagiarism: PlagiarismEvidence
    stake: StakeEvidence
    contribution: float | None = Field(description="What it adds to the others; never paid.")
    confirmed_cases: int = Field(ge=0)
    case: CaseSummary | None
    pairs: list[SimilarPair]
