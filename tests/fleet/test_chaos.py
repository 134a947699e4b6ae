"""A hundred kills during backfills: the same bytes, one payout each, and nobody repairs anything.

What is asked for is what second chances ask for, the oldest epoch that is not paid, one at a time,
and the marts after each; they look twice a day, the test all the time. One backfill follows another
until every kill has fallen; each has a home, databases and services of its own.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.doctor import stale_slots
from quanta_pipelines.epoch_progress import LEDGER, was_paid
from quanta_pipelines.fleet import EPOCH_TAG, FleetError, RunState, Webserver
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.simulation.season import Season
from tests.conftest import GENESIS, platform_at
from tests.fleet.chaos_box import TEMPLATE, Box, KillablePostgres
from tests.fleet.chaos_killer import FATAL, KINDS, WORKING, Kill, Killer, table_of, tables_in
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


def ask(server: Webserver, lake: Lake, epochs: tuple[Epoch, ...]) -> bool:
    """Asks for what is owed next, unless something is under way; says whether all is done."""
    runs: list[RunState] = []
    for job in ("epoch", "marts"):
        runs += server.runs(CHAOS, job)
    if any(run.status in UNDER_WAY for run in runs):
        return False
    built = {run.tags[EPOCH_TAG] for run in runs if is_good_build(run)}
    for epoch in epochs:
        if not was_paid(lake, epoch):
            tags = {"dagster/partition": epoch.id, EPOCH_TAG: epoch.id, CHAOS: "epoch"}
            server.launch("epoch", tags)
            return False
        if epoch.id not in built:
            server.launch("marts", {EPOCH_TAG: epoch.id, CHAOS: "marts"})
            return False
    return True


def is_good_build(run: RunState) -> bool:
    return run.tags[CHAOS] == "marts" and run.status == "SUCCESS"


def backfill(box: Box, epochs: tuple[Epoch, ...], killer: Killer, number: int) -> list[RunState]:
    """Every epoch, each with its marts, while the killer works; returns all runs."""
    server, lake = Webserver(box.url, patience=20.0), Lake(box.lake)
    until = time.monotonic() + WITHIN
    with killer.at_work(box, number):
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


def without_leftovers(files: dict[str, str]) -> dict[str, str]:
    """All but what a process was writing when it was killed: no reader finds it, and it is pruned.

    A file is written under a name of its own beside its place, and then renamed.
    """
    return {
        name: hashed
        for name, hashed in files.items()
        if not (name.rpartition("/")[2].startswith(".") and name.endswith(".tmp"))
    }


def pages(home: Path) -> dict[str, str]:
    """What people read of each epoch."""
    return {p.name: p.read_text() for p in (home / "warehouse/reports").glob("*.html")}


def within(kills: list[Kill], tables: int) -> list[Kill]:
    """Those that fell after the first table of their backfill, and before the last."""
    return [kill for kill in kills if kill.moment and 0 < kill.moment.tables < tables]


def require_spread(kills: list[Kill], least: int) -> None:
    """Some of every kind and some in every phase; what ends a run also in settlements and marts."""
    by_kind = Counter(kill.kind for kill in kills)
    assert all(by_kind[kind] >= least for kind in KINDS), by_kind
    by_phase = Counter(kill.phase for kill in kills)
    assert all(by_phase[phase] >= least for phase in WORKING), by_phase
    for phase in ("settlement", "marts"):
        assert {kill.kind for kill in kills if kill.phase == phase}.issuperset(FATAL), phase


def write(folder: Path, killer: Killer, runs: list[RunState], figures: dict[str, Any]) -> None:
    """Kinds by phases as a table, and every kill with its moment."""
    ended = Counter(run.status for run in runs)
    kills = [asdict(kill) | {"phase": kill.phase} for kill in killer.killed]
    said = figures | {"runs": dict(ended), "standstill": killer.standstill, "killed": kills}
    (folder / "figures.json").write_text(json.dumps(said, indent=1))
    (folder / "kills.md").write_text(f"{table_of(killer.killed)}\n")


@pytest.mark.slow
@pytest.mark.soak  # minutes of processor time for ten kills, half an hour for a hundred
@pytest.mark.parametrize(
    ("kills", "count", "pace"),
    [
        pytest.param(10, 1, 15.0, id="10"),
        pytest.param(100, 2, 24.0, id="100"),
    ],
)
def test_kills_lose_nothing_and_pay_nobody_twice(
    server: KillablePostgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kills: int,
    count: int,
    pace: float,
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

    killer, backfills, runs = Killer.of(kills, pace, SEED), 0, []
    figures: dict[str, Any] = {"restarts": [], "seconds": []}
    while not killer.is_done:
        backfills, began = backfills + 1, time.monotonic()
        with Box(tmp_path / f"box{backfills}", server, f"box{backfills}") as box:
            runs += backfill(box, epochs, killer, backfills)
            require_free(box, monkeypatch)
            assert without_leftovers(published(box.lake)) == tables
            assert marts(box.home) == expected_marts
            assert pages(box.home) == pages(tmp_path / "alone")
            require_whole(box, epochs)
        figures["restarts"].append(dict(box.restarts))
        figures["seconds"].append(round(time.monotonic() - began))
        write(tmp_path, killer, runs, figures)
    by_kind = Counter(kill.kind for kill in killer.killed)
    assert by_kind == Counter({kind: kills // len(KINDS) for kind in KINDS})
    assert any(run.status == "FAILURE" for run in runs)
    fell = within(killer.killed, tables_in(tmp_path / "alone/lake"))
    assert 2 * len(fell) > kills, figures
    if kills >= 100:
        assert backfills >= 3
        require_spread(fell, least=5)
