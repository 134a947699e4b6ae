"""A run that is killed anywhere, run again: the same bytes as one that was never disturbed."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from quanta_pipelines.backfill import IN_THIS_PROCESS, recorded_instance
from quanta_pipelines.settings import Settings
from tests.conftest import PLAYED

EPOCH = PLAYED[-1]
DRIVER = Path(__file__).with_name("killed_run.py")
QUANTA = Path(sys.executable).with_name("quanta")
COMMAND = ("epoch", "run", EPOCH.id, "--json")
KINDS = ("write", "rename", "commit")
SEED = 20190802
PATIENCE = 240  # seconds; a run takes ten to twenty


@dataclass(frozen=True)
class Reference:
    """A run that nothing disturbed: the files it published, and the events on the way there."""

    tables: dict[str, str]
    events: dict[str, int]


@dataclass(frozen=True)
class Aftermath:
    """How runs ended that were killed, and those after them that were not."""

    home: Path
    kills: tuple[int, ...]
    completed: "tuple[subprocess.CompletedProcess[str], ...]"


def environment(home: Path) -> dict[str, str]:
    """This process's environment, with another home and no other settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUANTA_")}
    return kept | {"QUANTA_HOME": str(home)}


def run(home: Path, point: str | None, *program: Path) -> "subprocess.CompletedProcess[str]":
    """Run the epoch under a home with the driver, or with another program; up to a point if any."""
    points = [point] if point else []
    driver: tuple[str | Path, ...] = (sys.executable, DRIVER, events_file(home), *points, "--")
    return subprocess.run(
        [*(program or driver), *COMMAND],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def events_file(home: Path) -> Path:
    """Where the driver lists the events of a run that was not killed."""
    return home.with_suffix(".events")


def published(home: Path) -> dict[str, str]:
    """SHA-256 of everything that a reader of the lake or of the marts can find."""
    files = [*(home / "lake").rglob("*.parquet"), *(home / "lake").rglob("*.json")]
    files += (home / "warehouse").glob("*.parquet")
    return {str(file.relative_to(home)): sha256(file.read_bytes()).hexdigest() for file in files}


def leftovers(home: Path) -> list[str]:
    """Files of the lake that no reader looks at."""
    files = [file for file in (home / "lake").rglob("*") if file.is_file()]
    return [file.name for file in files if file.suffix not in {".parquet", ".json"}]


def run_statuses(home: Path) -> set[str]:
    """How Dagster's runs stand."""
    with sqlite3.connect(home / "dagster" / "history" / "runs.db") as connection:
        found = {row[0] for row in connection.execute("select status from runs")}
    connection.close()
    return found


def points(events: dict[str, int], strata: int) -> dict[str, list[str]]:
    """One point drawn in each stratum of each kind's events, oldest first."""
    rng = np.random.default_rng(SEED)
    return {
        kind: [
            f"{kind}:{rng.choice(stratum)}"
            for stratum in np.array_split(np.arange(1, events[kind] + 1), strata)
        ]
        for kind in KINDS
    }


@pytest.fixture(scope="session")
def reference(settled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    home = copy_of(settled_home, tmp_path_factory)
    done = run(home, None)
    assert done.returncode == 0, done.stderr
    kinds = [kind for kind, _ in json.loads(events_file(home).read_text())]
    assert not leftovers(home)
    return Reference(published(home), {kind: kinds.count(kind) for kind in KINDS})


def copy_of(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(home, tmp_path_factory.mktemp("killed") / "home"))


def kill_and_run_again(home: Path, *killed_at: str, at_once: int = 1) -> Aftermath:
    """Kill a run at each of the points in turn, then run the command undisturbed."""
    kills = tuple(run(home, point).returncode for point in killed_at)
    with ThreadPoolExecutor(at_once) as threads:
        again = [threads.submit(run, home, None, QUANTA) for _ in range(at_once)]
    return Aftermath(home, kills, tuple(process.result() for process in again))


@pytest.fixture(scope="session")
def aftermaths(
    settled_home: Path, reference: Reference, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[Aftermath]"]]:
    """What make test disturbs, side by side: a kind each at the beginning, in the middle, late.

    After the last kill two processes run the epoch again at once.
    """
    drawn = points(reference.events, len(KINDS))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield {
            kind: threads.submit(
                kill_and_run_again,
                copy_of(settled_home, tmp_path_factory),
                drawn[kind][third],
                at_once=2 if kind == KINDS[-1] else 1,
            )
            for third, kind in enumerate(KINDS)
        }


def check(aftermath: Aftermath, reference: Reference) -> None:
    """Every kill hit; the bytes are the reference's; nothing is left that others wait for."""
    assert set(aftermath.kills) <= {-signal.SIGKILL}, "a point was not reached"
    for process in aftermath.completed:
        assert process.returncode == 0, process.stderr
    assert published(aftermath.home) == reference.tables
    left = leftovers(aftermath.home)
    assert all(name.startswith(".") and name.endswith(".tmp") for name in left), left
    assert run_statuses(aftermath.home) <= {"SUCCESS", "FAILURE"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_epoch_run_again_gives_the_same_bytes(
    kind: str, aftermaths: dict[str, "Future[Aftermath]"], reference: Reference
) -> None:
    check(aftermaths[kind].result(), reference)


@pytest.mark.slow
def test_two_runs_of_one_epoch_at_once_wait_for_each_other(
    aftermaths: dict[str, "Future[Aftermath]"], reference: Reference
) -> None:
    aftermath = aftermaths[KINDS[-1]].result()
    check(aftermath, reference)
    assert len(aftermath.completed) == 2
    said = [process.stderr for process in aftermath.completed]
    assert sum("another quanta command is running epochs" in text for text in said) == 1, said


@pytest.mark.soak
@pytest.mark.parametrize("stratum", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_twelve_kills_over_all_strata(
    kind: str,
    stratum: int,
    settled_home: Path,
    reference: Reference,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> None:
    point = points(reference.events, 4)[kind][stratum]
    aftermath = kill_and_run_again(copy_of(settled_home, tmp_path_factory), point)
    left = ", ".join(leftovers(aftermath.home)) or "nothing"
    said = f"killed before {point} of {reference.events}; left in the lake: {left}"
    request.node.add_report_section("call", "kill", said)  # shown by pytest -rA
    check(aftermath, reference)


@pytest.mark.soak
def test_a_recovery_may_be_killed_too(
    settled_home: Path, reference: Reference, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # a later run commits no less often, so that each of these is reached
    killed_at = [f"commit:{int(share * reference.events['commit'])}" for share in (0.3, 0.5, 0.7)]
    check(kill_and_run_again(copy_of(settled_home, tmp_path_factory), *killed_at), reference)


def started_run(instance: dg.DagsterInstance, tags: dict[str, str]) -> str:
    """A run that Dagster believes to be under way."""
    run = dg.DagsterRun("epoch", status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.add_run(run)
    return run.run_id


def test_a_killed_run_gives_its_slot_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    settings = Settings(home=tmp_path)
    with recorded_instance(settings) as instance:
        killed, elsewhere = started_run(instance, IN_THIS_PROCESS), started_run(instance, {})
        slots = instance.event_log_storage
        slots.initialize_concurrency_limit_to_default("vendors")
        assert slots.claim_concurrency_slot("vendors", killed, "raw_prices").is_claimed
        assert not slots.claim_concurrency_slot("vendors", "another", "raw_prices").is_claimed
    with recorded_instance(settings) as instance:
        assert instance.event_log_storage.claim_concurrency_slot(
            "vendors", "another", "raw_prices"
        ).is_claimed
        statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses == {
        killed: dg.DagsterRunStatus.FAILURE,
        elsewhere: dg.DagsterRunStatus.STARTED,  # of the UI or of a schedule: it may be alive
    }
