"""Prints the tables of docs/api.md that follow from the code: routes, and problems by code."""

import tempfile
from pathlib import Path

from quanta_pipelines.api import create_app
from quanta_pipelines.api.problems import CODES
from quanta_pipelines.settings import Settings


def routes() -> str:
    """One line per operation: method and path, who may, what it does."""
    app = create_app(Settings(_env_file=None, home=Path(tempfile.gettempdir())))
    lines = ["| route | who | what |", "| --- | --- | --- |"]
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            said = operation["description"].split("\n")[0]
            lines.append(f"| {method.upper()} `{path}` | {_who(operation)} | {said} |")
    return "\n".join(lines)


def problems() -> str:
    """One line per code."""
    lines = ["| status | code | title |", "| --- | --- | --- |"]
    lines += [f"| {status} | `{code}` | {title} |" for code, (status, title) in CODES.items()]
    return "\n".join(lines)


def _who(operation: dict[str, list[dict[str, list[str]]]]) -> str:
    security = operation.get("security", [])
    if {"AdminToken": []} in security:
        return "operator"
    if {} in security:
        return "anyone; more to the owner"
    return "signed" if security else "anyone"


if __name__ == "__main__":
    print(routes(), problems(), sep="\n\n")
