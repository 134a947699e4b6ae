"""What is odd about a settled price: columns of flags, none of which changes the price.

All inputs are one row per ticker and session, sorted by both; history is the ticker's own. What a
vendor's adjusted closes say is compared with that vendor's own other numbers, never with another's.
"""

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.observations import BoolArray, FloatArray, VendorPanel, row_median
from quanta_pipelines.protocol.params import MarketDataParams

_MIN_EARLIER = 10  # sessions, below which a ticker has no usual return or volume
_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_ROUNDING_ERROR = 1e-12  # of a return


def unusual_return(prices: pd.DataFrame, rules: MarketDataParams) -> "pd.Series[bool]":
    """A total return farther from the ticker's usual one than its robust sigma allows."""
    distance = prices.groupby("ticker")["total_return"].transform(
        lambda returns: _distance_in_sigma(returns.to_numpy(dtype=np.float64), rules.anomaly_window)
    )
    return distance > rules.anomaly_std_threshold


def low_volume(prices: pd.DataFrame, rules: MarketDataParams) -> "pd.Series[bool]":
    """A volume far under the mean of the ticker's earlier sessions."""
    mean = prices.groupby("ticker")["volume"].transform(
        lambda volume: volume.shift().rolling(rules.volume_window, _MIN_EARLIER).mean()
    )
    return prices["volume"] < rules.min_volume_threshold_percent / 100 * mean


def flat_line(prices: pd.DataFrame, rules: MarketDataParams) -> "pd.Series[bool]":
    """The same close without any trade for some sessions in a row; unknown volume is no zero."""
    flat = prices["volume"].eq(0.0)
    by_ticker = prices.groupby("ticker")
    for back in range(1, rules.flat_line_sessions):
        flat &= by_ticker["volume"].shift(back).eq(0.0)
        flat &= by_ticker["close"].shift(back).eq(prices["close"])
    return flat


def adjustment_mismatch(seen: VendorPanel, rules: MarketDataParams) -> BoolArray:
    """Sessions in which a vendor's adjusted close moved unlike its close, split and dividend.

    From the adjusted close before, those three lead to one of two: with the dividend added to the
    close, as a total return counts it, or taken off the close before, as Yahoo publishes it.
    Either within the tolerance of closes will do. Its cent, which dividends and adjusted closes
    may be rounded to, counts on the scale of the close as well, and grows with the gain. Adjusted
    history is restated, so the two sessions come from one fetch. The session before is the last
    that any vendor reports: a vendor without it is not compared.
    """
    mismatch = np.zeros(len(seen.rows), dtype=bool)
    if len(seen.rows) < 2 or not np.isfinite(seen.adjusted_close).any():
        return mismatch
    before, close = seen.adjusted_close[:-1], seen.close[:-1]
    now, shares_worth, cash = (
        values[1:] for values in (seen.adjusted_close, seen.close * seen.split, seen.dividend)
    )
    added = before * (shares_worth + cash) / close
    taken_off = before * shares_worth / np.where(close > cash, close - cash, np.nan)
    cent = rules.agreement_dollars * np.maximum(1.0, before / close)
    near = [
        np.abs(now - expected)
        <= np.maximum(
            rules.agreement_bps / 10_000 * expected, cent * np.maximum(1.0, expected / before)
        )
        for expected in (added, taken_off)
    ]
    ticker = seen.rows.codes[0]
    one_fetch = seen.fetched_at[1:] == seen.fetched_at[:-1]
    comparable = np.isfinite(now - added) & one_fetch & (ticker[1:] == ticker[:-1])[:, None]
    mismatch[1:] = (comparable & ~near[0] & ~near[1]).any(axis=1)
    return mismatch


def _distance_in_sigma(returns: FloatArray, window: int) -> FloatArray:
    """Distance from the median of the ``window`` returns before, over their scaled MAD.

    NaN with too few returns before. A series that never moved has sigma zero: then any move that
    is more than a rounding error is infinitely far.
    """
    padded = np.concatenate([np.full(window, np.nan), returns])
    earlier = np.lib.stride_tricks.sliding_window_view(padded, window)[:-1]
    usual = row_median(earlier)
    sigma = _MAD_TO_SIGMA * row_median(np.abs(earlier - usual[:, None]))
    distance = np.abs(returns - usual)
    enough = np.isfinite(earlier).sum(axis=1) >= min(_MIN_EARLIER, window)
    moved = np.where(distance > _ROUNDING_ERROR, np.inf, 0.0)
    far = np.divide(distance, sigma, out=moved, where=sigma > _ROUNDING_ERROR)
    return np.where(enough & np.isfinite(returns), far, np.nan)
