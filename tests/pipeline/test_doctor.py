"""The doctor: a sound deployment, and one fault at a time that it has to name."""

import datetime as dt
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._daemon.types import DaemonHeartbeat
from pydantic import SecretStr

from quanta_pipelines.doctor import NEEDED_DAEMONS, Doctor, Finding, settings_problems
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import PROJECT, Settings
from tests.conftest import platform_at
from tests.http_receiver import Receiver
from tests.pipeline.simulated_years import SimulatedYears

W48 = Epoch.parse("2025-Q4-W48")
NOW = dt.datetime(2025, 11, 28, 12, tzinfo=dt.UTC)
HOTKEY = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"


@dataclass
class Patient:
    """A deployment on disk, and its records of Dagster."""

    settings: Settings
    instance: dg.DagsterInstance
    now: dt.datetime = NOW

    def problems(self) -> list[Finding]:
        return [each for each in self.findings() if each.status == "problem"]

    def findings(self) -> list[Finding]:
        def opened():
            return replace(platform_at(self.settings.home), genesis=W48)

        return Doctor(self.settings, opened, (), self.now).findings()

    def beat(self, age: float = 10.0, *kinds: str) -> None:
        for kind in kinds or NEEDED_DAEMONS:
            moment = self.now.timestamp() - age
            self.instance.add_daemon_heartbeat(DaemonHeartbeat(moment, kind, "one", []))


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    """A sound deployment before the end of its first epoch."""
    home = tmp_path / "home"
    settings = Settings(_env_file=None, home=home)
    settings.dagster_home.mkdir(parents=True)
    (settings.dagster_home / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))
    with dg.DagsterInstance.get() as instance:
        patient = Patient(settings, instance)
        patient.beat()
        years = SimulatedYears.at(home, W48, instance, monkeypatch)
        yield patient
        years.platform.store.close()


def test_a_sound_deployment_has_no_problem(patient):
    assert patient.problems() == []
    parts = {finding.part for finding in patient.findings()}
    assert parts == {
        "settings", "disk", "signal store", "lake", "marts", "epochs", "daemon", "pools"
    }  # fmt: skip


def test_a_daemon_that_stopped_is_named(patient):
    patient.beat(301.0, "SCHEDULER")
    assert patient.problems() == [
        Finding("daemon", "problem", "SCHEDULER gave its last heartbeat 301 s ago")
    ]


def test_a_daemon_that_never_ran_is_named(patient):
    patient.instance.wipe_daemon_heartbeats()
    assert [each.detail for each in patient.problems()] == [
        f"{kind} has never run" for kind in NEEDED_DAEMONS
    ]


def test_a_late_epoch_is_named(patient):
    patient.now = NOW + dt.timedelta(hours=15)  # 22:00 in New York, prices were final at 20:30
    patient.beat()
    said = [each.detail for each in patient.problems()]
    assert f"closing of {W48} was due by 2025-11-29T02:30+00:00" in said


def test_a_slot_of_a_run_that_is_over_is_named(patient):
    @dg.op(pool="vendors")
    def ask() -> None:
        """One step that held a slot."""

    @dg.job
    def close() -> None:
        ask()

    run = patient.instance.create_run_for_job(close)
    storage = patient.instance.event_log_storage
    storage.set_concurrency_slots("vendors", 1)
    assert storage.claim_concurrency_slot("vendors", run.run_id, "ask").is_claimed
    assert patient.problems() == []  # it has not ended
    patient.instance.report_run_failed(run)
    assert [each.detail for each in patient.problems()] == [
        f"vendors: held by run {run.run_id}, FAILURE"
    ]


def test_a_damaged_store_is_named_and_the_rest_is_still_asked(patient):
    with sqlite3.connect(patient.settings.home / "signals.db") as store:
        store.execute("drop table commitments")
    store.close()
    found = patient.findings()
    assert any(each.status == "problem" and each.part == "signal store" for each in found)
    assert any(each.part == "daemon" and each.status == "ok" for each in found)


def test_records_that_are_not_there_are_a_problem(patient):
    (patient.settings.dagster_home / "dagster.yaml").unlink()
    [found] = patient.problems()
    assert found.detail.startswith("there is no ")


def test_settings_of_a_developer_warn_and_stop_production(patient):
    assert [each.status for each in patient.findings() if each.part == "settings"] == [
        "warning"
    ] * len(list(settings_problems(patient.settings)))
    patient.settings.environment = "production"
    said = [each.detail for each in patient.problems()]
    assert "QUANTA_VALIDATOR_HOTKEY is Alice's" in said
    assert "nobody is alerted: no QUANTA_ALERT_* channel is set" in said
    assert "QUANTA_CHAIN_STATE is not set: nobody knows the stakes of an epoch" in said


def test_good_settings_have_no_problem(tmp_path):
    stakes = tmp_path / "stakes.json"
    stakes.write_text("{}")
    good = Settings(
        _env_file=None,
        environment="production",
        vendors=("tiingo", "yahoo"),
        tiingo_api_key=SecretStr("key"),
        chain_state=stakes,
        validator_hotkey=HOTKEY,
        admin_token=SecretStr("t" * 32),
        alert_webhook_url=SecretStr("https://hooks.example.org"),
    )
    assert list(settings_problems(good)) == []
    without = good.model_copy(update={"tiingo_api_key": None})
    assert list(settings_problems(without)) == [
        "vendor tiingo is off: QUANTA_TIINGO_API_KEY is not set"
    ]


def test_the_command_leaves_with_one_and_tells_a_webhook(patient, monkeypatch):
    from quanta_pipelines import cli_operations
    from quanta_pipelines.cli import main

    with Receiver() as receiver:
        settings = patient.settings.model_copy(
            update={"alert_webhook_url": SecretStr(receiver.url), "first_epoch": "2099-Q1-W10"}
        )
        monkeypatch.setattr(cli_operations, "current_settings", lambda: settings)
        patient.instance.wipe_daemon_heartbeats()
        for _ in range(2):
            answer = CliRunner().invoke(main, ["doctor", "--json", "--alert"])
            assert answer.exit_code == 1, answer.output
        said = json.loads(answer.stdout)
        assert said["sound"] is False
        assert receiver.subjects == ["quanta doctor: daemon"]  # told once
        assert receiver.bodies[0]["text"].count("has never run") == len(NEEDED_DAEMONS)
