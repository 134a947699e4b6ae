"""Marts are built by epoch: with the bytes of a full build, and whoever reads meanwhile."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from quanta_pipelines.adapters.warehouse import Rests, Warehouse
from quanta_pipelines.assets.marts import MARTS
from tests.conftest import SETTLED

IDS = [epoch.id for epoch in SETTLED]
RESTATED, LAST = IDS[-2:]

READER = """
import sys, time
from pathlib import Path
import duckdb
database, stop, stays, marts = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "stays", sys.argv[4:]
seen, looks = set(), 0
connection = duckdb.connect(database, read_only=True)
while not stop.exists():
    newest = {
        connection.execute(f"select max(epoch_id) from {mart}").fetchone()[0] for mart in marts
    }
    assert len(newest) == 1, newest
    seen |= newest
    looks += 1
    time.sleep(0.05)
    if not stays:  # while one is open, others of the same process are given its file
        connection.close()
        connection = duckdb.connect(database, read_only=True)
print(looks, *sorted(seen))
"""


def rests(tags: dict[str, str], project: str = "p") -> Rests:
    return Rests(project, tags)


@pytest.mark.parametrize(
    ("published", "now", "read"),
    [
        (None, {"a": "1", "b": "1"}, ("a", "b")),  # nothing is published
        ({"a": "1", "b": "1"}, {"a": "1", "b": "1", "c": "1"}, ("c",)),  # a new epoch
        ({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "c": "1"}, ("b", "c")),  # restated
        ({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "1"}, ("b",)),  # the last left out
        ({"a": "1", "b": "1", "c": "1"}, {"a": "1", "c": "1"}, ("c",)),  # one in the middle
        ({"a": "1", "b": "1", "c": "1"}, {"b": "1", "c": "1"}, ("b", "c")),  # the first left out
        ({"b": "1", "c": "1"}, {"a": "1", "b": "1", "c": "1"}, ("a", "b", "c")),  # an earlier one
        ({"a": "1", "b": "1"}, {"a": "1", "b": "1"}, ("b",)),  # nothing: the last again
    ],
)
def test_what_is_read_is_what_differs_and_what_goes_on_from_it(
    published: dict[str, str] | None, now: dict[str, str], read: tuple[str, ...]
) -> None:
    before = None if published is None else rests(published)
    assert rests(now).changed_since(before) == read


def test_another_project_is_read_whole() -> None:
    tags = {"a": "1", "b": "1"}
    assert rests(tags, "new").changed_since(rests(tags, "old")) == ("a", "b")


def restate(lake: Path) -> None:
    """Another composite and percentile for an epoch that is not the last."""
    for table, column in (("scores", "composite"), ("consensus", "percentile")):
        path = lake / table / f"{RESTATED}.parquet"
        rows = pq.read_table(path)
        halved = pc.round(pc.multiply(rows[column], 0.5), 6)
        at = rows.column_names.index(column)
        pq.write_table(rows.set_column(at, rows.schema.field(at), halved), path)


def rows(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:
        return {mart: connection.execute(f"from {mart}").fetchall() for mart in MARTS}


@pytest.mark.slow
def test_a_restated_epoch_replaces_its_rows_with_the_bytes_of_a_full_build(
    marts_home: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(marts_home, tmp_path / "home"))
    by_epoch, lake = Warehouse(home / "warehouse"), str(home / "lake")
    before = by_epoch.read("leaderboard").query("epoch_id == @LAST")
    restate(home / "lake")
    again = by_epoch.build(lake, IDS, MARTS)
    assert again.passed, [node for node in again.nodes if not node.passed]
    assert again.epochs == (RESTATED, LAST)
    after = by_epoch.read("leaderboard").query("epoch_id == @LAST")
    assert after["rank"].to_list() == before["rank"].to_list()
    assert (after["average_percentile"] < before["average_percentile"]).any()  # records go on
    whole = Warehouse(tmp_path / "whole")
    whole.folder.mkdir()
    whole.database.write_bytes(b"no database" * 1000)  # a damaged file is built anew
    full = whole.build(lake, IDS, MARTS)
    assert full.passed
    assert full.epochs == tuple(IDS)
    assert rows(by_epoch) == rows(whole)
    for mart in MARTS:
        assert by_epoch.mart(mart).read_bytes() == whole.mart(mart).read_bytes(), mart


@pytest.mark.soak
def test_epoch_by_epoch_is_the_same_as_all_at_once(marts_home: Path, tmp_path: Path) -> None:
    warehouse, lake = Warehouse(tmp_path / "warehouse"), str(marts_home / "lake")
    for number in range(1, len(IDS) + 1):
        build = warehouse.build(lake, IDS[:number], MARTS)
        assert build.passed, [node for node in build.nodes if not node.passed]
        assert build.epochs == (IDS[number - 1],)
    assert rows(warehouse) == rows(Warehouse(marts_home / "warehouse"))
    for mart in MARTS:
        expected = Warehouse(marts_home / "warehouse").mart(mart).read_bytes()
        assert warehouse.mart(mart).read_bytes() == expected, mart


def read_while_building(home: Path, readers: int, builds: Sequence[list[str]]) -> list[list[str]]:
    """What each reader saw: how often it looked, and the newest epochs.

    Every second one keeps its connection all the time, as an analyst does; the others reconnect.
    """
    warehouse, stop = Warehouse(home / "warehouse"), home / "stop"
    marts = ("epochs", "network_by_epoch", "leaderboard", "miners", "ledger_balances")
    command = [sys.executable, "-c", READER, str(warehouse.database), str(stop)]
    running = [
        subprocess.Popen(
            [*command, "stays" if number % 2 else "returns", *marts],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(readers)
    ]
    try:
        for settled in builds:
            build = warehouse.build(str(home / "lake"), settled, MARTS)
            assert build.passed, [node for node in build.nodes if not node.passed]
    finally:
        stop.touch()
        said = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0] * readers, said
    return [out.split() for out, _ in said]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("readers", "builds"), [(3, 1), pytest.param(20, 10, marks=pytest.mark.soak)]
)
def test_readers_neither_block_a_build_nor_see_half_of_one(
    readers: int, builds: int, marts_home: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(marts_home, tmp_path / "home"))
    sequence = [IDS if number % 2 else IDS[:-1] for number in range(builds)]
    said = read_while_building(home, readers, sequence)
    assert all(int(looks) > 0 for looks, *_ in said)
    returning, staying = said[::2], said[1::2]
    assert all(len(epochs) == 1 for _, *epochs in staying)  # what it opened, to the end
    seen = {epoch for _, *epochs in returning for epoch in epochs}
    assert seen <= {LAST, RESTATED}
    if builds > 1:
        assert seen == {LAST, RESTATED}
    with duckdb.connect(str(home / "warehouse" / "quanta.duckdb"), read_only=True) as connection:
        newest = connection.execute("select max(epoch_id) from epochs").fetchone()
    assert newest == (sequence[-1][-1],)
