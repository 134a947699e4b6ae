"""Answers about commitments and reveals."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quanta_pipelines.api.fields import ALICE, Hex64, Moment, Rao, Tokens
from quanta_pipelines.api.responses.examples import (
    EXPIRES,
    HASH,
    OPENS,
    RECEIVED,
    SIGNAL_ID,
    example,
)


class CommitResponse(BaseModel):
    """What a miner is told about its commitment."""

    model_config = example(
        status="accepted",
        commitment=HASH,
        epoch_id="2019-Q3-W31",
        received_at=RECEIVED,
        reveal_window_starts=OPENS,
        expires_at=EXPIRES,
        replaced=0,
        ante="50.000000000",
        ante_rao="50000000000",
    )

    status: Literal["accepted"] = "accepted"
    commitment: Hex64
    epoch_id: str
    received_at: Moment
    reveal_window_starts: Moment
    expires_at: Moment
    replaced: int = Field(ge=0, description="Earlier commitments that this one replaced.")
    ante: Tokens
    ante_rao: Rao


class RevealResponse(BaseModel):
    """An accepted reveal; the epoch's run scores it, so nothing has to be scheduled."""

    model_config = example(
        status="accepted",
        signal_id=SIGNAL_ID,
        epoch_id="2019-Q3-W31",
        portfolio_hash=HASH,
        scoring_scheduled=True,
        scored_after="2019-08-03T00:30:00Z",
    )

    status: Literal["accepted"] = "accepted"
    signal_id: str
    epoch_id: str
    portfolio_hash: Hex64
    scoring_scheduled: bool
    scored_after: Moment


class SubmitResponse(BaseModel):
    """A portfolio that was committed and revealed in one step."""

    model_config = example(status="accepted", signal_id=SIGNAL_ID, epoch_id="2019-Q3-W31")

    status: Literal["accepted"] = "accepted"
    signal_id: str
    epoch_id: str


class RevealVerdict(BaseModel):
    """A reveal of the caller, and what the intake decided."""

    model_config = ConfigDict(extra="forbid")

    commitment: Hex64
    received_at: Moment
    verdict: str
    reason: str


class SignalResponse(BaseModel):
    """The caller's commitment for an epoch and the verdicts on its reveals."""

    model_config = example(
        signal_id=SIGNAL_ID,
        miner_hotkey=ALICE,
        epoch_id="2019-Q3-W31",
        state="revealed",
        commitment=HASH,
        committed_at=RECEIVED,
        reveal_window_starts=OPENS,
        expires_at=EXPIRES,
        replaced=0,
        ante="50.000000000",
        ante_rao="50000000000",
        escrow="50.000000000",
        escrow_rao="50000000000",
        reveals=[{"commitment": HASH, "received_at": OPENS, "verdict": "accepted", "reason": ""}],
    )

    signal_id: str
    miner_hotkey: str
    epoch_id: str
    state: str
    commitment: Hex64 | None
    committed_at: Moment | None
    reveal_window_starts: Moment | None
    expires_at: Moment | None
    replaced: int = Field(ge=0)
    ante: Tokens
    ante_rao: Rao
    escrow: Tokens
    escrow_rao: Rao
    reveals: list[RevealVerdict]
