"""Splits and dividends: which ones vendors agree on, and what a share returned through them.

A split or dividend is settled like a close. One that nobody contradicts counts, one on which
vendors disagree is unknown, and a return that needs an unknown one is unknown as well.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.observations import (
    BoolArray,
    FloatArray,
    VendorPanel,
    first_chosen,
    near_median,
    row_count,
)
from quanta_pipelines.protocol.params import MarketDataParams

NO_SPLIT, NO_DIVIDEND = 1.0, 0.0


@dataclass(frozen=True, slots=True)
class Actions:
    """The settled split and dividend of each row, NaN where unknown."""

    split: FloatArray
    dividend: FloatArray
    apart: BoolArray  # some vendor that was heard says something else than the others


def settled_actions(
    seen: VendorPanel, agrees: BoolArray, *, required: int, rules: MarketDataParams
) -> Actions:
    """What the vendors that ``agrees`` on a close say happened; all of them where none was agreed.

    ``agrees`` is all False in a row without an agreed close. A vendor that states nothing does not
    vote: what one states and none contradicts counts. Of a row that nobody reports, nothing
    happened; of a row with a close and without a statement nobody knows.
    """
    heard = agrees | ~agrees.any(axis=1, keepdims=True)
    reported = np.isfinite(seen.close).any(axis=1)
    splits, dividends = (np.where(heard, said, np.nan) for said in (seen.split, seen.dividend))
    split, splits_apart = _voted(
        splits, NO_SPLIT, required, near_median(splits, bps=rules.agreement_bps, least=0.0)
    )
    cents = near_median(dividends, bps=rules.agreement_bps, least=rules.agreement_dollars)
    dividend, dividends_apart = _voted(dividends, NO_DIVIDEND, required, cents)
    return Actions(
        split=np.where(reported | np.isfinite(splits).any(axis=1), split, NO_SPLIT),
        dividend=np.where(reported | np.isfinite(dividends).any(axis=1), dividend, NO_DIVIDEND),
        apart=splits_apart | dividends_apart,
    )


def _voted(
    stated: FloatArray, none: float, required: int, near: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """The first value of those ``near`` the median, and where a stated value is none of them.

    That something happened never agrees with that nothing did, however small it is: the larger
    side counts, and of two equal ones neither.
    """
    known = np.isfinite(stated)
    happened = known & (stated != none)
    stated_by = row_count(known)
    more = (2 * row_count(happened) - stated_by)[:, None]
    near = near & np.where(happened, more > 0, more < 0)
    enough = row_count(near) >= np.clip(stated_by, 1, required)
    value = np.where(enough, first_chosen(stated, near), np.nan)
    return value, np.asarray((known & ~near).any(axis=1))


def ambiguous(seen: VendorPanel) -> BoolArray:
    """Rows in which a vendor states a split and a dividend at once.

    Whether the cash is paid on an old share or on a new one differs from vendor to vendor, and a
    spin-off is often booked as both.
    """
    split = np.isfinite(seen.split) & (seen.split != NO_SPLIT)
    return np.asarray((split & (seen.dividend > NO_DIVIDEND)).any(axis=1))


def since_last_close(rows: pd.DataFrame, closes: FloatArray) -> "pd.Series[int]":
    """Groups of rows: the sessions without a close of a ticker, and the close that ends them."""
    begins = _first_of_ticker(rows)
    begins[1:] |= np.isfinite(closes[:-1])
    return pd.Series(np.cumsum(begins), dtype="int64")


def last_close(rows: pd.DataFrame, closes: FloatArray) -> "pd.Series[float]":
    """The close before each row that its return is measured from, NaN where there is none."""
    at = np.arange(len(closes))
    own_first = np.maximum.accumulate(np.where(_first_of_ticker(rows), at, 0))
    last = np.maximum.accumulate(np.where(np.isfinite(closes), at, -1))
    before = np.concatenate([[-1], last[:-1]]) if len(closes) else at
    return pd.Series(np.where(before >= own_first, closes[before], np.nan))


def _first_of_ticker(rows: pd.DataFrame) -> BoolArray:
    """Which rows, sorted by ticker, are the first of theirs."""
    ticker = rows["ticker"].to_numpy()
    return np.concatenate([[True], ticker[1:] != ticker[:-1]]) if len(rows) else np.empty(0, bool)


def total_returns(rows: pd.DataFrame, closes: FloatArray, actions: Actions) -> FloatArray:
    """Return of one share held since the last close, cash not reinvested.

    NaN without a close at either end, or where a split or dividend in between is unknown.
    """
    since = since_last_close(rows, closes)
    unknown = np.isnan(actions.split) | np.isnan(actions.dividend)
    split = pd.Series(np.where(unknown, NO_SPLIT, actions.split))
    cash = pd.Series(np.where(unknown, NO_DIVIDEND, actions.dividend))
    shares = split.groupby(since, sort=False).cumprod()
    received = (
        (cash * shares.groupby(since, sort=False).shift(fill_value=1.0))
        .groupby(since, sort=False)
        .cumsum()
    )
    worth = shares * closes + received
    returns = worth / last_close(rows, closes) - 1.0
    lost = pd.Series(unknown.astype(np.int64)).groupby(since, sort=False).cummax().eq(1)
    return np.where(lost, np.nan, returns)
