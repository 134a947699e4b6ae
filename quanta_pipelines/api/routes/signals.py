"""Commitments, reveals and what became of them."""

import datetime as dt
import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from fastapi import APIRouter

from quanta_pipelines.adapters.signal_store import (
    ContradictsRecord,
    NotRecorded,
    SignalState,
    SignalStatus,
)
from quanta_pipelines.api.authentication import Signer
from quanta_pipelines.api.direct_submission import submit_directly
from quanta_pipelines.api.documents import ON_BODIES, ON_SIGNED, SIGNED, refused
from quanta_pipelines.api.fields import EpochId, Hotkey, decimal_sum, tokens
from quanta_pipelines.api.problems import VERDICT_CODES, Problem
from quanta_pipelines.api.requests import CommitRequest, Position, RevealRequest, SubmitRequest
from quanta_pipelines.api.responses import (
    CommitResponse,
    RevealResponse,
    RevealVerdict,
    SignalResponse,
    SubmitResponse,
)
from quanta_pipelines.api.services import Services, Using
from quanta_pipelines.protocol.commit_reveal import Judgement, Reveal, Verdict
from quanta_pipelines.protocol.epoch import Epoch, settles_at
from quanta_pipelines.protocol.params import ProtocolParams
from quanta_pipelines.protocol.portfolio import ante_rao

router = APIRouter(prefix="/v1/signals", tags=["Signals"])

ON_WRITES = (*ON_SIGNED, *ON_BODIES, "not_signed", "not_the_signer", "invalid_epoch")


@router.post(
    "/commit",
    openapi_extra=SIGNED,
    responses=refused(
        *ON_WRITES,
        "invalid_commitment_length",
        "ante_below_minimum",
        "invalid_commitment",
        "window_closed",
        "contradicts_record",
        "replaced",
        "already_revealed",
    ),
)
def commit(body: CommitRequest, signer: Signer, services: Using) -> CommitResponse:
    """Take a commitment; a newer one replaces it until the window closes."""
    signer.must_be(body.miner_hotkey)
    _check_length(body.commitment)
    _check_minimum(body.ante_amount, services.params)
    epoch, now = Epoch.parse(body.epoch_id), services.now()
    with _named(services, body, now):
        receipt = services.store.commit(
            body.miner_hotkey, epoch, body.commitment, body.ante_amount, received_at=now
        )
    services.monitoring.commitments.inc()
    life = dt.timedelta(hours=services.params.consensus.commitment_expiry_hours)
    ante = ante_rao(body.ante_amount, services.params)
    return CommitResponse(
        commitment=body.commitment,
        epoch_id=epoch.id,
        received_at=receipt.expires_at - life,
        reveal_window_starts=receipt.revealable_from,
        expires_at=receipt.expires_at,
        replaced=receipt.replaced,
        ante=tokens(ante),
        ante_rao=str(ante),
    )


@router.post(
    "/reveal",
    openapi_extra=SIGNED,
    responses=refused(*ON_WRITES, *VERDICT_CODES.values(), "epoch_not_ready"),
)
def reveal(body: RevealRequest, signer: Signer, services: Using) -> RevealResponse:
    """Open a commitment; every attempt is recorded with its verdict."""
    signal = body.signal
    signer.must_be(signal.miner_hotkey)
    epoch, now = Epoch.parse(signal.epoch_id), services.now()
    claim = Reveal(
        hotkey=signal.miner_hotkey,
        epoch_id=epoch.id,
        commitment=body.commitment,
        positions=tuple((held.ticker, held.weight) for held in signal.positions),
        secret=body.secret,
        portfolio_hash=signal.portfolio_hash,
    )
    with prepared():
        judgement = services.store.reveal(claim, received_at=now)
    services.monitoring.reveals.labels(judgement.verdict.value).inc()
    if judgement.portfolio is None:
        raise _refusal(judgement, services.store.signal_status(claim.hotkey, epoch, at=now), now)
    return RevealResponse(
        signal_id=signal_id(epoch.id, claim.hotkey),
        epoch_id=epoch.id,
        portfolio_hash=judgement.portfolio.hash,
        scoring_scheduled=True,
        scored_after=settles_at(epoch, services.params),
    )


@router.post(
    "/submit",
    openapi_extra=SIGNED,
    responses=refused(
        *ON_WRITES,
        "not_in_production",
        "weights_do_not_sum",
        "ante_below_minimum",
        "invalid_portfolio",
        "invalid_commitment",
        "contradicts_record",
        "already_revealed",
        "epoch_not_ready",
    ),
)
def submit(body: SubmitRequest, signer: Signer, services: Using) -> SubmitResponse:
    """Commit and reveal in one step, whatever the time: for development, refused in production."""
    if services.settings.production:
        raise Problem("not_in_production", "commit and reveal instead")
    signer.must_be(body.miner_hotkey)
    _check_sum(body.positions, services.params)
    _check_minimum(body.ante_amount, services.params)
    epoch = Epoch.parse(body.epoch_id)
    with prepared():
        submit_directly(services, epoch, body)
    return SubmitResponse(signal_id=signal_id(epoch.id, body.miner_hotkey), epoch_id=epoch.id)


@router.get(
    "/{epoch_id}/{miner_hotkey}",
    openapi_extra=SIGNED,
    responses=refused(
        *ON_SIGNED, "not_signed", "not_the_signer", "unknown_commitment", "invalid_epoch"
    ),
)
def own_signal(
    epoch_id: EpochId, miner_hotkey: Hotkey, signer: Signer, services: Using
) -> SignalResponse:
    """Your own commitment for an epoch, its escrow, and the verdict on each reveal."""
    signer.must_be(miner_hotkey)
    status = services.store.signal_status(miner_hotkey, Epoch.parse(epoch_id), at=services.now())
    if status.state is SignalState.ABSENT:
        raise Problem("unknown_commitment", f"{miner_hotkey} has no commitment for {epoch_id}")
    reveals = services.store.reveals(epoch_id)
    return SignalResponse(
        signal_id=signal_id(epoch_id, miner_hotkey),
        miner_hotkey=miner_hotkey,
        epoch_id=epoch_id,
        state=status.state.value,
        commitment=status.commitment,
        committed_at=status.committed_at,
        reveal_window_starts=status.revealable_from,
        expires_at=status.expires_at,
        replaced=status.replaced,
        ante=tokens(status.ante_rao),
        ante_rao=str(status.ante_rao),
        escrow=tokens(status.escrow_rao),
        escrow_rao=str(status.escrow_rao),
        reveals=[
            RevealVerdict(
                commitment=row["commitment"],
                received_at=row["received_at"],
                verdict=row["verdict"],
                reason=row["reason"],
            )
            for row in reveals[reveals["hotkey"] == miner_hotkey].to_dict("records")
        ],
    )


def signal_id(epoch_id: str, hotkey: str) -> str:
    """Name of a miner's signal for an epoch: a UUID of version 5, the same everywhere."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:quanta:signal:{epoch_id}:{hotkey}"))


@contextmanager
def prepared() -> Iterator[None]:
    """An epoch whose universe or snapshot is not recorded yet is not ready: ask again later."""
    try:
        yield
    except NotRecorded as absent:
        raise Problem("epoch_not_ready", str(absent)) from absent


@contextmanager
def _named(services: Services, body: CommitRequest, now: dt.datetime) -> Iterator[None]:
    """Says which of the reasons stood against a commitment."""
    try:
        yield
    except ContradictsRecord as error:
        epoch = Epoch.parse(body.epoch_id)
        status = services.store.signal_status(body.miner_hotkey, epoch, at=now)
        code = "contradicts_record"
        if status.state is SignalState.REVEALED:
            code = "already_revealed"
        elif status.commitment != body.commitment:
            code = "replaced"
        raise Problem(code, str(error)) from error


def _refusal(judgement: Judgement, status: SignalStatus, now: dt.datetime) -> Problem:
    headers = {}
    if judgement.verdict is Verdict.TOO_EARLY and status.revealable_from is not None:
        wait = math.ceil((status.revealable_from - now).total_seconds())
        headers = {"Retry-After": str(max(1, wait))}
    return Problem(VERDICT_CODES[judgement.verdict], judgement.reason, headers=headers)


def _check_length(commitment: str) -> None:
    if len(commitment) != 64:
        raise Problem(
            "invalid_commitment_length",
            f"Invalid commitment hash length: 64 hex digits, not {len(commitment)}",
        )


def _check_minimum(amount: str, params: ProtocolParams) -> None:
    least = params.tokenomics.minimum_ante
    if Decimal(amount) < least:
        raise Problem("ante_below_minimum", f"Minimum ante is {least:.1f}, not {amount}")


def _check_sum(positions: list[Position], params: ProtocolParams) -> None:
    total = decimal_sum([held.weight for held in positions])
    if abs(total - 1) > params.epoch.weight_sum_tolerance:
        raise Problem("weights_do_not_sum", f"Weights must sum to 1.0, got {total}")
