"""What a simulated vendor knows: days as traded, with dividends and splits, drawn from a seed."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.epoch import sessions_between

COLUMNS = ["open", "high", "low", "close", "volume", "dividend", "split"]


def truth_table(tickers: Sequence[str], first: date, last: date, *, seed: int = 7) -> pd.DataFrame:
    """One row per ticker and session, as traded; each ticker pays once and splits once."""
    rng = np.random.default_rng(seed)
    sessions = pd.DatetimeIndex(sessions_between(first, last))
    tables = []
    for ticker in sorted(tickers):
        count = len(sessions)
        split = np.ones(count)
        split[count // 2] = rng.choice([2.0, 4.0, 0.5])
        dividend = np.zeros(count)
        dividend[count // 3] = round(rng.uniform(0.1, 2.0), 2)
        path = rng.uniform(50, 400) * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
        close = np.round(path / np.cumprod(split), 2)
        tables.append(
            pd.DataFrame(
                {
                    "ticker": ticker,
                    "session": sessions,
                    "open": np.round(close * 0.995, 4),
                    "high": np.round(close * 1.01, 4),
                    "low": np.round(close * 0.985, 4),
                    "close": close,
                    "volume": 4.0 * rng.integers(250_000, 22_500_000, count),
                    "dividend": dividend,
                    "split": split,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def later_splits(rows: pd.DataFrame) -> np.ndarray:
    """Product of the splits after each row of one ticker's ordered rows."""
    backwards = np.cumprod(rows["split"].to_numpy()[::-1])[::-1]
    return np.append(backwards[1:], 1.0)


def adjusted_closes(rows: pd.DataFrame, *, taken_off: bool) -> np.ndarray:
    """Closes of one ticker's ordered rows less what was paid later, on the level of the last.

    Going back, each factor is what the session's close, split and dividend were of the close
    before; with ``taken_off`` the dividend lowers the close before instead, as Yahoo does it.
    """
    close, split, dividend = (rows[name].to_numpy() for name in ("close", "split", "dividend"))
    if not len(close):
        return close
    before, worth, cash = close[:-1], close[1:] * split[1:], dividend[1:]
    gain = worth / (before - cash) if taken_off else (worth + cash) / before
    later = np.append(np.cumprod(gain[::-1])[::-1], 1.0)
    return close[-1] / later
