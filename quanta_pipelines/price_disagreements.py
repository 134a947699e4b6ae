"""Which vendors were apart in what an epoch looked at: its stored observations, compared again."""

from collections.abc import Sequence

import pandas as pd

from data_contracts.market_data import RawPrices
from quanta_pipelines.protocol.disagreements import disagreements
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform

HEADINGS = ("vendor", "ticker", "apart", "of", "from", "to", "ratio", "kind", "agreeing")


def disagreements_of(platform: Platform, epoch: Epoch) -> pd.DataFrame:
    """One row per vendor and ticker that was apart in the epoch's sessions or lookback."""
    seen = platform.lake.read("raw_prices", epoch.id, gates=RawPrices.gates())
    return disagreements(seen, platform.params)


def report_records(report: pd.DataFrame) -> list[dict[str, object]]:
    """The report for machines: days as text, whole numbers whole."""
    days = {
        name: report[name].dt.strftime("%Y-%m-%d") for name in ("first_session", "last_session")
    }
    records = report.assign(**days).astype(object).to_dict("records")
    return [{str(name): value for name, value in record.items()} for record in records]


def report_lines(report: pd.DataFrame) -> Sequence[str]:
    """The report for people, in columns."""
    if report.empty:
        return ["no vendor was apart"]
    rows = [HEADINGS] + [
        (
            str(row["vendor"]),
            str(row["ticker"]),
            str(row["sessions_apart"]),
            str(row["sessions_compared"]),
            str(row["first_session"]),
            str(row["last_session"]),
            f"{row['ratio']:.6f}",
            str(row["kind"]),
            str(row["agreeing"]) or "nobody",
        )
        for row in report_records(report)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
