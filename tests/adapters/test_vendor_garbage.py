"""Whatever a vendor sends: nothing wrong is accepted, and no exception leaves the adapter."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.adapters.price_vendors import massive, tiingo, yahoo
from quanta_pipelines.adapters.price_vendors.errors import VendorError
from quanta_pipelines.adapters.price_vendors.replies import Reply, Request
from tests.vendor_replicas.formats import YAHOO_COOKIE, YAHOO_CRUMB, Asked
from tests.vendor_replicas.garbling import garbling, with_row_twice, with_wrong_leaf
from tests.vendor_replicas.server import serving
from tests.vendor_replicas.wired import (
    FETCHED_AT,
    FIRST,
    LAST,
    NAMES,
    QUICK,
    TICKERS,
    TRUTH,
    replica_of,
    require_true,
    vendor_at,
)

SEEDS = range(5000)
HURRIED = replace(QUICK, retries=0, backoff=0.0)
READERS = {
    "tiingo days": lambda reply: tiingo.daily_rows(reply, FIRST, LAST),
    "tiingo quotes": lambda reply: tiingo.iex_quotes(reply, TICKERS).quotes,
    "polygon bars": lambda reply: massive.bars_page(reply, "KO").results,
    "polygon dividends": lambda reply: massive.dividends_page(reply, "KO").results,
    "polygon splits": lambda reply: massive.splits_page(reply, "KO").results,
    "polygon quotes": lambda reply: massive.snapshot_quotes(reply, TICKERS).quotes,
    "yahoo days": lambda reply: yahoo.chart_days(reply, "KO", FIRST),
    "yahoo quotes": lambda reply: yahoo.quote_rows(reply, TICKERS).quotes,
}
PAGES = ("polygon bars", "polygon dividends", "polygon splits")
QUESTIONS = {
    "tiingo days": f"/tiingo/daily/KO/prices?startDate={FIRST}&endDate={LAST}",
    "tiingo quotes": "/iex/?tickers=AAPL,KO,XOM",
    "polygon bars": f"/v2/aggs/ticker/KO/range/1/day/{FIRST}/{LAST}",
    "polygon dividends": f"/v3/reference/dividends?ticker=KO&ex_dividend_date.gte={FIRST}"
    f"&ex_dividend_date.lte={LAST}",
    "polygon splits": f"/v3/reference/splits?ticker=KO&execution_date.gte={FIRST}"
    f"&execution_date.lte={LAST}",
    "polygon quotes": "/v2/snapshot/locale/us/markets/stocks/tickers?tickers=AAPL,KO,XOM",
    "yahoo days": "/v8/finance/chart/KO?period1=0&period2=99999999999",
    "yahoo quotes": f"/v7/finance/quote?symbols=AAPL,KO,XOM&crumb={YAHOO_CRUMB}",
}


def reply_of(body: bytes) -> Reply:
    return Reply(Request("vendor", "/path"), 200, {}, body, FETCHED_AT)


@pytest.mark.parametrize("reader", READERS)
@given(body=st.binary(max_size=300) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            [
                *("ticker", "results", "status", "t", "c", "close", "date", "chart", "result"),
                *("meta", "quoteResponse", "symbol", "regularMarketPrice"),
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
).map(lambda said: json.dumps(said).encode()))  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_any_bytes_are_refused_or_say_nothing(reader: str, body: bytes) -> None:
    try:
        found = READERS[reader](reply_of(body))
    except VendorError:
        return
    assert list(found) == []


@cache
def good_body(question: str) -> bytes:
    replica = replica_of(question.split()[0])
    scheme = "Token" if question.startswith("tiingo") else "Bearer"
    admission = {"Authorization": f"{scheme} {replica.key}", "Cookie": YAHOO_COOKIE}
    good = replica.respond(Asked.of(QUESTIONS[question], admission))
    assert good.status == 200
    return good.body


@cache
def true_rows(question: str) -> frozenset[str]:
    return frozenset(told(one) for one in rows_of(question, reply_of(good_body(question))))


def rows_of(question: str, reply: Reply) -> list[object]:
    """What is made of a reply; a page of Massive makes days together with the two other pages."""
    if question not in PAGES:
        return list(READERS[question](reply))
    replies = {name: reply_of(good_body(name)) for name in PAGES} | {question: reply}
    return massive.merged(*(READERS[name](replies[name]) for name in PAGES), FIRST, LAST)


def told(one: object) -> str:
    """A row in words; a live price's time may be an older one, which the rules call stale."""
    return re.sub(r" at=datetime\.datetime\(.*?\)\)?,", "", repr(one))


def require_nothing_wrong_believed(
    question: str, seed: int, change: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    """What is read of a true reply with one wrong thing in it is true, or unknown, or refused."""
    truth = true_rows(question)
    body = change(good_body(question), np.random.default_rng(seed))
    try:
        found = rows_of(question, reply_of(body))
    except VendorError:
        return
    for one in found:
        # only the unknown may differ from the truth
        known = told(one).split("nan")
        assert any(all(part in true for part in known) for true in truth), (seed, one)


@pytest.mark.parametrize("question", QUESTIONS)
@given(seed=st.integers(0, 2**32), change=st.sampled_from([with_wrong_leaf, with_row_twice]))
@settings(max_examples=40, deadline=None)
def test_one_wrong_thing_in_a_true_reply_is_never_believed(
    question: str, seed: int, change: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    require_nothing_wrong_believed(question, seed, change)


@pytest.mark.soak
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("change", [with_wrong_leaf, with_row_twice])
def test_one_wrong_thing_is_never_believed_for_many_seeds(
    question: str, change: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    for seed in SEEDS:
        require_nothing_wrong_believed(question, seed, change)


def observe_garbled(name: str, seed: int, home: Path) -> tuple[int, int]:
    """Asks a vendor whose replies are garbled; how many rows came, how many tickers were lost."""
    replica = replica_of(name)
    with serving(replica) as running:
        running.garble = garbling(seed, replica, names_tickers=name != "tiingo")
        vendor = vendor_at(name, running.url, home, patience=HURRIED)
        outcome = vendor.ask(TICKERS, FIRST, LAST)
        quotes = vendor.quotes(TICKERS)
    require_true(name, outcome.rows)
    answered = set(outcome.rows["ticker"])
    lost = {loss.ticker for loss in outcome.losses}
    assert answered | lost == set(TICKERS)
    assert not answered & lost
    newest = TRUTH[TRUTH["session"] == pd.Timestamp(LAST)].set_index("ticker")
    for quote in quotes.itertuples():
        assert quote.price == newest.loc[quote.ticker, "close"]
        assert quote.at <= pd.Timestamp("2019-08-02T20:00Z")
    return len(outcome.rows), len(outcome.losses)


def run_rounds(name: str, rounds: range, home: Path) -> None:
    counts = [observe_garbled(name, seed, home / f"{seed}") for seed in rounds]
    rows, losses = (sum(column) for column in zip(*counts, strict=True))
    assert rows > 0, "nothing was ever right: the test would prove nothing"
    assert losses > 0, "nothing ever went wrong: the test would prove nothing"


@pytest.mark.parametrize("name", NAMES)
def test_garbled_replies_over_http_lose_tickers_and_nothing_else(name: str, tmp_path: Path) -> None:
    run_rounds(name, range(2 if name == "yahoo" else 6), tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_many_garbled_rounds(name: str, tmp_path: Path) -> None:
    run_rounds(name, range(1000, 1050 if name == "yahoo" else 1300), tmp_path)
