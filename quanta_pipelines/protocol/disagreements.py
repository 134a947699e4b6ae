"""Where vendors differ and why: per vendor and ticker for an operator, per cell for a dispute.

Settling does not depend on it. A reason is found by looking at all sessions of a ticker at once,
which one session's rule can not.
"""

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.observations import (
    BoolArray,
    FloatArray,
    VendorPanel,
    as_traded,
    asked_vendors,
    near_median,
    row_median,
    vendor_panel,
)
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


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


_REPORT = {
    "vendor": "object",
    "ticker": "object",
    "sessions_compared": "int64",
    "sessions_apart": "int64",
    "first_session": "datetime64[ns]",
    "last_session": "datetime64[ns]",
    "ratio": "float64",
    "kind": "object",
    "agreeing": "object",
}


def disagreements(vendor_prices: pd.DataFrame, params: ProtocolParams = QUANTA) -> pd.DataFrame:
    """One row per vendor and ticker whose close lay outside the tolerance in some session.

    Sessions count as compared where another vendor has a close too. ``ratio`` is the median, over
    the sessions apart, of the vendor's close over the median of the others', both as traded.
    ``kind`` is that of ``classify_disagreement``; ``agreeing`` are the vendors that lay within the
    tolerance in any of those sessions, joined by commas, none where nobody agreed.
    """
    seen, rules = vendor_panel(vendor_prices, params), params.market_data
    near = near_median(seen.close, bps=rules.agreement_bps, least=rules.agreement_dollars)
    found = [
        row
        for vendor in range(len(seen.vendors))
        for row in _apart_tickers(seen, near, vendor, params)
    ]
    report = pd.DataFrame(found, columns=list(_REPORT)).astype(_REPORT)
    return report.sort_values(["vendor", "ticker"], ignore_index=True)


def _apart_tickers(
    seen: VendorPanel, near: BoolArray, vendor: int, params: ProtocolParams
) -> list[tuple[object, ...]]:
    """The report's rows of one vendor."""
    ratio = seen.close[:, vendor] / row_median(np.delete(seen.close, vendor, axis=1))
    rows = seen.rows.to_frame(index=False).assign(
        ratio=ratio, apart=~near[:, vendor], place=np.arange(len(ratio))
    )
    rows = rows[np.isfinite(ratio)]
    named: list[tuple[object, ...]] = []
    ever = rows["ticker"].isin(rows.loc[rows["apart"], "ticker"])
    for ticker, own in rows[ever].groupby("ticker"):
        apart = own[own["apart"]]
        agreed = near[apart["place"].to_numpy()].any(axis=0)
        named.append(
            (
                *(seen.vendors[vendor], ticker, len(own), len(apart)),
                *(apart["session"].min(), apart["session"].max(), apart["ratio"].median()),
                classify_disagreement(own["ratio"].to_numpy(), params),
                ",".join(sorted(np.array(seen.vendors, dtype=object)[agreed])),
            )
        )
    return named


def vendors_said(
    cells: pd.DataFrame, vendor_prices: pd.DataFrame, params: ProtocolParams = QUANTA
) -> list[str]:
    """What each vendor that was asked said of each ticker and session of ``cells``, in words.

    Closes are as traded: ``tiingo 101.25 split 2, yahoo no answer``.
    """
    seen = as_traded(vendor_prices, params).set_index(["ticker", "session", "vendor"])
    asked = sorted(asked_vendors(vendor_prices))
    said = {key: _in_words(row) for key, row in zip(seen.index, seen.itertuples(), strict=True)}
    return [
        ", ".join(f"{name} {said.get((ticker, day, name), 'no answer')}" for name in asked)
        for ticker, day in zip(cells["ticker"], cells["session"], strict=True)
    ]


def _in_words(row: object) -> str:
    """One observation: its close, and what is odd or unknown about split and dividend."""
    close, split, dividend = (getattr(row, name) for name in ("close", "split", "dividend"))
    words = ["no close" if np.isnan(close) else f"{close:.12g}"]
    for name, value, none in (("split", split, 1.0), ("dividend", dividend, 0.0)):
        if np.isnan(value):
            words.append(f"{name} unknown")
        elif value != none:
            words.append(f"{name} {value:.12g}")
    return " ".join(words)
