"""Replies gone wrong: noise, and valid JSON with one thing in it that cannot be right.

What no reader could tell from the truth is left out: a number that is a little off, an event that
is missing from a list of events.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tests.vendor_replicas.formats import YAHOO_COOKIE, Asked, Replica, Response
from tests.vendor_replicas.server import Fault

SHARE = 0.2  # of all replies
WRONG: tuple[Callable[[Any], Any], ...] = (
    lambda _: "text",
    lambda _: "",
    lambda _: True,
    lambda _: [],
    lambda _: {},
    lambda _: None,
    lambda _: 1e300,
    lambda _: float("nan"),
    lambda _: float("inf"),
    lambda _: float("-inf"),
    lambda _: int("9" * 400),
    lambda value: -abs(value) if isinstance(value, int | float) else "-1",
    lambda value: str(value),
    lambda value: [value],
    lambda _: "2031-08-06T00:00:00Z",
    lambda _: "1931-08-06",
    lambda _: "2019-07-06T00:00:00.000Z",  # a Saturday
    lambda _: "MSFT",
)


def places(said: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every leaf."""
    inside = said.items() if isinstance(said, dict) else enumerate(said)
    for key, value in inside:
        if isinstance(value, dict | list) and value:
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def with_wrong_leaf(body: bytes, rng: np.random.Generator) -> bytes:
    """One leaf replaced by something that it cannot be, or by nothing."""
    said = json.loads(body)
    where = list(places(said)) if isinstance(said, dict | list) else []
    if not where:
        return b"null"
    path = where[rng.integers(len(where))]
    inner = said
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = WRONG[rng.integers(len(WRONG))](inner[path[-1]])
    return json.dumps(said).encode()


def with_row_twice(body: bytes, rng: np.random.Generator) -> bytes:
    """One element of one list a second time."""
    said = json.loads(body)
    found: list[list[Any]] = []

    def collect(value: Any) -> None:
        if isinstance(value, list) and value:
            found.append(value)
        for inside in value.values() if isinstance(value, dict) else value:
            if isinstance(inside, dict | list):
                collect(inside)

    collect(said)
    if not found:
        return b"[1, 1]"
    rows = found[rng.integers(len(found))]
    rows.append(rows[rng.integers(len(rows))])
    return json.dumps(said).encode()


def garbled(good: Response, rng: np.random.Generator) -> Fault:
    """A reply that went wrong in one of many ways."""
    noise = rng.bytes(int(rng.integers(0, 400)))
    cut = int(rng.integers(0, max(len(good.body), 1)))
    json_like = good.body[:1] in (b"[", b"{")
    ways: list[Callable[[], Fault]] = [
        lambda: Fault("", lambda _: Response(200, noise)),
        lambda: Fault("", lambda _: Response(200, noise, {"Content-Encoding": "gzip"})),
        lambda: Fault("", lambda _: Response(200, good.body[:cut])),
        lambda: Fault("", cut=cut),
        lambda: Fault("", raw=noise),
        lambda: Fault("", reset=True),
        lambda: Fault("", lambda _: replace(good, status=int(rng.choice([400, 403, 404, 500])))),
        lambda: Fault("", lambda _: Response(200, b"[" * 50_000)),
        lambda: Fault("", lambda _: Response(200, good.body.replace(b":", b"\xff:", 1))),
    ]
    if json_like:
        wrong, twice = with_wrong_leaf(good.body, rng), with_row_twice(good.body, rng)
        ways += [lambda: Fault("", lambda _: Response(200, wrong))] * 12
        ways += [lambda: Fault("", lambda _: Response(200, twice))] * 3
    return ways[rng.integers(len(ways))]()


def garbling(
    seed: int, replica: Replica, *, names_tickers: bool
) -> Callable[[str, Response], Fault | None]:
    """One reply in five, chosen by its request alone, so that threads do not matter."""

    def choose(target: str, good: Response) -> Fault | None:
        digest = hashlib.sha256(f"{seed} {target}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest, "big"))
        if rng.random() >= SHARE:
            return None
        if names_tickers and rng.random() < 0.1 and "KO" in target:
            headers = {"Authorization": f"Bearer {replica.key}", "Cookie": YAHOO_COOKIE}
            other = replica.respond(Asked.of(target.replace("KO", "XOM"), headers))
            return Fault("", lambda _: other)
        return garbled(good, rng)

    return choose
