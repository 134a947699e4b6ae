"""Bodies that the service takes. Unknown fields are refused: a misspelt one must not be lost."""

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from quanta_pipelines.adapters.signal_store import Role
from quanta_pipelines.api.fields import ALICE, BOB, DecimalText, EpochId, Hex64, Hotkey, Moment
from quanta_pipelines.protocol.corrections import Field as CorrectedField

_COMMITMENT = "f68ff629c7c91c00363bb2484cf2782222f084eeba72adb0a996fa8b8af262c8"
_POSITIONS: list[JsonValue] = [
    {"ticker": ticker, "weight": weight}
    for ticker, weight in (
        ("AAPL", "0.20"),
        ("AMD", "0.20"),
        ("BAC", "0.20"),
        ("JPM", "0.20"),
        ("KO", "0.20"),
    )
]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Position(Body):
    """One holding: a ticker and its weight, at most 0.20 with six decimals."""

    ticker: str = Field(min_length=1, max_length=16, examples=["AAPL"])
    weight: DecimalText = Field(examples=["0.15"])


class CommitRequest(Body):
    """A commitment to a portfolio that stays hidden, and the ante that goes into escrow."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "commitment": _COMMITMENT,
                    "miner_hotkey": ALICE,
                    "epoch_id": "2019-Q3-W31",
                    "ante_amount": "50",
                }
            ]
        }
    )

    commitment: str = Field(
        max_length=256,
        description="Keccak-256 of portfolio hash, secret, hotkey and epoch: 64 hex digits.",
    )
    miner_hotkey: Hotkey
    epoch_id: EpochId
    ante_amount: DecimalText = Field(description="10 to 10000 ALPHA, at most nine decimals.")
    ante_token: Literal["ALPHA"] = "ALPHA"  # noqa: S105 - a currency


class Signal(Body):
    """A portfolio in the clear, for one miner and epoch."""

    epoch_id: EpochId
    miner_hotkey: Hotkey
    positions: list[Position] = Field(min_length=1, max_length=100)
    portfolio_hash: Hex64 | None = Field(
        default=None, description="Always recomputed; a different one is refused."
    )
    timestamp: Moment | None = Field(
        default=None, description="The miner's own time; windows count the receipt instead."
    )


class RevealRequest(Body):
    """Opens a commitment."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "commitment": _COMMITMENT,
                    "signal": {
                        "epoch_id": "2019-Q3-W31",
                        "miner_hotkey": ALICE,
                        "positions": _POSITIONS,
                    },
                    "secret": "0123456789abcdef0123456789abcdef",
                }
            ]
        }
    )

    commitment: Hex64
    signal: Signal
    secret: str = Field(min_length=32, max_length=256, description="At least 32 characters.")


class SubmitRequest(Body):
    """A portfolio in one step, for development."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "epoch_id": "2019-Q3-W31",
                    "miner_hotkey": ALICE,
                    "positions": _POSITIONS,
                    "ante_amount": "50",
                }
            ]
        }
    )

    epoch_id: EpochId
    miner_hotkey: Hotkey
    positions: list[Position] = Field(min_length=1, max_length=100)
    ante_amount: DecimalText


Fraction = Annotated[float, Field(ge=0, le=1)]


class MinerWeight(Body):
    """One cell of a validator's row, with what it rests on."""

    miner_hotkey: Hotkey
    weight_units: int = Field(
        ge=0, le=10**9, strict=True, description="Units of 10^-9; a row sums to 10^9."
    )
    composite: Fraction
    max_drawdown_7d: Fraction | None = None
    max_drawdown_30d: Fraction | None = None
    max_drawdown_90d: Fraction | None = None


class WeightsRequest(Body):
    """A validator's vote for an epoch."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "validator_hotkey": ALICE,
                    "epoch_id": "2019-Q3-W31",
                    "data_hash": "a" * 64,
                    "price_sources": ["tiingo", "yahoo"],
                    "weights": [
                        {
                            "miner_hotkey": BOB,
                            "weight_units": 1_000_000_000,
                            "composite": 0.512345,
                            "max_drawdown_7d": 0.021,
                            "max_drawdown_30d": 0.043,
                        }
                    ],
                }
            ]
        }
    )

    validator_hotkey: Hotkey
    epoch_id: EpochId
    data_hash: Hex64 = Field(description="Hash of the settled prices that were scored with.")
    price_sources: list[Annotated[str, Field(pattern="^[a-z0-9_-]{1,32}$")]] = Field(
        default=[], max_length=16, description="Vendors whose prices those are."
    )
    weights: list[MinerWeight] = Field(min_length=1, max_length=1024)


class JoinRequest(Body):
    """A member that joins a pool."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"member_hotkey": BOB}]})

    member_hotkey: Hotkey


class ParticipantRequest(Body):
    """A participant's role from a moment on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "hotkey": BOB,
                    "role": "signal_generator",
                    "coldkey": ALICE,
                    "since": "2019-07-26T20:00:00Z",
                }
            ]
        }
    )

    hotkey: Hotkey
    role: Role
    coldkey: Hotkey | None = None
    since: Moment | None = Field(default=None, description="The moment of receipt, if left out.")


class CorrectionRequest(Body):
    """What holds for one field of a ticker and session, whatever vendors say."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "epoch_id": "2019-Q3-W31",
                    "ticker": "KO",
                    "session": "2019-07-30",
                    "field": "close",
                    "value": 52.96,
                    "old": "53.96",
                    "author": "the operator on duty",
                    "reason": "a vendor sent yesterday's close",
                    "evidence": "the exchange's closing report of the day",
                }
            ]
        }
    )

    epoch_id: EpochId = Field(description="An epoch that looks at the session.")
    ticker: str = Field(min_length=1, max_length=16)
    session: dt.date
    field: CorrectedField
    value: float = Field(ge=0, description="Dollars a share, or new shares for an old one.")
    old: str | None = Field(
        default=None,
        max_length=40,
        description="What is expected to be settled now, or `none`; another is refused.",
    )
    author: str = Field(min_length=1, max_length=64)
    reason: str = Field(min_length=1, max_length=1000)
    evidence: str = Field(min_length=1, max_length=1000)


class DisputeRequest(Body):
    """An objection to an epoch's settlement."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "epoch_id": "2019-Q3-W31",
                    "opened_by": ALICE,
                    "reason": "the close of KO on 2019-07-30 is not that of the exchange",
                    "evidence": {"ticker": "KO", "session": "2019-07-30"},
                }
            ]
        }
    )

    epoch_id: EpochId
    opened_by: Hotkey
    reason: str = Field(min_length=1, max_length=4000)
    evidence: JsonValue = None


class DisputeEventRequest(Body):
    """What became of a dispute; everything but a comment closes it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"event": "dismissed", "note": "the exchange confirms it"}]}
    )

    event: Literal["commented", "upheld", "dismissed", "withdrawn"]
    note: str = Field(default="", max_length=4000)


class ClockRequest(Body):
    """The moment from which the service's clock runs on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"now": "2019-07-26T12:00:00Z"}]})

    now: Moment
