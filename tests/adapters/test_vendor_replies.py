"""What each vendor over HTTP makes of its replies: known answers, recordings, errors."""

import gzip
import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from quanta_pipelines.adapters.price_vendors import (
    OBSERVATION_TYPES,
    QUOTE_TYPES,
    Loss,
    QuoteVendor,
    massive,
    tiingo,
    yahoo,
)
from quanta_pipelines.adapters.price_vendors.errors import (
    ReplyRefused,
    UnknownSymbol,
    VendorError,
)
from quanta_pipelines.adapters.price_vendors.reading import Round
from quanta_pipelines.adapters.price_vendors.replies import Reply, Request
from quanta_pipelines.adapters.price_vendors.symbols import SymbolMap
from quanta_pipelines.adapters.price_vendors.wire_types import parsed
from quanta_pipelines.protocol.observations import as_traded as on_traded_basis
from tests.vendor_replicas.formats import YAHOO_CRUMB, Response, yahoo_refuses
from tests.vendor_replicas.formats import reply as said
from tests.vendor_replicas.server import Fault, Server, serving
from tests.vendor_replicas.truth import truth_table
from tests.vendor_replicas.wired import (
    FETCHED_AT,
    FIRST,
    KEY,
    LAST,
    NAMES,
    QUICK,
    TICKERS,
    TRUTH,
    replica_of,
    require_true,
    vendor_at,
)

FOLDER = os.environ.get("QUANTA_REFERENCE_DATA", "")
needs_recordings = pytest.mark.skipif(
    not (Path(FOLDER) / "vendor_fixtures").is_dir() or not FOLDER,
    reason="QUANTA_REFERENCE_DATA does not hold vendor_fixtures",
)
DAYS_OF = {"tiingo": "/tiingo/daily/", "polygon": "/v2/aggs/", "yahoo": "period1"}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    with serving(replica_of(name)) as running:
        yield running


def body_of(text: str, *, status: int = 200) -> Reply:
    request = Request("vendor", "/path")
    return Reply(request, status, {}, text.encode(), FETCHED_AT)


# Known answers


def test_a_whole_table_is_observed_as_it_is(name: str, server: Server, tmp_path: Path) -> None:
    vendor = vendor_at(name, server.url, tmp_path)
    outcome = vendor.ask(vendor.tickers(), FIRST, LAST)
    assert outcome.losses == ()
    assert outcome.rows.dtypes.astype(str).to_dict() == OBSERVATION_TYPES
    assert len(outcome.rows) == len(TRUTH)
    require_true(name, outcome.rows)
    assert set(outcome.rows["vendor"]) == {name}
    assert set(outcome.rows["fetched_at"]) == {pd.Timestamp(FETCHED_AT)}
    assert set(outcome.rows["basis"]) == {"split_adjusted" if name == "yahoo" else "as_traded"}


def test_the_rules_see_one_truth_behind_every_vendor(
    name: str, server: Server, tmp_path: Path
) -> None:
    vendor = vendor_at(name, server.url, tmp_path)
    middle = date(2019, 6, 20)  # before the splits, which Yahoo's prices are adjusted for
    rows = on_traded_basis(vendor.observe(vendor.tickers(), FIRST, middle))
    rows = rows[rows["session"] <= pd.Timestamp(middle)]
    both = rows.merge(TRUTH, on=["ticker", "session"], suffixes=("", "_true"))
    assert len(both) == len(rows) == 14 * len(TICKERS)
    for column in ("close", "volume", "dividend", "split"):
        np.testing.assert_allclose(both[column], both[f"{column}_true"], rtol=1e-12)


def test_later_splits_come_with_a_split_adjusted_past(tmp_path: Path) -> None:
    middle = date(2019, 6, 20)
    with serving(replica_of("yahoo")) as running:
        rows = vendor_at("yahoo", running.url, tmp_path).observe(["KO"], FIRST, middle)
    later = rows[rows["session"] > pd.Timestamp(middle)]
    split = TRUTH[(TRUTH["ticker"] == "KO") & (TRUTH["split"] != 1)]
    assert list(later["session"]) == list(split["session"])
    assert list(later["split"]) == list(split["split"])
    assert later["adjusted_close"].isna().all()  # the session before it is not there


def test_live_prices_with_and_without_a_licence(
    name: str, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vendor: QuoteVendor = vendor_at(name, server.url, tmp_path)
    seen = vendor.quotes(("KO", "BRK.B", "AAPL", "ZZZZ"))
    assert seen.dtypes.astype(str).to_dict() == QUOTE_TYPES
    assert list(seen["ticker"]) == ["AAPL", "BRK.B", "KO"]
    newest = TRUTH[TRUTH["session"] == pd.Timestamp(LAST)].set_index("ticker")
    assert list(seen["price"]) == list(newest["close"].loc[["AAPL", "BRK.B", "KO"]])
    assert set(seen["at"]) == {pd.Timestamp("2019-08-02T20:00Z")}
    assert set(seen["fetched_at"]) == {pd.Timestamp(FETCHED_AT)}
    assert list(seen["volume"]) == list(newest["volume"].loc[["AAPL", "BRK.B", "KO"]])
    bids = [newest.loc["AAPL", "low"], np.nan, newest.loc["KO", "low"]]
    np.testing.assert_equal(list(seen["bid"]), bids)
    assert f"{name} lost 1 of 4 tickers, first ZZZZ: no row in the reply" in caplog.text


def test_no_tickers_and_no_rows_have_the_same_columns(
    name: str, server: Server, tmp_path: Path
) -> None:
    vendor = vendor_at(name, server.url, tmp_path)
    assert vendor.observe([], FIRST, LAST).dtypes.astype(str).to_dict() == OBSERVATION_TYPES
    assert vendor.quotes([]).dtypes.astype(str).to_dict() == QUOTE_TYPES


def test_pages_are_followed_to_our_own_address(tmp_path: Path) -> None:
    with serving(replica_of("polygon", page=7)) as running:
        outcome = vendor_at("polygon", running.url, tmp_path).ask(["AAPL"], FIRST, LAST)
        # 44 sessions by 7: seven pages, the first without a cursor
        assert running.asked("/v2/aggs/.*cursor") == 6
        assert running.asked("apiKey") == 0
    assert len(outcome.rows) == 44
    require_true("polygon", outcome.rows)


def test_pages_without_an_end_are_refused(tmp_path: Path) -> None:
    path = f"/v2/aggs/ticker/AAPL/range/1/day/{FIRST}/{LAST}"

    def endless(good: Response) -> Response:
        return said(200, json.loads(good.body) | {"next_url": f"https://other{path}?cursor=0"})

    with serving(replica_of("polygon")) as running:
        running.faults.append(Fault("/v2/aggs/", endless))
        (lost,) = vendor_at("polygon", running.url, tmp_path).ask(["AAPL"], FIRST, LAST).losses
        assert running.asked() == 2
    assert lost.reason == "pages without an end"


def test_a_page_elsewhere_is_refused(tmp_path: Path) -> None:
    def elsewhere(good: Response) -> Response:
        return said(200, json.loads(good.body) | {"next_url": "https://other/v2/aggs/ticker/KO"})

    with serving(replica_of("polygon")) as running:
        running.faults.append(Fault("/v2/aggs/", elsewhere))
        (lost,) = vendor_at("polygon", running.url, tmp_path).ask(["AAPL"], FIRST, LAST).losses
    assert lost.reason.startswith("next_url leads from /v2/aggs/ticker/AAPL")


# Symbols


@pytest.mark.parametrize(
    ("separator", "symbol"), [("-", "BRK-B"), (".", "BRK.B")], ids=["tiingo and yahoo", "massive"]
)
def test_share_classes_are_spelled_as_vendors_do(separator: str, symbol: str) -> None:
    symbols = SymbolMap("vendor", separator)
    assert symbols.symbol("BRK.B") == symbol
    assert symbols.ticker(symbol.lower()) == "BRK.B"
    assert symbols.symbol("A") == symbols.ticker("a") == "A"


@pytest.mark.parametrize("ticker", ["", "aapl", "BRK-B", "TOOLONG", "BRK.", ".B", "A.BCD", "^GSPC"])
def test_what_is_no_ticker_has_no_symbol(ticker: str) -> None:
    with pytest.raises(UnknownSymbol, match="no ticker"):
        SymbolMap("vendor", "-").symbol(ticker)


@pytest.mark.parametrize("symbol", ["BRK.B", "", "-", "BRK-", "TOOLONG", "EURUSD=X", "A-B-C"])
def test_what_is_no_symbol_has_no_ticker(symbol: str) -> None:
    with pytest.raises(UnknownSymbol, match="no ticker"):
        SymbolMap("vendor", "-").ticker(symbol)


def test_a_ticker_that_cannot_be_mapped_is_lost_alone(
    name: str, server: Server, tmp_path: Path
) -> None:
    outcome = vendor_at(name, server.url, tmp_path).ask(["KO", "brk/b"], FIRST, LAST)
    assert [loss.ticker for loss in outcome.losses] == ["brk/b"]
    assert set(outcome.rows["ticker"]) == {"KO"}


# Errors


def test_a_refused_key_ends_the_round(name: str, server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault(DAYS_OF[name], lambda _: said(401, {"detail": f"no {KEY}"})))
    vendor = vendor_at(name, server.url, tmp_path)
    object.__setattr__(vendor, "workers", 1)
    outcome = vendor.ask(vendor.tickers(), FIRST, LAST)
    assert outcome.rows.empty
    assert [loss.ticker for loss in outcome.losses] == sorted(TICKERS)
    assert outcome.losses[0].reason.startswith("HTTP 401")
    assert outcome.losses[1].reason.startswith("not asked: HTTP 401")
    # yfinance asks a second time with another cookie
    assert server.asked(DAYS_OF[name]) == (2 if name == "yahoo" else 1)


@pytest.mark.parametrize("status", [403, 404, 418])
def test_a_refusal_loses_its_ticker_alone(
    name: str, server: Server, tmp_path: Path, status: int
) -> None:
    server.faults.append(
        Fault(f"KO.*{DAYS_OF[name]}|{DAYS_OF[name]}.*KO", lambda _: said(status, {"error": "no"}))
    )
    outcome = vendor_at(name, server.url, tmp_path).ask(TICKERS, FIRST, LAST)
    assert [loss.ticker for loss in outcome.losses] == ["KO"]
    assert outcome.losses[0].reason == f'HTTP {status}: {{"error": "no"}}'
    assert set(outcome.rows["ticker"]) == set(TICKERS) - {"KO"}
    require_true(name, outcome.rows)


def test_an_unknown_ticker_is_lost_with_the_vendors_words(
    name: str, server: Server, tmp_path: Path
) -> None:
    outcome = vendor_at(name, server.url, tmp_path).ask(["ZZZZ", "KO"], FIRST, LAST)
    assert set(outcome.rows["ticker"]) == {"KO"}
    lost = {loss.ticker: loss.reason for loss in outcome.losses}
    if name == "polygon":
        assert lost == {}  # a page without results
    else:
        assert "ZZZZ" in lost
        assert "HTTP 404" in lost["ZZZZ"]
        assert "ot found" in lost["ZZZZ"] or "No data found" in lost["ZZZZ"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_transient_error_is_tried_again(tmp_path: Path, status: int) -> None:
    for name in ("tiingo", "polygon"):
        with serving(replica_of(name)) as running:
            running.faults.append(Fault(DAYS_OF[name], lambda _: said(status, {}), times=2))
            vendor = vendor_at(name, running.url, tmp_path / name, clock=ticking())
            assert vendor.ask(["KO"], FIRST, LAST).losses == ()
            assert running.asked(DAYS_OF[name]) == 3
        assert sorted(statuses(tmp_path / name, DAYS_OF[name])) == [200, status, status]


def ticking() -> Callable[[], datetime]:
    """A clock that runs a second further whenever it is read."""
    seconds = count()
    return lambda: FETCHED_AT + timedelta(seconds=next(seconds))


def statuses(home: Path, pattern: str) -> list[int]:
    """What the archive holds of some requests."""
    files = (home / "lake" / "replies").rglob("*.json.gz")
    replies = [json.loads(gzip.decompress(file.read_bytes())) for file in files]
    return [one["status"] for one in replies if pattern in one["path"]]


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    def busy(_: Response) -> Response:
        return Response(429, b"{}", {"Retry-After": "1"})

    with serving(replica_of("tiingo")) as running:
        running.faults.append(Fault("KO", busy, times=1))
        assert vendor_at("tiingo", running.url, tmp_path).ask(["KO"], FIRST, LAST).losses == ()
        (first, _), (second, _) = running.log
    assert 1.0 <= second - first < 2.5


@pytest.mark.parametrize("wait", ["3600", "9" * 5000, "soon", "Fri, 99 Zzz", "-1"])
def test_a_wait_that_is_too_long_or_nonsense_does_not_hold_us(tmp_path: Path, wait: str) -> None:
    def busy(_: Response) -> Response:
        return Response(429, b'{"detail": "hourly request allocation"}', {"Retry-After": wait})

    with serving(replica_of("tiingo")) as running:
        running.faults.append(Fault("KO", busy))
        outcome = vendor_at("tiingo", running.url, tmp_path).ask(["KO"], FIRST, LAST)
        assert running.asked("KO") == (1 if wait == "3600" else 3)
    assert outcome.losses[0].reason.startswith("HTTP 429")


def test_the_monthly_cap_under_status_200_ends_the_round_and_is_never_cached(
    tmp_path: Path,
) -> None:
    text = "You have run over your 500 symbol look up for this month. Please upgrade."
    for body in (json.dumps(text), text, json.dumps({"detail": text}), json.dumps([text])):
        with serving(replica_of("tiingo")) as running:
            running.faults.append(
                Fault("/daily/", lambda _, body=body: Response(200, body.encode()))
            )
            vendor = vendor_at("tiingo", running.url, tmp_path)
            object.__setattr__(vendor, "workers", 1)
            outcome = vendor.ask(["AAPL", "KO"], FIRST, LAST, refetch=True)
        assert [loss.reason[:13] for loss in outcome.losses] == ["allowance use", "not asked: al"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("", slow=0.8),
        Fault("", drip=0.02),
        Fault("", reset=True),
        Fault("", cut=100),
        Fault("", cut=0),
    ],
    ids=["slow", "drip", "reset", "cut", "nothing"],
)
def test_a_broken_connection_is_an_outage_with_a_reason(fault: Fault, tmp_path: Path) -> None:
    patience = replace(QUICK, read=0.3, whole=0.5, retries=1)
    with serving(replica_of("tiingo")) as running:
        running.faults.append(fault)
        vendor = vendor_at("tiingo", running.url, tmp_path, patience=patience)
        outcome = vendor.ask(["KO"], FIRST, LAST)
        assert running.asked() == 2
    assert outcome.rows.empty
    assert outcome.losses[0].reason.startswith("no reply after 2 attempts: ")
    assert "127.0.0.1" not in outcome.losses[0].reason


def test_a_broken_connection_heals(tmp_path: Path) -> None:
    with serving(replica_of("tiingo")) as running:
        running.faults += [Fault("", cut=100, times=1), Fault("", reset=True, times=1)]
        outcome = vendor_at("tiingo", running.url, tmp_path).ask(["KO"], FIRST, LAST)
    assert outcome.losses == ()
    require_true("tiingo", outcome.rows)


def test_a_packed_reply_that_comes_in_bits_is_read_to_its_end(tmp_path: Path) -> None:
    def packed(good: Response) -> Response:
        return Response(200, gzip.compress(good.body), {"Content-Encoding": "gzip"})

    with serving(replica_of("tiingo")) as running:
        running.faults.append(Fault("", packed, drip=0.0001))
        vendor = vendor_at("tiingo", running.url, tmp_path, patience=replace(QUICK, whole=30.0))
        outcome = vendor.ask(["KO"], FIRST, LAST)
    assert outcome.losses == ()
    require_true("tiingo", outcome.rows)


def test_a_reply_without_end_is_cut_off(tmp_path: Path) -> None:
    patience = replace(QUICK, largest_reply=1000, retries=0)
    with serving(replica_of("tiingo")) as running:
        vendor = vendor_at("tiingo", running.url, tmp_path, patience=patience)
        (lost,) = vendor.ask(["KO"], FIRST, LAST).losses
    assert lost.reason == "no reply after 1 attempts: reply of more than 1000 bytes"


def test_a_vendor_that_is_down_is_given_up_after_three_tickers(tmp_path: Path) -> None:
    vendor = vendor_at("tiingo", "http://127.0.0.1:9", tmp_path)
    object.__setattr__(vendor, "workers", 1)
    losses = vendor.ask([*TICKERS, "MSFT"], FIRST, LAST).losses
    assert [loss.reason.startswith("not asked: ") for loss in losses] == [False] * 3 + [True] * 2


# The key


def test_the_key_is_in_no_log_no_reason_no_archive_no_cache(
    name: str, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from quanta_pipelines.adapters.price_vendors.cache import StoredCache

    def echo(_: Response) -> Response:
        return Response(400, f"bad key {KEY}".encode(), {"X-Request-Id": KEY, "Date": KEY})

    server.faults.append(Fault("XOM", echo))
    caplog.set_level(logging.DEBUG)
    vendor = vendor_at(name, server.url, tmp_path, cache=StoredCache.on_disk(tmp_path / "cache"))
    outcome = vendor.ask(TICKERS, FIRST, LAST)
    vendor.quotes(TICKERS)
    assert [loss.ticker for loss in outcome.losses] == ["XOM"]
    if name != "yahoo":  # asked without a key
        assert KEY not in outcome.losses[0].reason
        assert "bad key ***" in outcome.losses[0].reason
        assert KEY not in caplog.text
    assert KEY not in repr(vendor)
    assert server.asked(KEY) == 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.suffix == ".gz" for file in files)
    assert any(file.parent.name == "cache" for file in files)
    for file in files:
        data = file.read_bytes()
        text = gzip.decompress(data) if file.suffix == ".gz" else data
        assert (KEY.encode() in text) is (name == "yahoo" and b"bad key" in text)


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with serving(replica_of("tiingo")) as other, serving(replica_of("tiingo")) as running:
        running.faults.append(
            Fault("", lambda _: Response(302, b"", {"Location": other.url + "/stolen"}))
        )
        (lost,) = vendor_at("tiingo", running.url, tmp_path).ask(["KO"], FIRST, LAST).losses
        assert other.asked() == 0
    assert lost.reason == "HTTP 302: nothing"


# Wrong rows


def tiingo_day(**changes: object) -> str:
    row = {"date": "2019-08-02T00:00:00.000Z", "close": 10.0, "divCash": 0.0, "splitFactor": 1.0}
    return json.dumps([row | changes])


@pytest.mark.parametrize(
    "body",
    [
        *("", "null", "{}", "[[]]", "[" * 100_000, "[1]", '"text"', "\xff"),
        tiingo_day(close=-1.0),
        tiingo_day(close=0),
        tiingo_day(close="10.0"),
        tiingo_day(close=True),
        tiingo_day(close=1e12),
        tiingo_day(close=float("nan")),
        tiingo_day(close=float("inf")),
        tiingo_day(close=[1.0]),
        tiingo_day().replace("10.0", "1e999"),
        tiingo_day().replace("10.0", "1" * 5000),
        tiingo_day(volume=-5),
        tiingo_day(divCash=None),
        tiingo_day(splitFactor=0),
        tiingo_day(date="2019-08-03T00:00:00Z"),
        tiingo_day(date="2019-08-02T09:30:00Z"),
        tiingo_day(date="2018-08-02T00:00:00Z"),
        tiingo_day(date="2019-08-02"),
        tiingo_day(date=1564704000),
        tiingo_day(date="99999-01-01T00:00:00Z"),
        tiingo_day()[:-1] + "," + tiingo_day()[1:],
    ],
)
def test_a_wrong_row_refuses_the_reply(body: str) -> None:
    with pytest.raises(ReplyRefused):
        tiingo.daily_rows(body_of(body), FIRST, LAST)


def test_the_reason_names_the_place() -> None:
    with pytest.raises(ReplyRefused, match=r"^0\.close: Input should be greater than 0"):
        tiingo.daily_rows(body_of(tiingo_day(close=-1.0)), FIRST, LAST)
    with pytest.raises(ReplyRefused, match="2019-08-03 is no session from 2019-06-03"):
        tiingo.daily_rows(body_of(tiingo_day(date="2019-08-03T00:00:00Z")), FIRST, LAST)


def test_nulls_are_unknown() -> None:
    (day,) = tiingo.daily_rows(body_of(tiingo_day(open=None, volume=None)), FIRST, LAST)
    assert np.isnan([day.open, day.volume, day.high]).all()
    assert day.close == 10.0


def test_a_day_without_a_close_is_no_row(tmp_path: Path) -> None:
    def halted(good: Response) -> Response:
        rows = json.loads(good.body)
        rows[0]["close"] = None
        return said(200, rows)

    with serving(replica_of("tiingo")) as running:
        running.faults.append(Fault("", halted))
        outcome = vendor_at("tiingo", running.url, tmp_path).ask(["KO"], FIRST, LAST)
    assert outcome.losses == ()
    assert len(outcome.rows) == 43
    assert outcome.rows["session"].min() == pd.Timestamp("2019-06-04")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"adjusted": True}, "bars are adjusted"),
        ({"ticker": "XOM"}, "a row of XOM, which was not asked for"),
        ({"resultsCount": 3}, "1 bars, but resultsCount 3"),
        ({"status": "ERROR"}, "status: Input should be"),
        ({"results": None}, "results: Input should be a valid array"),
    ],
)
def test_a_page_that_contradicts_the_question_is_refused(
    change: dict[str, object], reason: str
) -> None:
    bar = {"t": 1564718400000, "c": 10.0}  # 2019-08-02 00:00 in New York
    page = {"ticker": "KO", "adjusted": False, "status": "OK", "results": [bar], "resultsCount": 1}
    assert len(massive.bars_page(body_of(json.dumps(page)), "KO").results) == 1
    with pytest.raises(ReplyRefused, match=reason):
        massive.bars_page(body_of(json.dumps(page | change)), "KO")


def test_a_bar_is_dated_in_new_york() -> None:
    bars = [massive.Bar(t=1564718400000, c=10.0)]
    (day,) = massive.merged(bars, [], [], FIRST, LAST)
    assert day.session == LAST
    with pytest.raises(ReplyRefused, match="no midnight in New York"):
        massive.merged([massive.Bar(t=1564704000000, c=10.0)], [], [], FIRST, LAST)


def test_two_dividends_of_a_day_add_up_and_one_without_a_bar_is_refused() -> None:
    bars = [massive.Bar(t=1564718400000, c=10.0)]
    paid = massive.Dividend(ticker="KO", ex_dividend_date=LAST, cash_amount=0.25)
    extra = paid.model_copy(update={"cash_amount": 1.5})
    (day,) = massive.merged(bars, [paid, extra], [], FIRST, LAST)
    assert day.dividend == 1.75
    early = paid.model_copy(update={"ex_dividend_date": FIRST})
    with pytest.raises(ReplyRefused, match="on 2019-06-03, a day without a bar"):
        massive.merged(bars, [early], [], FIRST, LAST)


def test_a_dividend_or_split_of_another_or_twice_is_refused() -> None:
    paid = {"ticker": "KO", "ex_dividend_date": f"{LAST}", "cash_amount": 0.4}
    split = {"ticker": "KO", "execution_date": f"{LAST}", "split_from": 1, "split_to": 2}

    def page(*rows: object) -> Reply:
        return body_of(json.dumps({"status": "OK", "results": rows}))

    for read, row in ((massive.dividends_page, paid), (massive.splits_page, split)):
        assert len(read(page(row), "KO").results) == 1
        with pytest.raises(ReplyRefused, match="a row of XOM"):
            read(page(row, row | {"ticker": "XOM"}), "KO")
    with pytest.raises(ReplyRefused, match=r"results\.0\.currency"):
        massive.dividends_page(page(paid | {"currency": "CAD"}), "KO")
    bars = [massive.Bar(t=1564718400000, c=10.0)]
    with pytest.raises(ReplyRefused, match="a dividend comes twice"):
        massive.merged(
            bars, [massive.Dividend(**paid | {"ex_dividend_date": LAST})] * 2, [], FIRST, LAST
        )
    with pytest.raises(ReplyRefused, match="two splits on one day"):
        massive.merged(
            bars, [], [massive.Split(**split | {"execution_date": LAST})] * 2, FIRST, LAST
        )


@pytest.mark.parametrize(
    "next_url", ["no address at all", "https://x/v2/aggs/ticker/AAPL?a&b", "//["]
)
def test_a_next_page_that_is_no_address_is_refused(next_url: str, tmp_path: Path) -> None:
    with serving(replica_of("polygon")) as running:
        running.faults.append(
            Fault(
                "/v2/aggs/", lambda good: said(200, json.loads(good.body) | {"next_url": next_url})
            )
        )
        (lost,) = vendor_at("polygon", running.url, tmp_path).ask(["AAPL"], FIRST, LAST).losses
        assert running.asked() == 1
    assert lost.reason.startswith("next_url ")


def test_a_split_on_a_day_without_a_close_loses_the_ticker(tmp_path: Path) -> None:
    def halted(good: Response) -> Response:
        rows = json.loads(good.body)
        (day,) = [row for row in rows if row["splitFactor"] != 1.0]
        day["close"] = None
        return said(200, rows)

    with serving(replica_of("tiingo")) as running:
        running.faults.append(Fault("", halted))
        (lost,) = vendor_at("tiingo", running.url, tmp_path).ask(["KO"], FIRST, LAST).losses
    assert lost.reason.endswith("has a dividend or a split but no close")


def chart(**changes: object) -> Reply:
    """Yahoo's chart of one day of KO, 2019-08-02 09:30 in New York."""
    meta = {"symbol": "KO", "currency": "USD", "exchangeTimezoneName": "America/New_York"}
    numbers = {name: [10.0] for name in ("open", "high", "low", "close")} | {"volume": [None]}
    result: dict[str, object] = {"meta": meta, "timestamp": [1564752600]}
    result |= {"indicators": {"quote": [numbers]}} | changes
    result["meta"] = meta | dict(changes.get("meta", {}))
    return body_of(json.dumps({"chart": {"result": [result], "error": None}}))


def test_a_day_of_yahoos_chart() -> None:
    (day,) = yahoo.chart_days(chart(), "KO", FIRST)
    assert (day.session, day.close, day.dividend, day.split) == (LAST, 10.0, 0.0, 1.0)
    assert np.isnan(day.volume)  # unknown, where yfinance would say 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"meta": {"symbol": "XOM"}}, "a row of XOM, which was not asked for"),
        ({"meta": {"currency": "GBp"}}, "prices in GBp"),
        ({"meta": {"exchangeTimezoneName": "Europe/London"}}, "of Europe/London"),
        ({"timestamp": [1564752600, 1564752601]}, "2019-08-02 comes twice"),
        ({"timestamp": [1564752600, 1564666200]}, "columns are not as long as their timestamps"),
        ({"timestamp": [1564839000]}, "2019-08-03 is no session"),
        ({"timestamp": [10**400]}, r"timestamp\.0: Input should be less than"),
        (
            {"events": {"dividends": {"1": {"date": 1564666200, "amount": 0.4}}}},
            "a dividend or split on 2019-08-01, a day without a price",
        ),
        (
            {"events": {"dividends": {n: {"date": 1564752600, "amount": 0.4} for n in "12"}}},
            "two dividends or two splits on one day",
        ),
    ],
)
def test_a_chart_that_contradicts_itself_is_refused(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(ReplyRefused, match=reason):
        yahoo.chart_days(chart(**changes), "KO", FIRST)


def yahoo_rows(*rows: dict[str, object]) -> Reply:
    """Yahoo's quote reply, of 2019-08-02 16:00 in New York where a row does not say otherwise."""
    listed = {"currency": "USD", "exchangeTimezoneName": "America/New_York"}
    told = {"regularMarketPrice": 50.0, "regularMarketTime": 1564776000} | listed
    return body_of(json.dumps({"quoteResponse": {"result": [told | row for row in rows]}}))


def test_yahoos_live_prices_of_many_tickers() -> None:
    sides = {"bid": 49.9, "ask": 50.1, "regularMarketVolume": 7}
    rows = yahoo_rows({"symbol": "KO", **sides}, {"symbol": "BRK-B", "bid": 0.0, "ask": 0})
    shut, traded = yahoo.quote_rows(rows, ["BRK.B", "KO"]).quotes
    assert (traded.ticker, traded.price, traded.at) == (
        "KO",
        50.0,
        datetime(2019, 8, 2, 20, tzinfo=UTC),
    )
    assert (traded.bid, traded.ask, traded.volume) == (49.9, 50.1, 7.0)
    assert (shut.ticker, shut.fetched_at) == ("BRK.B", FETCHED_AT)
    assert np.isnan([shut.bid, shut.ask, shut.volume]).all()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"regularMarketPrice": None}, "no price in the reply"),
        ({"regularMarketPrice": "50.0"}, "regularMarketPrice: Input should be a valid number"),
        ({"regularMarketPrice": {"raw": 50.0, "fmt": "50.00"}}, "regularMarketPrice: Input should"),
        ({"regularMarketTime": None}, "a price without its time"),
        ({"regularMarketTime": 1564880400}, "a price of 2019-08-04T01:00:00"),
        ({"regularMarketTime": "1564776000"}, "regularMarketTime: Input should be a valid integer"),
        ({"currency": "GBp"}, "prices in GBp of America/New_York"),
        ({"currency": None}, "currency: Input should be a valid string"),
        ({"exchangeTimezoneName": "Europe/London"}, "prices in USD of Europe/London"),
        ({"bid": -1.0}, "bid: Input should be greater than or equal to 0"),
        ({"regularMarketVolume": True}, "regularMarketVolume: Input should be a valid number"),
    ],
)
def test_a_wrong_row_of_yahoo_loses_its_ticker_alone(row: dict[str, object], reason: str) -> None:
    reply = yahoo_rows({"symbol": "AAPL"}, {"symbol": "KO", **row})
    sheet = yahoo.quote_rows(reply, ["AAPL", "KO"])
    assert [quote.ticker for quote in sheet.quotes] == ["AAPL"]
    assert [loss.ticker for loss in sheet.losses] == ["KO"]
    assert sheet.losses[0].reason.startswith(reason)


@pytest.mark.parametrize("stranger", [{"symbol": "MSFT"}, {"symbol": "KO"}, {"symbol": 7}, {}])
def test_a_row_of_yahoo_that_nobody_asked_for_refuses_the_reply(
    stranger: dict[str, object],
) -> None:
    with pytest.raises(ReplyRefused):
        yahoo.quote_rows(yahoo_rows({"symbol": "KO"}, stranger), ["AAPL", "KO"])


def test_yahoo_is_asked_once_for_many_live_prices_and_in_batches_for_more(tmp_path: Path) -> None:
    names = [f"A{first}{second}" for first in "ABCDEFGHIJKL" for second in "ABCDEFGHIJ"]
    rows = truth_table(names, LAST, LAST)
    with serving(replica_of("yahoo", truth=rows)) as running:
        seen = vendor_at("yahoo", running.url, tmp_path).quotes(names)
        asked = [target for _, target in running.log if target.startswith("/v7/")]
    assert list(seen["ticker"]) == names
    # 120 tickers by a hundred
    assert [target.count("%2C") + target.count(",") + 1 for target in asked] == [100, 20]
    files = (tmp_path / "lake" / "replies" / "yahoo").rglob("*.json.gz")
    kept = [json.loads(gzip.decompress(file.read_bytes())) for file in files]
    assert sorted(one["params"]["symbols"].count(",") + 1 for one in kept) == [20, 100]
    assert not [one for one in kept if YAHOO_CRUMB in json.dumps(one)]  # nobody else's business


def test_a_crumb_that_is_not_taken_any_more_is_fetched_again(tmp_path: Path) -> None:
    with serving(replica_of("yahoo")) as running:
        vendor = vendor_at("yahoo", running.url, tmp_path)
        assert len(vendor.quotes(TICKERS)) == len(TICKERS)
        running.log.clear()
        running.faults.append(Fault("/v7/", lambda _: yahoo_refuses("Crumb"), times=1))
        assert len(vendor.quotes(TICKERS)) == len(TICKERS)
        assert running.asked("/v7/") == 2
        assert running.asked("getcrumb") == 1


def test_without_a_crumb_yahoo_says_why_there_is_no_live_price(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(replica_of("yahoo")) as running:
        running.faults.append(Fault("/v7/", lambda _: yahoo_refuses("Crumb")))
        assert vendor_at("yahoo", running.url, tmp_path).quotes(TICKERS).empty
        assert running.asked("/v7/") == 2  # yfinance asks once more, with another cookie
    assert "yahoo lost 4 of 4 tickers, first AAPL: HTTP 401:" in caplog.text
    assert "Invalid Crumb" in caplog.text


def test_a_live_price_without_its_time_is_refused() -> None:
    sheet = tiingo.iex_quotes(body_of('[{"ticker": "KO", "tngoLast": 50.0}]'), ["KO"])
    assert [loss.reason for loss in sheet.losses] == ["a price without its time"]
    alone = '{"status": "OK", "tickers": [{"ticker": "KO", "day": {"c": 50.0}}]}'
    early = massive.snapshot_quotes(body_of(alone), ["KO"])
    assert [loss.reason for loss in early.losses] == ["a price without its time"]


def test_a_ticker_that_cannot_be_mapped_has_no_live_price(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(replica_of("tiingo")) as running:
        seen = vendor_at("tiingo", running.url, tmp_path).quotes(["KO", "brk/b"])
    assert list(seen["ticker"]) == ["KO"]
    assert "tiingo lost 1 of 2 tickers, first brk/b: 'brk/b' is no ticker" in caplog.text


def test_a_fault_of_our_own_loses_its_ticker_and_hides_what_it_quotes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def ask(ticker: str) -> str:
        if ticker == "KO":
            raise ZeroDivisionError(KEY)
        return ticker

    answers, losses = Round().ask_each(["AAPL", "KO"], ask, workers=1)
    assert answers == ["AAPL"]
    assert losses == (Loss("KO", "ZeroDivisionError while reading the reply"),)
    assert "ZeroDivisionError at " in caplog.text
    assert KEY not in caplog.text


def test_a_wrong_live_price_loses_its_ticker_alone() -> None:
    at = "2019-08-02T20:00:00+00:00"
    rows = [
        {"ticker": "AAPL", "tngoLast": 200.0, "timestamp": at},
        {"ticker": "KO", "tngoLast": -1.0, "timestamp": at},
        {"ticker": "XOM", "tngoLast": 70.0, "timestamp": "2019-08-09T20:00:00+00:00"},
        {"ticker": "brk-b", "last": None, "tngoLast": None, "timestamp": at},
    ]
    sheet = tiingo.iex_quotes(body_of(json.dumps(rows)), TICKERS)
    assert [(quote.ticker, quote.price) for quote in sheet.quotes] == [("AAPL", 200.0)]
    assert {loss.ticker: loss.reason for loss in sheet.losses} == {
        "BRK.B": "no price in the reply",
        "KO": "tngoLast: Input should be greater than 0",
        "XOM": "a price of 2019-08-09T20:00:00+00:00, fetched 2019-08-03T01:00:00+00:00",
    }
    for stranger in ({"ticker": "MSFT"}, {"ticker": None}, rows[0], 7):
        with pytest.raises(ReplyRefused):
            tiingo.iex_quotes(body_of(json.dumps([*rows, stranger])), TICKERS)


# Recordings


def recording(name: str) -> Reply:
    held = json.loads((Path(FOLDER) / "vendor_fixtures" / name).read_text())
    request = Request("vendor", "/path")
    fetched_at = datetime(2026, 1, 1, tzinfo=UTC)
    return Reply(request, 200, {}, json.dumps(held["body"]).encode(), fetched_at)


@needs_recordings
def test_recorded_days_of_tiingo() -> None:
    days = tiingo.daily_rows(
        recording("tiingo_daily_range_GOOGL_2015-01.json"), date(2015, 1, 1), date(2015, 1, 5)
    )
    assert [(day.session, day.close) for day in days] == [
        (date(2015, 1, 2), 529.55),
        (date(2015, 1, 5), 519.46),
    ]
    assert [day.adjusted_close for day in days] == [529.55, 519.46]  # nothing was paid or split
    (day,) = tiingo.daily_rows(
        recording("tiingo_daily_latest_GOOGL_2018-04-12.json"), date(2018, 4, 9), date(2018, 4, 13)
    )
    assert (day.session, day.volume, day.dividend) == (date(2018, 4, 12), 1_644_794.0, 0.0)


@needs_recordings
@pytest.mark.parametrize(
    ("name", "sessions", "close"),
    [
        ("massive_aggs_AAPL_2005-04.json", [date(2005, 4, 1), date(2005, 4, 4)], 1.4675),
        (
            "polygon_aggs_AAPL_2023-01_recorded.json",
            [date(2023, 1, day) for day in (3, 4, 5, 6, 9, 10)],
            130.73,
        ),
    ],
)
def test_recorded_bars_of_massive(name: str, sessions: list[date], close: float) -> None:
    held = recording(name)
    with pytest.raises(ReplyRefused, match="bars are adjusted"):  # recorded so; we ask otherwise
        massive.bars_page(held, "AAPL")
    bars = parsed(TypeAdapter(massive.Bars), held).results
    days = massive.merged(bars, [], [], sessions[0], sessions[-1])
    assert [day.session for day in days] == sessions
    assert days[-1].close == close


@needs_recordings
def test_recorded_dividends_splits_and_snapshots_of_massive() -> None:
    paid = parsed(TypeAdapter(massive.Dividends), recording("massive_dividends.json")).results
    assert [(one.ticker, one.cash_amount) for one in paid[:1]] == [("CSSEN", 0.59375)]
    splits = parsed(TypeAdapter(massive.Splits), recording("massive_splits.json")).results
    assert (splits[0].split_to, splits[7].split_to / splits[7].split_from) == (20, 0.5)
    with pytest.raises(ReplyRefused, match="not asked for"):
        massive.dividends_page(recording("massive_dividends.json"), "CSSEN")
    with pytest.raises(ReplyRefused, match="not asked for"):
        massive.splits_page(recording("massive_splits.json"), "GOOGL")
    sheet = massive.snapshot_quotes(recording("massive_snapshot_all.json"), ("BCAT",))
    (quote,) = sheet.quotes
    assert (quote.price, quote.bid, quote.ask, quote.volume) == (20.506, 20.5, 20.6, 37_216.0)
    assert quote.at == datetime(2020, 11, 12, 14, 54, 54, 630916, tzinfo=UTC)
    one = json.loads(recording("massive_snapshot_AAPL.json").body)
    alone = body_of(json.dumps({"status": "OK", "tickers": [one["ticker"]]}))
    early = massive.snapshot_quotes(alone, ("AAPL",))
    assert early.quotes == []  # of 2022, fetched in 2019: it lies ahead
    assert early.losses[0].ticker == "AAPL"


@needs_recordings
@pytest.mark.parametrize(
    "name",
    [
        "massive_marketstatus.json",
        "massive_open_close.json",
        "massive_prev_AAPL.json",
        "massive_tickers_next_url.json",
        "tiingo_daily_meta_GOOGL.json",
        "tiingo_iex_30min_GOOGL_2018-01-02.json",
    ],
)
def test_replies_to_other_questions_are_never_taken_for_prices(name: str) -> None:
    held = recording(name)
    with pytest.raises(VendorError):
        tiingo.daily_rows(held, date(2017, 1, 2), date(2022, 12, 30))
    with pytest.raises(VendorError):
        massive.bars_page(held, "AAPL")
    with pytest.raises(VendorError):
        tiingo.iex_quotes(held, ("AAPL", "GOOGL"))


@needs_recordings
def test_every_recording_is_read_by_a_test() -> None:
    files = {file.name for file in (Path(FOLDER) / "vendor_fixtures").glob("*.json")}
    text = Path(__file__).read_text()
    assert files
    assert [name for name in sorted(files) if name not in text] == []
