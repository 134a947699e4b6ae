"""What a caller may not do: ask too often, send too much, come from anywhere, spoil a log."""

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from quanta_pipelines.api.middleware import BodyLimit
from quanta_pipelines.api.rate_limits import RateLimits
from tests.api.conftest import (
    ADMIN_TOKEN,
    HOUR,
    OPENS,
    SECRET,
    Service,
    commit_body,
    key,
    refused,
    reveal_body,
    serving,
    settings,
)

COMMIT = "/v1/signals/commit"


def test_an_address_that_asks_too_often_waits(tmp_path: Path) -> None:
    with serving(settings(tmp_path, rate_per_address="3/minute")) as strict:
        answers = [strict.get("/v1/dev/clock") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        refused(answers[3], 429, "rate_limited")
        assert 1 <= int(answers[3].headers["Retry-After"]) <= 60
        # whoever watches the service is never refused
        assert strict.get("/health").status_code == 200
        assert strict.get("/metrics").status_code == 200


def test_a_hotkey_that_asks_too_often_waits_alone(tmp_path: Path) -> None:
    with serving(settings(tmp_path, rate_per_hotkey="2/minute")) as strict:
        strict.at(OPENS - HOUR)
        first, second = key("first"), key("second")
        answers = [
            strict.signed(first, "POST", COMMIT, commit_body(first)).status_code for _ in range(3)
        ]
        assert answers == [200, 200, 429]
        assert strict.signed(second, "POST", COMMIT, commit_body(second)).status_code == 200


def test_forged_requests_use_up_nobodys_limit(tmp_path: Path) -> None:
    with serving(settings(tmp_path, rate_per_hotkey="1/minute")) as strict:
        strict.at(OPENS - HOUR)
        pair = key("victim")

        def forge(sent: dict[str, dict[str, str]]) -> None:
            sent["headers"]["Quanta-Signature"] = "ab" * 64

        for _ in range(3):
            answer = strict.signed(pair, "POST", COMMIT, commit_body(pair), forge)
            refused(answer, 401, "bad_signature")
        assert strict.signed(pair, "POST", COMMIT, commit_body(pair)).status_code == 200


# Redis


@pytest.fixture
def silent_port() -> int:
    """A port that answers nobody, once the test closed it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_without_redis_limits_are_counted_in_memory(tmp_path: Path, silent_port: int) -> None:
    address = f"redis://127.0.0.1:{silent_port}"
    with serving(settings(tmp_path, redis_url=address, rate_per_address="2/minute")) as lonely:
        codes = [lonely.get("/v1/dev/clock").status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        component = lonely.services.limits.redis_state()
        assert component == "degraded"


def test_health_says_that_redis_is_away(tmp_path: Path, silent_port: int) -> None:
    with serving(settings(tmp_path, redis_url=f"redis://127.0.0.1:{silent_port}")) as lonely:
        said = lonely.get("/health/detailed").json()
        assert said["components"]["redis"]["status"] == "degraded"
        assert said["status"] == "degraded"


@pytest.fixture
def redis(tmp_path: Path, silent_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis server of this test alone, on ``silent_port``."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    server = subprocess.Popen(
        [program, "--port", str(silent_port), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", silent_port)) == 0:
                break
        time.sleep(0.05)
    yield server
    server.kill()
    server.wait()


def test_workers_share_a_count_in_redis_until_it_goes(
    tmp_path: Path, silent_port: int, redis: subprocess.Popen[bytes]
) -> None:
    address = f"redis://127.0.0.1:{silent_port}"
    chosen = {"redis_url": address, "rate_per_address": "2/minute"}
    with (
        serving(settings(tmp_path / "one", **chosen)) as one,
        serving(settings(tmp_path / "two", **chosen)) as two,
    ):
        assert one.services.limits.redis_state() == "healthy"
        codes = [each.get("/v1/dev/clock").status_code for each in (one, two, one, two)]
        assert codes == [200, 200, 429, 429]
        redis.kill()
        redis.wait()
        # each counts alone now, from the start
        codes = [each.get("/v1/dev/clock").status_code for each in (one, one, one, two)]
        assert codes == [200, 200, 429, 200]
        assert one.services.limits.redis_state() == "degraded"


def test_a_limit_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match="often"):
        RateLimits.of("often", "60/minute", "")


# Bodies


def test_a_body_that_is_declared_too_large(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    connection.putrequest("POST", COMMIT)
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    answer = connection.getresponse()  # before a byte of it was sent
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "body_too_large")
    connection.close()


def test_a_body_that_grows_too_large_in_chunks(service: Service) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(300):
            yield b"x" * 1024

    answer = requests.post(service.address + COMMIT, data=chunks(), timeout=10)
    refused(answer, 413, "body_too_large")


def test_a_body_within_the_limit_is_read_in_chunks(service: Service) -> None:
    answer = requests.post(
        service.address + "/v1/dev/clock",
        data=iter([b'{"now": ', b'"2025-11-21T00:00:00Z"}']),
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    assert answer.status_code == 200


def test_a_body_that_never_comes(tmp_path: Path) -> None:
    patient = settings(tmp_path)
    with serving(patient, {BodyLimit: {"most": 1024, "seconds": 0.2}}) as hurried:
        with socket.create_connection(("127.0.0.1", hurried.port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/dev/clock HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
            )
            answer = connection.recv(65536)
        assert b" 408 " in answer.splitlines()[0]
        assert b"request_timeout" in answer


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": ' * 20_000,
        b'{"commitment": 1' + b"0" * 5000 + b"}",
    ],
    ids=["half", "bytes", "deep", "nested", "digits"],
)
def test_a_body_that_is_no_json(service: Service, body: bytes) -> None:
    answer = requests.post(
        service.address + "/v1/dev/clock",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["code"] in ("malformed_request", "invalid_request")


def test_lone_surrogates_and_nul_are_answered(service: Service) -> None:
    pair = key("surrogate")
    service.at(OPENS - HOUR)
    for odd, code in (
        ("\ud800" * 64, "invalid_request"),
        ("\x00" * 64, "invalid_commitment"),
        ("é" * 64, "invalid_commitment"),
    ):
        answer = service.signed(pair, "POST", COMMIT, commit_body(pair, commitment=odd))
        refused(answer, 422, code)
    body = {**commit_body(pair), "\udfff": 1}
    refused(service.signed(pair, "POST", COMMIT, body), 422, "invalid_request")


# Routes, origins, ids


def test_a_method_that_the_route_has_not(service: Service) -> None:
    answer = requests.put(service.address + COMMIT, timeout=10)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


def test_only_named_origins_may_call_from_a_browser(tmp_path: Path) -> None:
    chosen = settings(tmp_path, cors_origins="https://quanta.example, https://other.example")
    with serving(chosen) as open_to_two:
        asked = {"Origin": "https://quanta.example"}
        answer = open_to_two.get("/health", headers=asked)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://quanta.example"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        evil = open_to_two.get("/health", headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in evil.headers
        preflight = requests.options(
            open_to_two.address + COMMIT,
            headers={
                **asked,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "quanta-hotkey,quanta-signature",
            },
            timeout=10,
        )
        assert preflight.status_code == 200
        assert "Quanta-Signature" in preflight.headers["Access-Control-Allow-Headers"]


def test_without_origins_no_browser_may_call(service: Service) -> None:
    answer = service.get("/health", headers={"Origin": "https://quanta.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_request_keeps_its_id_or_gets_one(service: Service) -> None:
    given = service.get("/health", headers={"X-Request-Id": "given-by-the-caller"})
    assert given.headers["X-Request-Id"] == "given-by-the-caller"
    for odd in ("short", "with spaces in it", "x" * 65):
        made = service.get("/health", headers={"X-Request-Id": odd}).headers["X-Request-Id"]
        assert len(made) == 32
    assert given.headers["X-Content-Type-Options"] == "nosniff"


def test_a_log_line_per_request_and_no_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(settings(tmp_path, log_level="info")) as talking:
        talking.at(OPENS - HOUR)
        pair = key("logged")
        talking.signed(pair, "POST", COMMIT, commit_body(pair))
        talking.at(OPENS + HOUR)
        talking.signed(pair, "POST", "/v1/signals/reveal", reveal_body(pair))
        talking.admin("GET", "/v1/admin/disputes/1")
        answer = talking.get("/health", headers={"X-Request-Id": "an-id-to-look-for"})
    assert answer.ok
    written = capfd.readouterr().err
    lines = [json.loads(line) for line in written.splitlines()]
    assert lines[-1]["request_id"] == "an-id-to-look-for"
    assert [line["path"] for line in lines if line["event"] == "request"] == [
        COMMIT,
        "/v1/signals/reveal",
        "/v1/admin/disputes/1",
        "/health",
    ]
    assert lines[0]["hotkey"] == pair.hotkey
    for secret in (SECRET, ADMIN_TOKEN, pair.private.hex()):
        assert secret not in written


def test_requests_are_counted_by_route(service: Service) -> None:
    service.get("/v1/signals/2025-Q4-W48/nobody")
    text = service.get("/metrics").text
    assert (
        'quanta_http_requests_total{method="GET",'
        'route="/v1/signals/{epoch_id}/{miner_hotkey}",status="401"}' in text
    )
    assert "quanta_http_request_seconds_bucket" in text


def test_many_at_once_are_all_answered(service: Service) -> None:
    service.at(OPENS - HOUR)
    codes: list[int] = []

    def one(number: int) -> None:
        pair = key(f"crowd {number}")
        codes.append(service.signed(pair, "POST", COMMIT, commit_body(pair)).status_code)

    crowd = [threading.Thread(target=one, args=(number,)) for number in range(24)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert codes == [200] * 24
