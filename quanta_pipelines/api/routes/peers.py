"""What another validator asks: enough to score an epoch itself, and to compare prices afterwards.

Positions are shown to validators of the epoch's snapshot alone, once the epoch has closed; prices
to one that has voted, or once voting is over, so that nobody votes on another's.
"""

from fastapi import APIRouter

from data_contracts.tables import CONTRACTS
from quanta_pipelines.api.authentication import Caller, Signer
from quanta_pipelines.api.boards import number
from quanta_pipelines.api.documents import ON_SIGNED, SIGNED, refused
from quanta_pipelines.api.fields import EpochId
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.responses import (
    AcceptedReveal,
    OpeningResponse,
    PricesResponse,
    ReceivedCommitment,
    SettledPrice,
    SignalsResponse,
    Stake,
)
from quanta_pipelines.api.routes.signals import prepared
from quanta_pipelines.api.services import Services, Using
from quanta_pipelines.protocol.commit_reveal import Verdict
from quanta_pipelines.protocol.epoch import Epoch, voting_closes
from quanta_pipelines.protocol.oracle import data_hash

router = APIRouter(prefix="/v1/validators/epochs", tags=["Validators"])

_ON_VALIDATORS = (
    *ON_SIGNED,
    "not_signed",
    "not_permitted",
    "invalid_epoch",
    "epoch_not_ready",
    "window_closed",
)


@router.get(
    "/{epoch_id}/opening",
    responses=refused("invalid_epoch", "epoch_not_ready", "store_unavailable"),
)
def opening(epoch_id: EpochId, services: Using) -> OpeningResponse:
    """Stakes, emission and universe of an epoch, as they were recorded when it opened."""
    with prepared():
        found = services.store.snapshot(epoch_id)
        tickers = services.store.universe(epoch_id)
    return OpeningResponse(
        epoch_id=epoch_id,
        source=found.source,
        emission_rao=str(found.emission_rao),
        external_rao=str(found.external_rao),
        stakes=[
            Stake(validator_hotkey=hotkey, stake_rao=str(rao))
            for hotkey, rao in found.stakes.items()
        ],
        universe=list(tickers),
    )


@router.get("/{epoch_id}/signals", openapi_extra=SIGNED, responses=refused(*_ON_VALIDATORS))
def signals(epoch_id: EpochId, signer: Signer, services: Using) -> SignalsResponse:
    """Commitments and accepted reveals of a closed epoch, for its validators to check and score."""
    _require_validator(services, signer, epoch_id)
    closes = Epoch.parse(epoch_id).closes_at
    if services.now() < closes:
        raise Problem("window_closed", f"signals of {epoch_id} are shown from {closes.isoformat()}")
    committed = services.store.every_commitment(epoch_id)
    revealed = services.store.reveals(epoch_id)
    accepted = revealed[revealed["verdict"] == Verdict.ACCEPTED.value]
    return SignalsResponse(
        epoch_id=epoch_id,
        commitments=[
            ReceivedCommitment(
                miner_hotkey=row["hotkey"],
                commitment=row["commitment"],
                ante_rao=str(row["ante_rao"]),
                received_at=row["received_at"],
            )
            for row in committed.to_dict("records")
        ],
        reveals=[
            AcceptedReveal(
                miner_hotkey=row["hotkey"],
                commitment=row["commitment"],
                positions=[_position(part) for part in row["positions"].split("|")],
                secret=row["secret"],
                received_at=row["received_at"],
            )
            for row in accepted.to_dict("records")
        ],
        failed_reveals=len(revealed) - len(accepted),
    )


@router.get(
    "/{epoch_id}/prices",
    openapi_extra=SIGNED,
    responses=refused(*_ON_VALIDATORS, "epoch_not_settled", "tables_unavailable"),
)
def prices(epoch_id: EpochId, signer: Signer, services: Using) -> PricesResponse:
    """The settled closes that this validator votes on, once the caller has voted itself."""
    _require_validator(services, signer, epoch_id)
    closes = voting_closes(Epoch.parse(epoch_id), services.params)
    if services.now() < closes and not _has_voted(services, signer, epoch_id):
        raise Problem(
            "window_closed",
            f"prices of {epoch_id} are shown to who has voted, to others from {closes.isoformat()}",
        )
    name = "validated_prices"
    settled = services.lake.read(name, epoch_id, gates=CONTRACTS[name].gates())
    return PricesResponse(
        epoch_id=epoch_id,
        validator_hotkey=services.settings.validator_hotkey,
        data_hash=data_hash(settled),
        prices=[
            SettledPrice(
                ticker=row["ticker"],
                session=f"{row['session']:%Y-%m-%d}",
                close=number(row["close"]),
                total_return=number(row["total_return"]),
                status=row["status"],
                carried_sessions=row["carried_sessions"],
                in_universe=row["in_universe"],
            )
            for row in settled.to_dict("records")
        ],
    )


def _require_validator(services: Services, signer: Caller, epoch_id: str) -> None:
    """Lets validators of the snapshot through; an unsigned request only where those may pass."""
    with prepared():
        stakes = services.store.snapshot(epoch_id).stakes
    if signer.hotkey is not None and not stakes.get(signer.hotkey):
        raise Problem(
            "not_permitted", f"{signer.hotkey} has no stake in the snapshot of {epoch_id}"
        )


def _has_voted(services: Services, signer: Caller, epoch_id: str) -> bool:
    return signer.hotkey in set(services.store.validator_weights(epoch_id)["validator"])


def _position(text: str) -> tuple[str, str]:
    ticker, _, weight = text.partition(":")
    return ticker, weight
