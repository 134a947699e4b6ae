"""The intake: a week of one epoch, played with the clock, and every way to be refused."""

import datetime as dt
import uuid
from pathlib import Path
from typing import Any

import pytest

from quanta_pipelines.protocol.epoch import Epoch
from tests.api.conftest import (
    FIVE,
    HOUR,
    OPENS,
    SECRET,
    UNIVERSE,
    W48,
    Service,
    commit_body,
    committed,
    key,
    refused,
    reveal_body,
    serving,
    settings,
)

COMMIT, REVEAL, SUBMIT = "/v1/signals/commit", "/v1/signals/reveal", "/v1/signals/submit"
SECOND = dt.timedelta(seconds=1)


def send(service: Service, name: str, target: str, body: Any) -> Any:
    return service.signed(key(name), "POST", target, body)


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


# Commit


def test_a_receipt_says_when_to_reveal(service: Service) -> None:
    service.at(OPENS - 10 * HOUR)
    receipt = send(service, "receipt", COMMIT, commit_body(key("receipt"))).json()
    received = moment(receipt["received_at"])
    assert abs(received - (OPENS - 10 * HOUR)) < 5 * SECOND
    # 14 hours after the commitment, which is later than the opening; 48 hours of life
    assert moment(receipt["reveal_window_starts"]) == received + 14 * HOUR
    assert moment(receipt["expires_at"]) == received + 48 * HOUR
    assert (receipt["ante"], receipt["ante_rao"]) == ("50.000000000", "50000000000")
    assert receipt["status"] == "accepted"
    assert receipt["replaced"] == 0


def test_an_early_commitment_waits_for_the_opening(service: Service) -> None:
    service.at(OPENS - 20 * HOUR)
    receipt = send(service, "early", COMMIT, commit_body(key("early"))).json()
    assert moment(receipt["reveal_window_starts"]) == OPENS


def test_the_same_commitment_again_gives_the_same_receipt(service: Service) -> None:
    service.at(OPENS - 9 * HOUR)
    first = send(service, "again", COMMIT, commit_body(key("again"))).json()
    service.at(OPENS + 90 * HOUR)  # a client that never heard the answer may ask at any time
    assert send(service, "again", COMMIT, commit_body(key("again"))).json() == first


def test_a_newer_commitment_replaces_the_older(service: Service) -> None:
    pair = committed(service, "replacing", OPENS - 5 * HOUR)
    service.at(OPENS - 4 * HOUR)
    newer = commit_body(pair, secret=SECRET[::-1])
    assert send(service, "replacing", COMMIT, newer).json()["replaced"] == 1
    problem = send(service, "replacing", COMMIT, commit_body(pair))
    refused(problem, 409, "replaced")


def test_the_ante_of_a_commitment_cannot_change(service: Service) -> None:
    pair = committed(service, "ante", OPENS - 5 * HOUR)
    refused(
        send(service, "ante", COMMIT, commit_body(pair, ante_amount="51")),
        409,
        "contradicts_record",
    )


@pytest.mark.parametrize("moment_of", [OPENS - 25 * HOUR, OPENS + SECOND])
def test_outside_the_window_nothing_is_taken(service: Service, moment_of: dt.datetime) -> None:
    pair = key(f"outside {moment_of}")
    service.at(moment_of)
    answer = service.signed(pair, "POST", COMMIT, commit_body(pair))
    refused(answer, 409, "window_closed")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"commitment": "a" * 63}, 400, "invalid_commitment_length"),
        ({"commitment": "z" * 64}, 422, "invalid_commitment"),
        ({"commitment": "A" * 64}, 422, "invalid_commitment"),
        ({"ante_amount": "9.99"}, 400, "ante_below_minimum"),
        ({"ante_amount": "10000.1"}, 422, "invalid_commitment"),
        ({"ante_amount": "50.0000000001"}, 422, "invalid_commitment"),
        ({"ante_amount": "-1"}, 422, "invalid_request"),
        ({"ante_amount": "1e3"}, 422, "invalid_request"),
        ({"ante_amount": True}, 422, "invalid_request"),
        ({"ante_amount": None}, 422, "invalid_request"),
        ({"ante_token": "TAO"}, 422, "invalid_request"),
        ({"epoch_id": "2025-Q4-W99"}, 422, "invalid_request"),
        ({"epoch_id": "2025-Q1-W48"}, 422, "invalid_request"),
        ({"epoch_id": "garbage"}, 422, "invalid_request"),
        ({"epoch_id": "2099-Q4-W48"}, 422, "invalid_epoch"),
        ({"miner_hotkey": "5" + "a" * 46}, 422, "invalid_request"),
        ({"miner_hotkey": "5" + "a" * 47}, 422, "invalid_request"),
        ({"note": "unknown fields are not lost in silence"}, 422, "invalid_request"),
    ],
)
def test_garbage_is_no_commitment(
    service: Service, changes: dict[str, Any], status: int, code: str
) -> None:
    pair = key("garbage")
    service.at(OPENS - HOUR)
    answer = service.signed(pair, "POST", COMMIT, {**commit_body(pair), **changes})
    refused(answer, status, code)
    assert service.store.signal_status(pair.hotkey, W48, at=OPENS).state.value == "absent"


def test_a_week_number_of_one_digit_is_read(service: Service) -> None:
    pair = key("one digit")
    epoch = Epoch.parse("2026-Q1-W02")
    service.at(epoch.opens_at - HOUR)
    body = commit_body(pair, epoch_id="2026-Q1-W2")
    assert send(service, "one digit", COMMIT, body).json()["epoch_id"] == epoch.id


# Reveal


def test_a_week_of_one_miner(service: Service) -> None:
    pair = committed(service, "week", OPENS - 2 * HOUR)
    body = reveal_body(pair)

    service.at(OPENS + HOUR)
    early = send(service, "week", REVEAL, body)
    refused(early, 425, "too_early")
    # committed 2 hours before the opening: to be revealed 12 hours after it, in 11 hours from now
    assert int(early.headers["Retry-After"]) == pytest.approx(11 * 3600, abs=10)

    service.at(OPENS + 13 * HOUR)
    accepted = send(service, "week", REVEAL, body).json()
    assert accepted["status"] == "accepted"
    assert accepted["scoring_scheduled"] is True
    assert accepted["signal_id"] == str(
        uuid.uuid5(uuid.NAMESPACE_URL, f"urn:quanta:signal:2025-Q4-W48:{pair.hotkey}")
    )
    # 20:30 New York on Friday, 28 November
    assert moment(accepted["scored_after"]) == dt.datetime(2025, 11, 29, 1, 30, tzinfo=dt.UTC)

    refused(send(service, "week", REVEAL, body), 409, "already_revealed")
    refused(
        send(service, "week", COMMIT, commit_body(pair, secret=SECRET[::-1])), 409, "window_closed"
    )

    own = service.signed(pair, "GET", f"/v1/signals/{W48.id}/{pair.hotkey}").json()
    verdicts = [row["verdict"] for row in own["reveals"]]
    assert verdicts == ["too_early", "accepted", "already_revealed"]
    assert (own["state"], own["escrow_rao"]) == ("revealed", "50000000000")
    assert own["signal_id"] == accepted["signal_id"]


def test_after_two_days_a_commitment_has_expired(service: Service) -> None:
    pair = committed(service, "expired", OPENS - 20 * HOUR)
    service.at(OPENS + 29 * HOUR)
    refused(send(service, "expired", REVEAL, reveal_body(pair)), 410, "expired")


def test_without_a_commitment_there_is_nothing_to_reveal(service: Service) -> None:
    service.at(OPENS + HOUR)
    answer = send(service, "unknown", REVEAL, reveal_body(key("unknown")))
    refused(answer, 404, "unknown_commitment")


def test_a_replaced_commitment_cannot_be_revealed(service: Service) -> None:
    pair = committed(service, "replaced", OPENS - 20 * HOUR)
    service.at(OPENS - 19 * HOUR)
    assert send(service, "replaced", COMMIT, commit_body(pair, secret=SECRET[::-1])).ok
    service.at(OPENS + HOUR)
    refused(send(service, "replaced", REVEAL, reveal_body(pair)), 404, "unknown_commitment")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"secret": "f" + SECRET[1:]}, 400, "hash_mismatch"),
        ({"positions": {**FIVE, "AAPL": "0.199999"}}, 400, "hash_mismatch"),
        ({"positions": {**FIVE, "AAPL": "0.21"}}, 422, "invalid_portfolio"),
        ({"positions": {**FIVE, "AAPL": "0.10"}}, 422, "invalid_portfolio"),
        ({"positions": {"AAPL": "1"}}, 422, "invalid_portfolio"),
        ({"positions": {**FIVE, "TSLA": "0.2"}}, 422, "invalid_portfolio"),
        ({"positions": {**FIVE, "AAPL": "-0.2"}}, 422, "invalid_request"),
        ({"secret": "0123"}, 422, "invalid_request"),
    ],
)
def test_what_does_not_open_the_commitment(
    service: Service, changes: dict[str, Any], status: int, code: str
) -> None:
    pair = key("mismatch")
    if service.store.signal_status(pair.hotkey, W48, at=OPENS).state.value == "absent":
        committed(service, "mismatch", OPENS - 20 * HOUR)
    service.at(OPENS + HOUR)
    body = reveal_body(pair)
    if "positions" in changes:
        body["signal"]["positions"] = [
            {"ticker": ticker, "weight": weight} for ticker, weight in changes["positions"].items()
        ]
    else:
        body |= changes
    refused(send(service, "mismatch", REVEAL, body), status, code)


def test_a_supplied_hash_must_be_that_of_the_portfolio(service: Service) -> None:
    pair = committed(service, "hash", OPENS - 20 * HOUR)
    service.at(OPENS + HOUR)
    body = reveal_body(pair)
    body["signal"]["portfolio_hash"] = "0" * 64
    refused(send(service, "hash", REVEAL, body), 400, "hash_mismatch")


def test_numbers_are_weights_too(service: Service) -> None:
    pair = committed(service, "numbers", OPENS - 20 * HOUR)
    service.at(OPENS + HOUR)
    body = reveal_body(pair)
    for position in body["signal"]["positions"]:
        position["weight"] = 0.2
    assert send(service, "numbers", REVEAL, body).status_code == 200


def test_an_epoch_without_a_universe_is_not_ready(service: Service) -> None:
    epoch = W48.next()
    pair = key("not ready")
    service.at(epoch.opens_at - HOUR)
    assert send(service, "not ready", COMMIT, commit_body(pair, epoch_id=epoch.id)).ok
    service.at(epoch.opens_at + 20 * HOUR)
    body = reveal_body(pair)
    body["signal"]["epoch_id"] = epoch.id
    refused(send(service, "not ready", REVEAL, body), 409, "epoch_not_ready")


def test_only_the_owner_sees_a_signal(service: Service) -> None:
    pair = committed(service, "private", OPENS - HOUR)
    target = f"/v1/signals/{W48.id}/{pair.hotkey}"
    refused(service.get(target), 401, "not_signed")
    refused(service.signed(key("curious"), "GET", target), 403, "not_the_signer")
    mine = service.signed(pair, "GET", target).json()
    assert (mine["state"], mine["ante"]) == ("committed", "50.000000000")


def test_a_signal_that_was_never_committed(service: Service) -> None:
    pair = key("never")
    answer = service.signed(pair, "GET", f"/v1/signals/{W48.id}/{pair.hotkey}")
    refused(answer, 404, "unknown_commitment")


# Submit


def submit_body(name: str, **changes: Any) -> dict[str, Any]:
    positions = [{"ticker": ticker, "weight": weight} for ticker, weight in FIVE.items()]
    return {
        "epoch_id": W48.id,
        "miner_hotkey": key(name).hotkey,
        "positions": positions,
        "ante_amount": "50",
        **changes,
    }


def test_development_submits_in_one_step(service: Service) -> None:
    answer = send(service, "direct", SUBMIT, submit_body("direct"))
    assert answer.status_code == 200
    assert answer.json()["epoch_id"] == W48.id
    reveals = service.store.reveals(W48.id).set_index("hotkey")
    assert reveals.loc[key("direct").hotkey, "verdict"] == "accepted"
    again = send(service, "direct", SUBMIT, submit_body("direct"))
    assert again.status_code == 409


@pytest.mark.parametrize(
    ("changes", "status", "code", "said"),
    [
        ({"ante_amount": "9.99"}, 400, "ante_below_minimum", "Minimum ante is 10.0"),
        (
            {"positions": [{"ticker": name, "weight": "0.1996"} for name in UNIVERSE[:5]]},
            400,
            "weights_do_not_sum",
            "Weights must sum to 1.0, got 0.998",
        ),
        ({"positions": [{"ticker": "AAPL", "weight": "1"}]}, 422, "invalid_portfolio", "AAPL"),
        (
            {"positions": [{"ticker": "AAPL", "weight": -1.0}]},
            422,
            "invalid_request",
            "/body/positions/0/weight",
        ),
        ({"positions": [{"ticker": "AAPL"}]}, 422, "invalid_request", "/body/positions/0/weight"),
        ({"positions": []}, 422, "invalid_request", "/body/positions"),
    ],
)
def test_what_the_specification_let_through(
    service: Service, changes: dict[str, Any], status: int, code: str, said: str
) -> None:
    answer = send(service, "garbage submit", SUBMIT, submit_body("garbage submit", **changes))
    assert said in refused(answer, status, code)["detail"]


def test_production_takes_no_direct_submission(tmp_path: Path) -> None:
    with serving(settings(tmp_path, environment="production")) as live:
        refused(send(live, "direct", SUBMIT, submit_body("direct")), 403, "not_in_production")
        refused(
            live.post("/v1/dev/clock", {"now": "2025-11-21T00:00:00Z"}), 403, "not_in_production"
        )
        refused(live.get("/v1/dev/clock"), 403, "not_in_production")


def test_the_clock_of_development_is_set_and_reset(service: Service) -> None:
    set_to = service.post("/v1/dev/clock", {"now": "2025-11-21T12:00:00+01:00"}).json()
    assert set_to["now"].startswith("2025-11-21T11:00:00")
    assert set_to["set"] is True
    import requests

    back = requests.delete(service.address + "/v1/dev/clock", timeout=30).json()
    assert back["set"] is False
    assert abs(moment(back["now"]) - dt.datetime.now(dt.UTC)) < 5 * SECOND
    for wrong in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "2025-11-21T12:00:00"):
        refused(service.post("/v1/dev/clock", {"now": wrong}), 422, "invalid_request")
