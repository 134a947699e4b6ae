"""The answer to "what does it cost now": ask the vendors, store, and apply the rule.

Without vendors it answers from the store alone, as a reader beside the poller does.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quanta_pipelines.adapters.price_poll import DEADLINE_SECONDS, Poll, poll
from quanta_pipelines.adapters.price_vendors.configured import configured_vendors
from quanta_pipelines.adapters.price_vendors.interface import QuoteVendor
from quanta_pipelines.adapters.quote_store import QuoteStore
from quanta_pipelines.protocol.live_price import LivePrices, live_prices
from quanta_pipelines.protocol.market_hours import MarketClock
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.twap import window_opens
from quanta_pipelines.settings import Settings


class NoQuoteVendor(ValueError):
    """A deployment in which no vendor gives live prices."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Prices as of a moment, and the round of questions before it."""

    now: dt.datetime
    live: LivePrices
    round: Poll


def quote_vendors(settings: Settings) -> tuple[QuoteVendor, ...]:
    """The configured vendors that give live prices, in the order of the setting.

    Raises ``NoQuoteVendor``, and what ``configured_vendors`` raises.
    """
    vendors = configured_vendors(settings)
    found = tuple(vendor for vendor in vendors if isinstance(vendor, QuoteVendor))
    if not found:
        names = ", ".join(vendor.name for vendor in vendors)
        raise NoQuoteVendor(
            f"no vendor of QUANTA_VENDORS gives live prices (configured: {names}): name tiingo, "
            "polygon or yahoo"
        )
    return found


def utc_now() -> dt.datetime:
    """The time of this machine."""
    return dt.datetime.now(dt.UTC)


def ask_prices(
    vendors: Sequence[QuoteVendor],
    store: QuoteStore,
    tickers: Sequence[str],
    *,
    clock: Callable[[], dt.datetime] = utc_now,
    deadline_seconds: float = DEADLINE_SECONDS,
    params: ProtocolParams = QUANTA,
) -> Answer:
    """Prices of some tickers, after a round of questions; as of the end of that round."""
    asked = poll(vendors, store, tickers, clock(), deadline_seconds=deadline_seconds)
    now = clock()
    return Answer(now, stored_prices(store, tickers, now, params), asked)


def stored_prices(
    store: QuoteStore, tickers: Sequence[str], now: dt.datetime, params: ProtocolParams = QUANTA
) -> LivePrices:
    """Prices of some tickers at a moment, from what the store heard up to then.

    The 24 hours of the average are read, with whatever was fetched in them: a quote that was old
    when a vendor gave it counts as that vendor's spot, and its age shows.
    """
    since = window_opens(MarketClock.at(now))
    quotes = store.read(tickers, since, now)
    return live_prices(quotes, now, tickers=tickers, params=params)
