"""A deployment whose every run succeeds at once, and the ticks of its schedules in order of time.

The schedules are the real ones, their ticks come from Dagster's own iterator, lake and signal store
are real; a run is replaced by what it leaves behind, the tables that the schedules look at.
"""

import datetime as dt
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from data_contracts.tables import CONTRACTS
from quanta_pipelines import automation
from quanta_pipelines.epoch_progress import SETTLING
from quanta_pipelines.partitions import epoch_ids
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform
from tests.conftest import platform_at

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
ROWS = pd.DataFrame({"session": pd.Series([], dtype="datetime64[ns]")})
PUBLISHED_BY = {
    "signals": ("portfolios",),
    "close": ("scores",),
    "settle": ("ledger_entries",),
}


@dataclass(frozen=True)
class Asked:
    """A run that a schedule asked for at a tick."""

    moment: dt.datetime
    schedule: str
    epoch_id: str
    run_key: str


@dataclass
class SimulatedYears:
    """What the deployment was asked for; ``refused`` says which attempts fail."""

    platform: Platform
    instance: dg.DagsterInstance
    patch: pytest.MonkeyPatch
    refused: Callable[[Asked], bool] = lambda _: False
    asked: list[Asked] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    ticks: int = 0

    @classmethod
    def at(cls, home: Path, genesis: Epoch, instance, patch) -> "SimulatedYears":
        """A deployment that begins with an epoch which is open already."""
        years = cls(replace(platform_at(home), genesis=genesis), instance, patch)
        years.leave("snapshot", genesis)
        years.leave("universe", genesis)
        years.leave("signals", genesis)
        return years

    def live(
        self, schedules: list[dg.ScheduleDefinition], first: dt.datetime, last: dt.datetime
    ) -> None:
        """Evaluates every tick of the schedules from a moment to another."""
        quarter = None
        for moment, _, schedule in heapq.merge(*(ticks(each, first, last) for each in schedules)):
            if quarter != (moment.year, moment.month // 3):
                # the code server was started in this quarter, and knows its keys and the next's
                keys = epoch_ids(self.platform.genesis, moment)
                self.patch.setattr(automation, "EPOCHS", dg.StaticPartitionsDefinition(keys))
                quarter = (moment.year, moment.month // 3)
            self.tick(schedule, moment)

    def tick(self, schedule: dg.ScheduleDefinition, moment: dt.datetime) -> None:
        """What a schedule answers at a moment, and what follows from it."""
        self.ticks += 1
        needs = {"platform": self.platform} if schedule.required_resource_keys else {}
        with dg.build_schedule_context(
            instance=self.instance, scheduled_execution_time=moment
        ) as context:
            context._instance = self.instance  # a tick would open the same records anew
            # what Dagster calls, without the records in memory that it would make for each resource
            answer = schedule._execution_fn.decorated_fn(context, **needs)
        if isinstance(answer, dg.SkipReason):
            self.skipped.setdefault(schedule.name, []).append(str(answer.skip_message))
            return
        assert answer.partition_key
        assert answer.run_key
        asked = Asked(moment, schedule.name, answer.partition_key, answer.run_key)
        self.asked.append(asked)
        if not self.refused(asked):
            self.leave(schedule.job_name, Epoch.parse(answer.partition_key))

    def leave(self, job: str, epoch: Epoch) -> None:
        """What a successful run of a job leaves behind."""
        if job == "snapshot":
            self.platform.store.record_snapshot(
                epoch, emission_rao=1, external_rao=0, stakes={ALICE: 1}, source="simulated"
            )
        if job == "universe":
            self.platform.store.fix_universe(epoch, [f"A{chr(65 + n)}" for n in range(6)])
        for table in PUBLISHED_BY.get(job, ()):
            self.publish(table, epoch.id)
        if job == "settle":  # the other tables of a settlement are asked for their verdicts alone
            for table in set(SETTLING) - {"ledger_entries"}:
                self.judge(table, epoch.id, "")

    def publish(self, table: str, epoch_id: str) -> None:
        """A table without rows whose gates have all passed."""
        version = self.platform.lake.publish(
            table, epoch_id, ROWS, params_version="p", code_version="c"
        )
        self.judge(table, epoch_id, version.content_hash)

    def judge(self, table: str, epoch_id: str, content_hash: str) -> None:
        """All gates of a table have passed."""
        passed = partial(self.platform.lake.record_verdict, passed=True, content_hash=content_hash)
        for gate in CONTRACTS[table].gates():
            passed(table, epoch_id, gate, detail="")


def ticks(
    schedule: dg.ScheduleDefinition, first: dt.datetime, last: dt.datetime
) -> Iterator[tuple[dt.datetime, str, dg.ScheduleDefinition]]:
    """The moments of a schedule in UTC, from Dagster's own iterator."""
    moments = schedule_execution_time_iterator(
        first.timestamp(), schedule.cron_schedule, schedule.execution_timezone
    )
    for moment in moments:
        if moment >= last:
            return
        yield moment.astimezone(dt.UTC), schedule.name, schedule
