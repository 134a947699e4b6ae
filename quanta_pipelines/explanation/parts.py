"""What an explanation is made of: steps of facts, each fact with the row it stands in.

A value is text, exactly as the table has it: a float in its shortest form, money in whole rao. Its
``kind`` says how to show it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Kind = Literal["rao", "score", "percent", "ratio", "count", "units", "text", "moment", "flag"]


@dataclass(frozen=True, slots=True)
class Source:
    """A cell: table, the key of its row within the epoch, column."""

    table: str
    key: Mapping[str, str]
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One number or word; without a source it follows from others by ``formula``."""

    name: str
    label: str
    value: str | None
    kind: Kind
    group: str = ""
    source: Source | None = None
    formula: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the way, in one sentence and its facts."""

    name: str
    title: str
    says: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """What the miner would have got if one thing were different, beside what that compares with.

    ``basis`` is ``settlement``: votes and ranks stand, money is settled anew; ``own_scores``: this
    validator's scores alone decide, before and after, since the votes of others are not known
    under another rule; ``position``: the miner alone stands elsewhere.
    """

    name: str
    label: str
    basis: Literal["settlement", "own_scores", "position"]
    standing: str
    rank: int | None
    tier: str | None
    payout_rao: str
    base_rank: int | None
    base_payout_rao: str
    change_rao: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLine:
    """One epoch of a miner's unbroken record; a level starts at 1 when its history begins."""

    epoch_id: str
    standing: str
    rank: int | None
    tier: str | None
    final_score: float | None
    epoch_return: float | None
    benchmark_return: float | None
    level: float | None
    benchmark_level: float | None
    peak: float | None
    drawdown: float | None
    ante_rao: str
    payout_rao: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything about one miner in one epoch that anyone may read."""

    epoch_id: str
    hotkey: str
    standing: str
    reason: str
    summary: str
    steps: tuple[Step, ...]
    counterfactuals: tuple[Counterfactual, ...]
    without_counterfactuals: str  # why there are none; empty where there are
    record: tuple[RecordLine, ...]


class Row:
    """One row of a table, that gives facts which name their cell."""

    def __init__(self, table: str, key: Iterable[str], values: Mapping[str, Any]) -> None:
        self._table, self._values = table, values
        self._key = {name: text_of(values[name]) or "" for name in key}

    def __getitem__(self, column: str) -> Any:
        return self._values[column]

    def fact(self, column: str, label: str, kind: Kind, *, group: str = "", name: str = "") -> Fact:
        """The cell of a column."""
        return Fact(
            name=name or column,
            label=label,
            value=text_of(self._values[column]),
            kind=kind,
            group=group,
            source=Source(self._table, self._key, column),
        )


def text_of(value: Any) -> str | None:
    """A cell's text; nothing where the cell is empty."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat() if value.tzinfo else value.date().isoformat()
    if isinstance(value, str):
        return value
    return _number_text(value)


def _number_text(value: Any) -> str:
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    return repr(plain)


def whole(value: Any) -> int | None:
    """A whole number; nothing where the cell is empty."""
    return None if value is None or pd.isna(value) else int(value)


def number(value: Any) -> float | None:
    """A float; nothing where the cell is empty."""
    return None if value is None or pd.isna(value) else float(value)


def word(value: Any) -> str | None:
    """Text; nothing where the cell is empty."""
    return None if value is None or pd.isna(value) else str(value)


def tokens(rao: int) -> str:
    """Rao as ALPHA with nine decimals, exactly, also below zero."""
    whole_part, rest = divmod(abs(rao), 10**9)
    return f"{'-' if rao < 0 else ''}{whole_part}.{rest:09d}"
