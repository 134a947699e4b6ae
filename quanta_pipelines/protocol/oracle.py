"""From what vendors saw to one settled price a session, and the price table of an epoch.

Comparing happens on the as-traded basis (``observations``), splits and dividends are settled in
``corporate_actions``; what is odd about a price is in ``price_flags``, what may be held in
``universe``. Nothing is carried forward or filled in here: a price that is disputed or missing is
NaN with its status. An operator's correction (``corrections``) is data and wins over vendors.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.corporate_actions import (
    Actions,
    ambiguous,
    last_close,
    settled_actions,
    since_last_close,
    total_returns,
)
from quanta_pipelines.protocol.corrections import CORRECTION, Corrected, corrected_cells
from quanta_pipelines.protocol.disagreements import classify_disagreement
from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.observations import (
    BoolArray,
    FloatArray,
    VendorPanel,
    asked_vendors,
    first_chosen,
    near_median,
    row_count,
    row_median,
    vendor_panel,
)
from quanta_pipelines.protocol.params import QUANTA, MarketDataParams, ProtocolParams
from quanta_pipelines.protocol.price_flags import (
    adjustment_mismatch,
    flat_line,
    low_volume,
    unusual_return,
)
from quanta_pipelines.protocol.universe import DENIED, universe

__all__ = [
    "DENIED",
    "benchmark_returns",
    "classify_disagreement",
    "data_hash",
    "differing_cells",
    "epoch_prices",
    "settle_closes",
    "settled_values",
    "universe",
    "universe_returns",
]

_SETTLED_COLUMNS = [
    *("ticker", "session", "close", "total_return", "n_vendors", "sources", "status"),
    *("anomaly", "stale", "low_volume", "flat_line", "adjustment_mismatch"),
]
_EPOCH_COLUMNS = ["epoch_id", *_SETTLED_COLUMNS, "carried_sessions", "in_universe"]


@dataclass(frozen=True, slots=True)
class _Agreed:
    """What vendors agree on and an operator corrected, a row per ticker and session."""

    seen: VendorPanel
    rows: pd.DataFrame  # ticker as a number, which groups faster than its text, and session
    near: BoolArray  # [rows, vendors]: within the tolerance of the median
    close: FloatArray  # NaN where too few agree
    actions: Actions
    corrected: Corrected


def settle_closes(
    vendor_prices: pd.DataFrame,
    params: ProtocolParams = QUANTA,
    *,
    asked: Collection[str] = (),
    corrections: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row per ticker and session that a vendor reports or a correction names, sorted by both.

    A close is settled where enough vendors lie near their median, and what happened to the share
    since the close before is known: the primary's close if it is one of them, else the median of
    those. ``total_return`` is against the last agreed close, with the splits and dividends since.
    ``n_vendors`` were compared, ``sources`` agree. How many are enough follows from who was asked:
    ``asked`` or the column ``asked`` of ``vendor_prices``, not from who answered. ``corrections``
    has the columns ticker, session, field, new_value.
    """
    rules = params.market_data
    agreed = _agreed(vendor_prices, params, asked, corrections)
    prices, actions = agreed.rows.copy(), agreed.actions
    returns = total_returns(prices, agreed.close, actions)
    begins = last_close(prices, agreed.close).isna().to_numpy()
    settled = np.isfinite(agreed.close) & (begins | np.isfinite(returns))
    compared = np.isfinite(agreed.seen.close)
    known = compared.any(axis=1) | agreed.corrected.rows
    prices["close"] = np.where(settled, agreed.close, np.nan)
    prices["n_vendors"] = row_count(compared)
    prices["sources"] = _sources(agreed)
    prices["status"] = np.select([settled, known], ["settled", "disputed"], "missing")
    prices["status"] = prices["status"].astype(object)
    prices["volume"] = row_median(agreed.seen.volume)
    prices["total_return"] = np.where(settled, returns, np.nan)
    odd = unusual_return(prices, rules).to_numpy() | ambiguous(agreed.seen)
    prices["anomaly"] = odd | _contradicted(agreed) | agreed.corrected.rows
    prices["stale"] = prices["status"] == "missing"
    prices["low_volume"] = low_volume(prices, rules)
    prices["flat_line"] = flat_line(prices, rules)
    prices["adjustment_mismatch"] = adjustment_mismatch(agreed.seen, rules)
    prices["ticker"] = agreed.seen.rows.get_level_values("ticker")
    return prices[_SETTLED_COLUMNS]


def settled_values(
    vendor_prices: pd.DataFrame,
    params: ProtocolParams = QUANTA,
    *,
    asked: Collection[str] = (),
    corrections: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What is settled now of each ticker and session: close, dividend and split, NaN where not."""
    agreed = _agreed(vendor_prices, params, asked, corrections)
    return agreed.seen.rows.to_frame(index=False).assign(
        close=agreed.close, dividend=agreed.actions.dividend, split=agreed.actions.split
    )


def _agreed(
    vendor_prices: pd.DataFrame,
    params: ProtocolParams,
    asked: Collection[str],
    corrections: pd.DataFrame | None,
) -> _Agreed:
    rules = params.market_data
    several = len(asked_vendors(vendor_prices, asked)) > 1
    required = rules.required_vendors if several else 1
    also = None if corrections is None else pd.MultiIndex.from_frame(_cells_of(corrections))
    seen = vendor_panel(vendor_prices, params, also=also)
    near = near_median(seen.close, bps=rules.agreement_bps, least=rules.agreement_dollars)
    agrees = near & (row_count(near) >= required)[:, None]
    actions = settled_actions(seen, agrees, required=required, rules=rules)
    corrected = corrected_cells(corrections, seen.rows)
    return _Agreed(
        seen=seen,
        rows=seen.rows.to_frame(index=False).assign(ticker=seen.rows.codes[0]),
        near=near,
        close=corrected.over("close", _agreed_close(seen, agrees, rules)),
        actions=replace(
            actions,
            split=corrected.over("split", actions.split),
            dividend=corrected.over("dividend", actions.dividend),
        ),
        corrected=corrected,
    )


def _cells_of(corrections: pd.DataFrame) -> pd.DataFrame:
    return corrections[["ticker", "session"]].drop_duplicates()


def _agreed_close(seen: VendorPanel, agrees: BoolArray, rules: MarketDataParams) -> FloatArray:
    """The primary's close where it agrees, else the median of those that agree."""
    listed = np.array([vendor in rules.primary_order for vendor in seen.vendors], dtype=bool)
    present = np.isfinite(seen.close)
    primary = present & listed & (np.cumsum(present, axis=1) == 1)  # the first that has a close
    own = first_chosen(seen.close, primary & agrees)
    others = row_median(np.where(agrees, seen.close, np.nan))
    return np.where(np.isfinite(own), own, others)


def _contradicted(agreed: _Agreed) -> BoolArray:
    """Rows whose return rests on something that a vendor contradicts.

    That is a close, split or dividend since the last agreed close, or that close itself.
    """
    closes_apart = (np.isfinite(agreed.seen.close) & ~agreed.near).any(axis=1)
    since = since_last_close(agreed.rows, agreed.close)
    now = (
        pd.Series((closes_apart | agreed.actions.apart).astype(np.int64))
        .groupby(since, sort=False)
        .cummax()
    )
    at_closes = np.where(np.isfinite(agreed.close), closes_apart, np.nan)
    return np.asarray(now.eq(1) | last_close(agreed.rows, at_closes).eq(1.0))


def _sources(agreed: _Agreed) -> "pd.Series[str]":
    """Names of the vendors that agree, and of the correction; it alone where it gave the close."""
    closes = agreed.corrected.fields["close"]
    by_vendors = agreed.near & ~np.isfinite(closes)[:, None]
    chosen = np.column_stack([by_vendors, agreed.corrected.rows])
    return _names([*agreed.seen.vendors, CORRECTION], chosen)


def _names(vendors: Sequence[str], chosen: BoolArray) -> "pd.Series[str]":
    """Names of the chosen vendors of each row, sorted and joined by commas."""
    codes = pd.Series(chosen @ (1 << np.arange(len(vendors))), dtype=np.int64)
    label = {
        code: ",".join(sorted(name for bit, name in enumerate(vendors) if code >> bit & 1))
        for code in codes.unique()
    }
    return codes.map(label).astype(object)


def epoch_prices(
    vendor_prices: pd.DataFrame,
    *,
    epoch_id: str,
    sessions: Sequence[date],
    entry_session: date,
    params: ProtocolParams = QUANTA,
    corrections: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row per ticker that a vendor reports and session of the epoch, priced or not.

    ``vendor_prices`` reach back before ``entry_session``, the close from which returns start, as
    far as flags and volumes look; so do ``corrections``. ``carried_sessions`` counts the sessions
    in a row without a settled close, so far; ``in_universe`` is what held at ``entry_session``.
    """
    settled = settle_closes(vendor_prices, params, corrections=corrections)
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
    for flag in ("anomaly", "low_volume", "flat_line", "adjustment_mismatch"):
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


def universe_returns(prices: pd.DataFrame) -> "pd.Series[float]":
    """Total return of the equal-weighted universe by session; NaN where nothing in it is priced.

    ``prices`` is what ``epoch_prices`` returns, of one epoch or of several.
    """
    held = prices[prices["in_universe"]].sort_values(["session", "ticker"])
    returns = held.groupby("session")["total_return"].mean()
    sessions = np.sort(prices["session"].unique())
    return returns.reindex(sessions).rename("universe_return").rename_axis("session")


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
