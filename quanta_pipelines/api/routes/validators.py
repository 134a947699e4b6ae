"""Votes of validators, and the consensus that came of them."""

import pandas as pd
from fastapi import APIRouter

from quanta_pipelines.api.authentication import Signer
from quanta_pipelines.api.boards import number, settled_epoch
from quanta_pipelines.api.documents import ON_BODIES, ON_SIGNED, SIGNED, refused
from quanta_pipelines.api.fields import EpochId, Hotkey
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.requests import WeightsRequest
from quanta_pipelines.api.responses import (
    AgreedMiner,
    ConsensusResponse,
    RecordedWeight,
    VoteResponse,
    WeightsResponse,
)
from quanta_pipelines.api.routes.signals import prepared
from quanta_pipelines.api.services import Using
from quanta_pipelines.protocol.epoch import Epoch

router = APIRouter(prefix="/v1", tags=["Validators"])

_DRAWDOWNS = ("max_drawdown_7d", "max_drawdown_30d", "max_drawdown_90d")


@router.post(
    "/validators/weights",
    openapi_extra=SIGNED,
    responses=refused(
        *ON_SIGNED,
        *ON_BODIES,
        "not_signed",
        "not_the_signer",
        "not_permitted",
        "invalid_weights",
        "invalid_epoch",
        "window_closed",
        "contradicts_record",
        "epoch_not_ready",
    ),
)
def submit_weights(body: WeightsRequest, signer: Signer, services: Using) -> WeightsResponse:
    """Take a validator's vote: once per epoch, in the window after its prices are final."""
    signer.must_be(body.validator_hotkey)
    epoch, now = Epoch.parse(body.epoch_id), services.now()
    with prepared():
        submission = services.store.submit_weights(
            body.validator_hotkey,
            epoch,
            _row(body),
            body.data_hash,
            received_at=now,
            price_sources=body.price_sources,
        )
    services.monitoring.votes.inc()
    return WeightsResponse(
        submission_id=submission, epoch_id=epoch.id, n_miners=len(body.weights), received_at=now
    )


@router.get(
    "/validators/weights/{epoch_id}/{validator_hotkey}",
    openapi_extra=SIGNED,
    responses=refused(*ON_SIGNED, "not_signed", "not_the_signer", "not_recorded", "invalid_epoch"),
)
def own_vote(
    epoch_id: EpochId, validator_hotkey: Hotkey, signer: Signer, services: Using
) -> VoteResponse:
    """Your own vote for an epoch, as recorded."""
    signer.must_be(validator_hotkey)
    votes = services.store.validator_weights(epoch_id)
    cells = votes[votes["validator"] == validator_hotkey]
    if cells.empty:
        raise Problem("not_recorded", f"{validator_hotkey} has not voted for {epoch_id}")
    return VoteResponse(
        validator_hotkey=validator_hotkey,
        epoch_id=epoch_id,
        data_hash=cells["data_hash"].iloc[0],
        price_sources=list(services.store.price_sources(epoch_id)[validator_hotkey]),
        received_at=cells["received_at"].iloc[0],
        weights=[
            RecordedWeight(
                miner_hotkey=cell["hotkey"],
                weight_units=cell["weight_units"],
                composite=cell["composite"],
                **{name: number(cell[name]) for name in _DRAWDOWNS},
            )
            for cell in cells.to_dict("records")
        ],
    )


@router.get(
    "/consensus/{epoch_id}",
    responses=refused(
        "unknown_epoch",
        "epoch_not_settled",
        "nothing_published",
        "tables_unavailable",
        "invalid_epoch",
    ),
)
def consensus(epoch_id: EpochId, services: Using) -> ConsensusResponse:
    """What the validators agree on for a settled epoch."""
    settled_epoch(services, services.publication(), epoch_id)
    agreed = services.table("consensus", epoch_id).sort_values(["rank", "hotkey"])
    return ConsensusResponse(
        epoch_id=epoch_id,
        n_validators=int(agreed["n_validators"].max()) if len(agreed) else 0,
        miners=[
            AgreedMiner(
                miner_hotkey=row["hotkey"],
                rank=row["rank"],
                consensus_weight=row["consensus_weight"],
                incentive=row["incentive"],
                trust=number(row["trust"]),
                performance_tier=row["tier"],
                eligible=row["eligible"],
                reason=row["reason"],
            )
            for row in agreed.to_dict("records")
        ],
    )


def _row(body: WeightsRequest) -> pd.DataFrame:
    """The vote as the store takes it; a horizon that does not exist is NaN."""
    row = pd.DataFrame([cell.model_dump() for cell in body.weights])
    numbers = dict.fromkeys(("composite", *_DRAWDOWNS), "float64")
    return row.rename(columns={"miner_hotkey": "hotkey"}).astype(numbers)
