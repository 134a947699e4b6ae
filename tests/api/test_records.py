"""Votes, pools, participants and disputes: who may record what, and when."""

import datetime as dt
from typing import Any

import pytest

from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from tests.api.conftest import HOUR, OPENS, W48, Service, key, refused

SETTLES = dt.datetime(2025, 11, 29, 1, 30, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
WEIGHTS = "/v1/validators/weights"


@pytest.fixture(scope="module")
def validator(service: Service) -> HotkeyPair:
    pair = key("validator")
    stakes = {pair.hotkey: 5, key("late validator").hotkey: 7}
    service.store.record_snapshot(W48, emission_rao=0, external_rao=0, stakes=stakes)
    return pair


def vote(pair: HotkeyPair, **changes: Any) -> dict[str, Any]:
    cells = [
        {
            "miner_hotkey": key(name).hotkey,
            "weight_units": units,
            "composite": 0.5,
            "max_drawdown_7d": 0.01,
        }
        for name, units in (("a", 600_000_000), ("b", 400_000_000))
    ]
    return {
        "validator_hotkey": pair.hotkey,
        "epoch_id": W48.id,
        "data_hash": "c" * 64,
        "weights": cells,
        **changes,
    }


def test_a_vote_is_taken_once_and_shown_to_its_owner(
    service: Service, validator: HotkeyPair
) -> None:
    service.at(SETTLES + MINUTE)
    first = service.signed(validator, "POST", WEIGHTS, vote(validator))
    assert first.status_code == 200, first.text
    assert first.json()["n_miners"] == 2
    again = service.signed(validator, "POST", WEIGHTS, vote(validator))
    assert again.json()["submission_id"] == first.json()["submission_id"]
    other = service.signed(validator, "POST", WEIGHTS, vote(validator, data_hash="d" * 64))
    refused(other, 409, "contradicts_record")
    target = f"{WEIGHTS}/{W48.id}/{validator.hotkey}"
    mine = service.signed(validator, "GET", target).json()
    assert sum(cell["weight_units"] for cell in mine["weights"]) == 10**9
    assert mine["weights"][0]["max_drawdown_90d"] is None
    refused(service.signed(key("curious"), "GET", target), 403, "not_the_signer")
    stored = service.store.validator_weights(W48.id)
    assert list(stored["validator"].unique()) == [validator.hotkey]


def test_who_is_no_validator_does_not_vote(service: Service, validator: HotkeyPair) -> None:
    service.at(SETTLES + MINUTE)
    stranger = key("stranger")
    answer = service.signed(stranger, "POST", WEIGHTS, vote(stranger))
    refused(answer, 403, "not_permitted")
    target = f"{WEIGHTS}/{W48.id}/{stranger.hotkey}"
    refused(service.signed(stranger, "GET", target), 404, "not_recorded")


@pytest.mark.parametrize("moment", [SETTLES - MINUTE, SETTLES + 31 * MINUTE])
def test_a_vote_outside_its_window_is_refused(
    service: Service, validator: HotkeyPair, moment: dt.datetime
) -> None:
    service.at(moment)
    late = key("late validator")
    refused(service.signed(late, "POST", WEIGHTS, vote(late)), 409, "window_closed")


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ({"weight_units": 1}, "invalid_weights"),
        ({"weight_units": -1}, "invalid_request"),
        ({"weight_units": 0.5}, "invalid_request"),
        ({"weight_units": 10**30}, "invalid_request"),
        ({"composite": 1.5}, "invalid_request"),
        ({"miner_hotkey": key("b").hotkey}, "invalid_weights"),
    ],
)
def test_a_malformed_vote_is_refused(
    service: Service, validator: HotkeyPair, cell: dict[str, Any], code: str
) -> None:
    service.at(SETTLES + MINUTE)
    late = key("late validator")
    body = vote(late)
    body["weights"][0] |= cell
    refused(service.signed(late, "POST", WEIGHTS, body), 422, code)


def test_an_epoch_without_a_snapshot_is_not_ready(service: Service) -> None:
    service.at(SETTLES + MINUTE)
    pair = key("early validator")
    body = vote(pair, epoch_id=W48.next().id)
    refused(service.signed(pair, "POST", WEIGHTS, body), 409, "epoch_not_ready")


# Participants and pools


def test_the_operator_registers_participants(service: Service) -> None:
    service.at(OPENS)
    body = {"hotkey": key("operator").hotkey, "role": "pool_operator"}
    answer = service.admin("POST", "/v1/admin/participants", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["role"] == "pool_operator"
    log = service.store.admin_log.entries()
    registered = log[log["action"] == "register_participant"]
    assert registered["payload"].map(lambda said: key("operator").hotkey in said).any()
    refused(service.post("/v1/admin/participants", body), 401, "not_admin")


def test_the_past_of_a_participant_does_not_change(service: Service) -> None:
    service.at(OPENS)
    body = {"hotkey": key("settled").hotkey, "role": "solo_miner"}
    assert service.admin("POST", "/v1/admin/participants", body).ok
    earlier = {**body, "role": "gone", "since": "2025-01-01T00:00:00Z"}
    answer = service.admin("POST", "/v1/admin/participants", earlier)
    refused(answer, 409, "contradicts_record")


def test_a_member_joins_and_leaves_by_its_own_signature(service: Service) -> None:
    service.at(OPENS + HOUR)
    operator, member = key("pool").hotkey, key("member")
    body = {"hotkey": operator, "role": "pool_operator"}
    assert service.admin("POST", "/v1/admin/participants", body).ok
    service.at(OPENS + 2 * HOUR)
    target = f"/v1/pools/{operator}/members"
    joining = {"member_hotkey": member.hotkey}
    refused(service.post(target, joining), 401, "not_signed")
    refused(service.signed(key("thief"), "POST", target, joining), 403, "not_the_signer")
    assert service.signed(member, "POST", target, joining).json()["members"] == [member.hotkey]
    assert service.get(target).json()["members"] == [member.hotkey]
    leaving = f"{target}/{member.hotkey}"
    refused(service.signed(key("thief"), "DELETE", leaving), 403, "not_the_signer")
    assert service.signed(member, "DELETE", leaving).json()["members"] == []


def test_there_is_no_pool_without_an_operator(service: Service) -> None:
    member = key("lonely")
    target = f"/v1/pools/{key('no operator').hotkey}/members"
    refused(service.get(target), 404, "unknown_pool")
    body = {"member_hotkey": member.hotkey}
    refused(service.signed(member, "POST", target, body), 404, "unknown_pool")


# Disputes

DISPUTE = {
    "epoch_id": W48.id,
    "opened_by": key("validator").hotkey,
    "reason": "a close that is not the exchange's",
    "evidence": {"ticker": "KO"},
}


def test_a_dispute_is_opened_and_decided_in_its_window(service: Service) -> None:
    service.at(SETTLES + HOUR)
    opened = service.admin("POST", "/v1/admin/disputes", DISPUTE)
    assert opened.status_code == 200, opened.text
    number = opened.json()["dispute_id"]
    assert opened.json()["status"] == "open"
    target = f"/v1/admin/disputes/{number}"
    said = service.admin("POST", f"{target}/events", {"event": "upheld", "note": "it is so"})
    assert said.json()["status"] == "upheld"
    assert service.admin("GET", target).json()["status"] == "upheld"
    again = service.admin("POST", f"{target}/events", {"event": "dismissed"})
    refused(again, 409, "contradicts_record")


@pytest.mark.parametrize("moment", [SETTLES - MINUTE, SETTLES + dt.timedelta(hours=24, minutes=31)])
def test_a_dispute_comes_in_time(service: Service, moment: dt.datetime) -> None:
    service.at(moment)
    refused(service.admin("POST", "/v1/admin/disputes", DISPUTE), 409, "window_closed")


def test_an_unknown_dispute_is_unknown(service: Service) -> None:
    refused(service.admin("GET", "/v1/admin/disputes/999"), 404, "not_recorded")
    answer = service.admin("POST", "/v1/admin/disputes/999/events", {"event": "upheld"})
    refused(answer, 404, "not_recorded")
