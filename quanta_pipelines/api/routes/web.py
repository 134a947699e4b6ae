"""The web leaderboard and the epochs' pages: files that are served as they are.

A page may load what this service serves and nothing else: no inline script, no other origin.
"""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from quanta_pipelines.api.explanations import report_of
from quanta_pipelines.api.fields import EpochId
from quanta_pipelines.api.pages import Page
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.services import Using

router = APIRouter(include_in_schema=False)

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_NOTHING_ELSE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
LEADERBOARD_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    f"connect-src 'self'; {_NOTHING_ELSE}"
)
REPORT_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; {_NOTHING_ELSE}"
_PRIVATE = {"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"}


@router.get("/")
def leaderboard(request: Request) -> Response:
    """The web leaderboard; what it shows it asks of ``/v1``."""
    return _answer(request, "index.html")


@router.get("/web/{name}")
def part(name: str, request: Request) -> Response:
    """A script, style or picture of the web leaderboard."""
    if name not in _files():
        raise Problem("no_such_route", f"there is no file {name!r} of the leaderboard")
    return _answer(request, name)


@router.get("/reports/index.html")
def reports(request: Request, services: Using) -> Response:
    """The index of the epochs' pages."""
    place = report_of(services, "index")
    if not place.is_file():
        raise Problem("nothing_published", "no epoch has a page yet")
    return _report(request, place)


@router.get("/reports/{epoch_id}.html")
def report(epoch_id: EpochId, request: Request, services: Using) -> Response:
    """The page of a settled epoch."""
    place = report_of(services, epoch_id)
    if not place.is_file():
        raise Problem("not_explained", f"there is no page of {epoch_id}")
    return _report(request, place)


def _report(request: Request, place: Path) -> Response:
    policy = {"Content-Security-Policy": REPORT_POLICY, **_PRIVATE}
    page = Page.of(place.read_bytes(), media_type=_TYPES["html"], headers=policy)
    return page.answer(request.headers.get("If-None-Match"))


def _answer(request: Request, name: str) -> Response:
    return _files()[name].answer(request.headers.get("If-None-Match"))


@lru_cache(maxsize=1)
def _files() -> dict[str, Page]:
    """The files beside this package, by name, each with its type and the policy for all."""
    policy = {"Content-Security-Policy": LEADERBOARD_POLICY, **_PRIVATE}
    return {
        found.name: Page.of(
            found.read_bytes(),
            media_type=_TYPES[found.name.rpartition(".")[2]],
            headers=policy,
        )
        for found in files("quanta_pipelines.api").joinpath("web").iterdir()
        if found.is_file()
    }
