"""Writes ``docs/data.md`` from the contracts, the invariants and the marts' YAML.

The page is never edited by hand; a test fails when it does not say what the code says:

    .venv/bin/python docs/make_data_dictionary.py
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from data_contracts import columns
from data_contracts.contract import EPOCH_ID, EpochTable
from data_contracts.integrity import CASE_ID
from data_contracts.rewards import ACCOUNT, RECORD
from data_contracts.tables import FOR_PEOPLE, PROVISIONAL, STAGE_OF, STAGES, table_name
from quanta_pipelines.checks import INVARIANTS

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "data.md"
MARTS = PROJECT / "dbt_project" / "models" / "marts"
FORMS = {
    "epoch id": EPOCH_ID,
    "ticker": columns.TICKER,
    "SS58 hotkey": columns.HOTKEY,
    "64 hex digits": columns.HEX64,
    "account": ACCOUNT,
    "case id": CASE_ID,
    "record": RECORD,
}
SIGNS = {
    "greater_than_or_equal_to": "≥",
    "greater_than": ">",
    "less_than_or_equal_to": "≤",
    "less_than": "<",
}
FINITE = 1e300  # the contracts' way to refuse infinity
OPENING = """\
# Data

Written by [`make_data_dictionary.py`](make_data_dictionary.py) from
[`data_contracts`](../data_contracts/tables.py), the
[invariants](../quanta_pipelines/checks.py) and the
[marts' YAML](../dbt_project/models/marts). Do not edit it:
`.venv/bin/python docs/make_data_dictionary.py` writes it again.

The tables stand in the order in which an epoch runs. Each has one Parquet file per epoch,
`lake/<table>/<epoch_id>.parquet`. Money is in rao, 10^9 to one ALPHA, and never a float.

A table passes two gates. Its **contract** is checked before the table is published. Its
**invariants** are checked on the published table, before the next stage may read it. Both are
named in each section; what a failed one looks like is in [operations.md](operations.md).

Every contract asks for the columns below, all of them and no others, in this order and of exactly
these types. Beyond that, every contract asks the following:
"""


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield OPENING
    yield from (f"- {check.description}" for check in _own_checks(EpochTable))
    for stage, contracts in STAGES.items():
        yield from ("", f"## {stage}")
        provisional = [table for name, table in PROVISIONAL.items() if STAGE_OF[name] == stage]
        for contract in (*contracts, *provisional):
            yield from _section(contract)
    yield from ("", "## marts", "")
    yield "Built by dbt over all settled epochs; published when every test has passed. One DuckDB"
    yield "file holds all, and each is exported as Parquet. Queries: [analyst.md](analyst.md)."
    for page in sorted(MARTS.glob("*.yml")):
        for model in yaml.safe_load(page.read_text()).get("models", ()):
            yield from _mart(model)
    yield from ("", "Beside the marts, in the lake, for people: nothing is settled on it.")
    for contract in FOR_PEOPLE.values():
        yield from _section(contract)
    yield from ("", "## Forms of text", "")
    yield from _table(("form", "pattern"), [(name, _code(form)) for name, form in FORMS.items()])


def _section(contract: type[EpochTable]) -> Iterator[str]:
    yield from ("", f"### {table_name(contract)}", "", _prose(contract.__doc__), "")
    yield f"Key: {', '.join(map(_code, contract.key()))}, within an epoch."
    inherited = {check.name for check in _own_checks(EpochTable)}
    promised = [check for check in _own_checks(contract) if check.name not in inherited]
    yield from _list("The contract also asks:", [(c.name, c.description) for c in promised])
    invariants = [(name, _prose(INVARIANTS[name].__doc__)) for name in contract.gates()[1:]]
    yield from _list("Invariants:", invariants)
    yield ""
    rows = [
        (_code(name), _type(column.dtype), _limits(column), _prose(column.description))
        for name, column in contract.to_schema().columns.items()
    ]
    yield from _table(("column", "type", "values", "meaning"), rows)


def _mart(model: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"### {model['name']}", "", model["description"], "")
    statements = [
        (test["holds"]["name"], _code(test["holds"]["arguments"]["statement"]))
        for test in model["data_tests"]
        if isinstance(test, dict) and "holds" in test
    ]
    yield from _list("Tests over its rows:", statements)
    yield ""
    rows = [
        (_code(c["name"]), c["data_type"], _code(c["config"]["meta"]["holds"]), c["description"])
        for c in model["columns"]
    ]
    yield from _table(("column", "type", "holds in every row", "meaning"), rows)


def _own_checks(contract: type[EpochTable]) -> list[Any]:
    return sorted(contract.to_schema().checks, key=lambda check: str(check.name))


def _type(dtype: object) -> str:
    return {"str": "text", "Int64": "int64"}.get(str(dtype), str(dtype))


def _limits(column: Any) -> str:
    parts = [text for check in column.checks if (text := _limit(check.statistics, check.name))]
    return ", ".join([*parts, "may be empty"] if column.nullable else parts)


def _limit(statistics: dict[str, Any], name: str) -> str:
    if name == "str_matches":
        return next(form for form, at in FORMS.items() if at == statistics["pattern"])
    if name == "isin":
        return ", ".join(_code(str(value)) for value in statistics["allowed_values"])
    (limit,) = statistics.values()
    return "" if abs(limit) == FINITE else f"{SIGNS[name]} {limit:g}".replace("e+0", "e")


def _list(title: str, items: Sequence[tuple[str, str]]) -> Iterator[str]:
    if items:
        yield from ("", title, "", *(f"- {_code(name)}: {words}" for name, words in items))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (heads, ["---"] * len(heads), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`"


def _prose(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    PAGE.write_text(page())
