"""What vendors saw, made comparable: one observation a vendor, ticker and session, as traded.

Refuses what no rule can settle. Whether vendors agree, and what is settled, is ``oracle``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch, sessions_before
from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

KEYS = ["ticker", "session", "vendor"]
_NUMBERS = ["close", "volume", "dividend", "split", "adjusted_close"]
_OPTIONAL = "adjusted_close"  # observations that were stored before it was read have no such column
_COLUMNS = [*KEYS, *_NUMBERS, "basis", "fetched_at"]
_TYPES = dict.fromkeys(_NUMBERS, "float64") | dict.fromkeys(
    ["ticker", "vendor", "basis"], "category"
)
_BASES = ("as_traded", "split_adjusted", "adjusted")
_SHOWN = 3  # rows that an error names
_ROUNDING = 9  # decimals: a cent apart is a cent apart, whatever binary fractions make of it


@dataclass(frozen=True, slots=True)
class VendorPanel:
    """Observations side by side: a row per ticker and session, a column per vendor, NaN unknown.

    Vendors stand in the order of primaries, then by name; rows by ticker, then session.
    """

    rows: pd.MultiIndex
    vendors: tuple[str, ...]
    close: FloatArray
    volume: FloatArray
    dividend: FloatArray
    split: FloatArray
    adjusted_close: FloatArray  # on each vendor's own scale, which compares with no other
    fetched_at: npt.NDArray[np.datetime64]


def first_observed(epoch: Epoch, params: ProtocolParams = QUANTA) -> date:
    """The first session that an epoch looks at: its lookback covers every window of a flag."""
    rules = params.market_data
    lookback = max(rules.anomaly_window, rules.volume_window, rules.dollar_volume_window) + 1
    return sessions_before(epoch.sessions[0], lookback)[0]


def vendor_panel(
    vendor_prices: pd.DataFrame,
    params: ProtocolParams = QUANTA,
    *,
    also: pd.MultiIndex | None = None,
) -> VendorPanel:
    """The observations that count, on the as-traded basis; ``also`` are rows nobody reports."""
    seen = _as_traded(vendor_prices, params)
    order = params.market_data.primary_order
    names = list(seen["vendor"].cat.categories)
    vendors = sorted(names, key=lambda name: (_place(name, order), name))
    column = np.array([vendors.index(name) for name in names], np.int64)[seen["vendor"].cat.codes]
    rows, place = _grid(seen, also)
    shape = (len(rows), len(vendors))
    numbers = {name: np.full(shape, np.nan) for name in _NUMBERS}
    for name, wide in numbers.items():
        wide[place, column] = seen[name]
    fetched_at = np.full(shape, np.datetime64("NaT"), dtype="M8[ns]")
    fetched_at[place, column] = seen["fetched_at"].dt.tz_convert(None)
    return VendorPanel(rows, tuple(vendors), **numbers, fetched_at=fetched_at)


def _grid(
    seen: pd.DataFrame, also: pd.MultiIndex | None
) -> tuple[pd.MultiIndex, npt.NDArray[np.int64]]:
    """Tickers and sessions, sorted, and which of them each row of ``seen``, sorted too, is."""
    ticker, session = seen["ticker"].cat.codes.to_numpy(), seen["session"].to_numpy()
    first = np.ones(len(seen), dtype=bool)
    first[1:] = (ticker[1:] != ticker[:-1]) | (session[1:] != session[:-1])
    rows = pd.MultiIndex.from_frame(_as_text(seen.loc[first, ["ticker", "session"]]))
    place = np.cumsum(first) - 1
    if also is None:
        return rows, place
    union = rows.union(also, sort=True)
    return pd.MultiIndex.from_frame(union.to_frame(index=False)), union.get_indexer(rows)[place]


def as_traded(vendor_prices: pd.DataFrame, params: ProtocolParams = QUANTA) -> pd.DataFrame:
    """The latest observation of each vendor, ticker and session, in as-traded dollars and shares.

    A split-adjusted row is multiplied by the later splits in the vendor's own rows of the ticker,
    as far as they had happened when the row was fetched; its volume is divided by them. Adjusted
    levels depend on the day of the fetch and compare with nothing: such a row counts only where no
    vendor has another basis for the ticker, and then its ratio is the whole return.
    """
    return _as_text(_as_traded(vendor_prices, params))


def _as_traded(vendor_prices: pd.DataFrame, params: ProtocolParams) -> pd.DataFrame:
    """As ``as_traded``, with ticker and vendor as categories in the order of their names."""
    seen = _latest(vendor_prices)
    if seen["basis"].eq("split_adjusted").any():
        factor = _later_splits(seen, params.epoch.timezone)
        seen["close"] *= factor
        seen["dividend"] *= factor
        seen["volume"] /= factor
    adjusted = seen["basis"] == "adjusted"
    if adjusted.any():
        level_known = seen["ticker"].isin(seen.loc[~adjusted & seen["close"].notna(), "ticker"])
        seen["dividend"] = seen["dividend"].mask(adjusted, 0.0)
        seen["split"] = seen["split"].mask(adjusted, 1.0)
        seen[_NUMBERS] = seen[_NUMBERS].mask(adjusted & level_known)
    return seen[[*KEYS, *_NUMBERS, "fetched_at"]]


def _latest(vendor_prices: pd.DataFrame) -> pd.DataFrame:
    """The latest row of each ticker, session and vendor, sorted by them, once all are checked."""
    seen = _checked(vendor_prices)
    order, again = _in_order(seen)
    last = np.ones(len(seen), dtype=bool)
    last[:-1] = ~again
    return seen.iloc[order[last]].reset_index(drop=True)


def _in_order(seen: pd.DataFrame) -> tuple[npt.NDArray[np.intp], BoolArray]:
    """Places of the rows by key and time of fetch, and which of them the next has the key of."""
    session, sessions = pd.factorize(seen["session"], sort=True)
    ticker, vendor = (seen[name].cat.codes.to_numpy(np.int64) for name in ("ticker", "vendor"))
    key = (ticker * max(len(sessions), 1) + session) * max(len(seen["vendor"].cat.categories), 1)
    key += vendor
    order = np.lexsort((seen["fetched_at"].to_numpy("M8[ns]"), key))
    ordered = key[order]
    return order, np.asarray(ordered[1:] == ordered[:-1])


def _twice_at_once(seen: pd.DataFrame) -> "pd.Series[bool]":
    """Rows that share their key and the time of their fetch with another one."""
    order, again = _in_order(seen)
    fetched_at = seen["fetched_at"].to_numpy("M8[ns]")[order]
    again &= fetched_at[1:] == fetched_at[:-1]
    twice = np.zeros(len(seen), dtype=bool)
    twice[order[1:][again]] = twice[order[:-1][again]] = True
    return pd.Series(twice, index=seen.index, dtype=bool)


def _as_text(seen: pd.DataFrame) -> pd.DataFrame:
    return seen.astype({name: object for name in ("ticker", "vendor") if name in seen})


def asked_vendors(vendor_prices: pd.DataFrame, asked: Collection[str] = ()) -> frozenset[str]:
    """Who was asked: ``asked``, the table's own column ``asked``, and whoever answered.

    An outage must not make a rule of two vendors a rule of one, so who was asked is part of the
    observations: names joined by commas, the same on every row. A table without the column was
    asked of those that answered.
    """
    names = set(vendor_prices["vendor"].unique()) | set(asked)
    if "asked" in vendor_prices.columns:
        names |= {name for told in vendor_prices["asked"].unique() for name in told.split(",")}
    return frozenset(names)


def near_median(values: FloatArray, *, bps: float, least: float) -> BoolArray:
    """Which values lie within the tolerance of their row's median, its limit included.

    The tolerance is the larger of ``bps`` basis points of the median and ``least``.
    """
    median = row_median(values)[:, None]
    tolerance = np.maximum(bps / 10_000 * median, least)
    return np.asarray(np.round(np.abs(values - median) - tolerance, _ROUNDING) <= 0.0)


def first_chosen(values: FloatArray, chosen: BoolArray) -> FloatArray:
    """The first chosen value of each row, NaN where none is."""
    if values.size == 0:
        return np.full(len(values), np.nan)
    known = chosen & ~np.isnan(values)
    first = np.arange(len(values)) * values.shape[1] + known.argmax(axis=1)
    return np.where(known.ravel()[first], values.ravel()[first], np.nan)


def row_count(chosen: BoolArray) -> npt.NDArray[np.int64]:
    """How many of each row are chosen; many times faster than a sum over short rows."""
    return np.asarray(chosen @ np.ones(chosen.shape[1], dtype=np.int64))


def row_median(values: FloatArray) -> FloatArray:
    """The median of each row's known values, NaN where none is known."""
    if values.size == 0:
        return np.full(len(values), np.nan)
    ordered = np.sort(values, axis=1)  # NaN last
    width = values.shape[1]
    known = row_count(np.isfinite(ordered))
    first = np.arange(0, ordered.size, width)
    low, high = np.maximum(known - 1, 0) // 2, np.minimum(known // 2, width - 1)
    flat = ordered.ravel()
    return np.asarray((flat[first + low] + flat[first + high]) / 2.0, dtype=np.float64)


def _later_splits(seen: pd.DataFrame, timezone: str) -> "pd.Series[float]":
    """Product of the splits after each split-adjusted row that its fetch could know of."""
    rows = seen.loc[seen["basis"] == "split_adjusted", [*KEYS, "fetched_at"]].reset_index()
    fetched_on = rows["fetched_at"].dt.tz_convert(timezone).dt.tz_localize(None)
    splits = seen.loc[seen["split"].notna() & seen["split"].ne(1.0), [*KEYS, "split"]]
    pairs = rows.assign(fetched_on=fetched_on).merge(
        splits, on=["vendor", "ticker"], suffixes=("", "_of_split")
    )
    known = (pairs["session"] < pairs["session_of_split"]) & (
        pairs["session_of_split"] <= pairs["fetched_on"]
    )
    products = pairs[known].groupby("index")["split"].prod()
    return products.reindex(seen.index, fill_value=1.0)


def _checked(vendor_prices: pd.DataFrame) -> pd.DataFrame:
    """The columns that count; raises ``InvalidPrices`` naming the first rows that are wrong."""
    absent = set(_COLUMNS) - {_OPTIONAL} - set(vendor_prices.columns)
    if absent:
        named = ", ".join(name for name in _COLUMNS if name in absent)
        raise InvalidPrices(f"observed prices lack the columns {named}")
    # Of millions of rows a column that fits is not copied; nothing here writes into one.
    columns: dict[str, pd.Series[Any]] = {
        name: vendor_prices[name] for name in _COLUMNS if name in vendor_prices.columns
    }
    columns.setdefault(_OPTIONAL, pd.Series(np.nan, index=vendor_prices.index))
    seen = pd.DataFrame(columns, copy=False).astype(_TYPES, copy=False)
    _refuse_text(seen["fetched_at"])
    seen["session"] = pd.to_datetime(seen["session"])
    if seen["session"].dt.tz is not None or seen["fetched_at"].dt.tz is None:
        raise InvalidPrices("session is a date without a time zone, fetched_at a time with one")
    _refuse(seen, seen[[*KEYS, "fetched_at"]].isna().any(axis=1), "without its full key")
    _refuse(seen, seen["session"] != seen["session"].dt.normalize(), "session is no midnight")
    _refuse(seen, _twice_at_once(seen), "observed twice at once")
    _refuse(seen, ~seen["basis"].isin(_BASES), f"basis is none of {', '.join(_BASES)}")
    positive = {"close": True, "split": True, "adjusted_close": True, "dividend": False}
    for name, least_is_wrong in positive.items():
        wrong = np.isinf(seen[name]) | (seen[name] < 0) | (least_is_wrong & (seen[name] == 0))
        _refuse(seen, wrong, f"{name} is not {'positive' if least_is_wrong else 'at least zero'}")
    _refuse(seen, np.isinf(seen["volume"]) | (seen["volume"] < 0), "volume is not at least zero")
    return seen


def _refuse_text(instants: "pd.Series[Any]") -> None:
    """Instants are compared and converted; text would have to be guessed at."""
    if not pd.api.types.is_datetime64_any_dtype(instants):
        shown = "" if instants.empty else f", {instants.iloc[0]!r}"
        raise InvalidPrices(
            f"{instants.name} holds times with a time zone, not {instants.dtype}{shown}"
        )


def _refuse(seen: pd.DataFrame, wrong: "pd.Series[bool]", reason: str) -> None:
    if not wrong.any():
        return
    rows = [
        f"{row.vendor} {row.ticker} {row.session:%Y-%m-%d} close {row.close} basis {row.basis}"
        for row in seen[wrong].head(_SHOWN).itertuples()
    ]
    raise InvalidPrices(f"{reason}: {wrong.sum()} rows, first {'; '.join(rows)}")


def _place(vendor: str, order: Sequence[str]) -> int:
    return order.index(vendor) if vendor in order else len(order)
