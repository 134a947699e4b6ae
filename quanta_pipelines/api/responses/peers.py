"""Answers to other validators: what an epoch opened with, its signals, and the own prices."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quanta_pipelines.api.fields import ALICE, BOB, Hex64, Moment, Rao
from quanta_pipelines.api.responses.examples import EXPIRES, HASH, RECEIVED, example


class Stake(BaseModel):
    """One validator's stake."""

    model_config = ConfigDict(extra="forbid")

    validator_hotkey: str
    stake_rao: Rao


class OpeningResponse(BaseModel):
    """What an epoch is settled with, and what may be held in it."""

    model_config = example(
        epoch_id="2019-Q3-W31",
        source="chain",
        emission_rao="1000000000000",
        external_rao="0",
        stakes=[{"validator_hotkey": ALICE, "stake_rao": "450000000000000"}],
        universe=["AAPL", "AMD", "BAC", "JPM", "KO"],
    )

    epoch_id: str
    source: Literal["chain", "file", "simulated"]
    emission_rao: Rao
    external_rao: Rao
    stakes: list[Stake]
    universe: list[str]


class ReceivedCommitment(BaseModel):
    """A commitment as it was received; a miner's last one stands."""

    model_config = ConfigDict(extra="forbid")

    miner_hotkey: str
    commitment: Hex64
    ante_rao: Rao
    received_at: Moment


class AcceptedReveal(BaseModel):
    """A reveal that opened its commitment, with all that it takes to check that."""

    model_config = ConfigDict(extra="forbid")

    miner_hotkey: str
    commitment: Hex64
    positions: list[tuple[str, str]] = Field(description="Tickers with submitted weights.")
    secret: str
    received_at: Moment


class SignalsResponse(BaseModel):
    """All commitments of an epoch and the reveals that were accepted, in the order of receipt."""

    model_config = example(
        epoch_id="2019-Q3-W31",
        commitments=[
            {
                "miner_hotkey": BOB,
                "commitment": HASH,
                "ante_rao": "50000000000",
                "received_at": RECEIVED,
            }
        ],
        reveals=[
            {
                "miner_hotkey": BOB,
                "commitment": HASH,
                "positions": [["AAPL", "0.200000"]],
                "secret": "0123456789abcdef0123456789abcdef",
                "received_at": EXPIRES,
            }
        ],
        failed_reveals=1,
    )

    epoch_id: str
    commitments: list[ReceivedCommitment]
    reveals: list[AcceptedReveal]
    failed_reveals: int = Field(ge=0, description="What they held stays hidden.")


class SettledPrice(BaseModel):
    """One settled close; null where there is none."""

    model_config = ConfigDict(extra="forbid")

    ticker: str
    session: str
    close: float | None
    total_return: float | None
    status: Literal["settled", "disputed", "missing"]
    carried_sessions: int = Field(ge=0)
    in_universe: bool


class PricesResponse(BaseModel):
    """The prices that this validator scores an epoch with, and their hash."""

    model_config = example(
        epoch_id="2019-Q3-W31",
        validator_hotkey=ALICE,
        data_hash=HASH,
        prices=[
            {
                "ticker": "AAPL",
                "session": "2019-07-31",
                "close": 213.04,
                "total_return": 0.02044,
                "status": "settled",
                "carried_sessions": 0,
                "in_universe": True,
            }
        ],
    )

    epoch_id: str
    validator_hotkey: str
    data_hash: Hex64
    prices: list[SettledPrice]
