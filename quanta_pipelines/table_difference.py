"""The first cell in which two tables of the same kind differ, as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

ROW = "row"  # stands for a column where one side lacks the whole row
NO_COLUMN = "no such column"

Cells: TypeAlias = dict[tuple[str | None, ...], Mapping[str, str | None]]


@dataclass(frozen=True)
class CellDifference:
    """The first cell, by row key and then by column, that is not the same; an empty one is None."""

    key: Mapping[str, str | None]
    column: str
    stored: str | None
    recomputed: str | None


def first_difference(
    stored: pd.DataFrame, recomputed: pd.DataFrame, key: Sequence[str]
) -> CellDifference | None:
    """The first cell whose text differs, in the order of the stored rows; new rows come last."""
    columns = list(dict.fromkeys([*stored.columns, *recomputed.columns]))
    left, right = table_cells(stored, key), table_cells(recomputed, key)
    for at in dict.fromkeys([*left, *right]):
        named = dict(zip(key, at, strict=True))
        if at not in left or at not in right:
            texts = ["present" if at in side else "absent" for side in (left, right)]
            return CellDifference(named, ROW, *texts)
        for column in columns:
            before, now = (side[at].get(column, NO_COLUMN) for side in (left, right))
            if before != now:
                return CellDifference(named, column, before, now)
    return None


def cell_in_words(cell: CellDifference) -> str:
    """Where it is, and what stands there on both sides."""
    place = ", ".join(f"{name} {value}" for name, value in cell.key.items())
    texts = [text_of(cell.stored), text_of(cell.recomputed)]
    return f"{place}: {cell.column} is {texts[0]} stored, {texts[1]} recomputed"


def text_of(text: str | None) -> str:
    """A cell for people, also where it holds nothing."""
    return "empty" if text is None else text or "''"


def table_cells(frame: pd.DataFrame, key: Sequence[str]) -> Cells:
    """Rows by their key, every cell as text; a float's text has all its digits."""
    rows = [
        {str(column): None if pd.isna(cell) else str(cell) for column, cell in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]
    return {tuple(row[column] for column in key): row for row in rows}
