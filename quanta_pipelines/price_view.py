"""Live prices as people and programs read them: a few lines a ticker, or JSON."""

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from quanta_pipelines.adapters.live_quotes import Answer
from quanta_pipelines.protocol.live_price import COMPONENTS

_LABELS = {"twap": "24 h average", "primary": "primary", "volume_weighted": "by volume"}
_FLAGS = ("anomaly", "stale")


def price_lines(answer: Answer) -> list[str]:
    """Each ticker's price with age, spread and flags, and below it what it is made of."""
    return [line for _, row in answer.live.prices.iterrows() for line in _lines(row)]


def price_json(answer: Answer) -> str:
    """The same with everything that was set aside and what each vendor answered."""
    vendors = [
        {
            "vendor": polled.vendor,
            "new": polled.new,
            "known": polled.known,
            "refused": _records(polled.refused),
            "problem": polled.problem,
        }
        for polled in answer.round.vendors
    ]
    said = {
        "now": answer.now.isoformat(),
        "prices": _records(answer.live.prices),
        "set_aside": _records(answer.live.set_aside),
        "vendors": vendors,
    }
    return json.dumps(said, indent=2, allow_nan=False)


def age_in_words(seconds: float) -> str:
    """``42 s``, ``12 min``, ``5 h``: whole units, rounded down."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _lines(row: "pd.Series[Any]") -> Iterator[str]:
    if pd.isna(row["price"]):
        yield f"{row['ticker']:<8}no price: {row['reason']}"
        return
    spread = (
        "spread unknown" if pd.isna(row["spread_bps"]) else f"spread {row['spread_bps']:.1f} bps"
    )
    flags = "".join(f"  {flag.upper()}" for flag in _FLAGS if row[flag])
    age = age_in_words(row["age_seconds"])
    yield f"{row['ticker']:<8}{row['price']:>12.4f}  {spread}, {age} old{flags}"
    for name in COMPONENTS:
        weight = row[f"{name}_weight"]
        if not weight:
            continue
        who = {"primary": row["primary_vendor"], "volume_weighted": row["sources"]}.get(name, "")
        yield f"  {_LABELS[name]:<14}{row[name]:>10.4f}  {weight:.0%}  {who}".rstrip()


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with times as ISO 8601 text and null for what is unknown."""
    plain = table.astype(object)
    for name in table.columns:
        if isinstance(table[name].dtype, pd.DatetimeTZDtype):
            plain[name] = [None if pd.isna(at) else at.isoformat() for at in table[name]]
    return [
        {str(key): _plain(value) for key, value in row.items()} for row in plain.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    """A number that JSON has; an infinite price of a vendor is text, since JSON has none."""
    if isinstance(value, float) and not pd.isna(value) and value in (float("inf"), -float("inf")):
        return str(value)
    return None if value is None or pd.isna(value) else value
