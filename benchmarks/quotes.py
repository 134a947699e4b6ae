"""From the question to the answer: live prices of 30 tickers from three local vendors.

Each round asks the vendors over HTTP, keeps their replies, stores the quotes, reads the 24 hours
before, and computes the prices. The vendors are the simulated ones of the tests, each in a process
of its own; nothing is answered from a cache. The store holds what a day of polling leaves: a quote
of each vendor and ticker every five minutes, since replies are kept that long (``--spacing`` in
seconds for another). Prints percentiles of the rounds, in wall-clock time and, since machines are
shared, in processor time of the asking process alone; asserts nothing.

    python benchmarks/quotes.py [--rounds 60] [--tickers 30] [--spacing 300] [--json]
"""
# ruff: noqa: E402  the simulated vendors lie beside the tests, outside the package

import argparse
import datetime as dt
import itertools
import json
import logging
import multiprocessing as mp
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from quanta_pipelines.adapters.live_quotes import stored_prices
from quanta_pipelines.adapters.price_poll import poll
from quanta_pipelines.adapters.price_vendors import QUOTE_TYPES, QuoteVendor
from quanta_pipelines.adapters.quote_store import QuoteStore
from tests.vendor_replicas.server import serving
from tests.vendor_replicas.truth import truth_table
from tests.vendor_replicas.wired import KEY, NAMES, REPLICAS, vendor_at

SESSION = dt.date(2019, 8, 2)
QUOTED_AT = dt.datetime(2019, 8, 2, 18, 59, tzinfo=dt.UTC)  # 14:59 in New York
PARTS = ("ask and store", "read and compute", "all")
TARGET_MS = 500


def ticker_names(count: int) -> tuple[str, ...]:
    """``AAA``, ``AAB`` and so on."""
    letters = itertools.product(ascii_uppercase, repeat=3)
    return tuple("".join(name) for name in itertools.islice(letters, count))


def serve(name: str, tickers: tuple[str, ...], parent: Connection) -> None:
    """One simulated vendor, until the parent says stop."""
    truth = truth_table(tickers, SESSION - dt.timedelta(days=30), SESSION)
    with serving(REPLICAS[name](truth, KEY, quoted_at=QUOTED_AT)) as server:
        parent.send(server.url)
        parent.recv()


@contextmanager
def vendors_at_work(
    tickers: tuple[str, ...], home: Path, clock: "Clock"
) -> Iterator[list[QuoteVendor]]:
    """The real vendors, each wired to a simulated one in a process of its own."""
    context = mp.get_context("spawn")
    pipes, vendors = [], []
    for name in NAMES:
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(name, tickers, theirs), daemon=True).start()
        vendors.append(vendor_at(name, ours.recv(), home, clock=clock, watch_list=tickers))
        pipes.append(ours)
    try:
        yield vendors
    finally:
        for pipe in pipes:
            pipe.send("stop")


class Clock:
    """A time that moves when it is told to, so that the market is open at every hour."""

    def __init__(self) -> None:
        self.now = QUOTED_AT + dt.timedelta(minutes=1)

    def __call__(self) -> dt.datetime:
        """The simulated time."""
        return self.now


def fill(store: QuoteStore, tickers: tuple[str, ...], spacing: dt.timedelta) -> int:
    """Quotes of each vendor over the 6.5 hours of trading before."""
    # 24 hours back lie 5.5 hours of this session and one of the day before
    today = pd.date_range("2019-08-02 13:30", "2019-08-02 18:58:59", freq=spacing)
    before = pd.date_range("2019-08-01 19:00:30", "2019-08-01 19:59:59", freq=spacing)
    times = before.append(today).tz_localize("UTC").as_unit("ns")
    keys = pd.MultiIndex.from_product([NAMES, tickers, times], names=["vendor", "ticker", "at"])
    rows = keys.to_frame(index=False)
    price = 100.0 + np.random.default_rng(1).normal(0, 0.05, len(rows)).round(2)
    filled = rows.assign(
        price=price, bid=price - 0.01, ask=price + 0.01, volume=1e6, fetched_at=rows["at"]
    )
    return store.append(filled.astype(QUOTE_TYPES)).new


@dataclass(frozen=True)
class Round:
    """Milliseconds of one round's parts, by the wall's clock and of this process's processors."""

    wall: tuple[float, float]
    processor: tuple[float, float]


def measure(rounds: int, tickers: tuple[str, ...], spacing: dt.timedelta) -> list[Round]:
    """Asks so many times; the first round opens connections and imports yfinance: left out."""
    found, clock = [], Clock()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = QuoteStore.open(f"sqlite:///{home / 'quotes.db'}")
        print(f"{fill(store, tickers, spacing)} quotes in the store", file=sys.stderr)
        with vendors_at_work(tickers, home, clock) as vendors:
            for _ in range(rounds + 1):
                found.append(one_round(vendors, store, tickers, clock.now))
                clock.now += dt.timedelta(seconds=1)
        store.close()
    return found[1:]


def one_round(
    vendors: list[QuoteVendor], store: QuoteStore, tickers: tuple[str, ...], now: dt.datetime
) -> Round:
    """From the question to the prices, timed."""
    start = time.perf_counter(), time.process_time()
    done = poll(vendors, store, tickers, now)
    stored = time.perf_counter(), time.process_time()
    prices = stored_prices(store, tickers, now).prices
    end = time.perf_counter(), time.process_time()
    check(done.in_words(), prices, tickers)
    wall, processor = (
        (1000 * (stored[kind] - start[kind]), 1000 * (end[kind] - stored[kind])) for kind in (0, 1)
    )
    return Round(wall, processor)


def check(said: str, prices: pd.DataFrame, tickers: tuple[str, ...]) -> None:
    """A round that did less than it claims is no measurement."""
    if said != "; ".join(f"{name} {len(tickers)} new" for name in NAMES):
        raise SystemExit(f"not every vendor answered: {said}")
    if prices[["price", "twap", "volume_weighted"]].isna().any(axis=None):
        raise SystemExit("a price or one of its components is missing")


def percentiles(rounds: list[Round], kind: str) -> dict[str, dict[str, float]]:
    """Percentiles of each part and of the whole."""
    parts = np.array([getattr(one, kind) for one in rounds])
    spans = np.column_stack([parts, parts.sum(axis=1)])
    found = np.percentile(spans, (50, 95, 100), axis=0).round(1).T.tolist()
    return {
        name: dict(zip(("p50", "p95", "max"), values, strict=True))
        for name, values in zip(PARTS, found, strict=True)
    }


def report(rounds: list[Round], *, as_json: bool) -> None:
    """Percentiles by part, as text or JSON."""
    kinds = {kind: percentiles(rounds, kind) for kind in ("wall", "processor")}
    walls = [round(sum(one.wall), 1) for one in rounds]
    if as_json:
        said = {"target_ms": TARGET_MS, "load": os.getloadavg()[0], "milliseconds": kinds}
        print(json.dumps(said | {"rounds_ms": walls}, indent=2))
        return
    for kind, parts in kinds.items():
        for name, spans in parts.items():
            numbers = "  ".join(f"{key} {value:>7.1f}" for key, value in spans.items())
            print(f"{kind:<10}{name:<18}{numbers}  ms")
    within = sum(wall < TARGET_MS for wall in walls)
    print(f"{within} of {len(walls)} rounds under {TARGET_MS} ms, load {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--tickers", type=int, default=30)
    parser.add_argument("--spacing", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    spacing = dt.timedelta(seconds=asked.spacing)
    report(measure(asked.rounds, ticker_names(asked.tickers), spacing), as_json=asked.json)


if __name__ == "__main__":
    main()
