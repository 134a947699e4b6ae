"""Commit and reveal: how a portfolio is hidden, who signed it, and what a reveal is worth.

The limits on the portfolio itself live in ``portfolio``, the windows in ``epoch``. Storing
commitments, and replacing one by a newer one, is the intake's business.
"""

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import sr25519
from Crypto.Hash import keccak

from quanta_pipelines.protocol.epoch import Epoch, commit_window, reveal_window_of
from quanta_pipelines.protocol.errors import InvalidCommitment, InvalidPortfolio
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.portfolio import Portfolio, parse_portfolio

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_HOTKEY = re.compile(f"[{_BASE58}]{{48}}")
_HEX64 = re.compile("[0-9a-f]{64}")
_SS58_PREFIX = 42  # generic Substrate, which Bittensor uses


class Verdict(StrEnum):
    """What the intake decides about a reveal; only an accepted one uses the reveal up."""

    ACCEPTED = "accepted"
    TOO_EARLY = "too_early"
    EXPIRED = "expired"
    HASH_MISMATCH = "hash_mismatch"
    UNKNOWN_COMMITMENT = "unknown_commitment"
    ALREADY_REVEALED = "already_revealed"
    INVALID_PORTFOLIO = "invalid_portfolio"


@dataclass(frozen=True, slots=True)
class Commitment:
    """A commitment as the intake received it."""

    hotkey: str
    epoch_id: str
    commitment: str
    received_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Reveal:
    """A claim to open a commitment: tickers with weights as text, and the secret."""

    hotkey: str
    epoch_id: str
    commitment: str
    positions: tuple[tuple[str, str], ...]
    secret: str
    portfolio_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reason, empty when accepted, and the portfolio then accepted."""

    verdict: Verdict
    reason: str = ""
    portfolio: Portfolio | None = None


def keccak256(data: bytes) -> bytes:
    """Keccak-256 as Ethereum has it; SHA3-256 pads differently."""
    return keccak.new(digest_bits=256, data=data).digest()


def commitment(
    portfolio_hash: str,
    secret: str,
    hotkey: str,
    epoch_id: str,
    *,
    params: ProtocolParams = QUANTA,
) -> str:
    """Keccak-256 of hash, secret, hotkey and epoch, as 64 hex digits.

    All parts but the secret have a fixed length, so no two inputs read alike. The hotkey's
    checksum is not looked at here, but by ``public_key``.
    """
    if _HEX64.fullmatch(portfolio_hash) is None:
        raise InvalidCommitment(
            f"a portfolio's hash is 64 lower-case hex digits, not {portfolio_hash!r}"
        )
    if _HOTKEY.fullmatch(hotkey) is None:
        raise InvalidCommitment(f"a hotkey is 48 base58 characters, not {hotkey!r}")
    check_secret(secret, params)
    text = portfolio_hash + secret + hotkey + Epoch.parse(epoch_id).id
    return keccak256(text.encode("ascii")).hex()


def check_secret(secret: str, params: ProtocolParams = QUANTA) -> None:
    """Refuses a secret that is too easy to guess; no message repeats it."""
    least, distinct = params.security.min_secret_length, params.security.min_secret_distinct
    if not secret.isascii():
        raise InvalidCommitment("a secret is ASCII text")
    if len(secret) < least:
        raise InvalidCommitment(f"a secret has at least {least} characters, not {len(secret)}")
    if len(set(secret)) < distinct:
        raise InvalidCommitment(
            f"a secret has at least {distinct} distinct characters, not {len(set(secret))}"
        )


def hotkey_from_public_key(key: bytes) -> str:
    """SS58 address of a 32-byte public key."""
    if len(key) != 32:
        raise InvalidCommitment(f"a public key has 32 bytes, not {len(key)}")
    number = int.from_bytes(_with_checksum(key), "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return digits


def public_key(hotkey: str) -> bytes:
    """Public key of an SS58 address whose prefix and checksum are right."""
    if _HOTKEY.fullmatch(hotkey) is None:
        raise InvalidCommitment(f"a hotkey is 48 base58 characters, not {hotkey!r}")
    number = 0
    for character in hotkey:
        number = number * 58 + _BASE58.index(character)
    prefix, rest = divmod(number, 1 << 8 * 34)
    if prefix != _SS58_PREFIX:
        raise InvalidCommitment(f"{hotkey} has SS58 prefix {prefix}, not {_SS58_PREFIX}")
    key = rest.to_bytes(34, "big")[:32]
    if number != int.from_bytes(_with_checksum(key), "big"):
        raise InvalidCommitment(f"the checksum of hotkey {hotkey} is wrong")
    return key


def _with_checksum(key: bytes) -> bytes:
    """Prefix, key and the two bytes that guard against typing errors."""
    body = bytes([_SS58_PREFIX]) + key
    return body + hashlib.blake2b(b"SS58PRE" + body).digest()[:2]


def verify_signature(message: bytes, signature: bytes, hotkey: str) -> bool:
    """Whether the hotkey's owner signed the message (sr25519, context ``substrate``)."""
    try:
        return bool(sr25519.verify(signature, message, public_key(hotkey)))
    except ValueError:  # a hotkey, key or signature that is malformed; InvalidCommitment is one
        return False


def judge(
    reveal: Reveal,
    standing: Commitment | None,
    *,
    received_at: dt.datetime,
    universe: Collection[str],
    already_accepted: bool,
    params: ProtocolParams = QUANTA,
) -> Judgement:
    """Verdict on a reveal, given the miner's standing commitment for the epoch.

    ``received_at`` is the intake's clock; ``already_accepted`` says whether an earlier reveal of
    this miner and epoch was.
    """
    if standing is None or not _opens(reveal, standing, params):
        reason = f"{reveal.hotkey} has no such standing commitment for {reveal.epoch_id}"
        return Judgement(Verdict.UNKNOWN_COMMITMENT, reason)
    if already_accepted:
        reason = f"{reveal.hotkey} has already revealed its portfolio for {reveal.epoch_id}"
        return Judgement(Verdict.ALREADY_REVEALED, reason)
    epoch = Epoch.parse(standing.epoch_id)
    window = reveal_window_of(standing.received_at, epoch, params)
    if not window.contains(received_at):
        verdict = Verdict.TOO_EARLY if received_at < window.opens else Verdict.EXPIRED
        reason = f"received {_text(received_at)}, must be within {_text(window.opens)} and "
        return Judgement(verdict, reason + _text(window.closes))
    return _judge_content(reveal, standing, universe, params)


def _opens(reveal: Reveal, standing: Commitment, params: ProtocolParams) -> bool:
    """Whether the reveal names this commitment, and it was received in time to count."""
    named = (reveal.hotkey, reveal.epoch_id, reveal.commitment)
    if named != (standing.hotkey, standing.epoch_id, standing.commitment):
        return False
    window = commit_window(Epoch.parse(standing.epoch_id), params)
    return window.contains(standing.received_at)


def _judge_content(
    reveal: Reveal, standing: Commitment, universe: Collection[str], params: ProtocolParams
) -> Judgement:
    try:
        portfolio = parse_portfolio(reveal.positions, universe=universe, params=params)
    except InvalidPortfolio as refusal:
        return Judgement(Verdict.INVALID_PORTFOLIO, str(refusal))
    if reveal.portfolio_hash not in (None, portfolio.hash):
        reason = f"the portfolio's hash is {portfolio.hash}, not the one supplied"
        return Judgement(Verdict.HASH_MISMATCH, reason)
    try:
        computed = commitment(
            portfolio.hash, reveal.secret, reveal.hotkey, reveal.epoch_id, params=params
        )
    except InvalidCommitment as refusal:
        return Judgement(Verdict.HASH_MISMATCH, str(refusal))
    # Bytes, because text outside ASCII may not be compared in constant time
    if not hmac.compare_digest(computed.encode(), standing.commitment.encode()):
        return Judgement(Verdict.HASH_MISMATCH, "portfolio and secret do not give the commitment")
    return Judgement(Verdict.ACCEPTED, portfolio=portfolio)


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds")
