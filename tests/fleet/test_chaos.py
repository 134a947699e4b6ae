"""A hundred kills during backfills: the same bytes, one payout each, and nobody repairs anything.

What is asked for is what second chances ask for, the oldest epoch that is not paid, one at a time;
they look twice a day, the test all the time.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.doctor import stale_slots
from quanta_pipelines.epoch_progress import LEDGER
from quanta_pipelines.fleet import FleetError, RunState, Webserver
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.simulation.season import Season
from tests.conftest import GENESIS, platform_at
from tests.fleet.chaos_box import KINDS, TEMPLATE, Box, KillablePostgres, Killer
from tests.fleet.test_fleet import first_epochs, marts, on_one_machine, published

SEED = 20261129
CHAOS = "quanta/chaos"
UNDER_WAY = {"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"}
WITHIN = 3000.0  # seconds for one backfill on a machine that does other work


@pytest.fixture
def server() -> Iterator[KillablePostgres]:
    found = KillablePostgres()
    yield found
    if not found.is_up():
        found.start_again()
    found.remove()


def paid(lake: Lake, epoch: Epoch) -> bool:
    """Whether an epoch's ledger stands and was judged, as second chances ask."""
    gates = CONTRACTS[LEDGER].gates()
    return lake.exists(LEDGER, epoch.id) and None not in [
        lake.verdict(LEDGER, epoch.id, gate) for gate in gates
    ]


def ask(server: Webserver, lake: Lake, epochs: tuple[Epoch, ...]) -> bool:
    """Asks for what is owed next, unless something is under way; says whether all is done."""
    runs: list[RunState] = []
    for job in ("epoch", "marts"):
        runs += server.runs(CHAOS, job)
    if any(run.status in UNDER_WAY for run in runs):
        return False
    for epoch in epochs:
        if not paid(lake, epoch):
            tags = {"dagster/partition": epoch.id, "quanta/epoch": epoch.id, CHAOS: "epoch"}
            server.launch("epoch", tags)
            return False
    if any(run.status == "SUCCESS" for run in runs if run.tags[CHAOS] == "marts"):
        return True
    server.launch("marts", {CHAOS: "marts"})
    return False


def backfill(box: Box, epochs: tuple[Epoch, ...], killer: Killer) -> list[RunState]:
    """Every epoch and the marts, while the killer works; returns all runs."""
    server, lake = Webserver(box.url, patience=20.0), Lake(box.lake)
    until = time.monotonic() + WITHIN
    with killer.at_work(box):
        while True:
            assert time.monotonic() < until, f"not done: {killer.killed}, {box.restarts}"
            with suppress(FleetError):  # it was killed, or PostgreSQL was: it comes back
                if ask(server, lake, epochs):
                    break
            time.sleep(0.5)
    return [run for job in ("epoch", "marts") for run in wait_for_runs(server, job)]


def wait_for_runs(server: Webserver, job: str) -> list[RunState]:
    while True:
        with suppress(FleetError):
            return server.runs(CHAOS, job)
        time.sleep(0.5)


def require_whole(box: Box, epochs: tuple[Epoch, ...]) -> None:
    """One payout an epoch, every gate passed, no pool held, a sound store."""
    lake = Lake(box.lake)
    for epoch in epochs:
        assert len(lake.published(LEDGER, epoch.id)) == 1, f"{epoch} was paid more than once"
    states = json.loads(box.run("quanta", "epoch", "status", "--json"))
    assert [(each["epoch_id"], each["settled"]) for each in states] == [
        (epoch.id, True) for epoch in epochs
    ]
    store = SignalStore.open(box.environment["QUANTA_DATABASE_URL"])
    assert not store.problems()
    store.close()


def require_free(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run is thought to go on, and no pool is held by one that ended."""
    url = box.environment["QUANTA_DAGSTER_POSTGRES_URL"]
    monkeypatch.setenv("QUANTA_DAGSTER_POSTGRES_URL", url)
    until = time.monotonic() + 180
    with dg.DagsterInstance.from_config(str(box.home / "dagster")) as instance:
        while True:
            held = [f.detail for f in stale_slots(instance) if f.status == "problem"]
            going = instance.get_runs_count(
                dg.RunsFilter(statuses=[dg.DagsterRunStatus(status) for status in UNDER_WAY])
            )
            if not held and not going:
                return
            assert time.monotonic() < until, (held, going)
            time.sleep(2)


@pytest.mark.slow
@pytest.mark.soak  # a quarter of an hour of processor time
@pytest.mark.parametrize(("kills", "count"), [(10, 2), (100, 3)])
def test_kills_lose_nothing_and_pay_nobody_twice(
    server: KillablePostgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kills: int,
    count: int,
) -> None:
    epochs = first_epochs(count)
    tables, expected_marts = on_one_machine(tmp_path / "alone", epochs)
    store = SignalStore.open(server.create(TEMPLATE))
    platform = platform_at(tmp_path / "alone")
    season = Season(store, platform.vendors[0], GENESIS, platform.params)
    for epoch in epochs:
        season.play(epoch)
    platform.store.close()
    store.close()

    killer, backfills, runs = Killer.of(kills, SEED), 0, []
    figures: dict[str, Any] = {"restarts": []}
    while not killer.is_done:
        backfills += 1
        with Box(tmp_path / f"box{backfills}", server, f"box{backfills}") as box:
            runs += backfill(box, epochs, killer)
            require_free(box, monkeypatch)
            assert published(box.lake) == tables
            assert marts(box.home) == expected_marts
            require_whole(box, epochs)
        figures["restarts"].append(dict(box.restarts))
    by_kind = Counter(kind for kind, _ in killer.killed)
    ended = Counter(run.status for run in runs)
    figures["runs"], figures["killed"] = dict(ended), killer.killed
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    assert by_kind == Counter({kind: kills // len(KINDS) for kind in KINDS})
    assert ended["FAILURE"] > 0
