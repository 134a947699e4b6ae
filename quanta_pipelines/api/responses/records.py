"""Answers about pools, participants, disputes and the clock."""

import datetime as dt

from pydantic import BaseModel, Field

from quanta_pipelines.api.fields import ALICE, BOB, Moment
from quanta_pipelines.api.responses.examples import RECEIVED, example


class PoolResponse(BaseModel):
    """A pool's members now."""

    model_config = example(operator_hotkey=ALICE, members=[BOB], at=RECEIVED)

    operator_hotkey: str
    members: list[str]
    at: Moment


class ParticipantResponse(BaseModel):
    """A participant's role now."""

    model_config = example(
        hotkey=BOB, coldkey=ALICE, role="signal_generator", since="2019-07-26T20:00:00Z"
    )

    hotkey: str
    coldkey: str | None
    role: str
    since: Moment


class CorrectionResponse(BaseModel):
    """A correction as recorded; nothing runs again by it."""

    model_config = example(
        correction_id=4,
        ticker="KO",
        session="2019-07-30",
        field="close",
        old_value=53.96,
        new_value=52.96,
        epochs=["2019-Q3-W31", "2019-Q3-W32"],
    )

    correction_id: int
    ticker: str
    session: dt.date
    field: str
    old_value: float | None = Field(description="What was settled before; null for nothing.")
    new_value: float
    epochs: list[str] = Field(description="Published epochs that look at the session.")


class DisputeResponse(BaseModel):
    """A dispute and what became of it."""

    model_config = example(
        dispute_id=3,
        epoch_id="2019-Q3-W31",
        opened_by=ALICE,
        reason="the close of KO on 2019-07-30 is not that of the exchange",
        status="open",
        opened_at="2019-08-03T01:10:00Z",
    )

    dispute_id: int
    epoch_id: str
    opened_by: str
    reason: str
    status: str
    opened_at: Moment


class ClockResponse(BaseModel):
    """The time by which windows are judged."""

    model_config = example(now="2019-07-26T12:00:00Z", set=True)

    now: Moment
    set: bool
