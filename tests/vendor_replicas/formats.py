"""The truth in each vendor's words: paths, auth, JSON, pages and errors as their docs show them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cache, cached_property
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from tests.vendor_replicas.truth import adjusted_closes, later_splits

NEW_YORK = ZoneInfo("America/New_York")


@dataclass(frozen=True)
class Response:
    """What a replica sends."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What a replica is asked."""

    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]

    @classmethod
    def of(cls, target: str, headers: Mapping[str, str]) -> "Asked":
        url = urlsplit(target)
        return cls(url.path, dict(parse_qsl(url.query)), headers)


def reply(status: int, said: object) -> Response:
    return Response(status, json.dumps(said).encode(), {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Replica:
    """One vendor's answers from a truth table; ``quoted_at`` is the time of its live prices."""

    truth: pd.DataFrame
    key: str
    quoted_at: datetime
    page: int = 50_000  # rows of a page, fewer to force several
    adjusted: bool = False  # Yahoo's alone: the table is already on its basis

    @cached_property
    def by_ticker(self) -> Mapping[str, pd.DataFrame]:
        return dict(iter(self.truth.groupby("ticker")))

    def rows(self, ticker: str) -> pd.DataFrame:
        return self.by_ticker.get(ticker, self.truth.head(0))

    def days(self, ticker: str, first: str, last: str) -> pd.DataFrame:
        rows = self.rows(ticker)
        return rows[rows["session"].between(pd.Timestamp(first), pd.Timestamp(last))]

    def newest(self, ticker: str) -> "pd.Series | None":
        rows = self.rows(ticker)
        return None if rows.empty else rows.iloc[-1]

    def respond(self, asked: Asked) -> Response:
        raise NotImplementedError


class TiingoReplica(Replica):
    def respond(self, asked: Asked) -> Response:
        if asked.headers.get("Authorization") != f"Token {self.key}":
            return reply(401, {"detail": "Invalid token."})
        if asked.path == "/iex/":
            return reply(200, self._iex(asked.params["tickers"].split(",")))
        symbol = asked.path.split("/")[3]
        ticker = symbol.replace("-", ".")
        if ticker not in self.by_ticker:
            return reply(404, {"detail": f"Error: Ticker '{symbol}' not found"})
        rows = self.days(ticker, asked.params["startDate"], asked.params["endDate"])
        known = self._all_adjusted(ticker).reindex(rows.index)
        days = zip(rows.to_dict("records"), known, strict=True)
        return reply(200, [self._day(row, adjusted) for row, adjusted in days])

    def _all_adjusted(self, ticker: str) -> pd.Series:
        rows = self.rows(ticker)
        return pd.Series(adjusted_closes(rows, taken_off=False), index=rows.index)

    def _day(self, row: dict, adjusted_close: float) -> dict:
        prices = {name: row[name] for name in ("open", "high", "low", "close")}
        factor = adjusted_close / row["close"]
        adjusted = {f"adj{name.capitalize()}": value * factor for name, value in prices.items()}
        return {
            "date": f"{row['session']:%Y-%m-%d}T00:00:00.000Z",
            **prices,
            **adjusted,
            "volume": int(row["volume"]),
            "adjVolume": int(row["volume"]) * 2,
            "divCash": row["dividend"],
            "splitFactor": row["split"],
        }

    def _iex(self, symbols: list[str]) -> list[dict]:
        said = []
        for place, symbol in enumerate(symbols):
            row = self.newest(symbol.replace("-", "."))
            if row is None:
                continue
            licensed = place % 2 == 0  # the others see Tiingo's own price alone
            at = self.quoted_at.isoformat()
            said.append(
                {
                    "ticker": symbol,
                    "timestamp": at,
                    "quoteTimestamp": at if licensed else None,
                    "lastSaleTimestamp": at if licensed else None,
                    "last": row["close"] if licensed else None,
                    "lastSize": 100 if licensed else None,
                    "tngoLast": row["close"],
                    "prevClose": row["open"],
                    "open": row["open"],
                    "high": row["high"],
                    "low": row["low"],
                    "mid": None,
                    "volume": int(row["volume"]),
                    "bidPrice": row["low"] if licensed else None,
                    "bidSize": 1 if licensed else None,
                    "askPrice": row["high"] if licensed else None,
                    "askSize": 1 if licensed else None,
                }
            )
        return said


class MassiveReplica(Replica):
    def respond(self, asked: Asked) -> Response:
        if asked.headers.get("Authorization") != f"Bearer {self.key}":
            return reply(401, {"status": "ERROR", "request_id": "r", "error": "Unknown API Key"})
        if asked.path.startswith("/v2/aggs/"):
            return self._bars(asked)
        if asked.path.startswith("/v3/reference/"):
            return self._events(asked)
        if asked.path == "/v2/snapshot/locale/us/markets/stocks/tickers":
            return self._snapshots(asked.params["tickers"].split(","))
        return reply(404, {"status": "NOT_FOUND", "request_id": "r", "message": "Data not found."})

    def _bars(self, asked: Asked) -> Response:
        _, _, _, _, ticker, _, _, _, first, last = asked.path.split("/")
        rows = self.days(ticker, first, last).to_dict("records")
        start = int(asked.params.get("cursor", "0"))
        page = rows[start : start + self.page]
        said = {
            "ticker": ticker,
            "queryCount": len(page),
            "resultsCount": len(page),
            "adjusted": asked.params.get("adjusted") == "true",
            "status": "OK" if start == 0 else "DELAYED",
            "request_id": "r",
            "count": len(page),
        }
        if page:
            said["results"] = [self._bar(row) for row in page]
        if start + self.page < len(rows):
            said["next_url"] = f"https://api.massive.com{asked.path}?cursor={start + self.page}"
        return reply(200, said)

    def _bar(self, row: dict) -> dict:
        midnight = datetime.combine(row["session"].date(), time(), NEW_YORK)
        return {
            "v": row["volume"],
            "vw": row["open"],
            "o": row["open"],
            "c": row["close"],
            "h": row["high"],
            "l": row["low"],
            "t": int(midnight.timestamp() * 1000),
            "n": 1000,
        }

    def _events(self, asked: Asked) -> Response:
        if "cursor" in asked.params:
            return reply(200, {"status": "OK", "request_id": "r", "results": []})
        ticker = asked.params["ticker"]
        kind = asked.path.rsplit("/", 1)[1]
        day = "ex_dividend_date" if kind == "dividends" else "execution_date"
        rows = self.days(ticker, asked.params[f"{day}.gte"], asked.params[f"{day}.lte"])
        said = {"status": "OK", "request_id": "r"}
        if kind == "dividends":
            said["results"] = [
                {
                    "ticker": ticker,
                    "ex_dividend_date": f"{row['session']:%Y-%m-%d}",
                    "cash_amount": row["dividend"],
                    "currency": "USD",
                    "dividend_type": "CD",
                }
                for row in rows[rows["dividend"] > 0].to_dict("records")
            ]
            said["next_url"] = f"https://api.massive.com{asked.path}?cursor=2&apiKey=none"
        else:
            said["results"] = [
                {
                    "ticker": ticker,
                    "execution_date": f"{row['session']:%Y-%m-%d}",
                    "split_from": 1 if row["split"] >= 1 else 1 / row["split"],
                    "split_to": row["split"] if row["split"] >= 1 else 1,
                }
                for row in rows[rows["split"] != 1].to_dict("records")
            ]
        return reply(200, said)

    def _snapshots(self, symbols: list[str]) -> Response:
        nanoseconds = int(self.quoted_at.timestamp()) * 10**9
        said = []
        for place, symbol in enumerate(symbols):
            row = self.newest(symbol)
            if row is None:
                continue
            one = {
                "ticker": symbol,
                "day": {"c": row["close"], "v": row["volume"], "o": row["open"]},
                "updated": nanoseconds,
            }
            if place % 2 == 0:  # the others see what a cheaper plan shows
                one["lastTrade"] = {"p": row["close"], "s": 100, "t": nanoseconds, "c": None}
                one["lastQuote"] = {"p": row["low"], "P": row["high"], "s": 1, "S": 1}
            said.append(one)
        return reply(200, {"status": "OK", "count": len(said), "tickers": said})


YAHOO_COOKIE = "A3=a-cookie"
YAHOO_CRUMB = "a-crumb"


def yahoo_refuses(what: str) -> Response:
    error = {"code": "Unauthorized", "description": f"Invalid {what}"}
    return reply(401, {"finance": {"result": None, "error": error}})


class YahooReplica(Replica):
    """Split-adjusted for everything in the truth table; also plays Yahoo's cookie hosts.

    Live prices are for those who bring the cookie, and the crumb that goes with it.
    """

    def respond(self, asked: Asked) -> Response:
        if asked.path.startswith("/v8/finance/chart/"):
            return self._charts(asked)
        admitted = YAHOO_COOKIE in asked.headers.get("Cookie", "")
        if asked.path == "/v1/test/getcrumb":
            crumb = Response(200, YAHOO_CRUMB.encode(), {"Content-Type": "text/plain"})
            return crumb if admitted else yahoo_refuses("Cookie")
        if asked.path == "/v7/finance/quote":
            admitted &= asked.params.get("crumb") == YAHOO_CRUMB
            rows = self._quotes(asked.params["symbols"].split(","))
            said = {"quoteResponse": {"result": rows, "error": None}}
            return reply(200, said) if admitted else yahoo_refuses("Crumb")
        headers = {"Content-Type": "text/html"}
        if asked.path == "/":
            headers["Set-Cookie"] = f"{YAHOO_COOKIE}; Path=/; HttpOnly"
        return Response(404, b"<html></html>", headers)

    def _quotes(self, symbols: list[str]) -> list[dict]:
        said = []
        for place, symbol in enumerate(symbols):
            row = self.newest(symbol.replace("-", "."))
            if row is None:
                continue
            traded = place % 2 == 0  # the others show what a shut market does
            said.append(
                {
                    "language": "en-US",
                    "region": "US",
                    "quoteType": "EQUITY",
                    "currency": "USD",
                    "exchange": "NMS",
                    "exchangeTimezoneName": "America/New_York",
                    "regularMarketPrice": row["close"],
                    "regularMarketTime": int(self.quoted_at.timestamp()),
                    "regularMarketVolume": int(row["volume"]),
                    "bid": row["low"] if traded else 0.0,
                    "ask": row["high"] if traded else 0.0,
                    "postMarketPrice": row["high"],
                    "symbol": symbol,
                }
            )
        return said

    def _charts(self, asked: Asked) -> Response:
        symbol = asked.path.rsplit("/", 1)[1]
        ticker = symbol.replace("-", ".")
        rows = self.rows(ticker)
        if rows.empty:
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return reply(404, {"chart": {"result": None, "error": error}})
        at = np.array([self._open(session) for session in rows["session"]])
        first, last = (int(asked.params.get(name, at[-1])) for name in ("period1", "period2"))
        rows, at = rows[at <= last], at[at <= last]  # what comes later is not known yet
        factor = np.ones(len(rows)) if self.adjusted else later_splits(rows)
        seen = rows.assign(
            **{name: rows[name] / factor for name in ("open", "high", "low", "close", "dividend")},
            volume=rows["volume"] * factor,
            at=at,
        )
        seen = seen[seen["at"] >= first]
        return reply(200, self._chart(symbol, seen, self.rows(ticker).iloc[-1]["close"]))

    def _chart(self, symbol: str, seen: pd.DataFrame, newest: float) -> dict:
        meta = {
            "currency": "USD",
            "symbol": symbol,
            "exchangeName": "NMS",
            "instrumentType": "EQUITY",
            "exchangeTimezoneName": "America/New_York",
            "regularMarketPrice": newest,
            "regularMarketTime": int(self.quoted_at.timestamp()),
            "regularMarketVolume": int(seen["volume"].iloc[-1]) if len(seen) else 0,
            "dataGranularity": "1d",
            "validRanges": ["1d", "5d", "max"],
            "priceHint": 2,
        }
        paid, split = seen[seen["dividend"] > 0], seen[seen["split"] != 1]
        events = {
            "dividends": {
                str(row["at"]): {"amount": row["dividend"], "date": row["at"]}
                for row in paid.to_dict("records")
            },
            "splits": {
                str(row["at"]): {
                    "date": row["at"],
                    "numerator": max(row["split"], 1.0),
                    "denominator": max(1 / row["split"], 1.0),
                    "splitRatio": "",
                }
                for row in split.to_dict("records")
            },
        }
        own = seen.assign(split=1.0)  # its closes hold the splits already
        adjusted = adjusted_closes(own, taken_off=True).tolist()
        numbers = {name: seen[name].tolist() for name in ("open", "high", "low", "close", "volume")}
        numbers["volume"] = [int(shares) for shares in numbers["volume"]]
        result = {
            "meta": meta,
            "timestamp": seen["at"].tolist(),
            "events": events,
            "indicators": {"quote": [numbers], "adjclose": [{"adjclose": adjusted}]},
        }
        return {"chart": {"result": [result], "error": None}}

    @staticmethod
    @cache
    def _open(session: date) -> int:
        day = pd.Timestamp(session).date()
        return int(datetime.combine(day, time(9, 30), NEW_YORK).astimezone(UTC).timestamp())
