"""Anything at all is sent to every route: each answer is one that the document foresees.

Requests are not signed here, so that what is generated reaches the routes themselves.
"""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.api.conftest import ADMIN_TOKEN, OPENS, UNIVERSE, W48, Service, serving, settings

CLOCK = "/v1/dev/clock"
ALWAYS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    missing_required_header,
    allow_header_conformance,
]
# Of the others: rules that no schema can say refuse data that fits it, so accepting it is no duty;
# nothing is made here that a later request could use or delete; the routes are open, so that what
# is generated reaches them, and authentication has tests of its own.
CHECKS = {
    GenerationMode.POSITIVE: ALWAYS,
    GenerationMode.NEGATIVE: [*ALWAYS, negative_data_rejection],
}
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


def _operations(service: Service) -> list[Any]:
    """Every operation of the document; the clock comes last, since it moves for all others.

    The services here take unsigned requests, so that a missing signature is no mistake.
    """
    raw = service.get("/openapi.json").json()
    for methods in raw["paths"].values():
        for operation in methods.values():
            if operation.get("security") != [{"AdminToken": []}]:
                operation.pop("security", None)
    document = schemathesis.openapi.from_dict(raw)
    found = [each.ok() for each in document.get_all_operations()]
    assert len(found) == sum(len(methods) for methods in document.raw_schema["paths"].values())
    return sorted(found, key=lambda operation: str(operation.path) == CLOCK)


def _exercise(service: Service, examples: int) -> Counter[int]:
    """Sends what schemathesis makes of the document, to its letter and against it, for each mode
    at most so many cases an operation; counts answers by status."""
    counts: Counter[int] = Counter()
    for operation in _operations(service):
        for mode, checks in CHECKS.items():
            try:
                _exercise_operation(service, operation, mode, checks, examples, counts)
            except Unsatisfiable:  # nothing that it takes can be wrong
                assert mode is GenerationMode.NEGATIVE
                assert operation.method.upper() in ("GET", "DELETE")
    service.services.clock.reset()
    return counts


def _exercise_operation(
    service: Service, operation: Any, mode: Any, checks: list[Any], examples: int, counts: Any
) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}

    @_settings(examples)
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        answer = case.call_and_validate(
            base_url=service.address, headers=headers, checks=checks, timeout=30
        )
        counts[answer.status_code] += 1

    run()


def test_every_answer_is_one_that_the_document_foresees(open_service: Service) -> None:
    counts = _exercise(open_service, 5)
    assert counts.total() >= 150
    assert {200, 422} <= set(counts)
    assert not any(status >= 500 for status in counts)


def test_no_admin_route_answers_without_the_token(open_service: Service) -> None:
    seen = 0
    for operation in _operations(open_service):
        if not str(operation.path).startswith("/v1/admin"):
            continue
        seen += 1

        @_settings(5)
        @given(case=operation.as_strategy())
        def run(case: Any) -> None:
            for token in ("", "Bearer ", "Bearer wrong", f"Basic {ADMIN_TOKEN}"):
                answer = case.call(
                    base_url=open_service.address, headers={"Authorization": token}, timeout=30
                )
                assert answer.status_code in (401, 422)

        run()
    assert seen == 5


@pytest.mark.soak
def test_twenty_thousand_requests_over_published_tables(open_published: Service) -> None:
    counts = _exercise(open_published, 900)
    assert counts.total() >= 20_000, counts
    assert not any(status >= 500 for status in counts)


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
