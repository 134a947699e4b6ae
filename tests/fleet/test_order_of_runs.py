"""Which run a shared backfill asks for and when, against a webserver that exists only here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from quanta_pipelines.fleet import FleetBackfill, FleetError, RunState, Webserver
from quanta_pipelines.fleet_jobs import STAGES
from quanta_pipelines.fleet_report import Effort, efforts
from quanta_pipelines.protocol.epoch import Epoch

EPOCHS = Epoch.range("2019-Q2-W23", "2019-Q2-W25")
FIRST, SECOND, THIRD = EPOCHS


@dataclass(frozen=True)
class Workers(Webserver):
    """Every run ends at the next look, as ``ends`` says by job and epoch; else well."""

    url: str = "nowhere"
    ends: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    seen: list[RunState] = field(default_factory=list)
    looks: list[list[tuple[str, str]]] = field(default_factory=list)

    def launch(self, job: str, tags: Mapping[str, str]) -> str:
        self.asked.append((job, tags["quanta/epoch"]))
        self._add("QUEUED", dict(tags))
        return "run"

    def _add(self, status: str, tags: dict[str, str]) -> None:
        now = float(len(self.seen))
        self.seen.append(RunState(f"r{len(self.seen)}", status, now, now, now + 1, tags))

    def runs(self, _tag: str, _value: str) -> list[RunState]:
        for at, run in enumerate(list(self.seen)):
            if run.status != "QUEUED":
                continue
            key = (run.tags["quanta/stage"], run.tags["quanta/epoch"])
            status = self.ends.get(key, ["SUCCESS"])
            said = status.pop(0) if status else "SUCCESS"
            tags = {**run.tags, "dagster/will_retry": str(said == "LOST").lower()}
            ended = {"LOST": "FAILURE"}.get(said, said)
            self.seen[at] = RunState(run.run_id, ended, run.created, 0.0, 1.0, tags)
            if said == "LOST":
                self._add("QUEUED", dict(run.tags))
        self.looks.append(list(self.asked))
        return sorted(self.seen, key=lambda run: run.created)


def backfill(**ends: list[str]) -> tuple[FleetBackfill, Workers]:
    by_unit = {(job, FIRST.id): list(said) for job, said in ends.items()}
    workers = Workers(ends=by_unit)
    return FleetBackfill(workers, EPOCHS, "test"), workers


def test_what_reads_no_earlier_epoch_is_asked_for_at_once_and_the_rest_in_order() -> None:
    work, workers = backfill()
    assert work.run(poll=0)
    prices = [("fleet_prices", epoch.id) for epoch in EPOCHS]
    assert workers.looks[1] == prices
    assert workers.looks[2] == [*prices, ("fleet_returns", FIRST.id)]
    place = {unit: at for at, unit in enumerate(workers.asked)}
    for stage in STAGES:
        for epoch in EPOCHS:
            if stage.after:
                assert place[stage.after, epoch.id] < place[stage.job, epoch.id]
        if stage.in_order:
            assert place[stage.job, FIRST.id] < place[stage.job, SECOND.id]
            assert place[stage.job, SECOND.id] < place[stage.job, THIRD.id]
    assert workers.asked[-1] == ("marts", THIRD.id)
    assert len(workers.asked) == len(set(workers.asked)) == 3 * len(STAGES) + 1


def test_a_run_that_was_lost_is_waited_for_and_asked_for_by_nobody_else() -> None:
    work, workers = backfill(fleet_returns=["LOST", "LOST", "SUCCESS"])
    assert work.run(poll=0)
    assert workers.asked.count(("fleet_returns", FIRST.id)) == 1
    runs = [r for r in workers.seen if r.tags["quanta/stage"] == "fleet_returns"]
    assert [r.status for r in sorted(runs, key=lambda r: r.created)].count("FAILURE") == 2
    assert work.failures() == []


@pytest.mark.parametrize("status", ["FAILURE", "CANCELED"])
def test_after_a_failure_for_good_nothing_that_follows_is_asked_for(status: str) -> None:
    work, workers = backfill(fleet_returns=[status])
    assert not work.run(poll=0)
    assert set(workers.asked) == {
        *(("fleet_prices", epoch.id) for epoch in EPOCHS),
        ("fleet_returns", FIRST.id),
    }
    assert [line.rsplit(" ", 1)[0] for line in work.failures()] == [f"{FIRST}: fleet_returns: run"]


def ran(stage: str, started: float | None, ended: float | None) -> RunState:
    return RunState("run", "SUCCESS", 0.0, started, ended, {"quanta/stage": stage})


def test_what_a_stage_took_counts_seconds_once_that_runs_share() -> None:
    # 1-5 and 3-9 share 3-5: 10 s of work in 8 s; 9-11 begins as the other ends; 20-21 later
    runs = [ran("fleet_prices", 3.0, 9.0), ran("fleet_prices", 1.0, 5.0)]
    runs += [ran("fleet_prices", 9.0, 11.0), ran("fleet_prices", 20.0, 21.0)]
    runs += [ran("fleet_returns", 5.0, 7.5), ran("fleet_returns", 8.0, None)]
    runs += [ran("marts", 30.0, 31.0), ran("fleet_metrics", None, None)]
    assert efforts(runs) == [
        Effort("fleet_prices", False, 4, 13.0, 11.0, 2),
        Effort("fleet_returns", True, 1, 2.5, 2.5, 1),
        Effort("marts", False, 1, 1.0, 1.0, 1),
    ]
    assert efforts([]) == []


def test_a_webserver_that_is_not_there_is_named() -> None:
    with pytest.raises(FleetError, match=r"http://127\.0\.0\.1:9"):
        Webserver("http://127.0.0.1:9").runs("quanta/fleet", "x")
