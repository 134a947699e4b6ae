"""Whose request it is: what a signature covers, and everything that is no signature."""

import hashlib
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from quanta_pipelines.adapters.request_signing import epistula_text, signed_text
from quanta_pipelines.api import RefusedSettings, create_app
from quanta_pipelines.settings import DEVELOPMENT_HOTKEY
from tests.api.conftest import (
    ADMIN_TOKEN,
    HOUR,
    OPENS,
    W48,
    Service,
    commit_body,
    key,
    refused,
    serving,
    settings,
)

COMMIT = "/v1/signals/commit"
Spoil = Callable[[dict[str, Any]], None]


def test_the_signed_text_is_six_lines() -> None:
    # sha256 of nothing starts with e3b0c442
    text = signed_text("GET", "/v1/a?b=c", b"", "1564142400", "nonce-of-16-chars")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert text.decode().split("\n") == [
        "quanta-request-v1",
        "GET",
        "/v1/a?b=c",
        empty,
        "1564142400",
        "nonce-of-16-chars",
    ]


def test_a_signed_commitment_is_taken(service: Service) -> None:
    pair = key("signed")
    service.at(OPENS - HOUR)
    assert service.signed(pair, "POST", COMMIT, commit_body(pair)).status_code == 200


def test_nothing_is_taken_unsigned(service: Service) -> None:
    service.at(OPENS - HOUR)
    problem = refused(service.post(COMMIT, commit_body(key("unsigned"))), 401, "not_signed")
    assert "Quanta-Hotkey" in problem["detail"]


def _header(name: str, value: str) -> Spoil:
    return lambda sent: sent["headers"].update({name: value})


def _body(sent: dict[str, Any]) -> None:
    sent["data"] = sent["data"].replace(b'"50"', b'"51"')


def _target(sent: dict[str, Any]) -> None:
    sent["target"] += "?a=b"


def _later(sent: dict[str, Any]) -> None:
    sent["headers"]["Quanta-Timestamp"] = str(int(sent["headers"]["Quanta-Timestamp"]) + 1)


def _one_byte(sent: dict[str, Any]) -> None:
    signature = sent["headers"]["Quanta-Signature"]
    sent["headers"]["Quanta-Signature"] = ("1" if signature[0] != "1" else "2") + signature[1:]


@pytest.mark.parametrize(
    "spoil",
    [
        _body,
        _target,
        _one_byte,
        _later,
        _header("Quanta-Nonce", "another-nonce-of-some-length"),
        _header("Quanta-Hotkey", key("someone else").hotkey),
        _header("Quanta-Hotkey", "5" + "a" * 47),
    ],
    ids=["body", "query", "signature", "timestamp", "nonce", "hotkey", "checksum"],
)
def test_a_tampered_request_is_refused(service: Service, spoil: Spoil) -> None:
    pair = key("tampered")
    service.at(OPENS - HOUR)
    answer = service.signed(pair, "POST", COMMIT, commit_body(pair), spoil)
    refused(answer, 401, "bad_signature")
    assert service.store.signal_status(pair.hotkey, W48, at=OPENS).state.value == "absent"


def test_a_signature_does_not_carry_over_to_another_route(service: Service) -> None:
    pair = key("moved")

    def elsewhere(sent: dict[str, Any]) -> None:
        sent["target"] = "/v1/signals/submit"

    answer = service.signed(pair, "POST", COMMIT, commit_body(pair), elsewhere)
    refused(answer, 401, "bad_signature")


def test_a_signature_does_not_carry_over_to_another_method(service: Service) -> None:
    pair = key("method")
    target = f"/v1/pools/{key('operator').hotkey}/members/{pair.hotkey}"

    def get(sent: dict[str, Any]) -> None:
        sent["method"] = "DELETE"

    refused(service.signed(pair, "GET", target, None, get), 401, "bad_signature")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Quanta-Timestamp", "yesterday"),
        ("Quanta-Timestamp", "1e9"),
        ("Quanta-Nonce", "short"),
        ("Quanta-Nonce", "with spaces in it, so it is refused"),
        ("Quanta-Signature", "zz"),
        ("Quanta-Signature", "0x" + "ab" * 63),
    ],
)
def test_headers_that_cannot_be_read(service: Service, name: str, value: str) -> None:
    pair = key("malformed")
    answer = service.signed(pair, "POST", COMMIT, commit_body(pair), _header(name, value))
    assert name in refused(answer, 401, "malformed_signature")["detail"]


@pytest.mark.parametrize("name", ["Hotkey", "Timestamp", "Nonce", "Signature"])
def test_no_header_may_be_missing(service: Service, name: str) -> None:
    pair = key("missing")
    answer = service.signed(
        pair, "POST", COMMIT, commit_body(pair), lambda sent: sent["headers"].pop(f"Quanta-{name}")
    )
    assert f"Quanta-{name}" in refused(answer, 401, "malformed_signature")["detail"]


@pytest.mark.parametrize(("off", "status"), [(-290, 200), (290, 200), (-310, 401), (310, 401)])
def test_a_timestamp_may_be_five_minutes_off(service: Service, off: int, status: int) -> None:
    pair = key(f"off {off}")
    service.at(OPENS - HOUR)
    answer = service.signed(
        pair, "POST", COMMIT, commit_body(pair), timestamp=int(time.time()) + off
    )
    assert answer.status_code == status
    if status == 401:
        refused(answer, 401, "stale_timestamp")


def test_a_request_that_is_played_again_is_refused(service: Service) -> None:
    pair = key("replayed")
    service.at(OPENS - HOUR)
    kept: list[dict[str, Any]] = []
    body = commit_body(pair)
    assert service.signed(pair, "POST", COMMIT, body, lambda sent: kept.append(sent)).ok
    again = service.signed(
        pair, "POST", COMMIT, body, lambda sent: sent.update(headers=kept[0]["headers"])
    )
    refused(again, 409, "replayed_nonce")


def test_two_hotkeys_may_use_the_same_nonce(service: Service) -> None:
    service.at(OPENS - HOUR)
    for name in ("first", "second"):
        pair = key(name)
        answer = service.signed(
            pair, "POST", COMMIT, commit_body(pair), nonce="a-nonce-that-two-use"
        )
        assert answer.status_code == 200


def test_a_wrong_signature_uses_up_no_nonce(service: Service) -> None:
    pair, nonce = key("victim"), "the-nonce-of-the-victim"
    service.at(OPENS - HOUR)
    body = commit_body(pair)
    refused(
        service.signed(pair, "POST", COMMIT, body, _one_byte, nonce=nonce), 401, "bad_signature"
    )
    assert service.signed(pair, "POST", COMMIT, body, nonce=nonce).ok


def test_nobody_commits_for_another(service: Service) -> None:
    service.at(OPENS - HOUR)
    answer = service.signed(key("thief"), "POST", COMMIT, commit_body(key("owner")))
    refused(answer, 403, "not_the_signer")


# Epistula


def epistula(pair: HotkeyPair, body: bytes, signed_for: str = DEVELOPMENT_HOTKEY) -> dict[str, str]:
    """Headers as the subnets' own clients write them, version 2."""
    number, moment = str(uuid.uuid4()), str(int(time.time() * 1000))
    message = f"{hashlib.sha256(body).hexdigest()}.{number}.{moment}.{signed_for}"
    assert message.encode() == epistula_text(body, number, moment, signed_for)
    return {
        "Content-Type": "application/json",
        "Epistula-Version": "2",
        "Epistula-Timestamp": moment,
        "Epistula-Uuid": number,
        "Epistula-Signed-By": pair.hotkey,
        "Epistula-Signed-For": signed_for,
        "Epistula-Request-Signature": "0x" + pair.sign(message.encode()).hex(),
    }


def _send(service: Service, headers: dict[str, str], body: bytes) -> Any:
    import requests

    return requests.post(service.address + COMMIT, data=body, headers=headers, timeout=30)


def test_epistula_signs_too_and_once(service: Service) -> None:
    pair = key("epistula")
    service.at(OPENS - HOUR)
    body = json.dumps(commit_body(pair)).encode()
    headers = epistula(pair, body)
    assert _send(service, headers, body).status_code == 200
    refused(_send(service, headers, body), 409, "replayed_nonce")


def test_epistula_covers_the_body(service: Service) -> None:
    pair = key("epistula body")
    body = json.dumps(commit_body(pair)).encode()
    changed = body.replace(b'"50"', b'"60"')
    refused(_send(service, epistula(pair, body), changed), 401, "bad_signature")


@pytest.mark.parametrize("receiver", ["", key("another validator").hotkey])
def test_epistula_names_this_service(service: Service, receiver: str) -> None:
    pair = key("epistula receiver")
    body = json.dumps(commit_body(pair)).encode()
    answer = _send(service, epistula(pair, body, receiver), body)
    refused(answer, 401, "signed_for_another")


def test_epistula_of_another_version_is_refused(service: Service) -> None:
    pair = key("epistula version")
    body = json.dumps(commit_body(pair)).encode()
    headers = {**epistula(pair, body), "Epistula-Version": "1"}
    refused(_send(service, headers, body), 401, "malformed_signature")


# Unsigned requests and the admin token


def test_development_may_let_unsigned_requests_through(tmp_path: Path) -> None:
    with serving(settings(tmp_path, allow_unsigned=True)) as open_service:
        open_service.at(OPENS - HOUR)
        pair = key("unsigned")
        assert open_service.post(COMMIT, commit_body(pair)).status_code == 200
        # a signature that is there must be right all the same
        answer = open_service.signed(pair, "POST", COMMIT, commit_body(pair), _one_byte)
        refused(answer, 401, "bad_signature")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"allow_unsigned": True}, "QUANTA_ALLOW_UNSIGNED"),
        ({"cors_origins": "*"}, "QUANTA_CORS_ORIGINS"),
        ({"admin_token": "short"}, "QUANTA_ADMIN_TOKEN"),
    ],
)
def test_production_refuses_conveniences(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(RefusedSettings, match=named):
        create_app(settings(tmp_path, environment="production", **changes))
    create_app(settings(tmp_path, **changes))


ADMIN_ROUTE = "/v1/admin/disputes/1"


@pytest.mark.parametrize(
    "header",
    [None, "Bearer wrong", "Basic YTpi", "Bearer ", ADMIN_TOKEN, f"Bearer Bearer {ADMIN_TOKEN}"],
)
def test_admin_needs_its_token(service: Service, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = service.get(ADMIN_ROUTE, headers=headers)
    refused(answer, 401, "not_admin")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_without_a_token_there_is_no_admin(tmp_path: Path) -> None:
    with serving(settings(tmp_path, admin_token="")) as without:
        answer = without.get(ADMIN_ROUTE, headers={"Authorization": "Bearer "})
        refused(answer, 403, "admin_disabled")
