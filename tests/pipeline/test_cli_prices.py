"""``quanta prices``: a real local server that answers like Tiingo, a real store, exit codes."""

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from quanta_pipelines.adapters.quote_store import QuoteStore
from quanta_pipelines.cli import main
from quanta_pipelines.protocol.market_hours import MarketClock
from quanta_pipelines.settings import current_settings

Quanta = Callable[..., Result]
KEY = "k3y-that-nobody-may-read"


@dataclass
class Tiingo:
    """What the simulated vendor knows: prices by symbol, and when they were made."""

    prices: dict[str, float] = field(default_factory=lambda: {"AAPL": 270.0, "BRK-B": 500.0})
    at: dt.datetime = field(
        # a minute before now or before the last close, so that it is fresh at any time of the week
        default_factory=lambda: (
            MarketClock.at(dt.datetime.now(dt.UTC)).reference - dt.timedelta(minutes=1)
        )
    )
    status: int = 200
    keys: list[str | None] = field(default_factory=list)

    def rows(self, symbols: list[str]) -> list[dict[str, object]]:
        return [
            {
                "ticker": symbol,
                "timestamp": self.at.isoformat(),
                "last": None,
                "tngoLast": self.prices[symbol],
                "bidPrice": self.prices[symbol] - 0.05,
                "askPrice": self.prices[symbol] + 0.05,
                "volume": 1000,
            }
            for symbol in symbols
            if symbol in self.prices
        ]


@pytest.fixture
def tiingo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tiingo]:
    """The vendor behind a local address, as the only one that an empty home is configured for."""
    vendor = Tiingo()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            vendor.keys.append(self.headers["Authorization"])
            symbols = parse_qs(urlsplit(self.path).query)["tickers"][0].split(",")
            said = vendor.rows(symbols) if vendor.status == 200 else {"detail": f"bad key {KEY}"}
            body = json.dumps(said).encode()
            self.send_response(vendor.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keeps the output of the test clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    (tmp_path / "watch.txt").write_text("AAPL BRK.B", "utf-8")
    for name, value in {
        "QUANTA_HOME": str(tmp_path / "home"),
        "QUANTA_VENDORS": "tiingo",
        "QUANTA_WATCH_LIST": str(tmp_path / "watch.txt"),
        "QUANTA_TIINGO_URL": f"http://127.0.0.1:{server.server_address[1]}",
        "TIINGO_API_KEY": KEY,
    }.items():
        monkeypatch.setenv(name, value)
    current_settings.cache_clear()
    yield vendor
    current_settings.cache_clear()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def quanta() -> Quanta:
    """The command, called with arguments."""
    return lambda *arguments: CliRunner().invoke(main, arguments)


def heard(tmp_path: Path) -> pd.DataFrame:
    """What the store holds by now."""
    store = QuoteStore.open(f"sqlite:///{tmp_path / 'home' / 'quotes.db'}")
    now = dt.datetime.now(dt.UTC)
    found = store.read(["AAPL", "BRK.B"], now - dt.timedelta(hours=1), now)
    store.close()
    return found


def test_quote_asks_stores_and_prints_the_price_and_what_it_is_made_of(tiingo, quanta, tmp_path):
    result = quanta("prices", "quote", "AAPL", "brk-b")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    # no average yet: 0.3 and 0.2 of what is there; 0.10 of 270 and of 500 dollars are 3.7 and 2 bps
    assert lines[0].startswith("AAPL        270.0000  spread 3.7 bps, ")
    assert lines[0].endswith(" s old")
    assert lines[1] == "  primary         270.0000  60%  tiingo"
    assert lines[2] == "  by volume       270.0000  40%  tiingo"
    assert lines[3].startswith("BRK.B       500.0000  spread 2.0 bps, ")
    assert heard(tmp_path)["price"].tolist() == [270.0, 500.0]
    assert tiingo.keys == [f"Token {KEY}"]


def test_json_holds_components_flags_and_the_vendors_outcomes(tiingo, quanta):
    result = quanta("prices", "quote", "AAPL", "--json")
    said = json.loads(result.stdout)
    (price,) = said["prices"]
    assert result.exit_code == 0
    assert (price["ticker"], price["price"], price["twap"]) == ("AAPL", 270.0, None)
    assert (price["primary_weight"], price["volume_weighted_weight"]) == (0.6, 0.4)
    assert (price["stale"], price["anomaly"], price["reason"]) == (False, False, "")
    assert dt.datetime.fromisoformat(price["at"]) == tiingo.at
    assert said["vendors"] == [
        {"vendor": "tiingo", "new": 1, "known": 0, "refused": [], "problem": ""}
    ]


def test_a_stale_price_is_flagged_and_still_a_price(tiingo, quanta):
    tiingo.at -= dt.timedelta(minutes=30)
    result = quanta("prices", "quote", "AAPL")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith("31 min old  STALE")


def test_a_ticker_without_a_price_is_named_and_the_exit_code_is_1(tiingo, quanta):
    result = quanta("prices", "quote", "AAPL", "ZZZZ")
    assert result.exit_code == 1
    assert "ZZZZ    no price: no usable quote" in result.stdout
    assert result.stderr.splitlines()[-1] == "no price for ZZZZ"


def test_a_vendor_that_refuses_leaves_no_price_and_no_secret(tiingo, quanta, tmp_path, caplog):
    tiingo.status = 401
    result = quanta("prices", "quote", "AAPL", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["prices"][0]["reason"] == "no usable quote"
    assert KEY not in result.output + caplog.text
    assert heard(tmp_path).empty


def test_what_is_no_ticker_is_a_usage_error(tiingo, quanta):
    result = quanta("prices", "quote", "AAPL", "no ticker")
    assert result.exit_code == 2
    assert "a ticker looks like AAPL or BRK.B, not 'no ticker'" in result.stderr
    assert tiingo.keys == []


def test_without_a_vendor_of_live_prices_the_command_says_which_to_configure(
    quanta, tmp_path, monkeypatch
):
    monkeypatch.setenv("QUANTA_HOME", str(tmp_path))
    monkeypatch.setenv("QUANTA_VENDORS", "recorded")
    current_settings.cache_clear()
    result = quanta("prices", "quote", "AAPL")
    current_settings.cache_clear()
    assert result.exit_code == 1
    assert "configured: recorded" in result.stderr


def test_prune_deletes_what_is_older_than_the_retention(tiingo, quanta, tmp_path):
    quanta("prices", "quote", "AAPL")
    fresh = heard(tmp_path)
    store = QuoteStore.open(f"sqlite:///{tmp_path / 'home' / 'quotes.db'}")
    store.append(fresh.assign(fetched_at=fresh["fetched_at"] - pd.Timedelta(days=20)))
    store.close()
    assert json.loads(quanta("prices", "prune", "--json").stdout)["deleted"] == 0  # 30 days stay
    assert quanta("prices", "prune", "--keep-days", "15").stdout.startswith("1 quotes from before")
    assert len(heard(tmp_path)) == 1
