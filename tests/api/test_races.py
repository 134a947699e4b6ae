"""Fifty clients that ask for one miner at the same moment: one state results, on both databases."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from tests.api.conftest import (
    HOUR,
    OPENS,
    W48,
    Service,
    commit_body,
    committed,
    key,
    reveal_body,
)

CLIENTS = 50
COMMIT, REVEAL = "/v1/signals/commit", "/v1/signals/reveal"
RAO = 10**9


def at_once(
    service: Service, pair: HotkeyPair, target: str, bodies: list[dict[str, Any]]
) -> list[requests.Response]:
    """Each body by a client of its own, all released together."""
    start = threading.Barrier(len(bodies))

    def send(body: dict[str, Any]) -> requests.Response:
        start.wait(timeout=30)
        return service.signed(pair, "POST", target, body)

    with ThreadPoolExecutor(len(bodies)) as threads:
        return list(threads.map(send, bodies))


def test_of_fifty_commitments_one_stands(service: Service) -> None:
    pair = key("raced commitments")
    service.at(OPENS - 5 * HOUR)
    # each with an ante of its own, so that money tells them apart
    bodies = [
        commit_body(pair, secret=f"{n:064d}"[::-1] + "abcdefgh", ante_amount=str(10 + n))
        for n in range(CLIENTS)
    ]
    answers = at_once(service, pair, COMMIT, bodies)
    # one that was received before the one that stands, and came to the store after it, never counts
    assert {answer.status_code for answer in answers} <= {200, 409}
    taken = {a.json()["replaced"]: a.json() for a in answers if a.status_code == 200}
    refused = [answer.json()["code"] for answer in answers if answer.status_code == 409]
    assert set(refused) <= {"replaced"}
    assert len(taken) + len(refused) == CLIENTS
    assert sorted(taken) == list(range(len(taken)))  # each replaced exactly the one before
    standing = taken[len(taken) - 1]
    said = service.signed(pair, "GET", f"/v1/signals/{W48.id}/{pair.hotkey}").json()
    assert said["commitment"] == standing["commitment"]
    assert said["escrow_rao"] == standing["ante_rao"] == said["ante_rao"]
    assert service.store.problems() == ()


def test_fifty_of_one_commitment_get_one_receipt(service: Service) -> None:
    pair = key("raced repetition")
    service.at(OPENS - 5 * HOUR)
    answers = at_once(service, pair, COMMIT, [commit_body(pair)] * CLIENTS)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    held = service.store.escrow_movements(W48.id)
    assert held.loc[held["hotkey"] == pair.hotkey, "amount_rao"].tolist() == [50 * RAO]


def test_of_fifty_reveals_one_is_accepted(service: Service) -> None:
    pair = committed(service, "raced reveals", OPENS - 5 * HOUR)
    service.at(OPENS + 20 * HOUR)
    answers = at_once(service, pair, REVEAL, [reveal_body(pair)] * CLIENTS)
    said = Counter((a.status_code, a.json().get("code")) for a in answers)
    assert said == {(200, None): 1, (409, "already_revealed"): CLIENTS - 1}
    rows = service.store.reveals(W48.id)
    verdicts = Counter(rows.loc[rows["hotkey"] == pair.hotkey, "verdict"])
    assert verdicts == {"accepted": 1, "already_revealed": CLIENTS - 1}
    assert service.store.problems() == ()
