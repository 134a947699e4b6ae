"""The vendors' newest quotes side by side: whom to trust, the primary's spot, the volumes' spot.

The tolerance is that of settled closes (``oracle``): a primary that the other vendors contradict is
none. Two vendors apart cannot tell who is wrong: both count, in order, and the flag says it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.market_hours import MarketClock
from quanta_pipelines.protocol.observations import BoolArray, FloatArray, near_median, row_median
from quanta_pipelines.protocol.params import MarketDataParams
from quanta_pipelines.protocol.quotes import set_aside

_NUMBERS = ["price", "bid", "ask", "volume"]
_BPS = 10_000
_SPREAD_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Spots:
    """What the newest quotes say.

    ``table`` has one row per quoted ticker, by ticker: ``primary`` and ``volume_weighted`` in
    dollars, primary_vendor, sources, n_vendors, bid, ask, spread_bps and anomaly. ``apart`` lists
    the spots beyond the tolerance as set aside.
    """

    table: pd.DataFrame
    apart: pd.DataFrame


@dataclass(frozen=True, slots=True)
class _Panel:
    """Quotes side by side: a row per ticker, a column per vendor in the order of primaries."""

    tickers: pd.Index
    vendors: tuple[str, ...]
    price: FloatArray
    bid: FloatArray
    ask: FloatArray
    volume: FloatArray


def newest_quotes(
    usable: pd.DataFrame, clock: MarketClock, rules: MarketDataParams
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The newest quote of each vendor and ticker, and those passed over as stale.

    A stale spot is passed over where another vendor has a fresh one, and counts where none has.
    """
    newest = usable.groupby(["ticker", "vendor"], sort=False).tail(1)
    limit = rules.max_price_staleness_seconds
    fresh = pd.Timestamp(clock.reference) - newest["at"] <= pd.Timedelta(seconds=limit)
    late = ~fresh & fresh.groupby(newest["ticker"]).transform("any").astype(bool)
    reason = f"older than {limit} s where another vendor's quote is not"
    return newest[~late], set_aside(newest[late], "spot", reason)


def spots_of(newest: pd.DataFrame, rules: MarketDataParams) -> Spots:
    """Both spots of each ticker, over the vendors that are trusted.

    A vendor is trusted within the tolerance of settled closes around the vendors' median; where
    none is, as between two vendors apart, all are. The volume-weighted spot weighs by the shares
    of the day that each vendor reports. The spread is that of the first trusted vendor with a bid
    and an ask, in basis points of their mid.
    """
    side = _side_by_side(newest, rules)
    present = np.isfinite(side.price)
    agrees = near_median(side.price, bps=rules.agreement_bps, least=rules.agreement_dollars)
    undecided = ~agrees.any(axis=1, keepdims=True)
    trusted = agrees | (present & undecided)
    listed = np.array([vendor in rules.primary_order for vendor in side.vendors], dtype=bool)
    quoted = trusted & np.isfinite(side.bid) & np.isfinite(side.ask)
    bid, ask = _first(side.bid, quoted), _first(side.ask, quoted)
    names = np.array(side.vendors, dtype=object)
    table = pd.DataFrame(
        {
            "primary": _first(side.price, trusted & listed),
            "volume_weighted": _volume_weighted(side, trusted),
            "primary_vendor": [next(iter(names[row]), "") for row in trusted & listed],
            "sources": [",".join(sorted(names[row])) for row in trusted],
            "n_vendors": present.sum(axis=1),
            "bid": bid,
            "ask": ask,
            "spread_bps": np.round((ask - bid) / ((ask + bid) / 2) * _BPS, _SPREAD_DECIMALS),
            "anomaly": (present & ~agrees).any(axis=1),
        },
        index=side.tickers,
    )
    return Spots(table, _apart(newest, side, present & ~agrees))


def _side_by_side(newest: pd.DataFrame, rules: MarketDataParams) -> _Panel:
    order = rules.primary_order
    places = {name: place for place, name in enumerate(order)}
    vendors = sorted(set(newest["vendor"]), key=lambda name: (places.get(name, len(order)), name))
    tickers = pd.Index(sorted(set(newest["ticker"])), name="ticker", dtype=object)
    row = tickers.get_indexer(pd.Index(newest["ticker"]))
    column = pd.Index(vendors, dtype=object).get_indexer(pd.Index(newest["vendor"]))
    numbers = {name: np.full((len(tickers), len(vendors)), np.nan) for name in _NUMBERS}
    for name, panel in numbers.items():
        panel[row, column] = newest[name]
    return _Panel(tickers, tuple(vendors), **numbers)


def _first(values: FloatArray, chosen: BoolArray) -> FloatArray:
    """The first chosen value of each row, NaN where none is."""
    if not values.size:
        return np.full(len(values), np.nan)
    place = chosen.argmax(axis=1)[:, None]
    found = np.take_along_axis(values, place, axis=1)[:, 0]
    return np.where(chosen.any(axis=1), found, np.nan)


def _volume_weighted(side: _Panel, trusted: BoolArray) -> FloatArray:
    """Mean price by volume, NaN where no trusted vendor has any."""
    shares = np.where(trusted & (side.volume > 0), side.volume, 0.0)
    dollars = np.where(shares > 0, side.price, 0.0) * shares
    total = shares.sum(axis=1)
    unknown = np.full(len(total), np.nan)
    mean = np.divide(dollars.sum(axis=1), total, out=unknown, where=total > 0)
    return np.asarray(mean, dtype=np.float64)


def _apart(newest: pd.DataFrame, side: _Panel, apart: BoolArray) -> pd.DataFrame:
    """The spots that disagree, with their distance from the median of all."""
    median = row_median(side.price)
    rows, columns = np.nonzero(apart)
    price = side.price[rows, columns]
    distance = (price / median[rows] - 1.0) * _BPS
    found = pd.DataFrame(
        {
            "ticker": side.tickers.to_numpy()[rows],
            "vendor": np.array(side.vendors, dtype=object)[columns],
            "reason": [
                f"{bps:+.1f} basis points from the vendors' median {level:.4f}"
                for bps, level in zip(distance, median[rows], strict=True)
            ],
        }
    )
    listed = newest.merge(found, on=["ticker", "vendor"])
    return set_aside(listed, "spot", listed["reason"])
