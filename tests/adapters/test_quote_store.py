"""The quote store: what is appended once, what is refused, windows, retention, and many writers."""

import datetime as dt
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.adapters.price_vendors import QUOTE_TYPES
from quanta_pipelines.adapters.quote_store import QuoteStore
from quanta_pipelines.protocol.errors import InvalidQuotes

NOON = dt.datetime(2025, 11, 25, 17, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
APPENDER = """
import sys, datetime as dt, pandas as pd
from quanta_pipelines.adapters.quote_store import QuoteStore
url, vendor = sys.argv[1:]
store = QuoteStore.open(url)
for number in range(20):
    moment = pd.Timestamp("2025-11-25 17:00", tz="UTC") + pd.Timedelta(seconds=number)
    quotes = pd.DataFrame({
        "vendor": vendor, "ticker": ["AAPL", "MSFT"], "at": moment, "price": [1.0, 2.0],
        "bid": float("nan"), "ask": float("nan"), "volume": 5.0, "fetched_at": moment,
    })
    assert store.append(quotes).new in (0, 2)
"""


def quotes(*prices: float, ticker: str = "AAPL", at: dt.datetime = NOON) -> pd.DataFrame:
    """A quote a minute of one ticker, fetched a second later."""
    moments = [at + MINUTE * number for number in range(len(prices))]
    rows = pd.DataFrame(
        {
            "vendor": "tiingo",
            "ticker": ticker,
            "at": moments,
            "price": prices,
            "bid": np.nan,
            "ask": 100.5,
            "volume": np.nan,
            "fetched_at": [moment + dt.timedelta(seconds=1) for moment in moments],
        }
    )
    return rows.astype(QUOTE_TYPES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "quotes.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, file: Path) -> str:
    """Address of a database without tables, on either system."""
    if request.param == "sqlite":
        return f"sqlite:///{file}"
    pytest.importorskip("tests.postgres_server")
    return request.getfixturevalue("postgres").create("quotes")


@pytest.fixture
def store(url: str) -> Iterator[QuoteStore]:
    store = QuoteStore.open(url)
    yield store
    store.close()


def everything(store: QuoteStore, *tickers: str) -> pd.DataFrame:
    return store.read(tickers or ("AAPL",), NOON - MINUTE, NOON + dt.timedelta(days=1))


def test_what_was_appended_is_read_back_to_the_nanosecond(store):
    rows = quotes(100.0, np.nan, -1.0, np.inf)  # what a vendor said, whatever it is worth
    rows["at"] += pd.to_timedelta([1, 999, 123_456_789, 0], unit="ns")
    assert store.append(rows).new == 4
    pd.testing.assert_frame_equal(everything(store), rows)


def test_a_store_without_quotes_reads_as_an_empty_table(store):
    assert everything(store).dtypes.astype(str).to_dict() == QUOTE_TYPES
    assert everything(store).empty


def test_the_same_again_adds_nothing(store):
    assert (store.append(quotes(1.0, np.nan)).new, store.append(quotes(1.0, np.nan)).new) == (2, 0)
    again = store.append(quotes(1.0, np.nan, 3.0))
    assert (again.new, again.known, len(again.refused)) == (1, 2, 0)
    assert len(everything(store)) == 3


def test_a_row_that_is_in_a_batch_twice_is_stored_once(store):
    assert store.append(pd.concat([quotes(1.0), quotes(1.0)])).new == 1


def test_another_price_under_a_stored_key_is_refused_and_named(store):
    store.append(quotes(1.0))
    appended = store.append(quotes(2.0, 3.0))
    assert (appended.new, appended.known) == (1, 0)  # the other quote of the batch is kept
    assert appended.refused[["price", "reason"]].to_numpy().tolist() == [
        [2.0, "another quote is stored under the same key"]
    ]
    assert everything(store)["price"].tolist() == [1.0, 3.0]


def test_two_prices_under_one_key_of_a_batch_are_both_refused(store):
    appended = store.append(pd.concat([quotes(1.0, 5.0), quotes(2.0)]))
    assert appended.new == 1
    assert sorted(appended.refused["price"]) == [1.0, 2.0]
    assert everything(store)["price"].tolist() == [5.0]


def test_a_quote_fetched_again_is_another_row(store):
    rows = quotes(1.0)
    store.append(rows)
    assert store.append(rows.assign(fetched_at=rows["fetched_at"] + MINUTE)).new == 1


def test_reading_takes_both_ends_of_the_window_and_only_the_tickers_asked_for(store):
    store.append(pd.concat([quotes(1.0, 2.0, 3.0), quotes(9.0, ticker="MSFT")]))
    second = dt.timedelta(seconds=1)
    found = store.read(["AAPL"], NOON + second, NOON + MINUTE + second)
    assert found["price"].tolist() == [1.0, 2.0]
    just_inside = dt.timedelta(microseconds=1)
    found = store.read(["AAPL"], NOON + second + just_inside, NOON + MINUTE + second - just_inside)
    assert found.empty


def test_more_tickers_than_one_query_takes_are_read(store):
    names = [f"T{number:04d}" for number in range(1203)]
    row = quotes(1.0)
    store.append(pd.concat([row] * len(names)).assign(ticker=names))
    assert everything(store, *names)["ticker"].tolist() == names


def test_a_ticker_is_a_value_and_never_sql(store):
    store.append(quotes(1.0))
    assert everything(store, "AAPL') or ('1' = '1").empty


def test_pruning_deletes_what_was_fetched_before_a_moment(store):
    store.append(quotes(1.0, 2.0, 3.0))
    assert store.prune(NOON + MINUTE + dt.timedelta(seconds=1)) == 1
    assert everything(store)["price"].tolist() == [2.0, 3.0]
    assert store.prune(NOON) == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop(columns="bid"), "lack the columns bid"),
        (lambda rows: rows.assign(at=rows["at"].dt.tz_localize(None)), "at is datetime64"),
        (lambda rows: rows.assign(ticker=None), "1 quotes without their full key"),
    ],
)
def test_what_is_no_table_of_quotes_is_refused(store, spoil, message):
    with pytest.raises(InvalidQuotes, match=message):
        store.append(spoil(quotes(1.0)))
    assert everything(store).empty


def test_a_moment_without_a_zone_is_refused(store):
    with pytest.raises(InvalidQuotes, match="2025-11-25T17:00:00 has none"):
        store.read(["AAPL"], NOON.replace(tzinfo=None), NOON)


def test_sqlite_keeps_a_write_ahead_log(file):
    QuoteStore.open(f"sqlite:///{file}").close()
    with sqlite3.connect(file) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_pollers_in_several_processes_do_not_collide(url):
    # two say the same as tiingo, one is another vendor; all create the store at once
    names = ("tiingo", "tiingo", "polygon")
    pollers = [
        subprocess.Popen([sys.executable, "-c", APPENDER, url, name], stderr=subprocess.PIPE)
        for name in names
    ]
    for poller in pollers:
        _, errors = poller.communicate(timeout=60)
        assert poller.returncode == 0, errors.decode()
    store = QuoteStore.open(url)
    counts = everything(store, "AAPL", "MSFT").groupby("vendor").size()
    assert counts.to_dict() == {"polygon": 40, "tiingo": 40}
    store.close()
