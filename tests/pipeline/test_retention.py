"""What piles up goes, what anything refers to stays, and a kill in the middle harms nothing."""

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import dagster as dg
import pytest

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.retention import Leftover, Retention
from tests.conftest import SETTLED

EPOCH = SETTLED[-1].id
OLD = dt.timedelta(days=3)
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def home(settled_home: Path, tmp_path: Path) -> Path:
    """Settled epochs, published three days ago."""
    copied = Path(shutil.copytree(settled_home, tmp_path / "home"))
    for path in (copied / "lake").rglob("*"):
        age(path)
    return copied


def age(path: Path) -> None:
    moment = (NOW - OLD).timestamp()
    os.utime(path, (moment, moment))


def litter(home: Path) -> dict[str, list[str]]:
    """What kills leave behind, by what should become of it: names below the home."""
    lake = Lake(str(home / "lake"))
    held = lake.load("scores", EPOCH)
    stamps = {
        "params_version": held.version.params_version,
        "code_version": held.version.code_version,
    }
    changed = held.frame.assign(composite=held.frame["composite"] / 2)
    once = lake.publish("scores", EPOCH, changed, **stamps)
    lake.publish("scores", EPOCH, held.frame, **stamps)
    versions = home / f"lake/scores/_versions/{EPOCH}"
    never = versions / f"{'0' * 64}.parquet"
    never.write_bytes(b"a publisher was killed")
    young = versions / f"{'1' * 64}.parquet"
    young.write_bytes(b"a publisher is at work")
    unfinished = home / "lake/scores/.2019-Q3-W30.parquet.77.tmp"
    unfinished.write_bytes(b"half")
    verdict = home / f"lake/scores/_gates/{EPOCH}/.contract.json.9b3e7ce1dd8cdbc0.tmp"
    verdict.write_bytes(b"{")
    reply = home / "lake/vendor_replies/.kept.tmp"
    reply.parent.mkdir(exist_ok=True)
    reply.write_bytes(b"an archive's")
    build = home / "warehouse/.build-killed"
    (build / "logs").mkdir(parents=True)
    (build / "build.duckdb").write_bytes(b"x" * 1000)
    (build / "logs/dbt.log").write_bytes(b"y" * 10)
    (home / "warehouse/.build-running").mkdir()
    superseded = versions / f"{once.content_hash}.parquet"
    for path in (never, unfinished, verdict, reply, superseded, build / "build.duckdb"):
        age(path)
    for path in (build / "logs/dbt.log", build / "logs", build):
        age(path)
    return {
        "goes": [str(path.relative_to(home)) for path in (build, unfinished, verdict, never)],
        "goes if it is asked for": [str(superseded.relative_to(home))],
        "stays": [str(path.relative_to(home)) for path in (young, reply)]
        + ["warehouse/.build-running"],
    }


def found(home: Path, *, superseded: bool = False) -> list[Leftover]:
    retention = Retention(Lake(str(home / "lake")), home, NOW, 90, superseded)
    with dg.DagsterInstance.ephemeral() as instance:
        return list(retention.leftovers(instance))


def names(home: Path, leftovers: list[Leftover]) -> list[str]:
    return [
        str(Path(each.name).relative_to(home)) if each.name.startswith("/") else f"lake/{each.name}"
        for each in leftovers
    ]


def contents(home: Path) -> dict[str, str]:
    files = [path for path in home.rglob("*") if path.is_file() and "dagster" not in path.parts]
    return {str(path.relative_to(home)): sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_nothing_refers_to_goes_and_all_else_stays(home: Path) -> None:
    assert found(home) == found(home, superseded=True) == []
    thrown = litter(home)
    before = contents(home)
    usual, more = found(home), found(home, superseded=True)
    assert names(home, usual) == thrown["goes"]
    assert set(names(home, more)) == {*thrown["goes"], *thrown["goes if it is asked for"]}
    assert next(each.size for each in usual if each.kind == "build of marts") == 1010
    assert contents(home) == before
    for each in more:
        each.delete()
    gone = {name for name in before if any(name.startswith(each) for each in names(home, more))}
    assert contents(home) == {name: held for name, held in before.items() if name not in gone}
    assert all((home / name).exists() for name in thrown["stays"])
    assert found(home, superseded=True) == []
    lake = Lake(str(home / "lake"))
    assert len(lake.published("scores", EPOCH)) == 3  # the order still says what was published
    assert lake.refusal("scores", EPOCH, ()) is None


def test_what_a_later_table_rests_on_stays(home: Path) -> None:
    lake = Lake(str(home / "lake"))
    held = lake.load("scores", EPOCH)
    inputs = {f"scores {EPOCH}": held.version.content_hash}
    ledger = lake.version("ledger_entries", EPOCH).content_hash
    lake.record_verdict(
        "ledger_entries",
        EPOCH,
        "contract",
        passed=True,
        content_hash=ledger,
        detail="",
        inputs=inputs,
    )
    lake.publish(
        "scores",
        EPOCH,
        held.frame.assign(composite=held.frame["composite"] / 2),
        params_version=held.version.params_version,
        code_version=held.version.code_version,
    )
    assert found(home, superseded=True) == []


def test_records_of_failed_runs_go_once_they_are_old_and_made_good(home: Path) -> None:
    later = NOW + dt.timedelta(days=100)
    (home / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(home / "dagster")) as instance:
        failed = [instance.create_run_for_job(_job, tags={"quanta/epoch": each}) for each in "ab"]
        for run in failed:
            instance.report_run_failed(run)
        good = instance.create_run_for_job(_job, tags={"quanta/epoch": "a"})
        instance.handle_new_event(_success(good))

        def old(now: dt.datetime) -> list[Leftover]:
            retention = Retention(Lake(str(home / "lake")), home, now, 90)
            return [each for each in retention.leftovers(instance) if each.kind == "failed run"]

        assert old(NOW) == []
        [only] = old(later)
        assert only.name == f"{failed[0].run_id} nothing a"
        assert only.size > 0
        only.delete()
        left = {run.run_id for run in instance.get_runs()}
        assert left == {failed[1].run_id, good.run_id}


@dg.job(name="nothing")
def _job() -> None:
    """Nothing."""


def _success(run: dg.DagsterRun) -> dg.EventLogEntry:
    return dg.EventLogEntry(
        error_info=None,
        user_message="",
        level=20,
        run_id=run.run_id,
        timestamp=NOW.timestamp(),
        job_name=run.job_name,
        dagster_event=dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name),
    )


def test_a_kill_at_any_deletion_leaves_the_rest_to_the_next(home: Path, tmp_path: Path) -> None:
    thrown = litter(home)
    gone = [*thrown["goes"], *thrown["goes if it is asked for"]]
    kept = {
        name: held
        for name, held in contents(home).items()
        if not any(name.startswith(each) for each in gone)
    }
    killed = 0
    while True:
        copied = Path(shutil.copytree(home, tmp_path / f"copy{killed}"))
        if not deleted_until_killed(copied, killed + 1):
            break
        killed += 1
        for each in found(copied, superseded=True):
            each.delete()
        assert contents(copied) == kept
        assert not list((copied / "warehouse").glob(".pruned-*"))
    assert killed == 1 + 2 + 2 + 4  # a renaming, files and folders of the build; four files


def deleted_until_killed(home: Path, nth: int) -> bool:
    """Deletes in a process that kills itself before its n-th change; says whether it came to it."""
    child = os.fork()
    if child == 0:
        changes = iter(range(1, nth))

        def hook(name: str, _arguments: object) -> None:
            if name in ("os.remove", "os.rmdir", "os.rename") and next(changes, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        leftovers = found(home, superseded=True)
        sys.addaudithook(hook)
        for each in leftovers:
            each.delete()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_the_command_lists_first_and_deletes_when_told(home: Path) -> None:
    thrown = litter(home)
    before = contents(home)
    environment = {**os.environ, "QUANTA_HOME": str(home), "QUANTA_LAKE": ""}
    command = [Path(sys.executable).with_name("quanta"), "prune", "--json"]
    said = [
        json.loads(subprocess.check_output([*command, *more], env=environment, text=True))
        for more in ([], ["--yes"])
    ]
    assert [each.pop("deleted") for each in said] == [False, True]
    assert said[0] == said[1]
    assert said[0]["count"] == len(thrown["goes"])
    assert said[0]["bytes"] == 1010 + len(b"half") + len(b"{") + len(b"a publisher was killed")
    left = contents(home)
    assert set(before) - set(left) == {
        name for name in before if any(name.startswith(each) for each in thrown["goes"])
    }
