"""From what vendors saw to one settled price a session, and the price table of an epoch.

Comparing happens on the as-traded basis (``observations``); what is odd about a price is in
``price_flags``, what may be held in ``universe``. Nothing is carried forward or filled in here:
a price that is disputed or missing is NaN with its status.
"""

import hashlib
from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.observations import (
    BoolArray,
    FloatArray,
    VendorPanel,
    row_median,
    vendor_panel,
)
from quanta_pipelines.protocol.params import QUANTA, MarketDataParams, ProtocolParams
from quanta_pipelines.protocol.price_flags import flat_line, low_volume, unusual_return
from quanta_pipelines.protocol.universe import DENIED, universe

__all__ = [
    "DENIED",
    "benchmark_returns",
    "classify_disagreement",
    "data_hash",
    "differing_cells",
    "epoch_prices",
    "settle_closes",
    "universe",
]

_ROUNDING = 9  # decimals: a cent apart is a cent apart, whatever binary fractions make of it
_SETTLED_COLUMNS = [
    *("ticker", "session", "close", "total_return", "n_vendors", "sources", "status"),
    *("anomaly", "stale", "low_volume", "flat_line"),
]
_EPOCH_COLUMNS = ["epoch_id", *_SETTLED_COLUMNS, "carried_sessions", "in_universe"]


def settle_closes(vendor_prices: pd.DataFrame, params: ProtocolParams = QUANTA) -> pd.DataFrame:
    """One row per ticker and session that a vendor reports, sorted by both.

    A close is settled where enough vendors lie near their median: the primary's if it is one of
    them, else the median of those. ``total_return`` is against the last settled close, with the
    splits and dividends since. ``n_vendors`` were compared, ``sources`` agree.
    """
    rules = params.market_data
    seen = vendor_panel(vendor_prices, params)
    agrees = _near_median(seen.close, rules)
    required = rules.required_vendors if len(seen.vendors) > 1 else 1
    compared = np.isfinite(seen.close)
    settled = compared.any(axis=1) & (agrees.sum(axis=1) >= required)
    prices = seen.rows.to_frame(index=False)
    prices["close"] = np.where(settled, _agreed_close(seen, agrees, rules), np.nan)
    prices["n_vendors"] = compared.sum(axis=1).astype(np.int64)
    prices["sources"] = _names(seen.vendors, agrees)
    prices["status"] = np.select(
        [settled, compared.any(axis=1)], ["settled", "disputed"], "missing"
    )
    prices["status"] = prices["status"].astype(object)
    prices["volume"] = row_median(seen.volume)
    prices["total_return"] = _total_returns(prices, seen, agrees)
    explained = ((seen.split != 1.0) & np.isfinite(seen.split)) | (seen.dividend > 0.0)
    unusual = unusual_return(prices, rules).to_numpy() & ~explained.any(axis=1)
    prices["anomaly"] = unusual | (compared & ~agrees).any(axis=1)
    prices["stale"] = prices["status"] == "missing"
    prices["low_volume"] = low_volume(prices, rules)
    prices["flat_line"] = flat_line(prices, rules)
    return prices[_SETTLED_COLUMNS]


def _near_median(close: FloatArray, rules: MarketDataParams) -> BoolArray:
    """Which vendors lie within the tolerance of the row's median, its limit included."""
    median = row_median(close)[:, None]
    tolerance = np.maximum(rules.agreement_bps / 10_000 * median, rules.agreement_dollars)
    return np.asarray(np.round(np.abs(close - median) - tolerance, _ROUNDING) <= 0.0)


def _agreed_close(seen: VendorPanel, agrees: BoolArray, rules: MarketDataParams) -> FloatArray:
    """The primary's close where it agrees, else the median of those that agree."""
    listed = np.array([vendor in rules.primary_order for vendor in seen.vendors], dtype=bool)
    present = np.isfinite(seen.close)
    primary = present & listed & (np.cumsum(present, axis=1) == 1)  # the first that has a close
    own = _first(seen.close, primary & agrees)
    others = row_median(np.where(agrees, seen.close, np.nan))
    return np.where(np.isfinite(own), own, others)


def _total_returns(prices: pd.DataFrame, seen: VendorPanel, agrees: BoolArray) -> FloatArray:
    """Return of one share held since the last settled close, cash not reinvested."""
    settled = prices["close"].notna().to_numpy()
    stated = np.isfinite(seen.split) & np.isfinite(seen.dividend)
    heard = stated & (agrees | ~settled[:, None])
    silent = ~settled & ~heard.any(axis=1)  # in a gap what nobody states did not happen
    split = pd.Series(_first(seen.split, heard)).mask(silent, 1.0)
    cash = pd.Series(_first(seen.dividend, heard)).mask(silent, 0.0)
    ticker = prices["ticker"]
    closes = pd.Series(settled.astype(np.int64))
    since = [ticker, closes.groupby(ticker).cumsum() - closes]  # a gap and the close that ends it
    shares = split.groupby(since).cumprod()
    received = (cash * shares.groupby(since).shift(fill_value=1.0)).groupby(since).cumsum()
    before = prices["close"].groupby(ticker).ffill().groupby(ticker).shift()
    return ((prices["close"] * shares + received) / before - 1.0).to_numpy(dtype=np.float64)


def _first(values: FloatArray, chosen: BoolArray) -> FloatArray:
    """The first chosen value of each row, NaN where none is."""
    masked = pd.DataFrame(np.where(chosen, values, np.nan))
    if masked.empty:
        return np.full(len(values), np.nan)
    return masked.bfill(axis=1).iloc[:, 0].to_numpy(dtype=np.float64)


def _names(vendors: Sequence[str], chosen: BoolArray) -> "pd.Series[str]":
    """Names of the chosen vendors of each row, sorted and joined by commas."""
    codes = pd.Series(chosen @ (1 << np.arange(len(vendors))), dtype=np.int64)
    label = {
        code: ",".join(sorted(name for bit, name in enumerate(vendors) if code >> bit & 1))
        for code in codes.unique()
    }
    return codes.map(label).astype(object)


def classify_disagreement(ratios: FloatArray, params: ProtocolParams = QUANTA) -> str:
    """Why a vendor is apart: ``constant_ratio``, ``varying_ratio`` or ``isolated``.

    ``ratios`` has shape (sessions,): the vendor's closes over the others', oldest first. Sessions
    apart that are never consecutive are isolated prints; a lasting ratio that stays the same is a
    wrong adjustment basis, one that moves is another security.
    """
    tolerance = params.market_data.agreement_bps / 10_000
    apart = np.abs(ratios - 1.0) > tolerance
    if not apart.any():
        raise InvalidPrices(f"none of {ratios.size} ratios is apart by more than {tolerance}")
    if not (apart[1:] & apart[:-1]).any():
        return "isolated"
    level = np.median(ratios[apart])
    same = np.abs(ratios[apart] / level - 1.0) <= tolerance
    return "constant_ratio" if same.all() else "varying_ratio"


def epoch_prices(
    vendor_prices: pd.DataFrame,
    *,
    epoch_id: str,
    sessions: Sequence[date],
    entry_session: date,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """One row per ticker that a vendor reports and session of the epoch, priced or not.

    ``vendor_prices`` reach back before ``entry_session``, the close from which returns start, as
    far as flags and volumes look. ``carried_sessions`` counts the sessions in a row without a
    settled close, so far; ``in_universe`` is what held at ``entry_session``.
    """
    settled = settle_closes(vendor_prices, params)
    tickers = sorted(settled["ticker"].unique())
    wanted = pd.DatetimeIndex(list(sessions))
    grid = pd.MultiIndex.from_product(
        [tickers, wanted.union(pd.DatetimeIndex(settled["session"].unique()))],
        names=["ticker", "session"],
    )
    prices = settled.set_index(["ticker", "session"]).reindex(grid).reset_index()
    prices["status"] = prices["status"].fillna("missing")
    prices["sources"] = prices["sources"].fillna("")
    prices["n_vendors"] = prices["n_vendors"].fillna(0).astype(np.int64)
    for flag in ("anomaly", "low_volume", "flat_line"):
        prices[flag] = prices[flag].eq(1)  # NaN, a row that nobody reports, is no flag
    prices["stale"] = prices["status"] == "missing"
    prices["carried_sessions"] = _carried(prices)
    prices["in_universe"] = prices["ticker"].isin(
        universe(vendor_prices, settled, entry_session, params)
    )
    prices.insert(0, "epoch_id", epoch_id)
    return prices.loc[prices["session"].isin(wanted), _EPOCH_COLUMNS].reset_index(drop=True)


def benchmark_returns(prices: pd.DataFrame, params: ProtocolParams = QUANTA) -> "pd.Series[float]":
    """Total return by session: the benchmark's, else the equal-weighted universe's.

    ``prices`` is what ``epoch_prices`` returns. The benchmark counts only where every session has
    its return; one series is never half of the one and half of the other.
    """
    ordered = prices.sort_values(["ticker", "session"])
    own = ordered[ordered["ticker"] == params.market_data.benchmark]
    returns = own.set_index("session")["total_return"]
    if returns.empty or returns.isna().any():
        held = ordered[ordered["in_universe"]]
        returns = held.groupby("session")["total_return"].mean()
    returns = returns.reindex(np.sort(prices["session"].unique()))
    if unknown := [f"{day:%Y-%m-%d}" for day in returns.index[returns.isna()]]:
        raise InvalidPrices(
            f"neither {params.market_data.benchmark} nor any ticker of the universe has a return "
            f"on {', '.join(unknown)}"
        )
    return returns.rename("benchmark_return").rename_axis("session")


def data_hash(prices: pd.DataFrame) -> str:
    """SHA-256 over the settled table: ticker, session, close with 6 decimals, status."""
    cells = _canonical(prices)
    lines = cells.index.to_frame().assign(close=cells["close"], status=cells["status"])
    text = lines.to_csv(index=False, header=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def differing_cells(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """The cells on which two validators' data hashes differ: one row per cell, with both texts.

    A row that only one of them has differs in both cells and reads ``absent`` for the other.
    """
    texts = pd.DataFrame(
        {
            side: _canonical(prices).rename_axis(columns="column").stack()
            for side, prices in (("left", left), ("right", right))
        }
    )
    texts = texts.fillna("absent")
    return texts[texts["left"] != texts["right"]].sort_index().reset_index()


def _carried(prices: pd.DataFrame) -> "pd.Series[int]":
    """Length so far of the run without a settled close, 0 where there is one."""
    open_run = (prices["status"] != "settled").astype(np.int64)
    runs = (1 - open_run).groupby(prices["ticker"]).cumsum()
    return open_run.groupby([prices["ticker"], runs]).cumsum()


def _canonical(prices: pd.DataFrame) -> pd.DataFrame:
    """Close and status as text by ticker and session, sorted; an unknown close is empty."""
    cells = prices[["ticker", "close", "status"]].assign(
        session=prices["session"].dt.strftime("%Y-%m-%d"),
        close=[f"{close:.6f}" if close == close else "" for close in prices["close"]],
    )
    return cells.set_index(["ticker", "session"]).sort_index()
