"""Anything at all is sent to every route: each answer is one that the document foresees.

Requests are not signed here, so that what is generated reaches the routes themselves.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.api.conftest import ADMIN_TOKEN, OPENS, UNIVERSE, W48, Service, serving, settings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
ROUTES = (
    ("POST", "/v1/signals/commit"),
    ("POST", "/v1/signals/reveal"),
    ("POST", "/v1/signals/submit"),
    ("POST", "/v1/validators/weights"),
    ("POST", "/v1/pools/5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY/members"),
    ("POST", "/v1/admin/participants"),
    ("POST", "/v1/admin/disputes"),
    ("POST", "/v1/dev/clock"),
    ("GET", "/v1/leaderboard"),
    ("GET", "/v1/metrics/network"),
    ("GET", "/health/detailed"),
)


def _settings(examples: int) -> Any:
    return hypothesis.settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("fuzz")
    with serving(settings(home, allow_unsigned=True)) as running:
        running.store.fix_universe(W48, UNIVERSE)
        running.at(OPENS)
        yield running


@pytest.fixture(scope="module")
def open_published(published_home: Path) -> Iterator[Service]:
    with serving(settings(published_home, allow_unsigned=True)) as running:
        yield running


def _document(service: Service) -> Any:
    raw = service.get("/openapi.json").json()
    # the clock that windows are judged by must stand still for the rest
    del raw["paths"]["/v1/dev/clock"]
    return schemathesis.openapi.from_dict(raw)


def _exercise(service: Service, examples: int) -> dict[str, int]:
    """Sends what schemathesis makes of the document; counts answers by status."""
    counts: dict[str, int] = {}
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    for found in _document(service).get_all_operations():
        operation = found.ok()

        @_settings(examples)
        @given(case=operation.as_strategy())
        def run(case: Any) -> None:
            answer = case.call_and_validate(
                base_url=service.address, headers=headers, checks=CHECKS, timeout=30
            )
            counts[str(answer.status_code)] = counts.get(str(answer.status_code), 0) + 1

        run()
    return counts


def test_every_answer_is_one_that_the_document_foresees(open_service: Service) -> None:
    counts = _exercise(open_service, 8)
    assert sum(counts.values()) >= 100
    assert {"200", "422"} <= set(counts)
    assert not any(int(status) >= 500 for status in counts)


@pytest.mark.soak
def test_twenty_thousand_requests_over_published_tables(open_published: Service) -> None:
    counts = _exercise(open_published, 1000)
    assert sum(counts.values()) >= 15_000
    assert not any(int(status) >= 500 for status in counts)


# Bytes


def _status(service: Service, data: bytes) -> int | None:
    """The status that a server gives raw bytes, ``None`` where it closes without a word."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else None


def _bytes_to_the_socket(service: Service, examples: int) -> None:
    @_settings(examples)
    @given(st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(_as_request)))
    def run(data: bytes) -> None:
        status = _status(service, data)
        assert status is None or status < 500, data

    run()


def _as_request(data: bytes) -> bytes:
    return b"POST /v1/signals/commit HTTP/1.1\r\nHost: a\r\n" + data


ANY_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.just("5" * 64),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=300), ANY_JSON.map(json.dumps).map(str.encode), st.just(b"[" * 5000)
)
QUERIES = st.one_of(st.just(""), st.text("abct_=&%0123456789\u00e9", max_size=30))


def _bytes_to_each_route(service: Service, examples: int) -> None:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"

    @_settings(examples)
    @given(st.sampled_from(ROUTES), BODIES, QUERIES)
    def run(route: tuple[str, str], body: bytes, query: str) -> None:
        method, path = route
        answer = session.request(
            method,
            f"{service.address}{path}?{query}",
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        assert answer.status_code < 500, (route, body, query, answer.text)
        assert answer.status_code < 400 or answer.json()["code"]

    run()
    session.close()


def test_random_bytes_are_no_failure(
    open_service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    _bytes_to_the_socket(open_service, 100)
    _bytes_to_each_route(open_service, 200)
    written = capfd.readouterr().err
    assert "unhandled" not in written
    assert "Traceback" not in written
    assert open_service.get("/health").status_code == 200


@pytest.mark.soak
def test_many_random_bytes_are_no_failure(open_published: Service) -> None:
    _bytes_to_the_socket(open_published, 5_000)
    _bytes_to_each_route(open_published, 15_000)
