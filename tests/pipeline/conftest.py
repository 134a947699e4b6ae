"""A platform in a temporary folder: real lake, real store, real prices, a simulated population."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.price_vendors import RecordedVendor
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.adapters.warehouse import Warehouse
from quanta_pipelines.backfill import Backfill
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform
from quanta_pipelines.settings import DEVELOPMENT_HOTKEY
from quanta_pipelines.simulation.season import Season

GENESIS = Epoch.parse("2019-Q2-W23")
PLAYED = Epoch.range(GENESIS, "2019-Q3-W31")


def platform_at(home: Path) -> Platform:
    """The platform whose files lie under ``home``."""
    return Platform(
        lake=Lake(str(home / "lake")),
        store=SignalStore.open(f"sqlite:///{home / 'signals.db'}"),
        vendors=(RecordedVendor(),),
        genesis=GENESIS,
        own_validator=DEVELOPMENT_HOTKEY,
        warehouse=Warehouse(home / "warehouse"),
    )


@pytest.fixture(scope="session")
def settled_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight settled epochs and the signals of one more; never written to by a test."""
    home = tmp_path_factory.mktemp("settled")
    platform = platform_at(home)
    season = Season(platform.store, platform.vendors[0], GENESIS, platform.params)
    for epoch in PLAYED:
        season.play(epoch)
    with dg.DagsterInstance.ephemeral() as instance:
        outcomes = Backfill(build_defs(platform=platform), instance).epochs(PLAYED[:-1])
    assert all(outcome.succeeded for outcome in outcomes), outcomes[-1].problems
    platform.store.close()
    return home


@pytest.fixture
def platform(settled_home: Path, tmp_path: Path) -> Iterator[Platform]:
    """A copy of the settled platform that a test may spoil."""
    home = tmp_path / "home"
    shutil.copytree(settled_home, home)
    platform = platform_at(home)
    yield platform
    platform.store.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's records, in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def run_epoch(
    platform: Platform, instance: dg.DagsterInstance
) -> Callable[..., dg.ExecuteInProcessResult]:
    """Runs the epoch job, or some of its assets, for one epoch."""

    def run(epoch: Epoch, *assets: str) -> dg.ExecuteInProcessResult:
        job = build_defs(platform=platform).resolve_job_def("epoch")
        return job.execute_in_process(
            instance=instance,
            partition_key=epoch.id,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    return run
