"""Quotes as vendors gave them: which count, and why the others do not.

A quote that cannot be a price is set aside with its reason and leaves the other quotes alone; only
a table that is no table of quotes is refused. What the quotes mean together is ``live_price``.
"""

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidQuotes

QUOTE_KEY = ["vendor", "ticker", "at", "fetched_at"]
_NUMBERS = ["price", "bid", "ask", "volume"]
QUOTE_COLUMNS = ["vendor", "ticker", "at", *_NUMBERS, "fetched_at"]
SET_ASIDE_COLUMNS = [*QUOTE_KEY, "price", "part", "reason"]
_ORDER = ["ticker", "vendor", "at", "fetched_at"]
_SHOWN = 3  # rows that an error names


@dataclass(frozen=True, slots=True)
class JudgedQuotes:
    """Quotes that count, by ticker, vendor and time, and the parts of quotes that do not.

    ``usable`` has one row per vendor, ticker and ``at``, with NaN for a bid, an ask or a volume
    that is unknown or set aside. ``set_aside`` has one row per part (``quote``, ``bid and ask`` or
    ``volume``) with its ``reason``.
    """

    usable: pd.DataFrame
    set_aside: pd.DataFrame


def judge_quotes(quotes: pd.DataFrame, now: dt.datetime) -> JudgedQuotes:
    """Tells the quotes that count at ``now`` from the others.

    ``quotes``: vendor, ticker, at (time of the trade or quote), price, bid, ask (dollars), volume
    (shares of the day so far), fetched_at; NaN where a vendor says nothing. The same quote fetched
    again is one quote with the bid, ask and volume of the last fetch. Raises ``InvalidQuotes``
    for missing columns, times without a zone, incomplete keys and numbers that are none.
    """
    seen, twice = _each_once(_checked(quotes))
    moment = pd.Timestamp(now)
    price = seen["price"]
    reasons = (
        (~np.isfinite(price) | (price <= 0), "price is not a positive number"),
        ((seen["at"] > moment) | (seen["fetched_at"] > moment), "from the future"),
        (seen["at"] > seen["fetched_at"], "dated after it was fetched"),
        (twice, "two different quotes at once"),
    )
    asides = [set_aside(seen[:0], "quote", "")]
    wrong = np.zeros(len(seen), dtype=bool)
    for found, reason in reasons:
        asides += _asides(seen, found & ~wrong, "quote", reason)
        wrong |= found.to_numpy()
    ordered = seen[~wrong].sort_values(_ORDER, ignore_index=True)
    usable, replaced = _latest_fetch(ordered)
    doubtful, known = _doubtful_parts(usable)
    return JudgedQuotes(known, joined([*asides, *replaced, *doubtful]))


def set_aside(rows: pd.DataFrame, part: str, reason: "str | pd.Series[str]") -> pd.DataFrame:
    """Rows of quotes as they are listed when a part of them does not count."""
    return rows.assign(part=part, reason=reason)[SET_ASIDE_COLUMNS]


def joined(asides: list[pd.DataFrame]) -> pd.DataFrame:
    """Everything that was set aside, in one table in the order of ticker, vendor and time."""
    rows = [found for found in asides if not found.empty] or asides[:1]
    table = pd.concat(rows, ignore_index=True)
    return table.sort_values([*_ORDER, "part", "reason", "price"], ignore_index=True)


def _each_once(quotes: pd.DataFrame) -> tuple[pd.DataFrame, "pd.Series[bool]"]:
    """Equal rows once, and which of the others share a key."""
    twice = quotes.duplicated(QUOTE_KEY, keep=False)
    if not twice.any():
        return quotes, twice
    seen = quotes.drop_duplicates(ignore_index=True)
    return seen, seen.duplicated(QUOTE_KEY, keep=False)


def _asides(
    rows: pd.DataFrame, chosen: "pd.Series[bool]", part: str, reason: str
) -> list[pd.DataFrame]:
    """The chosen rows as set aside; nothing where none is, which is nearly always."""
    return [set_aside(rows[chosen], part, reason)] if chosen.any() else []


def _latest_fetch(ordered: pd.DataFrame) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """The last fetch of each quote, and earlier fetches that said another price."""
    same = ["ticker", "vendor", "at"]
    later = ordered.duplicated(same, keep="last")
    if not later.any():
        return ordered, []
    last_price = ordered.groupby(same, sort=False)["price"].transform("last")
    reason = "replaced by a later fetch with another price"
    replaced = _asides(ordered, later & (ordered["price"] != last_price), "quote", reason)
    return ordered[~later].reset_index(drop=True), replaced


def _doubtful_parts(usable: pd.DataFrame) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """The bid and ask, or the volume, of quotes that cannot be; and the quotes without them."""
    bid, ask, volume = usable["bid"], usable["ask"], usable["volume"]
    wrong = (bid.notna() & ~((bid > 0) & np.isfinite(bid))) | (
        ask.notna() & ~((ask > 0) & np.isfinite(ask))
    )
    crossed = (bid > ask) & ~wrong
    odd_volume = volume.notna() & ~((volume >= 0) & np.isfinite(volume))
    doubtful = [
        *_asides(usable, wrong, "bid and ask", "bid or ask is not a positive number"),
        *_asides(usable, crossed, "bid and ask", "bid is above ask"),
        *_asides(usable, odd_volume, "volume", "volume is not at least zero"),
    ]
    unknown = wrong | crossed
    known = usable.assign(
        bid=bid.mask(unknown), ask=ask.mask(unknown), volume=volume.mask(odd_volume)
    )
    return doubtful, known


def _checked(quotes: pd.DataFrame) -> pd.DataFrame:
    """The columns of quotes with their types; raises ``InvalidQuotes``."""
    if absent := [name for name in QUOTE_COLUMNS if name not in quotes.columns]:
        raise InvalidQuotes(f"quotes lack the columns {', '.join(absent)}")
    try:
        seen = quotes[QUOTE_COLUMNS].reset_index(drop=True)
        seen = seen.astype(dict.fromkeys(_NUMBERS, np.float64))
    except (TypeError, ValueError) as error:
        raise InvalidQuotes(f"price, bid, ask and volume are numbers: {error}") from error
    for name in ("at", "fetched_at"):
        if not isinstance(seen[name].dtype, pd.DatetimeTZDtype):
            raise InvalidQuotes(f"{name} holds times with a time zone, not {seen[name].dtype}")
        seen[name] = seen[name].dt.tz_convert("UTC").dt.as_unit("ns")
    unnamed = seen[QUOTE_KEY].isna().any(axis=1)
    if unnamed.any():
        first = seen.loc[unnamed, QUOTE_KEY].head(_SHOWN).to_dict("records")
        raise InvalidQuotes(f"{unnamed.sum()} quotes without their full key, first {first}")
    return seen
