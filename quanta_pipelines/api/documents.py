"""What the OpenAPI document says of every route: its problems, its signature, its examples."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from quanta_pipelines.adapters.request_signing import SIGNING_HEADERS
from quanta_pipelines.api import requests, responses
from quanta_pipelines.api.problems import CODES, MEDIA_TYPE
from quanta_pipelines.api.responses import ProblemDocument

SIGNED = {"x-signed": True}
OPTIONALLY_SIGNED = {"x-signed": "optional"}
ADMIN = {"x-admin": True}

ALWAYS = ("malformed_request", "invalid_request", "rate_limited", "request_timeout")
ON_SIGNED = (
    "malformed_signature",
    "bad_signature",
    "stale_timestamp",
    "signed_for_another",
    "replayed_nonce",
    "store_unavailable",
)
ON_BODIES = ("body_too_large",)


def refused(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, by status."""
    by_status: dict[int | str, list[str]] = {}
    for code in dict.fromkeys((*ALWAYS, *codes)):
        by_status.setdefault(CODES[code][0], []).append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {CODES[code][1]}" for code in names),
            "content": {MEDIA_TYPE: {"schema": {"$ref": _PROBLEM}}},
        }
        for status, names in sorted(by_status.items(), key=lambda item: str(item[0]))
    }


_PROBLEM = "#/components/schemas/ProblemDocument"

DESCRIPTION = """Takes signals of miners and votes of validators; serves the published marts.
Requests are signed with sr25519 hotkeys (headers `Quanta-*` or Epistula). Errors are
problem+json with a stable `code`."""


def describe(app: FastAPI) -> None:
    """Makes the application's OpenAPI document, once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                description=DESCRIPTION,
                routes=app.routes,
            )
            app.openapi_schema = _completed(made)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _completed(made: dict[str, Any]) -> dict[str, Any]:
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
    for name, schema in schemas.items():
        _restore_examples(name, schema)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        **{name: {"type": "apiKey", "in": "header", "name": name} for name in SIGNING_HEADERS},
        "AdminToken": {"type": "http", "scheme": "bearer"},
    }
    signed: dict[str, list[str]] = {name: [] for name in SIGNING_HEADERS}
    kinds = {"true": [signed], "optional": [signed, {}]}
    for operations in made["paths"].values():
        for operation in operations.values():
            needs = operation.pop("x-signed", None)
            if needs is not None:
                operation["security"] = kinds[str(needs).lower()]
            if operation.pop("x-admin", None):
                operation["security"] = [{"AdminToken": []}]
    return made


def _restore_examples(name: str, schema: dict[str, Any]) -> None:
    """Puts back the nulls in examples, which FastAPI leaves out of its document."""
    model = getattr(responses, name, None) or getattr(requests, name, None)
    if model is not None and "examples" in schema:
        schema["examples"] = model.model_config["json_schema_extra"]["examples"]
