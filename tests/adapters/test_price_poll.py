"""One round of questions: side by side, each vendor for itself, and prices from what came."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from quanta_pipelines.adapters.live_quotes import ask_prices, stored_prices
from quanta_pipelines.adapters.price_poll import poll
from quanta_pipelines.adapters.price_vendors import QUOTE_TYPES
from quanta_pipelines.adapters.quote_store import QuoteStore
from quanta_pipelines.protocol.errors import InvalidQuotes

NOW = dt.datetime(2025, 11, 25, 17, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
DAY = dt.timedelta(days=1)


def rows_of(name: str, tickers: Sequence[str], price: float, at: dt.datetime) -> pd.DataFrame:
    """One quote per ticker, heard the moment it was made."""
    return pd.DataFrame(
        {
            "vendor": name,
            "ticker": list(tickers),
            "at": pd.Timestamp(at),
            "price": price,
            "bid": price - 0.01,
            "ask": price + 0.01,
            "volume": 100.0,
            "fetched_at": pd.Timestamp(at),
        }
    ).astype(QUOTE_TYPES)


@dataclass
class SimulatedVendor:
    """Answers with one price for everything it knows, after a while, or as ``answer`` says."""

    name: str
    price: float = 100.0
    at: dt.datetime = NOW
    seconds: float = 0.0
    unknown: frozenset[str] = frozenset()
    answer: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows
    asked: int = 0

    def quotes(self, tickers: Sequence[str]) -> pd.DataFrame:
        self.asked += 1
        time.sleep(self.seconds)
        known = [ticker for ticker in tickers if ticker not in self.unknown]
        return self.answer(rows_of(self.name, known, self.price, self.at))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[QuoteStore]:
    store = QuoteStore.open(f"sqlite:///{tmp_path / 'quotes.db'}")
    yield store
    store.close()


def stored(store: QuoteStore) -> dict[str, int]:
    return store.read(["AAPL", "MSFT"], NOW - DAY, NOW + DAY).groupby("vendor").size().to_dict()


def fails(error: Exception) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def answer(_: pd.DataFrame) -> pd.DataFrame:
        raise error

    return answer


def test_all_vendors_are_stored_and_counted(store):
    vendors = [SimulatedVendor("tiingo"), SimulatedVendor("yahoo", unknown=frozenset({"MSFT"}))]
    found = poll(vendors, store, ["MSFT", "AAPL"], NOW)
    assert found.in_words() == "tiingo 2 new; yahoo 1 new"
    assert (found.tickers, found.unanswered, found.began_at) == (("AAPL", "MSFT"), (), NOW)
    assert stored(store) == {"tiingo": 2, "yahoo": 1}
    assert poll(vendors, store, ["AAPL"], NOW).in_words() == "tiingo 1 known; yahoo 1 known"


def test_vendors_are_asked_side_by_side(store):
    both_there = threading.Barrier(2, timeout=5)

    def waits(rows: pd.DataFrame) -> pd.DataFrame:
        both_there.wait()  # breaks unless the other vendor is asked meanwhile
        return rows

    vendors = [SimulatedVendor(name, answer=waits) for name in ("tiingo", "yahoo")]
    assert poll(vendors, store, ["AAPL"], NOW).in_words() == "tiingo 1 new; yahoo 1 new"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (fails(RuntimeError("https://vendor/?apiKey=s3cret")), "failed: RuntimeError"),
        (fails(InvalidQuotes("two prices")), "failed: two prices"),
        (lambda rows: rows.drop(columns="price"), "gave no table of quotes: "),
        (lambda rows: rows.drop(columns="vendor"), "gave no table of quotes: 'vendor'"),
        (lambda rows: rows.assign(at="noon"), "gave no table of quotes: times with a zone"),
    ],
)
def test_a_vendor_that_fails_loses_its_own_quotes_alone(store, answer, problem):
    vendors = [SimulatedVendor("tiingo", answer=answer), SimulatedVendor("yahoo")]
    found = poll(vendors, store, ["AAPL"], NOW)
    assert found.vendors[0].problem.startswith(problem)
    assert "s3cret" not in found.in_words()
    assert stored(store) == {"yahoo": 1}


def test_a_vendor_that_is_late_is_given_up(store):
    vendors = [SimulatedVendor("tiingo", seconds=3.0), SimulatedVendor("yahoo")]
    began = time.monotonic()
    found = poll(vendors, store, ["AAPL"], NOW, deadline_seconds=0.3)
    assert time.monotonic() - began < 2.0
    assert found.in_words() == "tiingo gave no answer within 0.3 s; yahoo 1 new"


def test_a_vendor_that_is_still_busy_is_not_asked_again(store):
    slow, running = SimulatedVendor("tiingo", seconds=1.0), {}
    first = poll([slow], store, ["AAPL"], NOW, deadline_seconds=0.05, under_way=running)
    again = poll([slow], store, ["AAPL"], NOW, deadline_seconds=0.05, under_way=running)
    assert (first.in_words(), again.vendors[0].problem, slow.asked) == (
        "tiingo gave no answer within 0.05 s; no vendor quotes AAPL",
        "is busy with an earlier round",
        1,
    )
    running["tiingo"].join()
    later = poll([SimulatedVendor("tiingo")], store, ["AAPL"], NOW, under_way=running)
    assert later.in_words() == "tiingo 1 new"


def test_quotes_that_nobody_asked_for_are_refused_with_the_reason(store):
    others = pd.concat(
        [rows_of("tiingo", ["TSLA"], 1.0, NOW), rows_of("polygon", ["AAPL"], 1.0, NOW)]
    )
    vendor = SimulatedVendor("tiingo", answer=lambda rows: pd.concat([rows, others]))
    found = poll([vendor], store, ["AAPL"], NOW).vendors[0]
    assert found.in_words() == "tiingo 1 new, 2 refused"
    assert found.refused["reason"].tolist() == ["nobody asked for it"] * 2
    assert stored(store) == {"tiingo": 1}


def test_a_price_that_contradicts_a_stored_one_is_refused_with_the_reason(store):
    poll([SimulatedVendor("tiingo")], store, ["AAPL"], NOW)
    found = poll([SimulatedVendor("tiingo", price=50.0)], store, ["AAPL"], NOW)
    assert found.vendors[0].refused["reason"].tolist() == [
        "another quote is stored under the same key"
    ]


def test_tickers_that_nobody_quotes_are_named(store):
    vendor = SimulatedVendor("tiingo", unknown=frozenset({"ZZZ"}))
    found = poll([vendor], store, ["ZZZ", "AAPL"], NOW)
    assert found.in_words() == "tiingo 1 new; no vendor quotes ZZZ"
    silent = poll([SimulatedVendor("yahoo", unknown=frozenset({"ZZZ"}))], store, ["ZZZ"], NOW)
    assert silent.in_words() == "yahoo no quote; no vendor quotes ZZZ"


def test_two_vendors_of_one_name_are_refused(store):
    with pytest.raises(InvalidQuotes, match="tiingo, tiingo"):
        poll([SimulatedVendor("tiingo"), SimulatedVendor("tiingo")], store, ["AAPL"], NOW)


def test_an_answer_holds_what_was_heard_before_and_now(store):
    # every five minutes since 11:00 a quote at 100, and now one at 100.04: ten intervals, and the
    # median of 100 (0.5), 100.04 (0.3) and 100.04 (0.2) is the midpoint
    for minutes in range(60, 0, -5):
        store.append(rows_of("tiingo", ["AAPL"], 100.0, NOW - dt.timedelta(minutes=minutes)))
    vendor = SimulatedVendor("tiingo", price=100.04)
    answer = ask_prices([vendor], store, ["AAPL"], clock=lambda: NOW)
    row = answer.live.prices.iloc[0]
    assert (row["twap"], row["primary"], row["price"]) == (100.0, 100.04, 100.02)
    assert stored_prices(store, ["AAPL"], NOW).prices.equals(answer.live.prices)


def test_a_reader_at_an_earlier_moment_hears_nothing_of_later_quotes(store):
    store.append(rows_of("tiingo", ["AAPL"], 100.0, NOW))
    store.append(rows_of("tiingo", ["AAPL"], 200.0, NOW + SECOND))
    assert stored_prices(store, ["AAPL"], NOW).prices["price"].tolist() == [100.0]


def test_an_old_quote_that_was_heard_today_counts_as_a_spot_with_its_age(store):
    old = rows_of("tiingo", ["AAPL"], 100.0, NOW - 5 * DAY)
    store.append(old.assign(fetched_at=pd.Timestamp(NOW).as_unit("ns")))
    row = stored_prices(store, ["AAPL"], NOW).prices.iloc[0]
    assert (row["price"], bool(row["stale"]), row["age_seconds"]) == (100.0, True, 5 * 86_400)
