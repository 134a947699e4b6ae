"""The live price: the weighted median of an average, the primary's spot and the volumes' spot.

Reference prices while an epoch runs; nothing that is scored or paid reads them. The average is in
``twap``, which quotes count in ``quotes``, when the market is open in ``market_hours``.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidQuotes
from quanta_pipelines.protocol.market_hours import MarketClock
from quanta_pipelines.protocol.params import QUANTA, MarketDataParams, ProtocolParams
from quanta_pipelines.protocol.quotes import joined, judge_quotes
from quanta_pipelines.protocol.spots import newest_quotes, spots_of
from quanta_pipelines.protocol.twap import time_weighted_average

COMPONENTS = ("twap", "primary", "volume_weighted")
_ROUNDING = 9  # decimals of a dollar: sums of floats differ in their last bits between machines
PRICE_COLUMNS = [
    *("ticker", "price", *COMPONENTS, *(f"{name}_weight" for name in COMPONENTS)),
    *("primary_vendor", "sources", "n_vendors", "bid", "ask", "spread_bps"),
    *("at", "age_seconds", "anomaly", "stale", "reason"),
]


@dataclass(frozen=True, slots=True)
class LivePrices:
    """Prices of one moment, and the quotes that do not count in them.

    ``prices`` has one row per ticker, sorted: the price and its three components in dollars (NaN
    where there is none) with the weights that applied, which sum to one; the vendor of the primary
    spot, the vendors trusted (``sources``) and how many were compared; bid and ask of one vendor
    and their distance in basis points of the mid; the time of the newest quote and its age; flags;
    and ``reason``, which is empty or says why there is no price. ``set_aside`` is described at
    ``JudgedQuotes``; it lists beside those the spots that were passed over, as part ``spot``.
    """

    prices: pd.DataFrame
    set_aside: pd.DataFrame


def live_prices(
    quotes: pd.DataFrame,
    now: dt.datetime,
    *,
    tickers: Iterable[str] | None = None,
    params: ProtocolParams = QUANTA,
) -> LivePrices:
    """The price of each ticker at ``now``, of those in ``quotes`` unless ``tickers`` are named.

    ``quotes`` as ``judge_quotes`` takes them, at least of the 24 hours that ``twap.window_opens``
    begins; of older ones only the newest of each vendor counts, as a spot. A ticker without a
    price has its row with the reason. ``stale``: the newest quote is older than
    ``max_price_staleness_seconds``, against the last close while the market is shut. ``anomaly``:
    a vendor lies farther from the median of the vendors than the tolerance of settled closes.
    Raises ``InvalidQuotes``, and ``UnknownSessions`` outside the table of sessions.
    """
    rules = params.market_data
    clock = MarketClock.at(now)
    judged = judge_quotes(quotes, clock.now)
    wanted = sorted(set(quotes["ticker"] if tickers is None else tickers))
    usable = judged.usable[judged.usable["ticker"].isin(wanted)]
    newest, late = newest_quotes(usable, clock, rules)
    spots = spots_of(newest, rules)
    index = pd.Index(wanted, name="ticker", dtype=object)
    components = spots.table.reindex(index)
    components["twap"] = time_weighted_average(usable, clock, rules).reindex(index)
    prices = _combined(components, rules)
    prices = _with_flags(prices, usable, clock, rules)
    asides = [judged.set_aside, late, spots.apart]
    return LivePrices(prices.reset_index()[PRICE_COLUMNS], joined(asides))


def weighted_median(values: Sequence[float], weights: Sequence[Fraction]) -> float:
    """The value at which the cumulative weight, in the order of the values, passes one half.

    Where it is exactly one half, the midpoint of that value and the next one that has a weight.
    Weights need not sum to one; they are compared as fractions, since 0.3 + 0.2 in binary is not
    0.5. Specification 2.1.
    """
    if len(values) != len(weights) or any(weight < 0 for weight in weights):
        raise InvalidQuotes(f"{len(values)} values with weights {list(map(str, weights))}")
    ordered = sorted((v, w) for v, w in zip(values, weights, strict=True) if w > 0)
    if not ordered or not np.isfinite(values).all():
        raise InvalidQuotes(f"no median of values {list(values)} with {list(map(str, weights))}")
    total, reached = sum((weight for _, weight in ordered), Fraction(0)), Fraction(0)
    for place, (value, weight) in enumerate(ordered):
        reached += weight
        if 2 * reached == total:
            return (value + ordered[place + 1][0]) / 2
        if 2 * reached > total:
            break
    return value


def _combined(components: pd.DataFrame, rules: MarketDataParams) -> pd.DataFrame:
    """Components with the weights that apply, and the price they give."""
    full = [
        Fraction(str(weight))
        for weight in (rules.twap_weight, rules.primary_weight, rules.volume_weighted_weight)
    ]
    known = components[list(COMPONENTS)].to_numpy(dtype=np.float64).round(_ROUNDING)
    prices = np.full(len(components), np.nan)
    applied = np.zeros(known.shape)
    for row, values in enumerate(known):
        present = [at for at in range(len(full)) if np.isfinite(values[at]) and full[at] > 0]
        if not present:
            continue
        weights = [full[at] for at in present]
        prices[row] = weighted_median(values[present].tolist(), weights)
        applied[row, present] = [float(weight / sum(weights)) for weight in weights]
    names = [f"{name}_weight" for name in COMPONENTS]
    table = components.join(pd.DataFrame(applied, columns=names, index=components.index))
    return table.assign(
        price=np.round(prices, _ROUNDING), **dict(zip(COMPONENTS, known.T, strict=True))
    )


def _with_flags(
    prices: pd.DataFrame, usable: pd.DataFrame, clock: MarketClock, rules: MarketDataParams
) -> pd.DataFrame:
    """Age of the newest quote, staleness, and why there is no price."""
    newest = usable.groupby("ticker")["at"].max().reindex(prices.index)
    age = (pd.Timestamp(clock.reference) - newest).dt.total_seconds().clip(lower=0.0)
    quoted = newest.notna()
    reason = np.where(
        prices["price"].notna(),
        "",
        np.where(quoted, "no vendor of the order, no volume and no average", "no usable quote"),
    )
    return prices.assign(
        sources=prices["sources"].astype(object).fillna(""),
        primary_vendor=prices["primary_vendor"].astype(object).fillna(""),
        n_vendors=prices["n_vendors"].fillna(0).astype(np.int64),
        at=newest,
        age_seconds=age,
        stale=~quoted | (age > rules.max_price_staleness_seconds),
        anomaly=prices["anomaly"].eq(1),  # NaN, a ticker without a quote, is no flag
        reason=reason,
    )
