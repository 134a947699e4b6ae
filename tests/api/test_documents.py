"""The OpenAPI document: examples that hold, problems that are named, signatures that are told."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quanta_pipelines.adapters.request_signing import signed_text
from quanta_pipelines.api import create_app
from quanta_pipelines.api.problems import CODES, MEDIA_TYPE
from quanta_pipelines.protocol.commit_reveal import verify_signature
from tests.api.conftest import Service, settings

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return create_app(settings(tmp_path_factory.mktemp("document"))).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    return dict(document["components"]["schemas"][name]) if name else schema


def _json_bodies(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema of every request body and every successful JSON answer."""
    for name, operation in operations(document):
        contents = [operation["requestBody"]] if "requestBody" in operation else []
        contents += [operation["responses"]["200"]]
        for content in contents:
            if (found := content["content"].get("application/json")) is not None:
                yield name, _resolved(document, found["schema"])


def test_every_body_has_examples_that_its_schema_accepts(document: dict[str, Any]) -> None:
    seen = 0
    for name, schema in _json_bodies(document):
        assert schema.get("examples"), f"{name}: {schema.get('title')} has no example"
        whole = {**schema, "components": document["components"]}
        validator = jsonschema.Draft202012Validator(whole)
        for example in schema["examples"]:
            validator.validate(example)
            seen += 1
    assert seen > 25


def test_a_broken_example_would_be_seen(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["CommitRequest"]
    validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    example = {**schema["examples"][0], "miner_hotkey": "5short"}
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(example)


def test_refusals_are_problems(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and (name, status) != ("GET /health/detailed", "503"):
                assert list(answer["content"]) == [MEDIA_TYPE], (name, status)


def test_writes_are_signed_or_the_operators(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        writes = not name.startswith("GET ") and "/v1/dev/" not in name
        assert bool(operation.get("security")) or not writes, name
        if writes:
            assert {} not in operation["security"], name


def test_the_specifications_paths_are_there(document: dict[str, Any]) -> None:
    assert {
        "/v1/signals/commit",
        "/v1/signals/reveal",
        "/v1/signals/submit",
        "/v1/leaderboard",
        "/v1/leaderboard/{miner_hotkey}",
        "/v1/leaderboard/{miner_hotkey}/integrity",
        "/v1/metrics/network",
        "/v1/metrics/epoch/{epoch_id}",
        "/health",
        "/health/detailed",
    } <= set(document["paths"])
    assert (document["info"]["title"], document["info"]["version"]) == ("QUANTA API", "1.0.0")


def test_the_page_names_every_code_and_route(document: dict[str, Any]) -> None:
    tables = runpy.run_path(str(PAGE.parent / "make_api_tables.py"))
    routes, problems = tables["routes"](), tables["problems"]()
    assert routes in PAGE.read_text()
    assert problems in PAGE.read_text()
    assert all(f"`{path}`" in routes for path in document["paths"])
    assert all(f"`{code}`" in problems for code in CODES)


def test_the_pages_worked_example_is_right() -> None:
    json_blocks = re.findall(r"```json\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
    body = json_blocks[0].encode()
    signed, signature = re.findall(r"```text\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
    timestamp, nonce = signed.split("\n")[-2:]
    assert signed_text("POST", "/v1/signals/commit", body, timestamp, nonce) == signed.encode()
    hotkey = json.loads(body)["miner_hotkey"]
    assert verify_signature(signed.encode(), bytes.fromhex(signature), hotkey)


def test_the_threats_name_tests_that_exist() -> None:
    page = (PAGE.parent / "threats.md").read_text()
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    named = [name for row in rows for name in re.findall(r"`([a-z_…]+)`", row.split("|")[4])]
    assert len(named) > 30
    for name in named:
        stem = name.strip("…")
        assert stem in source or (Path(__file__).parent / f"{stem}.py").exists(), name


def test_the_document_and_its_pages_are_served(service: Service) -> None:
    assert service.get("/openapi.json").json()["info"]["title"] == "QUANTA API"
    assert service.get("/docs").status_code == 200
    assert service.get("/redoc").status_code == 200
