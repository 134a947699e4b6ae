"""Which run a shared backfill asks for and when, against a webserver that exists only here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from quanta_pipelines.fleet import FleetBackfill, FleetError, RunState, Webserver
from quanta_pipelines.fleet_jobs import STAGES
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


def test_a_webserver_that_is_not_there_is_named() -> None:
    with pytest.raises(FleetError, match=r"http://127\.0\.0\.1:9"):
        Webserver("http://127.0.0.1:9").runs("quanta/fleet", "x")
