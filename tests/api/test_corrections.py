"""Corrections of settled prices by the operator: looked up, recorded once, logged with it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from quanta_pipelines.protocol.epoch import Epoch
from tests.api.conftest import Service, refused, serving, settings

TARGET = "/v1/admin/corrections"
EPOCH = "2019-Q3-W29"
BODY: dict[str, Any] = {
    "epoch_id": EPOCH,
    "ticker": "KO",
    "session": "2019-07-16",
    "field": "close",
    "value": 12.5,
    "author": "the operator on duty",
    "reason": "a vendor sent another share's close",
    "evidence": "the exchange's closing report of the day",
}


@pytest.fixture(scope="module")
def home(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the published epochs: what is corrected stays corrected."""
    home = tmp_path_factory.mktemp("corrected") / "home"
    shutil.copytree(published_home, home)
    return home


@pytest.fixture(scope="module")
def correcting(home: Path) -> Iterator[Service]:
    with serving(settings(home)) as running:
        yield running


def recorded_close(service: Service, ticker: str, session: str) -> float:
    """What the one vendor of the recording said."""
    raw = service.services.lake.read("raw_prices", EPOCH, gates=["contract"])
    [row] = raw[(raw["ticker"] == ticker) & (raw["session"] == session)].to_dict("records")
    return float(row["close"])


def test_a_correction_is_recorded_with_what_was_settled_and_logged(correcting: Service) -> None:
    said = correcting.admin("POST", TARGET, BODY)
    assert said.status_code == 200, said.text
    found = said.json()
    was = recorded_close(correcting, "KO", "2019-07-16")
    assert (found["old_value"], found["new_value"]) == (was, 12.5)
    # published are W23 to W30; what looks back thirty sessions from W29 on, or holds the day
    assert found["epochs"] == ["2019-Q3-W29", "2019-Q3-W30"]
    standing = correcting.store.corrections.standing(
        Epoch.parse(EPOCH).sessions[0], Epoch.parse(EPOCH).sessions[-1]
    )
    standing = standing[standing["ticker"] == "KO"]
    assert standing["correction_id"].tolist() == [found["correction_id"]]
    assert standing["author"].tolist() == ["the operator on duty"]
    logged = correcting.store.admin_log.entries()
    entry = logged[logged["payload"].str.contains("KO")].iloc[-1]
    assert (entry["actor"], entry["action"]) == ("admin", "correct_price")
    assert json.loads(entry["payload"]) == {**BODY, "old": None}
    again = correcting.admin("POST", TARGET, BODY)
    refused(again, 409, "contradicts_record")
    assert len(correcting.store.admin_log.entries()) == len(logged)  # what was refused was not done


def test_a_correction_of_a_correction_starts_from_it(correcting: Service) -> None:
    body = {**BODY, "ticker": "jpm", "value": 100.0}
    assert correcting.admin("POST", TARGET, body).json()["ticker"] == "JPM"
    refused(
        correcting.admin("POST", TARGET, {**body, "value": 101.0, "old": "99"}),
        409,
        "contradicts_record",
    )
    second = correcting.admin("POST", TARGET, {**body, "value": 101.0, "old": "100"}).json()
    assert (second["old_value"], second["new_value"]) == (100.0, 101.0)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"value": 0}, 422, "invalid_correction"),
        ({"value": -1}, 422, "invalid_request"),
        ({"value": 1e10}, 422, "invalid_correction"),
        ({"field": "volume"}, 422, "invalid_request"),
        ({"session": "2019-07-14"}, 422, "invalid_correction"),  # a Sunday
        ({"session": "2019-08-16"}, 422, "invalid_correction"),  # after the epoch
        ({"session": "yesterday"}, 422, "invalid_request"),
        ({"ticker": "ZZZZ"}, 422, "invalid_correction"),
        ({"reason": "  "}, 422, "invalid_correction"),
        ({"evidence": ""}, 422, "invalid_request"),
        ({"old": "many"}, 422, "invalid_correction"),
        ({"epoch_id": "2019-Q3-W40"}, 422, "invalid_request"),  # W40 is in the fourth quarter
        ({"epoch_id": "2019-Q4-W44"}, 422, "invalid_correction"),  # does not look at July
        ({"epoch_id": "2019-Q3-W32", "session": "2019-08-06"}, 409, "epoch_not_settled"),
        ({"note": "lost"}, 422, "invalid_request"),
    ],
)
def test_what_is_no_correction_is_refused_and_not_logged(
    correcting: Service, changes: dict[str, Any], status: int, code: str
) -> None:
    before = len(correcting.store.admin_log.entries())
    refused(correcting.admin("POST", TARGET, {**BODY, **changes}), status, code)
    assert len(correcting.store.admin_log.entries()) == before


def test_nobody_but_the_operator_corrects(correcting: Service) -> None:
    refused(correcting.post(TARGET, BODY), 401, "not_admin")


def test_without_its_log_entry_nothing_is_corrected(correcting: Service, home: Path) -> None:
    """One transaction: a log that takes nothing leaves no correction."""
    body = {**BODY, "ticker": "AAPL"}
    engine = create_engine(f"sqlite:///{home / 'signals.db'}")
    trigger = (
        "CREATE TRIGGER full BEFORE INSERT ON admin_actions BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    with engine.begin() as connection:
        connection.execute(text(trigger))
    assert correcting.admin("POST", TARGET, body).status_code >= 500
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER full"))
    engine.dispose()
    sessions = Epoch.parse(EPOCH).sessions
    standing = correcting.store.corrections.standing(sessions[0], sessions[-1])
    assert "AAPL" not in set(standing["ticker"])
