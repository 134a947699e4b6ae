"""What an attacker sends past every client: doubled headers, endless heads, connections cut off."""

import resource
import socket
import time

import pytest

from quanta_pipelines.adapters.request_signing import SIGNING_HEADERS, signing_headers
from quanta_pipelines.api.head_limit import MOST_HEAD_BYTES
from tests.api.conftest import ADMIN_TOKEN, W48, Service, key

ADMIN_ROUTE = "/v1/admin/disputes/1"
RIGHT, WRONG = f"Bearer {ADMIN_TOKEN}", "Bearer wrong"


def said(service: Service, target: str, *headers: str, method: str = "GET") -> tuple[int, str]:
    """Status and text of what a request with exactly these header lines gets."""
    head = [f"{method} {target} HTTP/1.1", "Host: attacked", "Connection: close", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall("\r\n".join(head).encode("latin-1"))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return int(answer.split(b" ", 2)[1]), answer.decode("latin-1")


def signed_lines(service: Service, name: str, target: str) -> dict[str, str]:
    pair = key(name)
    return signing_headers(
        hotkey=pair.hotkey,
        sign=pair.sign,
        method="GET",
        target=target,
        body=b"",
        timestamp=int(time.time()),
    )


def flood(connection: socket.socket, piece: bytes) -> None:
    """Sends a thousand times what a head may have."""
    for _ in range(1_000 * MOST_HEAD_BYTES // len(piece)):
        connection.sendall(piece)


@pytest.mark.parametrize("tokens", [(RIGHT, WRONG), (WRONG, RIGHT), (RIGHT, RIGHT)])
def test_two_tokens_are_none(service: Service, tokens: tuple[str, str]) -> None:
    status, text = said(service, ADMIN_ROUTE, *(f"Authorization: {token}" for token in tokens))
    assert (status, "not_admin" in text) == (401, True)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_name_of_a_scheme_has_no_case(service: Service, scheme: str) -> None:
    status, text = said(service, ADMIN_ROUTE, f"Authorization: {scheme} {ADMIN_TOKEN}")
    assert (status, "not_recorded" in text) == (404, True)  # let in: there is no such dispute


@pytest.mark.parametrize("name", SIGNING_HEADERS)
def test_a_signing_header_that_stands_twice_is_refused(service: Service, name: str) -> None:
    victim, attacker = key("doubled victim"), "doubled attacker"
    target = f"/v1/signals/{W48.id}/{victim.hotkey}"
    lines = signed_lines(service, attacker, target)
    for second in (victim.hotkey, lines[name]):
        doubled = [f"{each}: {value}" for each, value in lines.items()] + [
            f"{name.lower()}: {second}"
        ]
        status, text = said(service, target, *doubled)
        assert (status, "malformed_signature" in text, name in text) == (401, True, True)


def test_a_sender_that_hangs_up_is_no_failure(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    for target in (
        f"/v1/signals/{W48.id}/{key('gone').hotkey}",
        f"/v1/leaderboard/{key('a').hotkey}",
    ):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
                connection.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)
    assert service.get("/health").status_code == 200
    written = capfd.readouterr().err
    assert "unhandled" not in written
    assert 'status="500"' not in service.get("/metrics").text


@pytest.mark.parametrize("piece", [b"X-Long: " + b"a" * 9_000, b"X-%d: a\r\n" * 1_000])
def test_a_head_without_end_is_cut_off(service: Service, piece: bytes) -> None:
    """A gigabyte of headers would be held in memory before any layer sees a request."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(b"GET /v1/leaderboard HTTP/1.1\r\nHost: a\r\n")
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            flood(connection, piece)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    assert service.get("/health").status_code == 200


def test_a_head_that_comes_in_pieces_is_served(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        for number in range(3):  # each request is counted anew
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n")
            for piece in range(4):
                connection.sendall(b"X-%d: " % piece + b"a" * 9_000 + b"\r\n")
                time.sleep(0.005)
            connection.sendall(b"\r\n")
            answer = b""
            while b"healthy" not in answer:
                chunk = connection.recv(65536)
                assert chunk, answer
                answer += chunk
            assert answer.startswith(b"HTTP/1.1 200"), number


def test_no_redirect_names_the_host_of_a_caller(service: Service) -> None:
    status, text = said(service, "/v1/leaderboard/")
    assert (status, "location" in text.lower(), "no_such_route" in text) == (404, False, True)
