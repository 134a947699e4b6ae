"""Which quotes count, and the reason of each that does not."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.protocol.errors import InvalidQuotes
from quanta_pipelines.protocol.quotes import judge_quotes

from .quote_tables import ny, quote, table

NOW, EARLIER = ny("12:00"), ny("11:59")
MICROSECOND = dt.timedelta(microseconds=1)


def reasons(*rows: dict[str, object]) -> list[str]:
    found = judge_quotes(table(*rows), NOW).set_aside
    return [f"{row.part}: {row.reason}" for row in found.itertuples()]


@pytest.mark.parametrize("price", [np.nan, 0.0, -1.0, np.inf, -np.inf])
def test_a_price_that_is_none_is_set_aside(price):
    judged = judge_quotes(table(quote(price, EARLIER), quote(99.0, EARLIER, vendor="yahoo")), NOW)
    assert judged.usable["vendor"].tolist() == ["yahoo"]  # the other vendor's quote stays
    assert judged.set_aside["reason"].tolist() == ["price is not a positive number"]
    assert judged.set_aside["vendor"].tolist() == ["tiingo"]


@pytest.mark.parametrize(
    ("at", "fetched_at", "reason"),
    [
        (NOW + MICROSECOND, NOW + MICROSECOND, ["quote: from the future"]),
        (EARLIER, NOW + MICROSECOND, ["quote: from the future"]),
        (EARLIER + MICROSECOND, EARLIER, ["quote: dated after it was fetched"]),
        (NOW, NOW, []),
    ],
)
def test_a_quote_has_happened_and_was_fetched_afterwards(at, fetched_at, reason):
    assert reasons(quote(1.0, at, fetched_at=fetched_at)) == reason


@pytest.mark.parametrize(
    ("bid", "ask", "reason"),
    [
        (100.1, 100.0, ["bid and ask: bid is above ask"]),
        (0.0, 100.0, ["bid and ask: bid or ask is not a positive number"]),
        (99.0, -1.0, ["bid and ask: bid or ask is not a positive number"]),
        (99.0, np.inf, ["bid and ask: bid or ask is not a positive number"]),
        (100.0, 100.0, []),
        (np.nan, 100.0, []),  # one side unknown is no fault
    ],
)
def test_a_bid_and_ask_that_cannot_be_leave_the_price(bid, ask, reason):
    rows = table(quote(100.0, EARLIER, bid=bid, ask=ask))
    judged = judge_quotes(rows, NOW)
    assert judged.usable["price"].tolist() == [100.0]
    assert judged.usable[["bid", "ask"]].isna().all(axis=None) == bool(reason)
    assert reasons(*rows.to_dict("records")) == reason


@pytest.mark.parametrize("volume", [-1.0, np.inf])
def test_a_volume_that_cannot_be_is_unknown(volume):
    judged = judge_quotes(table(quote(100.0, EARLIER, volume=volume)), NOW)
    assert judged.usable["volume"].isna().all()
    assert judged.set_aside["reason"].tolist() == ["volume is not at least zero"]


def test_the_same_quote_fetched_again_is_one_quote_with_the_last_bid():
    again = EARLIER + dt.timedelta(seconds=30)
    judged = judge_quotes(
        table(quote(100.0, EARLIER, bid=99.0), quote(100.0, EARLIER, bid=99.5, fetched_at=again)),
        NOW,
    )
    assert judged.usable["bid"].tolist() == [99.5]
    assert judged.set_aside.empty


def test_a_later_fetch_replaces_the_price_of_the_same_moment_and_says_so():
    again = EARLIER + dt.timedelta(seconds=30)
    judged = judge_quotes(
        table(quote(100.0, EARLIER), quote(100.5, EARLIER, fetched_at=again)), NOW
    )
    assert judged.usable["price"].tolist() == [100.5]
    assert judged.set_aside[["price", "reason"]].to_numpy().tolist() == [
        [100.0, "replaced by a later fetch with another price"]
    ]


def test_two_different_quotes_at_once_are_both_set_aside():
    assert (
        reasons(quote(100.0, EARLIER), quote(100.5, EARLIER))
        == ["quote: two different quotes at once"] * 2
    )


def test_a_row_that_is_there_twice_counts_once():
    judged = judge_quotes(table(quote(100.0, EARLIER), quote(100.0, EARLIER)), NOW)
    assert len(judged.usable) == 1
    assert judged.set_aside.empty


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop(columns="ask"), "lack the columns ask"),
        (lambda rows: rows.assign(at=rows["at"].dt.tz_localize(None)), "at holds times with"),
        (lambda rows: rows.assign(fetched_at="noon"), "fetched_at holds times .* not object"),
        (lambda rows: rows.assign(price="dear"), "are numbers: .*dear"),
        (lambda rows: rows.assign(vendor=None), "1 quotes without their full key.*AAPL"),
        (lambda rows: rows.assign(at=pd.Series([pd.NaT]).dt.tz_localize("UTC")), "full key"),
    ],
)
def test_a_table_that_holds_no_quotes_is_refused(spoil, message):
    with pytest.raises(InvalidQuotes, match=message):
        judge_quotes(spoil(table(quote(100.0, EARLIER))), NOW)
