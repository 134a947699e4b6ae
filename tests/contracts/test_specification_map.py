"""The page that leads from the specification to this project points to what is there, all of it."""

import ast
import os
import re
from functools import lru_cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "specification-map.md").read_text()
ROW = re.compile(r"^\| ([A-Z]+-\d[^|]*) \| ([^|]+) \| (.+) \|$", re.M)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SAID = ("Deviation: ", "Not built: ", "Not shown by a test: ", "Not asserted by a test: ")
INVENTORY = Path(os.environ.get("QUANTA_REFERENCE_DATA", "-")).parent / "spec" / "inventory.md"


@lru_cache
def names_in(file: str) -> frozenset[str]:
    """Names of the tests in a file, without importing it."""
    tree = ast.parse((PROJECT / file).read_text())
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))


def ids(cell: str) -> list[str]:
    """``TYP-001..003, CFG-1`` as single ids, with as many digits as the first."""
    found = []
    for part in cell.split(", "):
        first, _, last = part.partition("..")
        prefix, number = first.split("-")
        end = int(last or number)
        assert end >= int(number), cell
        found += [f"{prefix}-{at:0{len(number)}}" for at in range(int(number), end + 1)]
    return found


ROWS = ROW.findall(PAGE)


def test_a_range_is_every_id_in_it() -> None:
    assert ids("TYP-009..011, CFG-1") == ["TYP-009", "TYP-010", "TYP-011", "CFG-1"]


def test_every_row_names_a_test_that_exists_or_says_what_it_is_instead() -> None:
    assert len(ROWS) > 100
    for cell, _, shown in ROWS:
        assert TEST.search(shown) or shown.startswith(SAID), cell
        for file, name in TEST.findall(shown):
            assert (PROJECT / file).is_file(), f"{cell}: {file}"
            assert name in names_in(file), f"{cell}: {file}::{name}"


def test_no_id_stands_there_twice() -> None:
    listed = [each for cell, _, _ in ROWS for each in ids(cell)]
    assert sorted(set(listed)) == sorted(listed)


@pytest.mark.skipif(not INVENTORY.exists(), reason="the specification's inventory is not at hand")
def test_every_row_of_the_inventory_stands_there_and_no_other() -> None:
    due = set(re.findall(r"^\| ([A-Z]+-\d+) \|", INVENTORY.read_text(), re.M))
    listed = {each for cell, _, _ in ROWS for each in ids(cell)}
    assert len(due) > 700
    assert sorted(due - listed) == []
    assert sorted(listed - due) == []
