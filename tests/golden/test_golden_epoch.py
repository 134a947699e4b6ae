"""Every table of the season's eighth epoch, as this program once wrote it.

The golden files are the program's own output and no independent answer: they are kept to see any
change. ``hashes.json`` covers whole tables, the CSV files beside it show the first rows to a
reviewer. Floats count with nine decimals: the last bits of ``exp`` differ between processors.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake, content_hash
from tests.conftest import SETTLED

EPOCH = SETTLED[-1]
FOLDER = Path(__file__).parent
HASHES = FOLDER / "hashes.json"
READABLE = ("scores", "consensus", "rewards", "ledger_entries")
READABLE_ROWS = 40
DECIMALS = 9

Frames = Mapping[str, pd.DataFrame]


@pytest.fixture(scope="module")
def tables(settled_home: Path, request: pytest.FixtureRequest) -> Frames:
    """The tables of the epoch; written as the golden ones where that is asked for."""
    lake = Lake(str(settled_home / "lake"))
    found = {name: steady(lake.read(name, EPOCH.id)) for name in CONTRACTS}
    if request.config.getoption("--golden-update"):
        kept = {name: hashes(frame) for name, frame in found.items()}
        HASHES.write_text(json.dumps({"epoch": EPOCH.id, "tables": kept}, indent=2) + "\n")
        for name in READABLE:
            (FOLDER / f"{name}.csv").write_text(readable(found[name]))
    return found


def steady(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as every processor computes it."""
    floats = frame.select_dtypes("float64").columns
    return frame.assign(**{name: frame[name].round(DECIMALS) + 0.0 for name in floats})


def hashes(frame: pd.DataFrame) -> dict[str, Any]:
    """What ``hashes.json`` keeps of a table; a column's hash says where to look."""
    columns = {name: content_hash(frame[[name]])[:12] for name in frame.columns}
    return {"content": content_hash(frame), "rows": len(frame), "columns": columns}


def readable(frame: pd.DataFrame) -> str:
    return frame.head(READABLE_ROWS).to_csv(index=False, lineterminator="\n")


def cells(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def first_difference(golden: pd.DataFrame, found: pd.DataFrame) -> str:
    """The first cell that differs between two tables of text, or nothing."""
    if list(golden.columns) != list(found.columns):
        return f"the columns are {list(found.columns)}, not {list(golden.columns)}"
    both = min(len(golden), len(found))
    apart = golden.head(both).ne(found.head(both)).stack()
    if apart.any():
        row, column = apart.idxmax()
        key = ", ".join(found.iloc[row, :2])
        was, now = golden.at[row, column], found.at[row, column]
        return f"row {row} ({key}): {column} is {now!r}, not {was!r}"
    if len(golden) != len(found):
        return f"{len(found)} rows are shown, not {len(golden)}"
    return ""


def change(name: str, frame: pd.DataFrame, golden: Mapping[str, Any]) -> str:
    """What changed in a table, the first cell where a golden one can be read; empty if nothing."""
    if hashes(frame) == golden:
        return ""
    cell = ""
    if name in READABLE:
        kept = (FOLDER / f"{name}.csv").read_text()
        cell = first_difference(cells(kept), cells(readable(frame)))
    new = hashes(frame)["columns"]
    columns = [column for column, kept in golden["columns"].items() if new.get(column) != kept]
    rows = f"{len(frame)} rows, were {golden['rows']}"
    return f"{cell or 'no cell that is shown'}; columns that differ: {columns}; {rows}"


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_table_of_the_golden_epoch_is_unchanged(name: str, tables: Frames) -> None:
    golden = json.loads(HASHES.read_text())
    assert golden["epoch"] == EPOCH.id
    changed = change(name, tables[name], golden["tables"][name])
    assert not changed, f"{name} of {EPOCH}: {changed}\nlook at the change, then: make golden"


@pytest.mark.parametrize("name", READABLE)
def test_the_readable_golden_tables_are_the_hashed_ones(name: str, tables: Frames) -> None:
    assert (
        first_difference(cells((FOLDER / f"{name}.csv").read_text()), cells(readable(tables[name])))
        == ""
    )


def test_the_golden_tables_are_those_of_the_graph(tables: Frames) -> None:
    assert list(json.loads(HASHES.read_text())["tables"]) == list(tables)


def test_a_changed_cell_is_named(tables: Frames) -> None:
    scores, golden = tables["scores"], hashes(tables["scores"])
    assert change("scores", scores, golden) == ""
    spoiled = scores.assign(final_score=scores["final_score"].mask(scores.index == 3, 0.125))
    was = cells(readable(scores)).at[3, "final_score"]
    where = f"row 3 ({EPOCH}, {scores['hotkey'][3]}): final_score is '0.125', not '{was}'"
    assert change("scores", spoiled, golden).startswith(where)
    assert "columns that differ: ['final_score']" in change("scores", spoiled, golden)


def test_the_last_bit_of_a_float_is_no_change(tables: Frames) -> None:
    metrics = tables["horizon_metrics"]
    nudged = metrics.assign(volatility=metrics["volatility"] * (1 + 2**-52))
    assert not nudged.equals(metrics)
    assert hashes(steady(nudged)) == hashes(metrics)
