import dataclasses
import datetime as dt
from collections.abc import Iterator

import pytest
import sr25519
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol.commit_reveal import (
    Commitment,
    Judgement,
    Reveal,
    Verdict,
    check_secret,
    commitment,
    hotkey_from_public_key,
    judge,
    keccak256,
    public_key,
    verify_signature,
)
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidCommitment, InvalidEpoch, ProtocolError
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.portfolio import portfolio_hash

EPOCH = Epoch.parse("2025-Q4-W48")
HASH = "8573465912d9d29f269d170339b4f23683e30a8077dda2d7c267475d6a13dd99"
SECRET = "0123456789abcdef" * 4
HOTKEY = "5" + "a" * 47
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

# Substrate's development account //Alice: seed, public key and address are published
ALICE_SEED = bytes.fromhex("e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a")
ALICE_KEY = bytes.fromhex("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d")
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"

POSITIONS = tuple((ticker, "0.2") for ticker in ("AAPL", "AMZN", "GOOGL", "MSFT", "NVDA"))
UNIVERSE = [ticker for ticker, _ in POSITIONS]
COMMITTED_AT = EPOCH.opens_at - dt.timedelta(hours=1)
OPENED = commitment(portfolio_hash(POSITIONS), SECRET, ALICE, EPOCH.id)
STANDING = Commitment(ALICE, EPOCH.id, OPENED, COMMITTED_AT)
REVEAL = Reveal(ALICE, EPOCH.id, OPENED, POSITIONS, SECRET)
IN_TIME = COMMITTED_AT + dt.timedelta(hours=20)


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        # The signature of ERC-20's Transfer event, as in every Ethereum log
        (
            b"Transfer(address,address,uint256)",
            "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
        ),
    ],
)
def test_keccak_is_that_of_ethereum(data: bytes, digest: str) -> None:
    assert keccak256(data).hex() == digest


def test_commitment_known_answer() -> None:
    assert (
        commitment(HASH, SECRET, HOTKEY, "2025-Q4-W48")
        == "f68ff629c7c91c00363bb2484cf2782222f084eeba72adb0a996fa8b8af262c8"
    )


def test_commitment_is_keccak_of_the_parts_in_a_row() -> None:
    text = HASH + SECRET + ALICE + "2025-Q1-W01"
    assert commitment(HASH, SECRET, ALICE, "2025-Q1-W1") == keccak256(text.encode()).hex()


def test_every_part_changes_the_commitment() -> None:
    parts = [
        (HASH, SECRET, HOTKEY, "2025-Q4-W48"),
        ("0" * 64, SECRET, HOTKEY, "2025-Q4-W48"),
        (HASH, SECRET[::-1], HOTKEY, "2025-Q4-W48"),
        (HASH, SECRET, ALICE, "2025-Q4-W48"),
        (HASH, SECRET, HOTKEY, "2025-Q4-W47"),
    ]
    assert len({commitment(*part) for part in parts}) == 5


@pytest.mark.parametrize(
    ("portfolio", "hotkey", "message"),
    [
        (HASH.upper(), HOTKEY, f"64 lower-case hex digits, not '{HASH.upper()}'"),
        (HASH[:-1], HOTKEY, "64 lower-case hex digits"),
        (HASH + "\n", HOTKEY, "64 lower-case hex digits"),
        (HASH, HOTKEY[:-1], f"48 base58 characters, not '{HOTKEY[:-1]}'"),
        (HASH, "5" + "0" * 47, "48 base58 characters"),  # base58 has no zero
        (HASH, "5" + "\u00e9" * 47, "48 base58 characters"),
    ],
)
def test_commitment_refuses_malformed_parts_by_name(
    portfolio: str, hotkey: str, message: str
) -> None:
    with pytest.raises(InvalidCommitment, match=message):
        commitment(portfolio, SECRET, hotkey, "2025-Q4-W48")


def test_commitment_refuses_an_epoch_that_does_not_exist() -> None:
    with pytest.raises(InvalidEpoch, match="not 53"):
        commitment(HASH, SECRET, HOTKEY, "2025-Q4-W53")


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("01234567" * 3 + "0123456", "at least 32 characters, not 31"),
        ("0123456" * 5, "at least 8 distinct characters, not 7"),
        ("01234567" * 4 + "\u00e9", "ASCII"),
    ],
)
def test_an_easy_secret_is_refused_without_repeating_it(secret: str, message: str) -> None:
    with pytest.raises(InvalidCommitment, match=message) as refusal:
        commitment(HASH, secret, HOTKEY, "2025-Q4-W48")
    assert secret not in str(refusal.value)


def test_a_secret_of_32_characters_with_8_distinct_ones_is_enough() -> None:
    check_secret("01234567" * 4)


def test_limits_on_secrets_follow_the_rule_set() -> None:
    strict = QUANTA.changed(security__min_secret_length=65)
    with pytest.raises(InvalidCommitment, match="at least 65 characters, not 64"):
        check_secret(SECRET, strict)
    with pytest.raises(InvalidCommitment, match="at least 17 distinct characters, not 16"):
        check_secret(SECRET, QUANTA.changed(security__min_secret_distinct=17))


def test_hotkey_of_alice() -> None:
    assert hotkey_from_public_key(ALICE_KEY) == ALICE
    assert public_key(ALICE) == ALICE_KEY


@given(st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_hotkeys_and_public_keys_are_in_bijection(key: bytes) -> None:
    hotkey = hotkey_from_public_key(key)
    assert len(hotkey) == 48
    assert public_key(hotkey) == key


@given(st.integers(0, 47), st.sampled_from(BASE58))
@settings(deadline=None)
def test_one_wrong_character_is_noticed(place: int, character: str) -> None:
    mistyped = ALICE[:place] + character + ALICE[place + 1 :]
    if mistyped != ALICE:
        with pytest.raises(InvalidCommitment, match=mistyped):
            public_key(mistyped)


@pytest.mark.parametrize(
    ("hotkey", "message"),
    [
        (ALICE[:-1] + "Z", f"the checksum of hotkey {ALICE[:-1]}Z is wrong"),
        (HOTKEY, f"{HOTKEY} has SS58 prefix 45, not 42"),
        ("1" * 48, "has SS58 prefix 0, not 42"),
        ("z" * 48, "has SS58 prefix"),
        (ALICE + "\n", "48 base58 characters"),
        ("", "48 base58 characters, not ''"),
    ],
)
def test_a_wrong_hotkey_is_refused_by_name(hotkey: str, message: str) -> None:
    with pytest.raises(InvalidCommitment, match=message):
        public_key(hotkey)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_key_has_32_bytes(size: int) -> None:
    with pytest.raises(InvalidCommitment, match=f"32 bytes, not {size}"):
        hotkey_from_public_key(bytes(size))


def test_a_signature_of_another_implementation_is_verified() -> None:
    # From the documentation of polkadot-js: //Bob signs a text
    signature = bytes.fromhex(
        "2aeaa98e26062cf65161c68c5cb7aa31ca050cb5bdd07abc80a475d2a2eebc7b"
        "7a9c9546fbdff971b29419ddd9982bf4148c81a49df550154e1674a6b58bac84"
    )
    assert verify_signature(b"This is a text message", signature, BOB)
    assert not verify_signature(b"This is a text message!", signature, BOB)
    assert not verify_signature(b"This is a text message", signature, ALICE)


def test_own_signatures_are_verified() -> None:
    pair = sr25519.pair_from_seed(ALICE_SEED)
    assert pair[0] == ALICE_KEY
    assert verify_signature(b"commit", sr25519.sign(pair, b"commit"), ALICE)


@given(st.binary(max_size=70) | st.binary(min_size=64, max_size=64))
@settings(deadline=None)
def test_random_bytes_are_no_signature(signature: bytes) -> None:
    assert not verify_signature(b"commit", signature, ALICE)


@pytest.mark.parametrize("hotkey", [HOTKEY, "", hotkey_from_public_key(b"\xff" * 32)])
def test_nobody_signs_for_a_malformed_hotkey(hotkey: str) -> None:
    signature = sr25519.sign(sr25519.pair_from_seed(ALICE_SEED), b"commit")
    assert not verify_signature(b"commit", signature, hotkey)


def verdict_on(
    reveal: Reveal,
    standing: Commitment | None = STANDING,
    received_at: dt.datetime = IN_TIME,
    *,
    already_accepted: bool = False,
) -> Judgement:
    return judge(
        reveal,
        standing,
        received_at=received_at,
        universe=UNIVERSE,
        already_accepted=already_accepted,
    )


@pytest.mark.parametrize("supplied", [None, portfolio_hash(POSITIONS)])
def test_a_reveal_that_opens_its_commitment_is_accepted(supplied: str | None) -> None:
    judgement = verdict_on(dataclasses.replace(REVEAL, portfolio_hash=supplied))
    assert (judgement.verdict, judgement.reason) == (Verdict.ACCEPTED, "")
    assert judgement.portfolio is not None
    assert judgement.portfolio.tickers == tuple(UNIVERSE)


@pytest.mark.parametrize(
    "standing",
    [
        None,
        dataclasses.replace(STANDING, hotkey=BOB),
        dataclasses.replace(STANDING, epoch_id="2025-Q4-W47"),
        dataclasses.replace(STANDING, commitment="0" * 64),
        dataclasses.replace(STANDING, received_at=EPOCH.opens_at),  # after the commit window
    ],
)
def test_a_reveal_belongs_to_the_standing_commitment(standing: Commitment | None) -> None:
    judgement = verdict_on(REVEAL, standing)
    assert judgement.verdict == Verdict.UNKNOWN_COMMITMENT
    assert judgement.reason == f"{ALICE} has no such standing commitment for 2025-Q4-W48"


def test_an_accepted_reveal_is_the_last_one() -> None:
    judgement = verdict_on(REVEAL, already_accepted=True)
    assert judgement.verdict == Verdict.ALREADY_REVEALED
    assert "has already revealed" in judgement.reason


@pytest.mark.parametrize(
    ("hours", "microseconds", "verdict"),
    [
        (14, -1, Verdict.TOO_EARLY),
        (14, 0, Verdict.ACCEPTED),
        (48, 0, Verdict.ACCEPTED),
        (48, 1, Verdict.EXPIRED),
    ],
)
def test_a_reveal_comes_after_14_and_within_48_hours(
    hours: int, microseconds: int, verdict: Verdict
) -> None:
    received = COMMITTED_AT + dt.timedelta(hours=hours, microseconds=microseconds)
    assert verdict_on(REVEAL, received_at=received).verdict == verdict


def test_an_early_commitment_waits_for_the_epoch_to_open() -> None:
    standing = dataclasses.replace(STANDING, received_at=EPOCH.opens_at - dt.timedelta(hours=24))
    second = dt.timedelta(seconds=1)
    early = verdict_on(REVEAL, standing, EPOCH.opens_at - second)
    assert early.verdict == Verdict.TOO_EARLY
    assert early.reason == (
        "received 2025-11-21T20:59:59+00:00, must be within 2025-11-21T21:00:00+00:00 "
        "and 2025-11-22T21:00:00+00:00"
    )
    assert verdict_on(REVEAL, standing, EPOCH.opens_at).verdict == Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("positions", "reason"),
    [
        (POSITIONS[:4], "a portfolio holds 5 to 30 tickers, not 4"),
        ((*POSITIONS[:4], ("TSLA", "0.2")), "outside the epoch's universe: TSLA"),
        ((*POSITIONS[:4], ("NVDA", "0.3")), "NVDA: weight 0.3 outside (0, 0.20]"),
        ((*POSITIONS[:4], ("nv da", "0.2")), "a ticker looks like AAPL or BRK.B, not 'nv da'"),
    ],
)
def test_an_invalid_portfolio_is_named(positions: tuple[tuple[str, str], ...], reason: str) -> None:
    judgement = verdict_on(dataclasses.replace(REVEAL, positions=positions))
    assert judgement == Judgement(Verdict.INVALID_PORTFOLIO, reason)


def test_what_does_not_open_the_commitment_is_a_mismatch() -> None:
    other = dataclasses.replace(REVEAL, secret=SECRET[::-1])
    assert verdict_on(other).reason == "portfolio and secret do not give the commitment"
    assert verdict_on(other).verdict == Verdict.HASH_MISMATCH


def test_another_portfolio_is_a_mismatch() -> None:
    positions = (*POSITIONS[:4], ("NVDA", "0.1999"))
    judgement = verdict_on(dataclasses.replace(REVEAL, positions=positions))
    assert judgement.verdict == Verdict.HASH_MISMATCH


def test_a_supplied_hash_that_differs_is_a_mismatch() -> None:
    judgement = verdict_on(dataclasses.replace(REVEAL, portfolio_hash=HASH))
    assert judgement.verdict == Verdict.HASH_MISMATCH
    assert judgement.reason == (
        f"the portfolio's hash is {portfolio_hash(POSITIONS)}, not the one supplied"
    )


def test_a_secret_that_breaks_the_rules_is_a_mismatch() -> None:
    judgement = verdict_on(dataclasses.replace(REVEAL, secret="short"))
    assert judgement.verdict == Verdict.HASH_MISMATCH
    assert judgement.reason == "a secret has at least 32 characters, not 5"


def test_text_outside_ascii_is_compared_too() -> None:
    text = "\u00e9" * 64
    reveal = dataclasses.replace(REVEAL, commitment=text)
    judgement = verdict_on(reveal, dataclasses.replace(STANDING, commitment=text))
    assert judgement.verdict == Verdict.HASH_MISMATCH


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ProtocolError, match="has none"):
        verdict_on(REVEAL, received_at=IN_TIME.replace(tzinfo=None))


def wrong_in_every_way() -> Iterator[tuple[Verdict, Judgement]]:
    """One mistake less each time, in the order in which mistakes are looked for."""
    reveal = dataclasses.replace(REVEAL, positions=POSITIONS[:4], secret=SECRET[::-1])
    early = COMMITTED_AT + dt.timedelta(hours=1)
    yield Verdict.UNKNOWN_COMMITMENT, verdict_on(reveal, None, early, already_accepted=True)
    yield Verdict.ALREADY_REVEALED, verdict_on(reveal, STANDING, early, already_accepted=True)
    yield Verdict.TOO_EARLY, verdict_on(reveal, STANDING, early)
    late = COMMITTED_AT + dt.timedelta(hours=49)
    yield Verdict.EXPIRED, verdict_on(reveal, STANDING, late)
    yield Verdict.INVALID_PORTFOLIO, verdict_on(reveal)
    yield Verdict.HASH_MISMATCH, verdict_on(dataclasses.replace(reveal, positions=POSITIONS))


def test_the_first_mistake_decides() -> None:
    for expected, judgement in wrong_in_every_way():
        assert judgement.verdict == expected
        assert judgement.portfolio is None
        assert judgement.reason


@given(
    positions=st.lists(st.tuples(st.text(max_size=6), st.text(max_size=8)), max_size=8).map(tuple),
    secret=st.text(max_size=70),
    supplied=st.none() | st.text(max_size=64),
)
@settings(deadline=None)
def test_whatever_is_revealed_gets_a_verdict(
    positions: tuple[tuple[str, str], ...], secret: str, supplied: str | None
) -> None:
    judgement = verdict_on(Reveal(ALICE, EPOCH.id, OPENED, positions, secret, supplied))
    assert judgement.verdict == Verdict.INVALID_PORTFOLIO
    assert (
        verdict_on(Reveal(ALICE, EPOCH.id, OPENED, POSITIONS, secret, supplied)).verdict
        == Verdict.HASH_MISMATCH
    )
