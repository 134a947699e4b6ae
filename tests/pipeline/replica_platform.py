"""A platform that asks replicas over HTTP, and a season that is played on what they serve."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd

from quanta_pipelines.adapters.price_vendors.http import Patience
from quanta_pipelines.backfill import QUIET, Backfill, Outcome
from quanta_pipelines.contract_type import RESTATE_TAG
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform
from quanta_pipelines.simulation.market import Market
from quanta_pipelines.simulation.season import Season
from tests.conftest import platform_at
from tests.pipeline.market_faults import FrameVendor
from tests.vendor_replicas.tables import Tables
from tests.vendor_replicas.wired import vendor_at

PATIENT = Patience(connect=2.0, read=10.0, whole=20.0, retries=1, backoff=0.01, longest_wait=1.0)
HURRIED = replace(PATIENT, read=0.4, whole=0.4)  # for replies that are slower than that
NOWHERE = "http://127.0.0.1:9"  # nobody listens: the connection is refused
Clock = Callable[[], datetime]


@dataclass
class Evenings:
    """A clock that stands in the night after an epoch's last session until it is moved."""

    at: datetime = field(default=datetime(2000, 1, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.at

    def move_to(self, epoch: Epoch, later: timedelta = timedelta(0)) -> None:
        self.at = datetime.combine(epoch.sessions[-1], time(3), UTC) + timedelta(days=1) + later


def platform_over(
    home: Path,
    urls: dict[str, str],
    watch_list: Sequence[str],
    genesis: Epoch,
    *,
    clock: Clock,
    slow_clocks: dict[str, Clock] | None = None,
    hurried: Collection[str] = (),
) -> Platform:
    """The platform under ``home`` whose vendors are asked at ``urls`` at the time of ``clock``.

    Those ``hurried`` are given up soon. Its own clock stands ten days later, when rewards may be
    distributed.
    """
    vendors = tuple(
        vendor_at(
            name,
            url,
            home,
            clock=(slow_clocks or {}).get(name, clock),
            patience=HURRIED if name in hurried else PATIENT,
            watch_list=tuple(watch_list),
        )
        for name, url in urls.items()
    )
    settled = timedelta(days=10)  # after the votes and the dispute window
    return replace(
        platform_at(home), vendors=vendors, genesis=genesis, clock=lambda: clock() + settled
    )


def frame_market(tables: Tables) -> Market:
    """The same tables without HTTP, as traded, for outsiders who have prices of their own."""
    known = {"basis": "as_traded", "fetched_at": pd.Timestamp("2020-01-01", tz="UTC")}
    return Market(
        tuple(FrameVendor(name, rows.assign(vendor=name, **known)) for name, rows in tables.items())
    )


def play(platform: Platform, tables: Tables, epochs: Sequence[Epoch]) -> None:
    """What outsiders send in these epochs."""
    season = Season(platform.store, frame_market(tables), epochs[0], platform.params)
    for epoch in epochs:
        season.play(epoch)


def run_epochs(platform: Platform, evenings: Evenings, epochs: Sequence[Epoch]) -> list[Outcome]:
    """Every stage of the epochs through Dagster, each in its own evening; stops where one does."""
    outcomes: list[Outcome] = []
    with dg.DagsterInstance.ephemeral() as instance:
        backfill = Backfill(build_defs(platform=platform), instance)
        for epoch in epochs:
            evenings.move_to(epoch)
            outcomes.append(backfill.epoch(epoch))
            if not outcomes[-1].succeeded:
                break
    return outcomes


def run_job(
    platform: Platform, epoch: Epoch, job: str, *assets: str, restate: str = ""
) -> dg.ExecuteInProcessResult:
    """One job of one epoch, or some of its assets; ``restate`` says why a paid one runs again."""
    with dg.DagsterInstance.ephemeral() as instance:
        return (
            build_defs(platform=platform)
            .resolve_job_def(job)
            .execute_in_process(
                instance=instance,
                partition_key=epoch.id,
                raise_on_error=False,
                asset_selection=[dg.AssetKey(name) for name in assets] or None,
                run_config=QUIET,
                tags={RESTATE_TAG: restate} if restate else {},
            )
        )
