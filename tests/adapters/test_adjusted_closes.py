"""Vendors' own adjusted closes: kept as they are, compared with nothing but themselves."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.adapters.price_vendors import tiingo, yahoo
from quanta_pipelines.adapters.price_vendors.errors import ReplyRefused
from quanta_pipelines.adapters.price_vendors.replies import Reply, Request
from quanta_pipelines.protocol.oracle import settle_closes
from tests.vendor_replicas.server import Server, serving
from tests.vendor_replicas.wired import (
    FETCHED_AT,
    FIRST,
    LAST,
    NAMES,
    TICKERS,
    TRUTH,
    replica_of,
    vendor_at,
)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    with serving(replica_of(name)) as running:
        yield running


def body_of(said: object) -> Reply:
    return Reply(Request("vendor", "/path"), 200, {}, json.dumps(said).encode(), FETCHED_AT)


def test_adjusted_closes_are_kept_as_the_vendor_has_them(
    name: str, server: Server, tmp_path: Path
) -> None:
    rows = vendor_at(name, server.url, tmp_path).observe(TICKERS, FIRST, LAST)
    if name == "polygon":
        assert rows["adjusted_close"].isna().all()  # it has none
        return
    for ticker, own in rows.groupby("ticker"):
        true = TRUTH[TRUTH["ticker"] == ticker].reset_index(drop=True)
        paid, split = true["dividend"].idxmax(), (true["split"] - 1).abs().idxmax()
        assert paid < split
        ratio = (own["adjusted_close"] / own["close"]).to_numpy()
        np.testing.assert_allclose(ratio[split:], 1.0, rtol=1e-12)
        later = 1.0 if name == "yahoo" else true.loc[split, "split"]  # Yahoo's close has it
        np.testing.assert_allclose(ratio[paid:split], 1.0 / later, rtol=1e-12)
        before, cash = true.loc[paid - 1, "close"], true.loc[paid, "dividend"]
        added = true.loc[paid, "close"] / (true.loc[paid, "close"] + cash)
        dividend = 1.0 - cash / before if name == "yahoo" else added
        np.testing.assert_allclose(ratio[:paid], dividend / later, rtol=1e-12)


def test_honest_adjusted_closes_raise_no_flag(name: str, server: Server, tmp_path: Path) -> None:
    rows = vendor_at(name, server.url, tmp_path).observe(TICKERS, FIRST, LAST)
    assert not settle_closes(rows)["adjustment_mismatch"].any()
    there = (rows["ticker"] == "KO") & (rows["session"] == pd.Timestamp("2019-06-10"))
    rows["adjusted_close"] = rows["adjusted_close"].mask(there, rows["adjusted_close"] * 1.01)
    flagged = settle_closes(rows).query("adjustment_mismatch")
    days = [] if name == "polygon" else ["2019-06-10", "2019-06-11"]
    assert list(flagged["session"]) == list(pd.to_datetime(days))


@pytest.mark.parametrize("said", [None, 0.0, -3.5])
def test_an_adjusted_close_that_is_no_price_is_unknown_and_loses_nothing(
    said: float | None,
) -> None:
    row = {"date": "2019-06-03T00:00:00.000Z", "close": 7.0, "divCash": 0.0, "splitFactor": 1.0}
    reply = body_of([row | {"adjClose": said}])
    (day,) = tiingo.daily_rows(reply, FIRST, FIRST)
    assert (day.close, np.isnan(day.adjusted_close)) == (7.0, True)


def test_an_adjusted_close_that_is_no_number_refuses_the_reply() -> None:
    row = {"date": "2019-06-03T00:00:00.000Z", "close": 7.0, "divCash": 0.0, "splitFactor": 1.0}
    for said in ("7", True, [7.0], 1e300):
        with pytest.raises(ReplyRefused, match=r"0\.adjClose: "):
            tiingo.daily_rows(body_of([row | {"adjClose": said}]), FIRST, FIRST)


@pytest.mark.parametrize(
    ("adjclose", "expected"),
    [
        ([{"adjclose": [3.0, None]}], [3.0, np.nan]),
        ([{"adjclose": []}], "columns are not as long"),
        ([{"adjclose": [3.0]}], "columns are not as long"),
        ([{"adjclose": [3.0, 4.0]}, {"adjclose": [3.0, 4.0]}], "at most 1 item"),
        ([], [np.nan, np.nan]),
        (None, [np.nan, np.nan]),
    ],
)
def test_yahoos_adjusted_closes_are_one_list_or_none(
    adjclose: object, expected: list[float] | str
) -> None:
    opens = [int(pd.Timestamp(f"2019-06-0{day} 13:30Z").timestamp()) for day in (3, 4)]
    numbers = {key: [7.0, 8.0] for key in ("open", "high", "low", "close", "volume")}
    meta = {"symbol": "KO", "currency": "USD", "exchangeTimezoneName": "America/New_York"}
    inside: dict[str, object] = {"quote": [numbers]}
    if adjclose is not None:
        inside["adjclose"] = adjclose
    chart = {"meta": meta, "timestamp": opens, "indicators": inside}
    reply = body_of({"chart": {"result": [chart]}})
    if isinstance(expected, str):
        with pytest.raises(ReplyRefused, match=expected):
            yahoo.chart_days(reply, "KO", FIRST)
        return
    days = yahoo.chart_days(reply, "KO", FIRST)
    np.testing.assert_equal([day.adjusted_close for day in days], expected)
