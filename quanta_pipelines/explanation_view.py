"""Explanations as people read them on a terminal; programs read the same as JSON."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from quanta_pipelines.explanation.parts import tokens


def explanation_json(row: Mapping[str, Any]) -> str:
    """What the table has of a miner, its owner's part included."""
    said = json.loads(row["explanation"])
    return json.dumps(said | {"for_owner": json.loads(row["for_owner"])}, indent=2)


def explanation_lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Summary, steps with their facts and cells, counterfactuals."""
    said = json.loads(row["explanation"])
    yield f"{said['epoch_id']}  {said['hotkey']}"
    yield said["summary"]
    for step in [*said["steps"], *json.loads(row["for_owner"])]:
        yield ""
        yield f"{step['title']}: {step['says']}"
        group = ""
        for fact in step["facts"]:
            if fact["group"] != group:
                group = fact["group"]
                yield f"  {group}"
            yield _fact_line(fact)
    yield ""
    yield "If one thing were different"
    if said["without_counterfactuals"]:
        yield f"  {said['without_counterfactuals']}"
    for other in said["counterfactuals"]:
        yield _other_line(other)


def shown(value: str | None, kind: str) -> str:
    """A value in the unit that people read; every digit that decides money is kept."""
    if value is None:
        return "–"
    if kind == "rao":
        return f"{tokens(int(value))} ALPHA"
    if kind == "percent":
        return f"{float(value):+.4%}"
    if kind == "score":
        return f"{float(value):.9g}"
    return value


def one_miner(table: pd.DataFrame, hotkey: str) -> Mapping[str, Any] | None:
    """A miner's row of ``Explanations``; nothing where it took no part."""
    found: list[dict[Any, Any]] = table[table["hotkey"] == hotkey].to_dict("records")
    return found[0] if found else None


def _fact_line(fact: Mapping[str, Any]) -> str:
    source, place = fact["source"], fact["formula"]
    if source is not None:
        key = ",".join(f"{value[:10]}" for value in source["key"].values())
        cell = f"{source['table']}[{key}].{source['column']}"
        place = f"{cell}; {place}" if place else cell
    return f"    {fact['label']:<34}{shown(fact['value'], fact['kind']):>32}  {place}".rstrip()


def _other_line(other: Mapping[str, Any]) -> str:
    rank = "no rank" if other["rank"] is None else f"rank {other['rank']}"
    basis = {
        "settlement": "",
        "own_scores": f"by this validator's scores alone, as they are rank {other['base_rank']}",
        "position": "",
    }[other["basis"]]
    paid, change = tokens(int(other["payout_rao"])), tokens(int(other["change_rao"]))
    return f"  {other['label']:<36}{rank:<10}{paid:>22} ALPHA ({change})  {basis}".rstrip()
