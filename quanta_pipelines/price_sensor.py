"""Live quotes while the market is open: a sensor that asks, stores and says what it stored.

It starts no run. A tick takes at most the deadline of a round and the wait for the store; prices
are computed by those who ask for them. The first tick after a session's close prunes the store.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Thread

import dagster as dg

from quanta_pipelines.adapters.live_quotes import NoQuoteVendor, quote_vendors, utc_now
from quanta_pipelines.adapters.price_poll import DEADLINE_SECONDS, poll
from quanta_pipelines.adapters.price_vendors import QuoteVendor
from quanta_pipelines.adapters.price_vendors.configured import read_watch_list
from quanta_pipelines.adapters.quote_store import QuoteStore
from quanta_pipelines.protocol.errors import UnknownSessions
from quanta_pipelines.protocol.market_hours import MarketClock
from quanta_pipelines.settings import current_settings

INTERVAL_SECONDS = 30


@dataclass(frozen=True)
class LiveQuotes:
    """Whom the sensor asks, for what, and where the answers go."""

    vendors: tuple[QuoteVendor, ...]
    tickers: tuple[str, ...]
    store: QuoteStore
    clock: Callable[[], dt.datetime] = utc_now
    deadline_seconds: float = DEADLINE_SECONDS
    retention: dt.timedelta = dt.timedelta(days=30)
    under_way: dict[str, Thread] = field(default_factory=dict)
    pruned: set[dt.date] = field(default_factory=set)
    """The last session after which the store was pruned."""

    def tick(self) -> str:
        """Asks when the market is open, else prunes; says what was done, or when it opens next."""
        now = self.clock()
        market = MarketClock.at(now)
        if not market.is_open:
            shut = f"the market is shut and opens at {market.next_open.isoformat()}"
            return shut + self._prune(market.session, now)
        done = poll(
            self.vendors,
            self.store,
            self.tickers,
            now,
            deadline_seconds=self.deadline_seconds,
            under_way=self.under_way,
        )
        return (
            f"{len(self.tickers)} tickers at {now.isoformat(timespec='seconds')}: {done.in_words()}"
        )

    def _prune(self, session: dt.date, now: dt.datetime) -> str:
        """Deletes what is older than its retention, once after each session of this process."""
        if session in self.pruned:
            return ""
        deleted = self.store.prune(now - self.retention)
        self.pruned.clear()
        self.pruned.add(session)
        return f"; {deleted} quotes past their retention deleted" if deleted else ""


@lru_cache(maxsize=1)
def _configured() -> LiveQuotes:
    """One for the process: vendors remember how often they may ask, and who is still busy."""
    settings = current_settings()
    vendors = quote_vendors(settings)
    tickers = read_watch_list(settings.watch_list) if settings.watch_list else ()
    store = QuoteStore.open(settings.quote_store_url)
    retention = dt.timedelta(days=settings.quote_retention_days)
    return LiveQuotes(vendors, tickers, store, retention=retention)


@dg.resource(description="Vendors, tickers and the store of live quotes of this deployment.")
def live_quotes_from_settings(_context: dg.InitResourceContext) -> LiveQuotes | None:
    """The live quotes of the current settings, nothing where no vendor gives any."""
    try:
        return _configured()
    except NoQuoteVendor:
        return None


@dg.sensor(
    name="live_quotes",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=(
        dg.DefaultSensorStatus.RUNNING
        if current_settings().poll_quotes
        else dg.DefaultSensorStatus.STOPPED
    ),
    description="Asks all vendors for live prices while the market is open, and stores them.",
)
def live_quotes_sensor(live_quotes: dg.ResourceParam[LiveQuotes | None]) -> dg.SkipReason:
    """What the tick did, as the reason why it asks for no run."""
    if live_quotes is None:
        return dg.SkipReason("no vendor of QUANTA_VENDORS gives live prices")
    try:
        return dg.SkipReason(live_quotes.tick())
    except UnknownSessions as unknown:
        return dg.SkipReason(str(unknown))
