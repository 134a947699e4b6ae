"""What a restatement changed is shown cell by cell, from the versions that are kept."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from quanta_pipelines.adapters.lake import Lake, MissingTable
from quanta_pipelines.cli import main
from quanta_pipelines.settings import current_settings
from quanta_pipelines.version_difference import (
    ChangedCell,
    change_lines,
    change_of,
    changed_tables,
    named_version,
)

EPOCH = "2019-Q2-W23"
STAMPS = {"params_version": "0" * 64, "code_version": "1" * 64}


def rewards(**payouts: int | None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch_id": EPOCH,
            "hotkey": list(payouts),
            "payout_rao": pd.array(list(payouts.values()), dtype="Int64"),
        }
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three publications: b gets more, c leaves and d comes; then the first one again."""
    lake = Lake(str(tmp_path / "lake"))
    first, second = rewards(a=1, b=2, c=None), rewards(a=1, b=3, d=4)
    for frame in (first, second, first, second):
        lake.publish("rewards", EPOCH, frame, **STAMPS)
    lake.publish("scores", EPOCH, rewards(a=1), **STAMPS)
    return lake


def test_cells_that_changed_and_rows_that_came_and_went(lake: Lake) -> None:
    (change,) = changed_tables(lake, EPOCH)  # scores was published once
    assert change.table == "rewards"
    assert change.cells == (ChangedCell({"hotkey": "b"}, "payout_rao", before="2", after="3"),)
    assert change.added == ({"hotkey": "d"},)
    assert change.removed == ({"hotkey": "c"},)
    assert (change.rows, change.columns) == (3, {"payout_rao": 1})


def test_the_other_way_round_everything_is_reversed(lake: Lake) -> None:
    (change,) = changed_tables(lake, EPOCH)
    back = change_of(lake, "rewards", EPOCH, change.after, change.before)
    assert (back.added, back.removed) == (change.removed, change.added)
    assert [(c.before, c.after) for c in back.cells] == [("3", "2")]


def test_a_null_is_shown_and_long_lists_are_cut(lake: Lake) -> None:
    lake.publish("rewards", EPOCH, rewards(a=None, b=None, d=None), **STAMPS)
    lines = change_lines(changed_tables(lake, EPOCH), limit=2)
    assert lines[0].endswith("0 rows more, 0 gone, 3 of 3 changed (payout_rao 3)")
    assert lines[1:] == [
        "    hotkey a: payout_rao 1 -> empty",
        "    hotkey b: payout_rao 3 -> empty",
        "    and 1 more: --limit 3 shows all",
    ]


def test_a_version_is_named_by_the_beginning_of_its_hash(lake: Lake) -> None:
    known = [version.content_hash for version in lake.versions("rewards", EPOCH)]
    assert named_version(lake, "rewards", EPOCH, known[0][:12]) == known[0]
    with pytest.raises(MissingTable, match=f"0 versions.*xyz.*{known[1][:12]}"):
        named_version(lake, "rewards", EPOCH, "xyz")
    with pytest.raises(MissingTable, match="2 versions"):
        named_version(lake, "rewards", EPOCH, "")


@pytest.fixture
def home(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("QUANTA_HOME", str(Path(lake.root).parent))
    current_settings.cache_clear()
    yield
    current_settings.cache_clear()


@pytest.mark.usefixtures("home")
def test_the_command() -> None:
    runner = CliRunner()
    shown = runner.invoke(main, ["diff", EPOCH])
    assert shown.exit_code == 0, shown.output
    assert "hotkey b: payout_rao 2 -> 3" in shown.output
    (change,) = json.loads(runner.invoke(main, ["diff", EPOCH, "rewards", "--json"]).output)
    named = ["diff", EPOCH, "rewards", "--before", change["after"], "--after", change["before"]]
    assert "hotkey b: payout_rao 3 -> 2" in runner.invoke(main, named).output
    same = runner.invoke(main, ["diff", EPOCH, "scores"])
    assert "was ever published with other content" in same.output
    for wrong in (["2019-Q2-W24"], [EPOCH, "no_table"], [EPOCH, "--before", "12"]):
        assert runner.invoke(main, ["diff", *wrong]).exit_code != 0
