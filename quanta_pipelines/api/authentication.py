"""Who sent a request: a hotkey by its signature, the operator by the admin token.

A signature is looked at before anything is counted or stored for its hotkey. Freshness goes by the
system's clock even where a developer has set the one for windows.
"""

import datetime as dt
import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from quanta_pipelines.adapters.request_signing import (
    EPISTULA_HEADERS,
    SIGNING_HEADERS,
    MalformedSignature,
    SignedRequest,
    claimed,
)
from quanta_pipelines.adapters.signal_store import OutsideWindow
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.services import Services, Using
from quanta_pipelines.protocol.commit_reveal import verify_signature

CLOCK_SKEW_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed; ``hotkey`` is ``None`` for an unsigned request that development lets through."""

    hotkey: str | None

    def must_be(self, hotkey: str) -> None:
        """Refuses to act for a hotkey that did not sign."""
        if self.hotkey not in (None, hotkey):
            raise Problem("not_the_signer", f"{self.hotkey} signed, the request is for {hotkey}")


async def raw_body(request: Request) -> bytes:
    """The body as it was sent; none where none was announced, also when its sender is gone."""
    announced = "content-length" in request.headers or "transfer-encoding" in request.headers
    return await request.body() if announced else b""


def optional_caller(
    request: Request, body: Annotated[bytes, Depends(raw_body)], services: Using
) -> Caller | None:
    """Who signed, ``None`` where nobody did; a signature that is there must be right."""
    claim = _claim(request, body)
    if claim is None:
        return None
    _check_signature(claim, services)
    services.limits.check_hotkey(claim.hotkey)
    _check_once(claim, services)
    request.state.hotkey = claim.hotkey
    return Caller(claim.hotkey)


def caller(services: Using, found: Annotated[Caller | None, Depends(optional_caller)]) -> Caller:
    """Who signed; unsigned requests pass only where development allows them."""
    if found is not None:
        return found
    if services.settings.allow_unsigned:
        return Caller(None)
    raise Problem("not_signed", "the headers Quanta-Hotkey, -Timestamp, -Nonce, -Signature are due")


def admin(request: Request, services: Using) -> None:
    """Lets the operator through; compares in constant time."""
    token = services.settings.admin_token.get_secret_value()
    if not token:
        raise Problem("admin_disabled", "QUANTA_ADMIN_TOKEN is not set")
    given = _bearer(request)
    digests = (hashlib.sha256(text.encode()).digest() for text in (given, token))
    if not hmac.compare_digest(*digests):
        challenge = {"WWW-Authenticate": "Bearer"}
        raise Problem("not_admin", "Authorization: Bearer and the admin token", headers=challenge)


def _bearer(request: Request) -> str:
    """The token of the one header Authorization, empty where there is none or more than one."""
    sent = request.headers.getlist("Authorization")
    scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
    return token if scheme.lower() == "bearer" else ""


Signer = Annotated[Caller, Depends(caller)]
MaybeSigner = Annotated[Caller | None, Depends(optional_caller)]
Admin = Depends(admin)


def _claim(request: Request, body: bytes) -> SignedRequest | None:
    path = request.scope.get("raw_path") or request.scope["path"].encode()
    query = request.scope["query_string"]
    target = (path + b"?" + query if query else path).decode("latin-1")
    for name in (*SIGNING_HEADERS, *EPISTULA_HEADERS):
        if len(request.headers.getlist(name)) > 1:  # a proxy may look at another one
            raise Problem("malformed_signature", f"the header {name} stands there more than once")
    try:
        return claimed(request.headers, method=request.method, target=target, body=body)
    except MalformedSignature as error:
        raise Problem("malformed_signature", str(error)) from error


def _check_signature(claim: SignedRequest, services: Services) -> None:
    skew = abs(dt.datetime.now(dt.UTC).timestamp() - claim.timestamp)
    if skew > CLOCK_SKEW_SECONDS:
        raise _stale(skew)
    own = services.settings.validator_hotkey
    if claim.scheme == "epistula" and claim.signed_for != own:
        raise Problem("signed_for_another", f"Epistula-Signed-For is this service's hotkey {own}")
    if not verify_signature(claim.text, claim.signature, claim.hotkey):
        raise Problem("bad_signature", f"the signature is not one of {claim.hotkey[:64]!r}")


def _check_once(claim: SignedRequest, services: Services) -> None:
    """Uses up the nonce; only after the signature, so that nobody can use up another's."""
    signed_at = dt.datetime.fromtimestamp(claim.timestamp, dt.UTC)
    try:
        services.store.use_nonce(claim.hotkey, claim.nonce, signed_at, dt.datetime.now(dt.UTC))
    except OutsideWindow as late:
        raise Problem("stale_timestamp", str(late)) from late


def _stale(skew: float) -> Problem:
    return Problem(
        "stale_timestamp",
        f"the timestamp may be {CLOCK_SKEW_SECONDS} s off, this one is {skew:.0f} s off",
    )
