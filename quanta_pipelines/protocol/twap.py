"""Time-weighted average price of the last 24 hours: what each vendor saw, weighted by its time.

Only time in which the market is open counts, and a quote speaks for the time until the vendor's
next one, at most until it is stale. Why so, and what "spaced" means, is decision 0016.
"""

import datetime as dt

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.epoch import session_close, session_open, sessions_between
from quanta_pipelines.protocol.market_hours import MarketClock
from quanta_pipelines.protocol.params import MarketDataParams

WINDOW = dt.timedelta(hours=24)
_NS = 1_000_000_000


def window_opens(clock: MarketClock) -> dt.datetime:
    """Where the 24 hours begin: before now, or before the last close while the market is shut."""
    return clock.reference - WINDOW


def time_weighted_average(
    usable: pd.DataFrame, clock: MarketClock, rules: MarketDataParams
) -> "pd.Series[float]":
    """The average by ticker: the median of the averages of those vendors that have one.

    ``usable`` as ``judge_quotes`` gives it. A vendor has an average for a ticker when its quotes
    fall into at least ``twap_min_quotes`` different intervals of ``price_cache_ttl_seconds``,
    counted from 1970: a burst fills one, or two. Tickers without any average are absent.
    """
    quotes = _in_session(usable, clock)
    # one number for each ticker and vendor: grouping by two columns of text takes most of the time
    group = quotes.groupby(["ticker", "vendor"]).ngroup()
    at = quotes["at_ns"]
    until = np.minimum(
        at.groupby(group).shift(-1, fill_value=np.iinfo(np.int64).max),
        np.minimum(quotes["closes_ns"], at + rules.max_price_staleness_seconds * _NS),
    )
    seconds = (np.minimum(until, _ns(clock.now)) - at) / _NS
    sums = pd.DataFrame({"dollars": quotes["price"] * seconds, "seconds": seconds})
    sums = sums.groupby(group).sum()
    interval = max(rules.price_cache_ttl_seconds * _NS, 1)
    enough = (at // interval).groupby(group).nunique() >= rules.twap_min_quotes
    sums = sums[enough & (sums["seconds"] > 0)]
    ticker = quotes.groupby(group)["ticker"].first().loc[sums.index]
    return (sums["dollars"] / sums["seconds"]).groupby(ticker).median()


def _in_session(usable: pd.DataFrame, clock: MarketClock) -> pd.DataFrame:
    """Quotes inside the window and inside a session, with the close of their session."""
    opens_at = window_opens(clock)
    sessions = sessions_between(opens_at.date(), clock.session)
    opens = np.array([_ns(session_open(session)) for session in sessions], dtype=np.int64)
    closes = np.array([_ns(session_close(session)) for session in sessions], dtype=np.int64)
    at = usable["at"].astype("int64").to_numpy()
    place = np.searchsorted(opens, at, side="right") - 1
    inside = (place >= 0) & (at < closes[place]) & (at > _ns(opens_at))
    quotes = usable.loc[inside, ["ticker", "vendor", "price"]]
    return quotes.assign(at_ns=at[inside], closes_ns=closes[place[inside]])


def _ns(moment: dt.datetime) -> int:
    return pd.Timestamp(moment).value
