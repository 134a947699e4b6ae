"""The sensor of alerts: real runs on a real instance, told to a real local web server."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from quanta_pipelines.adapters.alert_channels import Email, Slack, Webhook
from quanta_pipelines.adapters.alert_outbox import AlertOutbox
from quanta_pipelines.alerting import NotTold, about_epochs, alerts_sensor, channels_of
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform
from quanta_pipelines.settings import Settings
from tests.conftest import platform_at
from tests.http_receiver import Receiver

W48 = Epoch.parse("2025-Q4-W48")


@dg.asset
def table() -> None:
    """Something to check."""


@dg.asset_check(asset=table)
def odd() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False, severity=dg.AssetCheckSeverity.WARN, description="volume is odd"
    )


@dg.op
def vendors() -> None:
    raise dg.Failure("nobody answered")


@dg.job
def close() -> None:
    vendors()


@dg.op
def nothing() -> None:
    """A step that works."""


well = dg.GraphDefinition("close_graph", node_defs=[nothing]).to_job("close")


@dataclass
class Watched:
    """An instance, its sensor and who listens."""

    instance: dg.DagsterInstance
    platform: Platform
    receiver: Receiver
    outbox: AlertOutbox
    cursor: str | None = None
    said: list[str] = field(default_factory=list)

    def run(self, job: dg.JobDefinition, **tags: str) -> None:
        job.execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            tags={"quanta/epoch": W48.id, **tags},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def look(self) -> list[str]:
        """The subjects that one tick tells."""
        before = len(self.receiver.subjects)
        resources = {"platform": self.platform, "alert_outbox": self.outbox}
        with dg.build_sensor_context(
            self.instance, cursor=self.cursor, resources=resources
        ) as context:
            found = alerts_sensor.evaluate_tick(context)
            self.cursor = found.cursor
        self.said.append(str(found.skip_message))
        return self.receiver.subjects[before:]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A deployment whose first epoch lies ahead: nothing can be late."""
    platform = replace(platform_at(tmp_path / "home"), genesis=Epoch.parse("2099-Q1-W10"))
    with dg.instance_for_test() as instance, Receiver() as receiver:
        outbox = AlertOutbox(tmp_path / "alerts", (Webhook(receiver.url),))
        watched = Watched(instance, platform, receiver, outbox)
        watched.look()
        yield watched
    platform.store.close()


def test_a_failed_run_is_told_once_with_its_words(watched):
    watched.run(close)
    assert watched.look() == [f"run of close {W48} failed"]
    assert "vendors: nobody answered" in watched.receiver.bodies[-1]["text"].replace(
        "dagster._core.definitions.events.Failure: ", ""
    )
    assert watched.receiver.bodies[-1]["epoch"] == W48.id
    assert watched.look() == []
    watched.run(close)  # the next attempt of the same day fails in the same step
    assert watched.look() == []


def test_a_warning_is_told_though_its_run_succeeds(watched):
    job = dg.Definitions(
        assets=[table], asset_checks=[odd], jobs=[dg.define_asset_job("quality")]
    ).resolve_job_def("quality")
    watched.run(job)
    assert watched.look() == [f"check table odd did not pass for {W48}"]
    assert watched.receiver.bodies[-1]["severity"] == "warning"
    assert watched.receiver.bodies[-1]["text"].startswith("volume is odd")


def test_mass_failures_are_all_told_in_one_tick(watched):
    for n in range(12):
        watched.run(close, **{"quanta/epoch": f"2026-Q1-W{n + 1:02d}"})
    told = watched.look()
    assert len([subject for subject in told if subject.startswith("run of close 2026")]) == 12


def test_five_failures_in_a_row_are_told_once_until_a_success(watched):
    five = "close failed 5 times in a row"
    for _ in range(4):
        watched.run(close)
    assert five not in watched.look()
    watched.run(close)
    assert watched.look() == [five]
    watched.run(close)
    assert watched.look() == []
    watched.run(well)
    for _ in range(5):
        watched.run(close)
    assert watched.look() == [five]


def test_a_channel_that_does_not_answer_fails_the_tick_and_is_told_later(watched):
    watched.run(close)
    watched.receiver.answers = [404]
    with pytest.raises(NotTold, match="1 alerts wait: webhook: answered 404"):
        watched.look()
    assert watched.look() == [f"run of close {W48} failed"]


def test_what_failed_before_the_sensor_was_started_is_not_told(watched):
    watched.run(close)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    watched.platform = replace(watched.platform, clock=lambda: later)
    watched.cursor = None
    assert watched.look() == []


def test_without_a_channel_nothing_is_collected(watched):
    watched.outbox = AlertOutbox(watched.outbox.folder, ())
    watched.run(close)
    assert watched.look() == []
    assert watched.said[-1].startswith("no channel is configured")


# Epochs


@pytest.fixture
def live(watched: Watched) -> Platform:
    """An epoch that should have been closed on the evening of 28 November 2025."""
    now = dt.datetime(2025, 11, 29, 2, 30, tzinfo=dt.UTC)
    platform = replace(watched.platform, genesis=W48, clock=lambda: now)
    hotkey = platform.own_validator
    for epoch in (W48, W48.next()):
        platform.store.record_snapshot(
            epoch, emission_rao=1, external_rao=0, stakes={hotkey: 1}, source="simulated"
        )
        platform.store.fix_universe(epoch, ["AA", "BB", "CC", "DD", "EE"])
    return platform


def validated(statuses: list[str], held: list[bool]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "ticker": [f"A{chr(65 + n)}" for n in range(len(statuses))],
            "session": pd.to_datetime(["2025-11-28"] * len(statuses)),
            "status": statuses,
            "in_universe": held,
        }
    )


def subjects(platform: Platform) -> list[str]:
    return [alert.subject for alert in about_epochs(platform, platform.clock())]


def test_a_late_epoch_is_told(live):
    assert subjects(live) == [f"{W48} is late: taking the signals"]


def test_disputed_prices_that_may_be_held_are_told_and_named(live):
    frame = validated(["settled", "disputed", "disputed", "missing"], [True, True, False, True])
    live.lake.publish("validated_prices", W48.id, frame, params_version="p", code_version="c")
    found = list(about_epochs(live, live.clock()))[-1]
    assert found.subject == f"vendors disagree on 1 prices of {W48}"
    assert found.text == f"AB 2025-11-28\nquanta prices disagreements {W48}"
    settled = validated(["settled"] * 4, [True] * 4)
    live.lake.publish("validated_prices", W48.id, settled, params_version="p", code_version="c")
    assert not [said for said in subjects(live) if said.startswith("vendors")]


# Settings


def test_channels_come_from_the_environment(monkeypatch):
    for name, value in (
        ("WEBHOOK_URL", "https://hooks.example.org/a"),
        ("SLACK_URL", "https://hooks.example.org/b"),
        ("EMAIL_TO", "a@example.org, b@example.org"),
        ("SMTP_HOST", "mail.example.org"),
        ("SMTP_PASSWORD", "kept-out"),
    ):
        monkeypatch.setenv(f"QUANTA_ALERT_{name}", value)
    settings = Settings(_env_file=None)
    webhook, slack, email = channels_of(settings)
    assert webhook == Webhook("https://hooks.example.org/a")
    assert slack == Slack("https://hooks.example.org/b")
    assert isinstance(email, Email)
    assert email.recipients == ("a@example.org", "b@example.org")
    assert email.sender == "a@example.org"
    assert "kept-out" not in repr(settings)
    assert "hooks.example.org" not in repr(settings)


def test_without_settings_there_is_no_channel():
    assert channels_of(Settings(_env_file=None)) == ()
