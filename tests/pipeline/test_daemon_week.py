"""A week's end under real daemons: a vendor is down, a check fails, somebody is told, it is healed.

Webserver, daemon, code servers and runs are processes of the installed programs, on SQLite and on
PostgreSQL. Vendors are the real ones, asked over HTTP; what they serve is simulated, and so are the
miners. The week is the last one that real time lets settle; only the scheduler's clock is the
test's, since a week's end does not come when a test runs.
"""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest
import requests
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.fleet import FleetError, RunState, Webserver
from quanta_pipelines.protocol.epoch import Epoch, distribution_starts, sessions_before
from quanta_pipelines.settings import PROJECT
from quanta_pipelines.simulation.season import Season
from tests.fleet.one_box import free_port
from tests.http_receiver import Receiver
from tests.pipeline.replica_platform import frame_market
from tests.vendor_replicas.formats import Response
from tests.vendor_replicas.server import Fault, Server, serving
from tests.vendor_replicas.truth import truth_table
from tests.vendor_replicas.wired import KEY, REPLICAS

NEW_YORK = ZoneInfo("America/New_York")
PROGRAMS = Path(sys.executable).parent
CLOCKED = Path(__file__).with_name("clocked_daemon.py")
PATIENCE_SECONDS = 600.0  # for machines under load; nothing waits that long otherwise
BENCHMARK = "SPY"
TICKERS = (
    *("AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ"),
    *("JPM", "KO", "LLY", "MRK", "MSFT", "PEP", "PG", "XOM"),
)
WRONG = 1.05  # what one vendor makes of the benchmark's last close
TURN_ON = """
mutation ($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) {
    __typename
    ... on PythonError {message}
  }
}"""
JOBS = {"epoch_close": "close", "epoch_close_again": "close", "epoch_settlement": "settle"}
SCHEDULES = tuple(JOBS)
ASKED_FOR = "quanta/asked_for"  # job that the operator of this test starts in the UI


def last_settleable(now: dt.datetime) -> Epoch:
    """The newest epoch that may be paid a day before now."""
    epoch = Epoch.containing(now.date())
    while distribution_starts(epoch) > now - dt.timedelta(days=1):
        epoch = epoch.previous()
    return epoch


def on_the_evening(day: dt.date, hour: int, minute: int) -> dt.datetime:
    """A moment on New York's clock."""
    return dt.datetime.combine(day, dt.time(hour, minute), NEW_YORK)


@dataclass
class Deployment:
    """A home, its processes, what the vendors serve, and who is told."""

    home: Path
    env: dict[str, str]
    epoch: Epoch
    vendors: dict[str, Server]
    truth: pd.DataFrame
    receiver: Receiver
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def server(self) -> Webserver:
        return Webserver(self.env["QUANTA_WEBSERVER_URL"])

    @property
    def clock(self) -> Path:
        return self.home / "scheduler.clock"

    def set_clock(self, moment: dt.datetime) -> None:
        """The scheduler goes on from a moment."""
        ahead = (moment - dt.datetime.now(dt.UTC)).total_seconds()
        beside = self.clock.with_suffix(".new")
        beside.write_text(str(ahead))
        beside.replace(self.clock)

    def start(self, *command: str | Path) -> None:
        with (self.home / f"{len(self.processes)}.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [str(part) for part in command],
                    cwd=PROJECT,
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [PROGRAMS / "quanta", *arguments],
            cwd=PROJECT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_for(self, what: str, found: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(FleetError):
                if found():
                    return
            for process in self.processes:
                assert process.poll() is None, f"{process.args} ended"
            assert time.monotonic() < end, f"{what} did not happen: {self.receiver.bodies}"
            time.sleep(0.5)

    def ended(self, job: str, count: int) -> RunState:
        """The newest run of a job, once so many have ended."""
        runs: list[RunState] = []

        def over() -> bool:
            found = self.server.runs("quanta/epoch", self.epoch.id)
            runs[:] = [run for run in found if run.ended and self.job_of(run) == job]
            return len(runs) >= count

        self.wait_for(f"end {count} of {job}", over)
        return runs[-1]

    def job_of(self, run: RunState) -> str:
        schedule = run.tags.get("dagster/schedule_name", "")
        return JOBS.get(schedule) or run.tags.get(ASKED_FOR, "")

    def turn_on(self, since: dt.datetime) -> None:
        """An operator turns the schedules on, at a moment of the scheduler's clock."""
        for name in SCHEDULES:
            selector = {
                "repositoryName": "__repository__",
                "repositoryLocationName": "quanta_pipelines.definitions",
                "scheduleName": name,
            }
            said = requests.post(
                f"{self.server.url}/graphql",
                json={"query": TURN_ON, "variables": {"selector": selector}},
                timeout=60,
            ).json()
            assert said["data"]["startSchedule"]["__typename"] == "ScheduleStateResult", said
        with self.instance() as instance:
            for state in instance.all_instigator_state():
                if state.name in SCHEDULES:
                    cron = state.instigator_data.cron_schedule
                    data = ScheduleInstigatorData(cron, since.timestamp())
                    instance.update_instigator_state(state.with_data(data))

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home / "dagster"))


@pytest.fixture(params=["sqlite", "postgresql"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """An empty home with the week's signals, vendors that answer, and nothing running yet."""
    home = tmp_path / "home"
    home.mkdir()
    epoch = last_settleable(dt.datetime.now(dt.UTC))
    first = sessions_before(epoch.sessions[0], 90)[0]
    truth = truth_table((*TICKERS, BENCHMARK), first, epoch.sessions[-1])
    mistaken = truth.copy()
    mistaken.loc[cell(truth, epoch), "close"] = round(true_close(truth, epoch) * WRONG, 2)
    watch_list = tmp_path / "tickers.txt"
    watch_list.write_text("\n".join((*TICKERS, BENCHMARK)))
    env = {
        **{n: v for n, v in os.environ.items() if not n.startswith(("QUANTA_", "DAGSTER_"))},
        "QUANTA_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "QUANTA_FIRST_EPOCH": epoch.id,
        "QUANTA_WATCH_LIST": str(watch_list),
        "QUANTA_VENDORS": "tiingo,polygon",
        "QUANTA_WEBSERVER_URL": f"http://127.0.0.1:{free_port()}",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    if request.param == "postgresql":
        postgres = request.getfixturevalue("postgres")
        env["QUANTA_DATABASE_URL"] = postgres.create("week_signals")
        env["QUANTA_DAGSTER_POSTGRES_URL"] = postgres.create("week_dagster")
    play(epoch, truth, env.get("QUANTA_DATABASE_URL", f"sqlite:///{home / 'signals.db'}"))
    with ExitStack() as stack:
        vendors = {}
        for name, served in (("tiingo", mistaken), ("polygon", truth)):
            replica = REPLICAS[name](served, KEY, quoted_at=epoch.closes_at)
            vendors[name] = stack.enter_context(serving(replica))
            env |= {
                f"QUANTA_{name.upper()}_URL": vendors[name].url,
                f"QUANTA_{name.upper()}_API_KEY": KEY,
                f"QUANTA_{name.upper()}_RATE": "10000 per second",
            }
        receiver = stack.enter_context(Receiver())
        env["QUANTA_ALERT_WEBHOOK_URL"] = receiver.url
        found = Deployment(home, env, epoch, vendors, truth, receiver)
        try:
            yield found
        finally:
            for process in found.processes:
                process.send_signal(signal.SIGINT)
            for process in found.processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(60)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def cell(truth: pd.DataFrame, epoch: Epoch) -> "pd.Series[bool]":
    """Where the benchmark's last close stands."""
    last = pd.Timestamp(epoch.sessions[-1])
    return (truth["ticker"] == BENCHMARK) & (truth["session"] == last)


def true_close(truth: pd.DataFrame, epoch: Epoch) -> float:
    return float(truth.loc[cell(truth, epoch), "close"].item())


def play(epoch: Epoch, truth: pd.DataFrame, url: str) -> None:
    """What outsiders sent for the week."""
    store = SignalStore.open(url)
    market = frame_market({"tiingo": truth, "polygon": truth})
    Season(store, market, epoch).play(epoch)
    store.close()


@pytest.mark.slow
@pytest.mark.soak  # minutes: a webserver, a daemon, code servers and their runs
def test_a_week_closes_by_schedule_through_an_outage_and_a_failed_check(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch, receiver = deployment.epoch, deployment.receiver
    for name in ("DAGSTER_HOME", "QUANTA_DAGSTER_POSTGRES_URL"):
        if name in deployment.env:
            monkeypatch.setenv(name, deployment.env[name])
    last = epoch.sessions[-1]
    deployment.set_clock(on_the_evening(last, 20, 34))
    deployment.vendors["polygon"].faults.append(DOWN)
    deployment.command("instance")
    port = deployment.server.url.rpartition(":")[2]
    workspace = ("-w", str(PROJECT / "workspace.yaml"))
    deployment.start(PROGRAMS / "dagster-webserver", *workspace, "-h", "127.0.0.1", "-p", port)
    deployment.wait_for("the webserver", lambda: deployment.server.runs("quanta/epoch", "x") == [])
    deployment.turn_on(since=on_the_evening(last, 20, 34))
    deployment.start(sys.executable, CLOCKED, deployment.clock, "run", *workspace)

    first = deployment.ended("close", 1)  # 20:35: one vendor of two is down
    assert (first.status, first.tags["dagster/schedule_name"]) == ("FAILURE", "epoch_close")
    deployment.wait_for("an alert", lambda: f"run of close {epoch} failed" in receiver.subjects)
    [check] = checks_told(receiver)
    assert f"run {first.run_id}" in check["text"]

    deployment.vendors["polygon"].faults.clear()
    deployment.set_clock(on_the_evening(last, 20, 49))
    second = deployment.ended("close", 2)  # 20:50: both answer, and are apart on one close
    assert (second.status, second.tags["dagster/schedule_name"]) == ("FAILURE", "epoch_close_again")
    deployment.wait_for("the check", lambda: len(checks_told(receiver)) == 2)
    told = checks_told(receiver)[-1]
    assert f"run {second.run_id}" in told["text"]
    assert BENCHMARK in told["text"]
    assert told["epoch"] == epoch.id

    close = true_close(deployment.truth, epoch)
    said = ("--reason", "tiingo is off by a twentieth", "--evidence", "the tape", "--author", "me")
    what = ("--field", "close", "--value", str(close), "--old", "none")
    deployment.command("prices", "correct", epoch.id, BENCHMARK, str(last), *what, *said)
    tags = {"dagster/partition": epoch.id, "quanta/epoch": epoch.id, ASKED_FOR: "close"}
    deployment.server.launch("close", tags)
    assert deployment.ended("close", 3).status == "SUCCESS"

    evening = distribution_starts(epoch).astimezone(NEW_YORK)
    deployment.set_clock(on_the_evening(evening.date(), 21, 4))
    settled = deployment.ended("settle", 1)
    assert (settled.status, settled.tags["dagster/schedule_name"]) == (
        "SUCCESS",
        "epoch_settlement",
    )
    [state] = json.loads(deployment.command("epoch", "status", "--json"))
    assert (state["epoch_id"], state["settled"]) == (epoch.id, True)
    prices = pd.read_parquet(deployment.home / f"lake/validated_prices/{epoch.id}.parquet")
    assert prices.loc[cell(prices, epoch), "close"].item() == close
    assert (deployment.home / "warehouse/leaderboard.parquet").is_file()
    subjects = [body["cause"] for body in receiver.bodies]
    assert len(subjects) == len(set(subjects))


DOWN = Fault("", change=lambda _: Response(503, b""))


def checks_told(receiver: Receiver) -> list[dict[str, str]]:
    """Alerts about the check that keeps a week without a benchmark from being scored."""
    return [body for body in receiver.bodies if "benchmark_is_settled" in body["subject"]]
