"""Two workers with homes of their own share a backfill; one is killed; the bytes are the same."""

import json
import re
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import dagster as dg
import pytest
from celery import Celery

from quanta_pipelines.adapters.atomic_files import AtomicFiles
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.backfill import Backfill
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.fleet import EPOCH_TAG, STAGE_TAG, RunState, Webserver
from quanta_pipelines.fleet_jobs import STAGES
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.simulation.season import Season
from tests.conftest import GENESIS, platform_at
from tests.fleet.one_box import PROGRAMS, PROJECT, Fleet, fleet_of, wait_until
from tests.postgres_server import PostgresServer
from tests.s3_server import S3Server

RETRIED = {"fleet_metrics", "fleet_settlement"}  # one of these is under way when a worker dies


def first_epochs(count: int) -> tuple[Epoch, ...]:
    found = [GENESIS]
    while len(found) < count:
        found.append(found[-1].next())
    return tuple(found)


@pytest.fixture
def fleet(tmp_path: Path, postgres: PostgresServer, s3: S3Server, bucket: str) -> Iterator[Fleet]:
    with fleet_of(tmp_path, postgres, s3) as fleet:
        yield fleet


def on_one_machine(home: Path, epochs: tuple[Epoch, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """Hashes of the lake's tables and verdicts, and of the marts, of a run in this process."""
    home.mkdir()
    platform = platform_at(home)
    season = Season(platform.store, platform.vendors[0], GENESIS, platform.params)
    for epoch in epochs:
        season.play(epoch)
    with dg.DagsterInstance.ephemeral() as instance:
        work = Backfill(build_defs(platform=platform), instance)
        outcomes = [*work.epochs(epochs), work.marts()]
    assert all(outcome.succeeded for outcome in outcomes), outcomes[-1].problems
    platform.store.close()
    return published(str(home / "lake")), marts(home)


def published(root: str) -> dict[str, str]:
    """Hash of every table, version and verdict; the order's marks are the lake's own business."""
    files = AtomicFiles(root)
    names = [name for name in files.below("") if "/_order/" not in f"/{name}"]
    return {name: sha256(files.read(name)).hexdigest() for name in names}


def marts(home: Path) -> dict[str, str]:
    found = (home / "warehouse").glob("*.parquet")
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in found}


def play_on(fleet: Fleet, epochs: tuple[Epoch, ...], home: Path) -> None:
    """The same season, in the store that the fleet shares."""
    store = SignalStore.open(fleet.common["QUANTA_DATABASE_URL"])
    platform = platform_at(home)
    season = Season(store, platform.vendors[0], GENESIS, platform.params)
    for epoch in epochs:
        season.play(epoch)
    platform.store.close()
    store.close()


def kill_in_the_middle_of_a_run(fleet: Fleet, machine: str, work: "subprocess.Popen[str]") -> str:
    """Waits until a machine works on a run that others rest on, and kills it; returns the run."""
    asked = Celery(broker=fleet.common["QUANTA_BROKER_URL"]).control
    server = Webserver(fleet.common["QUANTA_WEBSERVER_URL"])
    victim: list[str] = []

    def works_on_one() -> bool:
        assert work.poll() is None, "the backfill ended: " + "".join(work.communicate())
        tasks = (asked.inspect(timeout=1).active() or {}).get(f"{machine}@{machine}", [])
        if not tasks:
            return False
        for run in server.runs("dagster-celery/task_id", tasks[0]["id"]):
            if run.status == "STARTED" and run.tags[STAGE_TAG] in RETRIED:
                fleet.kill(machine)
                victim.append(run.run_id)
        return bool(victim)

    wait_until("a run on the worker to be killed", works_on_one, every=0.05)
    return victim[0]


def has_failed(fleet: Fleet, run_id: str) -> bool:
    """Whether a run is known to have failed."""
    server = Webserver(fleet.common["QUANTA_WEBSERVER_URL"])
    runs = [run for stage in RETRIED for run in server.runs(STAGE_TAG, stage)]
    return any(run.run_id == run_id and run.status == "FAILURE" for run in runs)


def overlap(runs: list[RunState]) -> int:
    """How many pairs of runs were under way at the same time."""
    spans = sorted((r.started, r.ended) for r in runs if r.started and r.ended)
    return sum(b[0] < a[1] for i, a in enumerate(spans) for b in spans[i + 1 :])


@pytest.mark.slow
@pytest.mark.soak  # minutes even for four epochs
@pytest.mark.parametrize("count", [4, 20])
def test_a_fleet_that_loses_a_worker_publishes_the_bytes_of_one_machine(
    fleet: Fleet, tmp_path: Path, count: int
) -> None:
    epochs = first_epochs(count)
    tables, expected_marts = on_one_machine(tmp_path / "alone", epochs)
    play_on(fleet, epochs, tmp_path / "alone")
    fleet.start_worker("first", "quanta")
    fleet.start_worker("second", "quanta", "marts")
    fleet.start_control()
    for machine in ("first", "second"):
        wait_until(f"{machine} to be ready", lambda m=machine: fleet.worker_is_ready(m))
    command = (PROGRAMS / "quanta", "fleet", "backfill", f"{epochs[0]}..{epochs[-1]}", "--json")
    work = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=fleet.environment("control"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lost = kill_in_the_middle_of_a_run(fleet, "first", work)
    wait_until("the loss to be noticed", lambda: has_failed(fleet, lost))
    fleet.start_worker("first", "quanta")  # another machine in its place
    said, problems = work.communicate(timeout=5400)
    assert work.returncode == 0, problems + said
    report = json.loads(said)
    (tmp_path / "report.json").write_text(said)

    assert published(fleet.common["QUANTA_LAKE"]) == tables
    assert marts(fleet.folder / "second") == expected_marts
    assert not marts(fleet.folder / "control")

    server = Webserver(fleet.common["QUANTA_WEBSERVER_URL"])
    runs = server.runs("quanta/fleet", report["backfill"])
    by_id = {run.run_id: run for run in runs}
    assert by_id[lost].status == "FAILURE"
    again = [run for run in runs if run.tags.get("dagster/parent_run_id") == lost]
    assert [run.status for run in again] == ["SUCCESS"]
    assert report["retried"] >= 1  # more where the worker had taken the next run already
    good = [run for run in runs if run.status == "SUCCESS"]
    assert len(good) == count * len(STAGES) + 1
    for machine in ("first", "second"):
        log = fleet.log(machine).read_text(errors="replace")
        assert re.search(r"Task execute_job\[.*\] succeeded", log), f"{machine} did nothing"
    for stage in STAGES:
        mine = [run for run in good if run.tags[STAGE_TAG] == stage.job]
        if stage.in_order:
            assert overlap(mine) == 0
            mine.sort(key=lambda run: run.started or 0.0)
            assert [run.tags[EPOCH_TAG] for run in mine] == [epoch.id for epoch in epochs]
    assert overlap([run for run in good if run.tags[STAGE_TAG] == "fleet_prices"]) > 0
