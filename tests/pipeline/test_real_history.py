"""Real history of two files over HTTP replicas, through the whole graph, where it is at hand."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.cli import main
from quanta_pipelines.protocol.disagreements import disagreements
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import current_settings
from tests.vendor_replicas.tables import (
    FIRST_FILE,
    FOLDER,
    SECOND_FILE,
    later_splits_of,
    read_file,
    reference_tickers,
)

DRIVER = Path(__file__).with_name("real_history.py")
FIRST, DISPUTED = "2014-Q3-W29", "2014-Q3-W31"

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="QUANTA_REFERENCE_DATA does not name a folder with real prices"
)


def history(home: Path, vendors: str, count: int, spell: str) -> list[dict]:
    """Outcomes of the epochs, run in a process whose partitions begin with them."""
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, DRIVER, str(home), vendors, str(count), spell],
        env=os.environ | {"QUANTA_FIRST_EPOCH": FIRST, "QUANTA_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((home / "outcomes.json").read_text())["epochs"]


def joined(epoch: Epoch, count: int, first_seen: pd.Timestamp) -> pd.DataFrame:
    """Both files' closes as traded up to the epoch's last session, straight from the files."""
    tickers, last = reference_tickers(count), pd.Timestamp(epoch.sessions[-1])
    one, other = read_file(FIRST_FILE, tickers), read_file(SECOND_FILE, tickers)
    one = one.assign(later=later_splits_of(one))
    both = one.merge(other[["ticker", "session", "close"]], on=["ticker", "session"])
    both = both[both["session"].between(first_seen, last)]
    both["close_y"] *= both["later"]
    middle = (both["close_x"] + both["close_y"]) / 2
    away = (both["close_x"] - middle).abs() - np.maximum(0.001 * middle, 0.01)
    return both.assign(apart=away > 5e-10)


def identity_holds(ticker: str, day: pd.Timestamp) -> bool:
    """Whether the first file's close fits its own adjusted close, before and after the day."""
    own = read_file(FIRST_FILE, (ticker,)).set_index("session")
    gone = (own["close"] * own["split"] + own["dividend"]) / own["close"].shift() - 1
    off = (gone - own["adj_close"].pct_change()).abs()
    place = own.index.get_loc(day)
    return bool((off.iloc[place : place + 2] < 1e-5).all())


def test_a_real_dispute_is_reported_corrected_and_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, epoch = tmp_path / "home", Epoch.parse(DISPUTED)
    outcomes = history(home, "tiingo,yahoo", 30, f"{FIRST}..{DISPUTED}")
    assert [one["succeeded"] for one in outcomes] == [True, True, False]
    assert "held_tickers_are_priced" in outcomes[-1]["problems"][0]
    monkeypatch.setenv("QUANTA_HOME", str(home))
    monkeypatch.setenv("QUANTA_FIRST_EPOCH", FIRST)
    current_settings.cache_clear()
    lake = Lake(str(home / "lake"))
    raw = lake.read("raw_prices", epoch.id)
    both = joined(epoch, 30, raw["session"].min())

    said = CliRunner().invoke(main, ["prices", "disagreements", epoch.id, "--json"])
    assert said.exit_code == 0, said.output
    columns = ("vendor", "ticker", "sessions_compared", "sessions_apart")
    columns += ("first_session", "last_session")
    found = [tuple(row[name] for name in columns) for row in json.loads(said.output)]
    expected = []
    for vendor in ("tiingo", "yahoo"):
        for ticker, own in both.groupby("ticker"):
            off = own.loc[own["apart"], "session"]
            if len(off):
                days = (f"{off.min():%Y-%m-%d}", f"{off.max():%Y-%m-%d}")
                expected.append((vendor, ticker, len(own), len(off), *days))
    assert found == expected

    prices = lake.read("validated_prices", epoch.id)
    disputed = prices[(prices["status"] == "disputed")]
    days = pd.DatetimeIndex(epoch.sessions)
    cells = both[both["apart"] & both["session"].isin(days)]
    assert set(zip(disputed["ticker"], disputed["session"], strict=True)) == set(
        zip(cells["ticker"], cells["session"], strict=True)
    )
    day = pd.Timestamp("2014-08-01")
    sound = [row for row in cells.itertuples() if row.session == day]
    assert all(identity_holds(row.ticker, day) for row in sound)
    for row in sound:
        arguments = ["prices", "correct", epoch.id, row.ticker, f"{day:%Y-%m-%d}"]
        arguments += ["--field", "close", "--value", repr(row.close_x), "--old", "none"]
        arguments += ["--reason", "yahoo is apart", "--author", "operator"]
        arguments += ["--evidence", "tiingo's close, split and dividend give its adjusted close"]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
    current_settings.cache_clear()

    (again,) = history(home, "tiingo,yahoo", 30, f"{DISPUTED}..{DISPUTED}")
    assert again["succeeded"], again["problems"]
    prices = lake.read("validated_prices", epoch.id).set_index(["ticker", "session"])
    corrections = lake.read("price_corrections", epoch.id)
    assert sorted(corrections["ticker"]) == sorted(row.ticker for row in sound)
    for row in sound:
        assert prices.loc[(row.ticker, day), "sources"] == "correction"
        assert prices.loc[(row.ticker, day), "close"] == row.close_x
    assert lake.exists("ledger_entries", epoch.id)


def require_prices_as_joined(home: Path, epochs: Sequence[Epoch], count: int) -> tuple[int, int]:
    """Two vendors serve the first file, one the second: what is settled is what a join gives.

    Every close is the first file's, and exactly where the second lies apart from it its vendor is
    not among the sources, the row is flagged, and the report of the last epoch says so. Returns how
    many cells were settled, and in how many the files are apart.
    """
    tickers, lake = reference_tickers(count), Lake(str(home / "lake"))
    one, other = read_file(FIRST_FILE, tickers), read_file(SECOND_FILE, tickers)
    one = one.assign(later=later_splits_of(one))
    both = one.merge(other[["ticker", "session", "close"]], on=["ticker", "session"])
    away = (both["close_x"] - both["close_y"] * both["later"]).abs()
    both["apart"] = away - np.maximum(0.001 * both["close_x"], 0.01) > 5e-10
    settled, apart = 0, 0
    for epoch in epochs:
        prices = lake.read("validated_prices", epoch.id)
        cells = prices.merge(both, on=["ticker", "session"], how="left", validate="1:1")
        assert (prices["status"] == "settled").all(), epoch
        assert (cells["close"] == cells["close_x"]).all(), epoch
        named = cells["sources"].map({"polygon,tiingo": True, "polygon,tiingo,yahoo": False})
        assert (named == cells["apart"]).all(), epoch
        assert cells.loc[cells["apart"], "anomaly"].all(), epoch
        settled, apart = settled + len(cells), apart + int(cells["apart"].sum())
    raw, last = lake.read("raw_prices", epochs[-1].id), pd.Timestamp(epochs[-1].sessions[-1])
    seen = both[both["session"].between(raw["session"].min(), last)]
    expected = [
        ("yahoo", ticker, len(own), int(own["apart"].sum()), days.min(), days.max())
        for ticker, own in seen.groupby("ticker")
        if len(days := own.loc[own["apart"], "session"])
    ]
    report = disagreements(raw).iloc[:, :6]
    assert [tuple(row) for row in report.itertuples(index=False)] == expected
    return settled, apart


@pytest.mark.soak
def test_a_hundred_tickers_over_half_a_year(tmp_path: Path) -> None:
    home, last = tmp_path / "home", "2015-Q1-W02"
    outcomes = history(home, "tiingo,polygon,yahoo", 100, f"{FIRST}..{last}")
    assert len(outcomes) == 26
    assert all(one["succeeded"] for one in outcomes), outcomes[-1]
    # 126 sessions of 100 tickers
    assert require_prices_as_joined(home, Epoch.range(FIRST, last), 100) == (12_600, 481)


@pytest.mark.slow
def test_a_hundred_tickers_over_three_epochs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    outcomes = history(home, "tiingo,polygon,yahoo", 100, f"{FIRST}..{DISPUTED}")
    assert [one["succeeded"] for one in outcomes] == [True] * 3
    settled, apart = require_prices_as_joined(home, Epoch.range(FIRST, DISPUTED), 100)
    assert settled == 100 * 15
    assert apart > 0
