"""The real vendors, wired to a replica."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
from pydantic import SecretStr

from quanta_pipelines.adapters.price_vendors.cache import NoCache, ReplyCache
from quanta_pipelines.adapters.price_vendors.http import HeaderKey, HttpSource, Patience, RateLimit
from quanta_pipelines.adapters.price_vendors.massive import MassiveVendor
from quanta_pipelines.adapters.price_vendors.reading import ReplyReader
from quanta_pipelines.adapters.price_vendors.replies import ReplyArchive
from quanta_pipelines.adapters.price_vendors.tiingo import TiingoVendor
from quanta_pipelines.adapters.price_vendors.vendor import AskedVendor
from quanta_pipelines.adapters.price_vendors.yahoo import YahooVendor
from quanta_pipelines.adapters.price_vendors.yahoo_source import YahooSource
from tests.vendor_replicas.formats import MassiveReplica, Replica, TiingoReplica, YahooReplica
from tests.vendor_replicas.truth import COLUMNS, later_splits, truth_table

NAMES = ("tiingo", "polygon", "yahoo")
KEY = "k3y-of-a-simulated-vendor"
TICKERS = ("AAPL", "BRK.B", "KO", "XOM")
FIRST, LAST = date(2019, 6, 3), date(2019, 8, 2)
FETCHED_AT = datetime(2019, 8, 3, 1, 0, tzinfo=UTC)  # in the evening of the last session
QUICK = Patience(connect=1.0, read=0.6, whole=1.0, retries=2, backoff=0.01, longest_wait=3.0)
REPLICAS: dict[str, type[Replica]] = {
    "tiingo": TiingoReplica,
    "polygon": MassiveReplica,
    "yahoo": YahooReplica,
}
TRUTH = truth_table(TICKERS, FIRST, LAST)


def replica_of(name: str, *, truth: pd.DataFrame = TRUTH, page: int = 50_000) -> Replica:
    return REPLICAS[name](truth, KEY, quoted_at=datetime(2019, 8, 2, 20, 0, tzinfo=UTC), page=page)


def vendor_at(
    name: str,
    url: str,
    home: Path,
    *,
    cache: ReplyCache | None = None,
    clock: Callable[[], datetime] = lambda: FETCHED_AT,
    patience: Patience = QUICK,
    rate: str = "10000 per second",
    key: str = KEY,
    watch_list: tuple[str, ...] = TICKERS,
) -> AskedVendor:
    archive = ReplyArchive(str(home / "lake"))
    reader = ReplyReader(archive, cache or NoCache(), clock)
    limit = RateLimit(rate, longest_wait=patience.longest_wait)
    if name == "yahoo":
        yahoo = YahooSource(limit, archive, home / "yfinance", url, patience, clock)
        return YahooVendor(watch_list=watch_list, reader=reader, fetch=yahoo.fetch)
    scheme, kind = {"tiingo": ("Token", TiingoVendor), "polygon": ("Bearer", MassiveVendor)}[name]
    http = HttpSource(url, HeaderKey(scheme, SecretStr(key)), limit, archive, patience, clock)
    return kind(watch_list=watch_list, reader=reader, fetch=http.fetch)


def as_traded(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """A vendor's rows on the basis of the truth table, one row per ticker and session.

    Yahoo's were adjusted for the splits that the truth knows.
    """
    rows = rows.copy()
    if name == "yahoo":
        factor = TRUTH.assign(
            factor=TRUTH.groupby("ticker", group_keys=False).apply(
                lambda one: pd.Series(later_splits(one), index=one.index), include_groups=False
            )
        )[["ticker", "session", "factor"]]
        rows = rows.merge(factor, on=["ticker", "session"], how="left")
        for column in ("open", "high", "low", "close", "dividend"):
            rows[column] *= rows["factor"]
        rows["volume"] /= rows["factor"]
    return rows.set_index(["ticker", "session"])[COLUMNS].sort_index()


def require_true(name: str, rows: pd.DataFrame) -> None:
    """Every row is the truth's, as far as it says anything; raises ``AssertionError``."""
    assert not rows.duplicated(["ticker", "session"]).any()
    seen = as_traded(name, rows)
    true = TRUTH.set_index(["ticker", "session"])[COLUMNS].reindex(seen.index)
    assert true["close"].notna().all(), "a row that the vendor never had"
    assert seen["close"].notna().all()
    told = seen.where(seen.notna(), true)  # unknown is not wrong
    pd.testing.assert_frame_equal(told, true, rtol=1e-12)
