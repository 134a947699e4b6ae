"""The page that says what became of the faults of ``market_faults``, from their outcomes."""

import re
from itertools import combinations_with_replacement
from typing import Any

import pandas as pd

from .market_faults import SETTLED, STOPPING

PAGE_OPENING = """\
# What faults of vendors do to prices

Written by [test_market_faults.py](../tests/pipeline/test_market_faults.py) with `make golden`.
Three vendors report three stocks over {sessions} sessions: tiingo and polygon as traded, yahoo
adjusted for splits. AAPL splits 4 for 1 and pays a dividend a session later. Faults strike around
these days, at each vendor and at each two vendors; the worst case stands here. A session counts
once per stock, so there are {rows}.

- **corrected**: every session is settled at the truth, the faulty vendor is outvoted and the row
  flagged `anomaly` where it disagrees.
- **held n**: n sessions are `disputed` or `missing`. They count as missing, and block the epoch
  where they are held by more than 10 % of all weight or are the benchmark.
- **outvoted n**: two faulty vendors agree on the same wrong value in n sessions. It is settled, and
  flagged `anomaly`, since the third vendor disagrees.
- **near n**: in n sessions the primary is wrong by less than the tolerance that vendors have
  (10 bps or a cent from their median). Such a close agrees by the rule, so no flag tells it.

No session that is settled differs from the truth in another way. Rows that a vendor repeats, and
times without a zone, are refused and stop the epoch before it, with the rows or the column named.
"""


def ending(row: "pd.Series[Any]") -> str:
    """How a fault or a pair of faults ended, in the page's words."""
    counts = (("held", row["lost"]), ("outvoted", row["flagged"]), ("near", row["near"]))
    return ", ".join(f"{word} {count}" for word, count in counts if count) or "corrected"


def page(single: pd.DataFrame, one_vendor: pd.DataFrame, two_vendors: pd.DataFrame) -> str:
    """The page ``docs/price-faults.md``, from the outcomes of all scenarios."""
    rows = int(single["rows"].max())
    names = list(SETTLED)
    by_name = single.groupby("faults")[["lost", "flagged", "near"]].max()
    one = one_vendor.groupby("faults")[["lost", "flagged", "near"]].max()
    two = two_vendors.groupby("faults")[["lost", "flagged", "near"]].max()
    lines = [PAGE_OPENING.format(sessions=rows // 3, rows=rows)]
    lines += [
        "## One fault",
        "",
        "| fault | what happened | sessions lost |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {ending(by_name.loc[name])} | {by_name.loc[name, 'lost']} |" for name in names
    ]
    lines += [f"| {name} | refused, the epoch stops | all |" for name in STOPPING]
    lines += ["", "## Two faults of one vendor", ""]
    lines += [f"{len(one)} pairs: {_counted(one)}.", "", "## Two faults at two vendors", ""]
    lines += ["| fault | with | what happened | sessions lost |", "| --- | --- | --- | --- |"]
    for first, second in combinations_with_replacement(names, 2):
        both = {f"{first} + {second}", f"{second} + {first}"}
        worst = two[two.index.isin(both)].max()
        lines.append(f"| {first} | {second} | {ending(worst)} | {worst['lost']} |")
    return "\n".join(lines) + "\n"


def _counted(found: pd.DataFrame) -> str:
    """How many pairs ended how, without their numbers of sessions."""
    kinds = found.apply(lambda row: " and ".join(re.findall("[a-z]+", ending(row))), axis=1)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.value_counts().sort_index().items())
