"""The own row reaches the chain once an epoch is settled; a refusal is tried again."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from quanta_pipelines.adapters.chain import SimulatedChain
from quanta_pipelines.resources import Platform
from quanta_pipelines.weight_export import export_weights, register_participants
from quanta_pipelines.weight_sending import MOST_ATTEMPTS, epoch_weights, weights_job
from tests.conftest import PLAYED, SETTLED, platform_at

LAST = SETTLED[-1]
AFTERWARDS = dt.datetime(
    2019, 8, 2, 1, 35, tzinfo=dt.UTC
)  # Thursday of the week after, 21:35 there


@pytest.fixture
def platform(settled_home: Path) -> Iterator[Platform]:
    found = platform_at(settled_home)
    yield found
    found.store.close()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of a deployment with a chain."""
    from quanta_pipelines import weight_sending

    settings = weight_sending.current_settings().model_copy(update={"chain": "bittensor"})
    monkeypatch.setattr(weight_sending, "current_settings", lambda: settings)


def tick(instance: dg.DagsterInstance, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=AFTERWARDS
    ) as context:
        # what Dagster calls, without the records in memory that it would make for a resource
        answer = epoch_weights._execution_fn.decorated_fn(context, platform=platform)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def run(
    asked: dg.RunRequest, instance: dg.DagsterInstance, platform: Platform, chain: SimulatedChain
) -> bool:
    return weights_job.execute_in_process(
        partition_key=asked.partition_key,
        tags=dict(asked.tags),
        instance=instance,
        resources={"platform": platform, "chain": chain},
        raise_on_error=False,
    ).success


@pytest.mark.usefixtures("attached")
def test_the_row_of_the_newest_settled_epoch_is_sent_once(
    platform: Platform, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    chain = SimulatedChain(tmp_path / "chain.db", 1)
    register_participants(platform, LAST, chain)
    asked = tick(instance, platform)
    assert isinstance(asked, dg.RunRequest)
    assert (asked.partition_key, asked.tags["quanta/epoch"]) == (LAST.id, LAST.id)
    assert run(asked, instance, platform, chain)
    row = export_weights(platform, LAST, chain, salt=())
    assert chain.block() == 1
    assert chain.weights(platform.own_validator) == dict(zip(row.uids, row.weights, strict=True))
    again = tick(instance, platform)
    assert isinstance(again, dg.SkipReason)
    assert LAST.id in str(again.skip_message)


@pytest.mark.usefixtures("attached")
def test_a_chain_that_refuses_is_asked_again_but_not_for_ever(
    platform: Platform, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    empty = SimulatedChain(tmp_path / "chain.db", 1)  # nobody is registered on it
    for _ in range(MOST_ATTEMPTS):
        asked = tick(instance, platform)
        assert isinstance(asked, dg.RunRequest)
        assert not run(asked, instance, platform, empty)
    last = tick(instance, platform)
    assert isinstance(last, dg.SkipReason)
    assert f"{MOST_ATTEMPTS} times" in str(last.skip_message)


@pytest.mark.usefixtures("attached")
def test_nothing_is_sent_of_what_is_not_paid_or_not_agreed(
    platform: Platform, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    later = replace(platform, genesis=PLAYED[-1])
    assert "no epoch is paid" in str(tick(instance, later))
    stranger = replace(platform, own_validator="5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty")
    chain = SimulatedChain(tmp_path / "chain.db", 1)
    register_participants(platform, LAST, chain)
    asked = tick(instance, stranger)
    assert isinstance(asked, dg.RunRequest)
    assert run(asked, instance, stranger, chain)  # it had no vote: there is no row, nothing is sent
    assert chain.block() == 0


def test_without_a_chain_nothing_is_asked_for(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    assert "simulated" in str(tick(instance, platform))
