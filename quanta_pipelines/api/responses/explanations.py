"""Answers about epochs and why each miner got what it got, as they were published."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quanta_pipelines.api.fields import BOB, Moment, Rao
from quanta_pipelines.api.responses.boards import Tier
from quanta_pipelines.api.responses.examples import example

Standing = Literal["ranked", "provisional", "unranked", "unrevealed"]
Kind = Literal["rao", "score", "percent", "ratio", "count", "units", "text", "moment", "flag"]


class SettledEpoch(BaseModel):
    """One settled epoch, as a list of epochs shows it."""

    model_config = ConfigDict(extra="forbid")

    epoch_id: str
    has_consensus: bool
    ranked: int = Field(ge=0)
    paid: int = Field(ge=0)
    report: bool = Field(description="Whether `/reports/{epoch_id}.html` is there.")


class EpochsResponse(BaseModel):
    """Every settled epoch, the newest first."""

    model_config = example(
        updated_at="2019-08-04T01:10:00Z",
        epochs=[
            {
                "epoch_id": "2019-Q3-W31",
                "has_consensus": True,
                "ranked": 64,
                "paid": 30,
                "report": True,
            }
        ],
    )

    updated_at: Moment
    epochs: list[SettledEpoch]


class StandingEntry(BaseModel):
    """How one miner took part."""

    model_config = ConfigDict(extra="forbid")

    miner_hotkey: str
    standing: Standing
    reason: str
    rank: int | None
    final_tier: Tier | None
    payout_rao: Rao


class StandingsResponse(BaseModel):
    """Everyone who took part in an epoch, ranked or not, by hotkey."""

    model_config = example(
        epoch_id="2019-Q3-W31",
        entries=[
            {
                "miner_hotkey": BOB,
                "standing": "unrevealed",
                "reason": "the commitment was not revealed",
                "rank": None,
                "final_tier": None,
                "payout_rao": "0",
            }
        ],
    )

    epoch_id: str
    entries: list[StandingEntry]


class FactSource(BaseModel):
    """The cell a number stands in."""

    model_config = ConfigDict(extra="forbid")

    table: str
    key: dict[str, str] = Field(description="Columns that name the row within the epoch.")
    column: str


class ExplanationFact(BaseModel):
    """One number or word, as text exactly as the table has it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    label: str
    value: str | None
    kind: Kind = Field(description="`rao` is whole rao; `percent` and `score` are fractions.")
    group: str
    source: FactSource | None
    formula: str


class ExplanationStep(BaseModel):
    """A part of the way from the commitment to the payout."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    says: str
    facts: list[ExplanationFact]


class ExplanationCounterfactual(BaseModel):
    """What would have been paid if one thing were different; money is text in rao."""

    model_config = ConfigDict(extra="forbid")

    name: str
    label: str
    basis: Literal["settlement", "own_scores", "position"]
    standing: str
    rank: int | None
    tier: Tier | None
    payout_rao: Rao
    base_rank: int | None
    base_payout_rao: Rao
    change_rao: str = Field(pattern="^-?[0-9]+$")


class RecordEntry(BaseModel):
    """One epoch of a miner's unbroken record; a level starts at 1 when its history begins."""

    model_config = ConfigDict(extra="forbid")

    epoch_id: str
    standing: Standing
    rank: int | None
    tier: Tier | None
    final_score: float | None
    epoch_return: float | None
    benchmark_return: float | None
    level: float | None
    benchmark_level: float | None
    peak: float | None
    drawdown: float | None
    ante_rao: Rao
    payout_rao: Rao


class ExplanationResponse(BaseModel):
    """Why a miner got what it got in an epoch, from its commitment to its payout."""

    model_config = example(
        epoch_id="2019-Q3-W31",
        hotkey=BOB,
        standing="unrevealed",
        reason="the commitment was not revealed",
        summary="Unrevealed: the commitment was not revealed. Paid 0.000000000 ALPHA.",
        steps=[
            {
                "name": "payout",
                "title": "Payout",
                "says": "The commitment was not revealed, so its ante is forfeited.",
                "facts": [
                    {
                        "name": "ante_rao",
                        "label": "Ante posted",
                        "value": "64070000000",
                        "kind": "rao",
                        "group": "Ante",
                        "source": {
                            "table": "rewards",
                            "key": {"hotkey": BOB},
                            "column": "ante_rao",
                        },
                        "formula": "",
                    }
                ],
            }
        ],
        counterfactuals=[
            {
                "name": "gamma_1_2",
                "label": "at gamma 1.2",
                "basis": "settlement",
                "standing": "unrevealed",
                "rank": None,
                "tier": None,
                "payout_rao": "0",
                "base_rank": None,
                "base_payout_rao": "0",
                "change_rao": "0",
            }
        ],
        without_counterfactuals="",
        record=[
            {
                "epoch_id": "2019-Q3-W31",
                "standing": "unrevealed",
                "rank": None,
                "tier": None,
                "final_score": None,
                "epoch_return": None,
                "benchmark_return": None,
                "level": None,
                "benchmark_level": None,
                "peak": None,
                "drawdown": None,
                "ante_rao": "64070000000",
                "payout_rao": "0",
            }
        ],
        for_owner=None,
    )

    epoch_id: str
    hotkey: str
    standing: Standing
    reason: str
    summary: str
    steps: list[ExplanationStep]
    counterfactuals: list[ExplanationCounterfactual]
    without_counterfactuals: str = Field(description="Why there are none; empty where there are.")
    record: list[RecordEntry] = Field(description="At most 104 epochs, oldest first.")
    for_owner: list[ExplanationStep] | None = Field(
        description="Positions, returns by session and votes: for the miner's signature alone."
    )
