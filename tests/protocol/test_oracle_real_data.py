"""Settling real prices of two vendors, where ``QUANTA_REFERENCE_DATA`` names their folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.protocol.observations import vendor_panel
from quanta_pipelines.protocol.oracle import settle_closes

FIRST_VENDOR = "b_alphavantage_sp500_1999_2021.parquet"
SECOND_VENDOR = "b2_iex_sp500_2013_2018.parquet"
FOLDER = os.environ.get("QUANTA_REFERENCE_DATA", "")

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="QUANTA_REFERENCE_DATA does not name a folder with real prices"
)


def observed(file: str, tickers: Sequence[str], **columns: Any) -> pd.DataFrame:
    rows = pd.read_parquet(Path(FOLDER) / file, filters=[("ticker", "in", list(tickers))])
    rows = rows.rename(columns={"date": "session"})
    fetched_at = pd.Timestamp("2021-04-22", tz="UTC")
    return rows.assign(
        session=pd.to_datetime(rows["session"]), fetched_at=fetched_at, **columns
    ).reset_index(drop=True)


def test_total_returns_are_those_of_the_adjusted_close_but_for_known_errors() -> None:
    # The vendor's split or dividend of these sessions contradicts its own adjusted close.
    known = {
        ("HLT", "2017-01-04"),
        ("JCI", "2007-07-02"),
        ("LDOS", "2013-09-30"),
        ("ROST", "2015-06-12"),
        ("RTX", "2020-04-03"),
        ("TMUS", "2013-05-01"),
    }
    sound = ["AAPL", "MSFT", "JPM", "XOM", "KO"]
    rows = observed(
        FIRST_VENDOR,
        sound + [ticker for ticker, _ in known],
        vendor="alphavantage",
        basis="as_traded",
    ).sort_values(["ticker", "session"], ignore_index=True)
    settled = settle_closes(rows)
    adjusted = rows.groupby("ticker")["adj_close"].pct_change()
    apart = settled[(settled["total_return"] - adjusted).abs() > 1e-6]
    found = zip(apart["ticker"], apart["session"].dt.strftime("%Y-%m-%d"), strict=True)
    assert set(found) == known
    assert settled["total_return"].isna().sum() == len(sound) + len(known)  # each one's first row


@pytest.fixture(scope="module")
def two_vendors() -> pd.DataFrame:
    """A seventh of the tickers, for the sessions that both vendors report."""
    names = pd.read_parquet(Path(FOLDER) / SECOND_VENDOR, columns=["ticker"])["ticker"]
    tickers = sorted(names.unique())[::7]
    second = observed(SECOND_VENDOR, tickers, vendor="iex", dividend=np.nan)
    first = observed(FIRST_VENDOR, tickers, vendor="alphavantage", basis="as_traded")
    both = ["ticker", "session"]
    # The second vendor's file has no splits; its closes are adjusted for those the first one saw.
    second = second.merge(first[[*both, "split"]], on=both).assign(basis="split_adjusted")
    return pd.concat([first.merge(second[both], on=both), second], ignore_index=True)


def test_two_real_vendors_agree_as_often_as_their_files_do(two_vendors: pd.DataFrame) -> None:
    closes = vendor_panel(two_vendors).close
    apart_bps = 10_000 * np.abs(closes[:, 0] / closes[:, 1] - 1.0)
    assert 0.980 < (apart_bps < 0.05).mean() < 0.998
    assert 0.001 < (apart_bps > 50).mean() < 0.015


def test_what_two_real_vendors_dispute_is_what_lies_apart(two_vendors: pd.DataFrame) -> None:
    settled = settle_closes(two_vendors)
    closes = vendor_panel(two_vendors).close
    apart_bps = 10_000 * np.abs(closes[:, 0] / closes[:, 1] - 1.0)
    disputed = settled["status"] == "disputed"
    assert 0.001 < disputed.mean() < 0.02
    assert disputed[apart_bps > 50].all()
    assert not disputed[apart_bps < 19].any()  # each within 10 bps of their median
