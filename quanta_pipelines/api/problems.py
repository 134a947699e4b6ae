"""Errors as the service answers them: problem+json (RFC 9457) with a code that clients switch on.

Domain errors are raised where they arise and become problems here, once. A text from outside is
repeated in ASCII escapes, never a secret.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import duckdb
from fastapi.exceptions import RequestValidationError
from pyarrow import ArrowInvalid
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import MissingTable
from quanta_pipelines.adapters.published_marts import NothingPublished, OutdatedMarts
from quanta_pipelines.adapters.signal_store import (
    ContradictsRecord,
    NotPermitted,
    NotRecorded,
    OutsideWindow,
    ReplayedNonce,
    StoreUnavailable,
)
from quanta_pipelines.protocol.commit_reveal import Verdict
from quanta_pipelines.protocol.errors import (
    InvalidCommitment,
    InvalidCorrection,
    InvalidEpoch,
    InvalidPortfolio,
    InvalidWeights,
    ProtocolError,
    UnknownSessions,
)

RETRY_TABLES_SECONDS = 5
MEDIA_TYPE = "application/problem+json"

CODES: dict[str, tuple[int, str]] = {
    "malformed_request": (400, "The request cannot be read"),
    "invalid_commitment_length": (400, "A commitment has another length"),
    "ante_below_minimum": (400, "The ante is below the minimum"),
    "weights_do_not_sum": (400, "Weights do not sum to one"),
    "hash_mismatch": (400, "The reveal does not open the commitment"),
    "not_signed": (401, "The request is not signed"),
    "malformed_signature": (401, "The signing headers cannot be read"),
    "bad_signature": (401, "The signature is not of this request"),
    "stale_timestamp": (401, "The timestamp is too far from the service's clock"),
    "signed_for_another": (401, "The request was signed for another receiver"),
    "not_admin": (401, "The admin token is missing or wrong"),
    "not_the_signer": (403, "The signer may not act for another hotkey"),
    "not_permitted": (403, "The hotkey has no right to this"),
    "not_in_production": (403, "Refused in production"),
    "admin_disabled": (403, "This deployment has no admin token"),
    "no_such_route": (404, "There is no such route"),
    "unknown_commitment": (404, "There is no such standing commitment"),
    "unknown_epoch": (404, "Nothing is known of the epoch"),
    "unknown_miner": (404, "Nothing is known of the miner"),
    "not_recorded": (404, "The record does not exist"),
    "unknown_pool": (404, "There is no such pool"),
    "not_explained": (404, "There is no current explanation of the epoch"),
    "nothing_published": (404, "No mart has been published yet"),
    "method_not_allowed": (405, "The route has no such method"),
    "request_timeout": (408, "The body did not arrive in time"),
    "replayed_nonce": (409, "The nonce was used before"),
    "contradicts_record": (409, "Something else is already recorded"),
    "replaced": (409, "A newer commitment stands"),
    "already_revealed": (409, "The portfolio has already been revealed"),
    "window_closed": (409, "It is not the time for this"),
    "epoch_not_ready": (409, "The epoch is not prepared for this"),
    "epoch_not_settled": (409, "The epoch is not settled yet"),
    "expired": (410, "The commitment has expired"),
    "body_too_large": (413, "The body is too large"),
    "invalid_request": (422, "The request breaks its schema"),
    "invalid_epoch": (422, "There is no such epoch"),
    "invalid_portfolio": (422, "The portfolio breaks a limit"),
    "invalid_commitment": (422, "The commitment breaks a limit"),
    "invalid_weights": (422, "The vote breaks a limit"),
    "invalid_correction": (422, "The correction breaks a limit"),
    "too_early": (425, "It is too early to reveal"),
    "rate_limited": (429, "Too many requests"),
    "internal_error": (500, "The service failed"),
    "tables_unavailable": (503, "The published tables cannot be read"),
    "store_unavailable": (503, "The signal store cannot be reached"),
}
"""Every code with its status and title; docs/api.md and the OpenAPI document list them."""

VERDICT_CODES = {
    Verdict.TOO_EARLY: "too_early",
    Verdict.EXPIRED: "expired",
    Verdict.HASH_MISMATCH: "hash_mismatch",
    Verdict.UNKNOWN_COMMITMENT: "unknown_commitment",
    Verdict.ALREADY_REVEALED: "already_revealed",
    Verdict.INVALID_PORTFOLIO: "invalid_portfolio",
}

_DOMAIN: tuple[tuple[type[Exception], str], ...] = (  # the first that fits
    (ReplayedNonce, "replayed_nonce"),
    (OutsideWindow, "window_closed"),
    (NotRecorded, "not_recorded"),
    (NotPermitted, "not_permitted"),
    (ContradictsRecord, "contradicts_record"),
    (UnknownSessions, "invalid_epoch"),
    (InvalidEpoch, "invalid_epoch"),
    (InvalidPortfolio, "invalid_portfolio"),
    (InvalidCommitment, "invalid_commitment"),
    (InvalidWeights, "invalid_weights"),
    (InvalidCorrection, "invalid_correction"),
    (ProtocolError, "invalid_request"),
    (NothingPublished, "nothing_published"),
    (MissingTable, "epoch_not_settled"),
    (GateNotPassed, "epoch_not_settled"),
)
_HTTP = {404: "no_such_route", 405: "method_not_allowed", 413: "body_too_large"}


class Problem(Exception):
    """An answer that is no success; ``code`` is one of ``CODES``."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = list(errors)

    @property
    def status(self) -> int:
        """The HTTP status that belongs to the code."""
        return CODES[self.code][0]

    def response(self, request_id: str) -> Response:
        """The problem as bytes; ASCII, whatever was sent."""
        document: dict[str, Any] = {
            "type": f"urn:quanta:problem:{self.code}",
            "title": CODES[self.code][1],
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "instance": f"urn:quanta:request:{request_id}",
        }
        if self.errors:
            document["errors"] = self.errors
        headers = dict(self.headers)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers.setdefault("WWW-Authenticate", "Quanta-Signature")
        return Response(json.dumps(document), self.status, headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """The problem that an error is; raises ``TypeError`` for one that is none."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, StoreUnavailable):
        wait = {"Retry-After": str(error.retry_after_seconds)}
        return Problem("store_unavailable", str(error), headers=wait)
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        code = _HTTP.get(error.status_code, "malformed_request")
        return Problem(code, str(error.detail), headers=error.headers)
    if isinstance(error, OutdatedMarts | OSError | duckdb.IOException | ArrowInvalid):
        # not the text of the others, which may hold addresses and keys of a bucket
        detail = str(error) if isinstance(error, OutdatedMarts) else type(error).__name__
        wait = {"Retry-After": str(RETRY_TABLES_SECONDS)}
        return Problem("tables_unavailable", detail, headers=wait)
    for kind, code in _DOMAIN:
        if isinstance(error, kind):
            return Problem(code, str(error))
    raise TypeError(f"{type(error).__name__} is no problem of a caller")


HANDLED: tuple[type[Exception], ...] = (
    Problem,
    StoreUnavailable,
    RequestValidationError,
    HTTPException,
    ProtocolError,
    NothingPublished,
    OutdatedMarts,
    MissingTable,
    GateNotPassed,
    OSError,
    duckdb.IOException,
    ArrowInvalid,
)


async def answer(request: Request, error: Exception) -> Response:
    """The exception handler of the whole service."""
    return problem_of(error).response(request.state.request_id)


def _invalid(error: RequestValidationError) -> Problem:
    found = list(error.errors())
    if any(each["type"] == "json_invalid" for each in found):
        return Problem("malformed_request", "the body is no JSON document")
    errors = [
        {"pointer": "/" + "/".join(map(str, each["loc"])), "message": str(each["msg"])}
        for each in found
    ]
    first = errors[0]
    detail = f"{first['pointer']}: {first['message']}"
    return Problem("invalid_request", detail, errors=errors[:20])
