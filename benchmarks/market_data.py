"""What settling twenty-one years of prices costs, and what a plain merge of the same files costs.

Two vendors are real files of the folder ``QUANTA_REFERENCE_DATA``, the third is derived from the
first and says so. One core, processor time, the best of a few repetitions; memory is what is
allocated above the inputs. Nothing is asserted.
"""

import json
import os
import resource
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from timing import Timing, timed  # isort: skip  it limits numpy to one thread
import click
import numpy as np
import pandas as pd
from scoring import environment

from quanta_pipelines.adapters.price_vendors import OBSERVATION_TYPES
from quanta_pipelines.protocol.oracle import settle_closes

FIRST = "b_alphavantage_sp500_1999_2021.parquet"
SECOND = "b2_iex_sp500_2013_2018.parquet"
FETCHED_AT = pd.Timestamp("2021-04-22", tz="UTC")
SECOND_FETCHED_AT = pd.Timestamp("2018-02-08", tz="UTC")
DERIVED = "derived"


@dataclass(frozen=True)
class Throughput:
    """One piece of work over all observations."""

    work: str
    by: str
    rows: int
    seconds: float
    peak_mib: float

    @property
    def rows_per_second(self) -> float:
        """Observations, of all vendors, per second of processor time."""
        return self.rows / self.seconds


def observations(folder: Path, tickers: int | None = None) -> list[pd.DataFrame]:
    """The rows of three vendors in the columns and types of an observation.

    The third is derived: the first vendor's rows with closes up to a basis point away and one in a
    hundred by a percent, a stand-in for a vendor that no one recorded.
    """
    first = _observed(folder / FIRST, "alphavantage", "as_traded", FETCHED_AT, tickers)
    second = _observed(folder / SECOND, "iex", "split_adjusted", SECOND_FETCHED_AT, tickers)
    rng = np.random.default_rng(504)
    apart = rng.uniform(-1e-4, 1e-4, len(first)) + 0.01 * (rng.random(len(first)) < 0.01)
    third = first.assign(vendor=DERIVED, close=first["close"] * (1.0 + apart))
    return [first, second, third]


def _observed(
    file: Path, vendor: str, basis: str, fetched_at: pd.Timestamp, tickers: int | None
) -> pd.DataFrame:
    rows = pd.read_parquet(file).rename(columns={"date": "session"})
    if tickers is not None:
        rows = rows[rows["ticker"].isin(sorted(rows["ticker"].unique())[:tickers])]
    rows = rows.assign(
        session=pd.to_datetime(rows["session"]), vendor=vendor, basis=basis, fetched_at=fetched_at
    )
    return rows.reindex(columns=list(OBSERVATION_TYPES)).astype(OBSERVATION_TYPES)


def plain_merge(vendors: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Closes merged by ticker and session, their median, and its change.

    What an analyst writes first: no price bases, no tolerance, no dividends and splits, no flags.
    """
    columns = ["ticker", "session", "close"]
    merged = vendors[0][columns].rename(columns={"close": "close_0"})
    for place, rows in enumerate(vendors[1:], start=1):
        other = rows[columns].rename(columns={"close": f"close_{place}"})
        merged = merged.merge(other, on=["ticker", "session"], how="outer")
    merged = merged.sort_values(["ticker", "session"], ignore_index=True)
    merged["close"] = merged.filter(like="close_").median(axis=1)
    merged["return"] = merged.groupby("ticker")["close"].pct_change(fill_method=None)
    return merged


def measured(folder: Path, tickers: int | None, repeat: int) -> list[Throughput]:
    """Reading, settling and merging, on the same rows."""
    vendors = observations(folder, tickers)
    seen = pd.concat(vendors, ignore_index=True)
    works = {
        ("read as observations", "quanta"): lambda: observations(folder, tickers),
        ("settle", "quanta"): lambda: settle_closes(seen),
        ("merge, median, return", "plain pandas"): lambda: plain_merge(vendors),
    }
    timings = [timed(work, by, len(seen), run, repeat=repeat) for (work, by), run in works.items()]
    return [_throughput(timing) for timing in timings]


def _throughput(timing: Timing) -> Throughput:
    return Throughput(timing.work, timing.by, timing.portfolios, timing.seconds, timing.peak_mib)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write all figures as JSON.")
@click.option("--tickers", type=int, help="The first tickers alone; all by default.")
@click.option("--repeat", type=int, default=3, show_default=True)
def main(out: Path | None, tickers: int | None, repeat: int) -> None:
    """Time settling of real prices beside a plain merge, on one core."""
    folder = os.environ.get("QUANTA_REFERENCE_DATA")
    if not folder:
        raise click.ClickException("QUANTA_REFERENCE_DATA does not name a folder with real prices")
    found = measured(Path(folder), tickers, repeat)
    click.echo(f"{'work':<24} {'by':<14} {'rows':>10} {'s':>8} {'rows/s':>12} {'MiB':>8}")
    for one in found:
        click.echo(
            f"{one.work:<24} {one.by:<14} {one.rows:>10,} {one.seconds:>8.2f} "
            f"{one.rows_per_second:>12,.0f} {one.peak_mib:>8.0f}"
        )
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(f"largest resident size of the whole run: {most:.0f} MiB")
    if out is not None:
        report = {
            "environment": environment(),
            "throughput": [
                {**asdict(one), "rows_per_second": one.rows_per_second} for one in found
            ],
            "max_resident_mib": most,
        }
        out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
