"""What is odd about a settled price: columns of flags, none of which changes the price.

All inputs are one row per ticker and session, sorted by both; history is the ticker's own.
"""

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.observations import FloatArray, row_median
from quanta_pipelines.protocol.params import MarketDataParams

_MIN_EARLIER = 10  # sessions, below which a ticker has no usual return or volume
_MAD_TO_SIGMA = 1.4826  # of a normal distribution


def unusual_return(prices: pd.DataFrame, rules: MarketDataParams) -> "pd.Series[bool]":
    """A total return beyond the robust sigma of the ticker's earlier sessions."""
    sigma = prices.groupby("ticker")["total_return"].transform(
        lambda returns: _robust_sigma(returns.to_numpy(dtype=np.float64), rules.anomaly_window)
    )
    return prices["total_return"].abs() > rules.anomaly_std_threshold * sigma


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


def _robust_sigma(returns: FloatArray, window: int) -> FloatArray:
    """Scaled median absolute deviation of the ``window`` returns before each one."""
    padded = np.concatenate([np.full(window, np.nan), returns])
    earlier = np.lib.stride_tricks.sliding_window_view(padded, window)[:-1]
    deviation = np.abs(earlier - row_median(earlier)[:, None])
    enough = np.isfinite(earlier).sum(axis=1) >= min(_MIN_EARLIER, window)
    return np.where(enough, _MAD_TO_SIGMA * row_median(deviation), np.nan)
