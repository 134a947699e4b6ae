"""Scores of an epoch that still runs: those of its sessions so far, published apart, never paid."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.adapters.lake import MissingTable
from quanta_pipelines.contract_type import STEPS
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.protocol import scoring
from quanta_pipelines.protocol.epoch import first_evening
from quanta_pipelines.resources import Platform
from tests.conftest import PLAYED, SETTLED

RUNNING = PLAYED[-1]  # its signals are in the store, nothing of it is published
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = RUNNING.sessions
EVENING = dt.timedelta(hours=24, minutes=35)  # after midnight UTC, 20:35 in New York's summer

RunEpoch = Callable[..., dg.ExecuteInProcessResult]


def at(platform: Platform, day: dt.date, after: dt.timedelta = EVENING) -> Platform:
    """The platform as it finds itself on a day."""
    moment = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC) + after
    return replace(platform, clock=lambda: moment)


def run_provisional(platform: Platform) -> dg.ExecuteInProcessResult:
    job = build_defs(platform=platform).resolve_job_def("provisional")
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(
            instance=instance, partition_key=RUNNING.id, raise_on_error=False
        )


def said(result: dg.ExecuteInProcessResult) -> str:
    """Why a run failed."""
    [failure] = result.get_step_failure_events()
    error = failure.step_failure_data.error
    assert error
    return str(error.message + (error.cause.message if error.cause else ""))


def files(platform: Platform) -> dict[str, bytes]:
    root = Path(platform.lake.root)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_running_epoch_scores_its_sessions_so_far(
    platform: Platform, run_epoch: RunEpoch
) -> None:
    before = files(platform)
    assert run_provisional(at(platform, WEDNESDAY)).success
    new = files(platform).keys() - before.keys()
    assert {name.split("/")[0] for name in new} <= {"provisional_scores", "versions", "gates"}
    assert all("provisional_scores" in name for name in new)
    found = platform.lake.read("provisional_scores", RUNNING.id, gates=("contract",))
    assert not found["final"].any()
    assert set(found["as_of"]) == {pd.Timestamp(WEDNESDAY)}

    # The same from the finished epoch's returns, cut after Wednesday
    assert run_epoch(RUNNING).success
    tables = [platform.lake.read("portfolio_returns", epoch.id) for epoch in PLAYED]
    seen = pd.concat(tables)
    seen = seen[seen["session"] <= pd.Timestamp(WEDNESDAY)]
    now = seen[seen["epoch_id"] == RUNNING.id].drop_duplicates("hotkey").set_index("hotkey")
    seen = seen[seen["epoch_id"] >= seen["hotkey"].map(now["history_epoch"])]
    wide = seen.pivot(index="hotkey", columns="session", values="portfolio_return")
    turnover = now["turnover"].reindex(wide.index).to_numpy()
    expected = pd.Series(scoring.score(wide.to_numpy(), turnover).composite, index=wide.index)
    scored = found.set_index("hotkey")["composite"].dropna()
    assert len(scored) >= 60
    np.testing.assert_allclose(scored, expected.reindex(scored.index), atol=1.5e-6)
    final = platform.lake.read("scores", RUNNING.id).set_index("hotkey")
    assert final["final"].all()
    assert (final["composite"].reindex(scored.index) != scored).any()  # Thursday, Friday moved it


def test_it_is_published_again_each_evening_and_no_step_reads_it(platform: Platform) -> None:
    for sessions, day in enumerate((MONDAY, TUESDAY), start=1):
        assert run_provisional(at(platform, day)).success
        found = platform.lake.read("provisional_scores", RUNNING.id)
        assert set(found["as_of"]) == {pd.Timestamp(day)}
        # Eight weeks of five sessions without the fourth of July lie before
        assert found["history_sessions"].max() == 8 * 5 - 1 + sessions
    assert all("provisional_scores" not in step.inputs for step in STEPS.values())


@pytest.mark.parametrize(
    ("day", "after", "reason"),
    [
        (MONDAY, dt.timedelta(hours=20), "too early"),  # the market has just closed
        (FRIDAY, EVENING, "is over since 2019-08-03 00:30 UTC: run its scores"),
    ],
)
def test_it_runs_from_the_first_evening_to_the_last(
    platform: Platform, day: dt.date, after: dt.timedelta, reason: str
) -> None:
    result = run_provisional(at(platform, day, after))
    assert not result.success
    assert reason in said(result)
    assert not platform.lake.exists("provisional_scores", RUNNING.id)


def test_an_earlier_epoch_that_is_missing_is_named(platform: Platform) -> None:
    for file in Path(platform.lake.root).glob(f"portfolio_returns/{SETTLED[-1].id}*"):
        file.unlink()
    result = run_provisional(at(platform, THURSDAY))
    assert not result.success
    assert f"run epoch {SETTLED[-1].id} first" in said(result)
    with pytest.raises(MissingTable):
        platform.lake.read("provisional_scores", RUNNING.id)


def test_the_first_evening_is_that_of_the_first_session() -> None:
    # 20:30 in New York on Monday the 29th of July is 00:30 UTC on the 30th
    assert first_evening(RUNNING) == dt.datetime(2019, 7, 30, 0, 30, tzinfo=dt.UTC)
