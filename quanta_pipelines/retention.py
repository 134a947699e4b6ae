"""What piles up over years and nobody needs again: found, summed, and deleted when it is wanted.

Nothing here is read by a rule, a gate or a re-score. Archives of vendors' replies, current tables,
ledgers, verdicts, the order of publications and the signal store are never touched. Each thing goes
by itself: a process that is killed in between leaves some of it, which the next one finds.
"""

import datetime as dt
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg

from data_contracts.tables import TABLES
from quanta_pipelines.adapters.atomic_files import AtomicFiles
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.epoch_progress import LEDGER

SETTLE_DOWN = dt.timedelta(days=1)  # what is younger may belong to a process at work
ENDED_BADLY = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
RUNS_AT_ONCE = 200
DOOMED = ".pruned-"  # begins the name of a folder that is being deleted
_VERSION = re.compile(r"([a-z_]+)/_versions/([0-9]{4}-Q[1-4]-W[0-9]{2})/([0-9a-f]{64})\.parquet")
_UNFINISHED = re.compile(r"(.*/)?\.[^/]+\.tmp")


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that may go: what it is, where it lies, its size, and how it is deleted."""

    kind: str
    name: str
    size: int
    delete: Callable[[], None]


@dataclass(frozen=True)
class Retention:
    """What may go from one deployment at a moment.

    ``superseded``: also versions that were published, are not current, and that no verdict rests
    on. Without it they stay: they say what was once published.
    """

    lake: Lake
    home: Path
    now: dt.datetime
    run_days: int
    superseded: bool = False

    def leftovers(self, instance: dg.DagsterInstance) -> Iterator[Leftover]:
        """Everything that may go, kind by kind."""
        yield from self._builds()
        yield from self._of_the_lake()
        yield from self._runs(instance)

    def _builds(self) -> Iterator[Leftover]:
        """Folders of marts whose build was killed, and those whose deletion was."""
        warehouse = self.home / "warehouse"
        for folder in sorted([*warehouse.glob(".build-*"), *warehouse.glob(f"{DOOMED}*")]):
            files = [path for path in folder.rglob("*") if path.is_file()]
            newest = max(path.stat().st_mtime for path in (folder, *files))
            doomed = folder.name.startswith(DOOMED)
            if doomed or self._is_old(dt.datetime.fromtimestamp(newest, dt.UTC)):
                size = sum(path.stat().st_size for path in files)
                yield Leftover("build of marts", str(folder), size, partial(_remove_folder, folder))

    def _of_the_lake(self) -> Iterator[Leftover]:
        """Unfinished files, and versions that nothing refers to."""
        files = AtomicFiles(self.lake.root)
        referred = self._referred(files)
        for name in _of_tables(files):
            found = _VERSION.fullmatch(name)
            if _UNFINISHED.fullmatch(name):
                kind = "unfinished file"
            elif found and found.groups() not in referred:
                kind = "version"
            else:
                continue
            path = files.path(name)
            with suppress(FileNotFoundError):  # its writer has just finished it
                if self._is_old(files.system.modified(path)):
                    yield Leftover(
                        kind, name, files.system.size(path), partial(_remove, files, name)
                    )

    def _referred(self, files: AtomicFiles) -> frozenset[tuple[str, ...]]:
        """Versions (table, epoch, content hash) that must stay.

        Current ones, those that a verdict judged or rests on, all ledgers; and, unless superseded
        ones may go, whatever was published.
        """
        kept: set[tuple[str, ...]] = set()
        for name in _of_tables(files):
            table, _, rest = name.partition("/")
            found = _VERSION.fullmatch(name)
            if found and table == LEDGER:
                kept.add(found.groups())
            elif rest.endswith(".parquet") and "/" not in rest:
                epoch_id = rest.removesuffix(".parquet")
                kept.add((table, epoch_id, self.lake.version(table, epoch_id).content_hash))
            elif rest.startswith("_gates/") and rest.endswith(".json"):
                said = json.loads(files.read(name))
                kept.add((table, rest.split("/")[1], str(said["content_hash"])))
                kept |= {(*key.split(" "), held) for key, held in said.get("inputs", {}).items()}
            elif rest.startswith("_order/") and rest.endswith(".json") and not self.superseded:
                said = json.loads(files.read(name))
                kept.add((table, said.get("epoch_id", rest.split("/")[1]), said["content_hash"]))
        return frozenset(kept)

    def _runs(self, instance: dg.DagsterInstance) -> Iterator[Leftover]:
        """Records of runs that ended badly long ago, where a later run of the same succeeded.

        Those of good runs stay: Dagster's picture of what is materialised rests on them.
        """
        before = self.now - dt.timedelta(days=self.run_days)
        filters = dg.RunsFilter(statuses=ENDED_BADLY, updated_before=before)
        cursor = None
        while records := instance.get_run_records(filters, limit=RUNS_AT_ONCE, cursor=cursor):
            for record in records:
                run = record.dagster_run
                if _made_good(instance, record):
                    logs = self.home / "dagster/storage" / run.run_id
                    events = self.home / "dagster/history/runs" / f"{run.run_id}.db"
                    size = sum(_size(path) for path in (logs, events))
                    name = f"{run.run_id} {run.job_name} {run.tags.get('quanta/epoch', '')}".strip()
                    yield Leftover("failed run", name, size, partial(_forget, instance, run, logs))
            cursor = records[-1].dagster_run.run_id

    def _is_old(self, moment: dt.datetime) -> bool:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return aware < self.now - SETTLE_DOWN


def _of_tables(files: AtomicFiles) -> list[str]:
    """Files of the epochs' tables: what else lies in a lake, vendors' replies, is not looked at."""
    return [name for name in files.below("") if name.partition("/")[0] in TABLES]


def _made_good(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Whether the same job succeeded for the same epoch after a run."""
    run = record.dagster_run
    epoch = run.tags.get("quanta/epoch")
    filters = dg.RunsFilter(
        job_name=run.job_name,
        statuses=[dg.DagsterRunStatus.SUCCESS],
        tags={"quanta/epoch": epoch} if epoch else {},
        created_after=record.create_timestamp,
    )
    return instance.get_runs_count(filters) > 0


def _forget(instance: dg.DagsterInstance, run: dg.DagsterRun, logs: Path) -> None:
    shutil.rmtree(logs, ignore_errors=True)
    instance.delete_run(run.run_id)


def _remove_folder(folder: Path) -> None:
    """By another name first: what is left of it after a kill is known as such, whatever its age."""
    doomed = folder
    if not folder.name.startswith(DOOMED):
        doomed = folder.with_name(f"{DOOMED}{folder.name.lstrip('.')}")
        folder.rename(doomed)
    shutil.rmtree(doomed)


def _remove(files: AtomicFiles, name: str) -> None:
    with suppress(FileNotFoundError):
        files.system.rm_file(files.path(name))


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
