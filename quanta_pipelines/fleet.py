"""A backfill that a fleet of workers shares: which run may start, and how far each is.

Runs are asked for through Dagster's webserver and wait in its queue like any other. Each asks for
nothing but what has succeeded, so a worker that is lost holds up only what follows from its run;
Dagster retries that elsewhere. Stopped and started again, it runs everything anew, to the same
bytes.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from quanta_pipelines.fleet_jobs import STAGES, Stage
from quanta_pipelines.protocol.epoch import Epoch

FLEET_TAG, STAGE_TAG, EPOCH_TAG = "quanta/fleet", "quanta/stage", "quanta/epoch"
MARTS = Stage("marts", None, in_order=False)
ENDED_BADLY = {"FAILURE", "CANCELED"}

_REPOSITORIES = "{repositoriesOrError {... on RepositoryConnection {nodes {name location {name}}}}}"
_LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess {run {runId}}
    ... on PythonError {message}
    ... on RunConfigValidationInvalid {errors {message}}
  }
}"""
_RUNS = """
query ($tags: [ExecutionTag!]) {
  runsOrError(filter: {tags: $tags}, limit: 10000) {
    __typename
    ... on Runs {results {runId status creationTime startTime endTime tags {key value}}}
  }
}"""


class FleetError(RuntimeError):
    """The webserver cannot be reached, or refuses."""


@dataclass(frozen=True)
class Unit:
    """One stage of one epoch; the marts are one of the last epoch."""

    stage: Stage
    epoch: Epoch


@dataclass(frozen=True)
class RunState:
    """One run as Dagster knows it; times are seconds since 1970, ``None`` while it has none."""

    run_id: str
    status: str
    created: float
    started: float | None
    ended: float | None
    tags: Mapping[str, str]

    @property
    def retried(self) -> bool:
        """Whether Dagster starts the run again; a moment after its end it may not say so yet."""
        return self.tags.get("dagster/will_retry") == "true"


@dataclass(frozen=True)
class Webserver:
    """Dagster's GraphQL at one address."""

    url: str
    patience: float = 60.0  # seconds for one answer

    def launch(self, job: str, tags: Mapping[str, str]) -> str:
        """Ask for a run; returns its id."""
        nodes = self._ask(_REPOSITORIES, {})["repositoriesOrError"]["nodes"]
        if len(nodes) != 1:
            raise FleetError(f"{self.url} serves {len(nodes)} repositories, not this one alone")
        params = {
            "selector": {
                "jobName": job,
                "repositoryName": nodes[0]["name"],
                "repositoryLocationName": nodes[0]["location"]["name"],
            },
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in tags.items()]
            },
        }
        said = self._ask(_LAUNCH, {"params": params})["launchRun"]
        if said["__typename"] != "LaunchRunSuccess":
            raise FleetError(f"{job} of {tags} was not launched: {said}")
        return str(said["run"]["runId"])

    def runs(self, tag: str, value: str) -> list[RunState]:
        """All runs with a tag, oldest first."""
        said = self._ask(_RUNS, {"tags": [{"key": tag, "value": value}]})["runsOrError"]
        if said["__typename"] != "Runs":
            raise FleetError(f"{self.url} does not list runs: {said}")
        found = [
            RunState(
                run["runId"],
                run["status"],
                run["creationTime"],
                run["startTime"],
                run["endTime"],
                {tag["key"]: tag["value"] for tag in run["tags"]},
            )
            for run in said["results"]
        ]
        return sorted(found, key=lambda run: run.created)

    def _ask(self, query: str, variables: Mapping[str, Any]) -> Any:
        try:
            reply = requests.post(
                f"{self.url.rstrip('/')}/graphql",
                json={"query": query, "variables": dict(variables)},
                timeout=self.patience,
            )
            reply.raise_for_status()
            said = reply.json()
        except (requests.RequestException, ValueError) as error:
            raise FleetError(f"Dagster's webserver at {self.url}: {error}") from error
        if said.get("errors"):
            raise FleetError(f"Dagster's webserver at {self.url}: {said['errors']}")
        return said["data"]


@dataclass
class FleetBackfill:
    """The runs of some epochs, asked for as soon as what they rest on has succeeded."""

    webserver: Webserver
    epochs: Sequence[Epoch]
    name: str  # of this backfill: the value of its runs' tag
    asked: set[Unit] = field(default_factory=set)
    runs: list[RunState] = field(default_factory=list)

    def run(self, poll: float, on_change: Callable[[int, int], None] = lambda _d, _t: None) -> bool:
        """Ask until everything succeeded or something failed for good; says which.

        After a failure nothing new is asked for, and what runs is waited for.
        """
        ended: set[Unit] = set()
        while True:
            self.runs = self.webserver.runs(FLEET_TAG, self.name)
            done = {unit for unit in self.asked if self.succeeded(unit)}
            on_change(len(done), len(STAGES) * len(self.epochs) + 1)
            ended, before = {u for u in self.asked - done if self.failed(u)}, ended
            failed = ended & before  # seen twice: whether it is retried is written after the end
            if failed and all(unit in failed for unit in self.asked - done):
                return False
            if not ended:
                for unit in self.ready(done):
                    self._ask_for(unit)
                if len(done) == len(STAGES) * len(self.epochs) + 1:
                    return True
            time.sleep(poll)

    def ready(self, done: set[Unit]) -> Iterator[Unit]:
        """Units that may start and were not asked for yet, oldest epoch first."""
        wanted = set(self.epochs)
        for epoch in sorted(self.epochs):
            for stage in STAGES:
                unit = Unit(stage, epoch)
                before = Unit(stage, epoch.previous()) if stage.in_order else None
                if unit in self.asked or (
                    before is not None and before.epoch in wanted and before not in done
                ):
                    continue
                if stage.after is None or Unit(_stage(stage.after), epoch) in done:
                    yield unit
        last = Unit(MARTS, max(self.epochs))
        if last not in self.asked and len(done) == len(STAGES) * len(wanted):
            yield last

    def succeeded(self, unit: Unit) -> bool:
        """Whether a run of the unit, or a retry of it, succeeded."""
        return any(run.status == "SUCCESS" for run in self._of(unit))

    def failed(self, unit: Unit) -> bool:
        """Whether the unit's newest run ended badly and is not started again."""
        runs = self._of(unit)
        return bool(runs) and runs[-1].status in ENDED_BADLY and not runs[-1].retried

    def failures(self) -> list[str]:
        """Stage, epoch and run id of what failed for good."""
        return [
            f"{unit.epoch}: {unit.stage.job}: run {self._of(unit)[-1].run_id}"
            for unit in sorted(self.asked, key=lambda unit: (unit.epoch, unit.stage.job))
            if not self.succeeded(unit) and self.failed(unit)
        ]

    def _of(self, unit: Unit) -> list[RunState]:
        key = (unit.stage.job, unit.epoch.id)
        return [r for r in self.runs if (r.tags.get(STAGE_TAG), r.tags.get(EPOCH_TAG)) == key]

    def _ask_for(self, unit: Unit) -> None:
        tags = {FLEET_TAG: self.name, STAGE_TAG: unit.stage.job, EPOCH_TAG: unit.epoch.id}
        if unit.stage is not MARTS:
            tags["dagster/partition"] = unit.epoch.id
        # older epochs first, and live runs, which have 10, before all of them
        tags["dagster/priority"] = str(-1 - sorted(self.epochs).index(unit.epoch))
        self.webserver.launch(unit.stage.job, tags)
        self.asked.add(unit)


def _stage(job: str) -> Stage:
    return next(stage for stage in STAGES if stage.job == job)
