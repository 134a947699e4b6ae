"""What the probes find: parts that work, parts that are away, and neither of them made up."""

import datetime as dt
import socket
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from quanta_pipelines.adapters.daemon_heartbeat import NotReachable, last_heartbeat
from tests.api.conftest import HOUR, OPENS, Service, commit_body, key, refused, serving, settings
from tests.conftest import SETTLED


def test_alive(service: Service) -> None:
    answer = service.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    said = dt.datetime.fromisoformat(answer.json()["timestamp"])
    assert abs(said - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=5)


def test_phases_are_those_of_the_calendar(service: Service) -> None:
    service.at(OPENS + HOUR)  # W48 reveals, W47 awaits settlement, W49 takes antes
    said = service.get("/health/detailed").json()
    assert (said["current_epoch"], said["epoch_phase"]) == ("2025-Q4-W48", "reveal")
    phases = {each["epoch_id"]: each["phase"] for each in said["epochs"]}
    assert phases == {
        "2025-Q4-W47": "evaluation",
        "2025-Q4-W48": "reveal",
        "2025-Q4-W49": "submission",
    }
    assert said["last_closed_epoch"] == "2025-Q4-W47"


def test_outside_the_calendar_there_is_no_phase(service: Service) -> None:
    service.at(dt.datetime(2060, 1, 1, tzinfo=dt.UTC))
    said = service.get("/health/detailed").json()
    assert (said["current_epoch"], said["epoch_phase"], said["epochs"]) == (None, None, [])


def test_an_empty_home_is_degraded(tmp_path: Path) -> None:
    with serving(settings(tmp_path)) as empty:
        answer = empty.get("/health/detailed")
        said = answer.json()
    states = {name: part["status"] for name, part in said["components"].items()}
    assert answer.status_code == 200
    assert states == {
        "database": "healthy",
        "redis": "not_configured",
        "market_data": "degraded",
        "scoring_engine": "not_reachable",
        "lake": "healthy",
        "warehouse": "degraded",
    }
    assert said["status"] == "degraded"
    assert said["last_settled_epoch"] is None


def test_a_settled_home_says_how_far_it_is(published: Service) -> None:
    said = published.get("/health/detailed").json()
    assert said["last_settled_epoch"] == SETTLED[-1].id
    assert SETTLED[-1].id in said["components"]["market_data"]["detail"]


def _closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_a_store_that_is_away_is_said_and_not_a_failure(tmp_path: Path) -> None:
    address = f"postgresql://quanta:hidden-password@127.0.0.1:{_closed_port()}/quanta"
    with serving(settings(tmp_path, database_url=address)) as without:
        health = without.get("/health/detailed")
        assert health.status_code == 503
        assert health.json()["status"] == "unhealthy"
        assert health.json()["components"]["database"]["status"] == "unhealthy"
        assert int(health.headers["Retry-After"]) >= 1
        assert without.get("/health").status_code == 200
        pair = key("unlucky")
        without.at(OPENS - HOUR)
        answer = without.signed(pair, "POST", "/v1/signals/commit", commit_body(pair))
        problem = refused(answer, 503, "store_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert "hidden-password" not in str(problem) + health.text


# The daemon's heartbeat


def test_the_heartbeat_is_the_daemons(tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    with pytest.raises(NotReachable, match="no records"):
        last_heartbeat(home)
    beat = dt.datetime(2025, 11, 21, 12, 0, 30, tzinfo=dt.UTC)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        with pytest.raises(NotReachable, match="no daemon"):
            last_heartbeat(home)
        for kind, second in (("SENSOR", 10), ("SCHEDULER", 30)):
            moment = beat.replace(second=second).timestamp()
            instance.add_daemon_heartbeat(DaemonHeartbeat(moment, kind, "one", []))
        assert last_heartbeat(home) == beat


def test_an_old_heartbeat_is_no_heartbeat(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "dagster").mkdir(parents=True)
    now = dt.datetime.now(dt.UTC).timestamp()
    with (
        dg.DagsterInstance.local_temp(str(home / "dagster")) as instance,
        serving(settings(home)) as watching,
    ):
        for age, state in ((3600, "degraded"), (10, "healthy")):
            instance.add_daemon_heartbeat(DaemonHeartbeat(now - age, "SCHEDULER", "one", []))
            part = watching.get("/health/detailed").json()["components"]["scoring_engine"]
            assert part["status"] == state


def test_records_that_cannot_be_read_are_not_reachable(tmp_path: Path) -> None:
    records = tmp_path / "history" / "runs.db"
    records.parent.mkdir()
    records.write_bytes(b"no database")
    with pytest.raises(NotReachable, match="cannot be read"):
        last_heartbeat(tmp_path)
    address = f"postgresql://dagster:hidden@127.0.0.1:{_closed_port()}/dagster"
    with pytest.raises(NotReachable) as refusal:
        last_heartbeat(tmp_path, address)
    assert "hidden" not in str(refusal.value)
