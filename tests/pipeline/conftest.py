"""A platform in a temporary folder: real lake, real store, real prices, a simulated population."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from quanta_pipelines.contract_type import RESTATE_TAG
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform
from tests.conftest import GENESIS, PLAYED, platform_at

__all__ = ["GENESIS", "PLAYED", "platform_at"]


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
    """Runs the epoch job, or some of its assets, for one epoch; ``restate`` says why again."""

    def run(epoch: Epoch, *assets: str, restate: str = "") -> dg.ExecuteInProcessResult:
        job = build_defs(platform=platform).resolve_job_def("epoch")
        return job.execute_in_process(
            instance=instance,
            partition_key=epoch.id,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={RESTATE_TAG: restate} if restate else {},
        )

    return run
