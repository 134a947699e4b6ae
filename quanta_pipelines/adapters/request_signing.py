"""How an HTTP request says which hotkey sent it: the text that is signed, and its headers.

Both ends use this module, so that they cannot differ. Whether a request is fresh and comes once is
decided by the service. Epistula, the convention of other subnets, signs the body but neither the
method nor the path.
"""

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

HOTKEY, TIMESTAMP, NONCE, SIGNATURE = (
    "Quanta-Hotkey",
    "Quanta-Timestamp",
    "Quanta-Nonce",
    "Quanta-Signature",
)
SIGNING_HEADERS = (HOTKEY, TIMESTAMP, NONCE, SIGNATURE)
EPISTULA_HEADERS = (
    "Epistula-Version",
    "Epistula-Timestamp",
    "Epistula-Uuid",
    "Epistula-Signed-By",
    "Epistula-Signed-For",
    "Epistula-Request-Signature",
)
DOMAIN = "quanta-request-v1"  # no signature over another kind of text can be taken for this one

_NONCE = re.compile("[A-Za-z0-9_-]{16,64}")
_SECONDS, _MILLISECONDS = re.compile("[0-9]{1,12}"), re.compile("[0-9]{1,15}")
_SIGNATURE = re.compile("(0x)?([0-9a-fA-F]{128})")
_UUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class MalformedSignature(ValueError):
    """Signing headers that are incomplete or cannot be read."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What the headers claim: who signed which text when, to be verified."""

    hotkey: str
    timestamp: float  # seconds since 1970
    nonce: str
    text: bytes
    signature: bytes
    signed_for: str = ""
    scheme: Literal["quanta", "epistula"] = "quanta"


def signed_text(method: str, target: str, body: bytes, timestamp: str, nonce: str) -> bytes:
    """The six lines that are signed; ``target`` is path and query exactly as sent."""
    digest = hashlib.sha256(body).hexdigest()
    return "\n".join((DOMAIN, method, target, digest, timestamp, nonce)).encode()


def epistula_text(body: bytes, uuid: str, timestamp: str, signed_for: str) -> bytes:
    """What version 2 of Epistula signs."""
    return f"{hashlib.sha256(body).hexdigest()}.{uuid}.{timestamp}.{signed_for}".encode()


def signing_headers(
    *,
    hotkey: str,
    sign: Callable[[bytes], bytes],
    method: str,
    target: str,
    body: bytes,
    timestamp: int,
    nonce: str | None = None,
) -> dict[str, str]:
    """Headers that sign a request; a nonce is drawn where none is given."""
    once = nonce or secrets.token_urlsafe(24)
    text = signed_text(method, target, body, str(timestamp), once)
    values = (hotkey, str(timestamp), once, sign(text).hex())
    return dict(zip(SIGNING_HEADERS, values, strict=True))


def claimed(
    headers: Mapping[str, str], *, method: str, target: str, body: bytes
) -> SignedRequest | None:
    """What a request's headers claim, ``None`` without any signing header.

    Raises ``MalformedSignature`` that names the header.
    """
    if any(name in headers for name in SIGNING_HEADERS):
        return _own(headers, method, target, body)
    if "Epistula-Request-Signature" in headers:
        return _epistula(headers, body)
    return None


def _own(headers: Mapping[str, str], method: str, target: str, body: bytes) -> SignedRequest:
    timestamp = _read(headers, TIMESTAMP, _SECONDS, "whole seconds since 1970")
    nonce = _read(headers, NONCE, _NONCE, "16 to 64 characters of A-Z a-z 0-9 _ -")
    return SignedRequest(
        hotkey=_present(headers, HOTKEY),
        timestamp=int(timestamp),
        nonce=nonce,
        text=signed_text(method, target, body, timestamp, nonce),
        signature=_signature(headers, SIGNATURE),
    )


def _epistula(headers: Mapping[str, str], body: bytes) -> SignedRequest:
    if headers.get("Epistula-Version", "2") != "2":
        raise MalformedSignature("Epistula-Version is 2")
    timestamp = _read(headers, "Epistula-Timestamp", _MILLISECONDS, "milliseconds since 1970")
    uuid = _read(headers, "Epistula-Uuid", _UUID, "a UUID")
    signed_for = headers.get("Epistula-Signed-For", "")
    return SignedRequest(
        hotkey=_present(headers, "Epistula-Signed-By"),
        timestamp=int(timestamp) / 1000,
        nonce=uuid.lower(),
        text=epistula_text(body, uuid, timestamp, signed_for),
        signature=_signature(headers, "Epistula-Request-Signature"),
        signed_for=signed_for,
        scheme="epistula",
    )


def _present(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise MalformedSignature(f"the header {name} is missing")
    return value


def _read(headers: Mapping[str, str], name: str, form: re.Pattern[str], meaning: str) -> str:
    value = _present(headers, name)
    if form.fullmatch(value) is None:
        raise MalformedSignature(f"{name} is {meaning}, not {value[:80]!r}")
    return value


def _signature(headers: Mapping[str, str], name: str) -> bytes:
    match = _SIGNATURE.fullmatch(_present(headers, name))
    if match is None:
        raise MalformedSignature(f"{name} is 128 hex digits")
    return bytes.fromhex(match[2])
