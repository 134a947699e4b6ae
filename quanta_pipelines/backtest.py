"""What today's weights would have returned in the past: an analysis for miners, never a score.

Whoever chooses weights today knows the past, so the best backtest belongs to whoever buys last
quarter's winners. Ranks come from held portfolios alone (``protocol.returns.epoch_returns``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date

import numpy as np
import pandas as pd

from quanta_pipelines.adapters.price_vendors import PriceVendor
from quanta_pipelines.protocol import oracle, returns
from quanta_pipelines.protocol.epoch import Epoch, sessions_before, sessions_between
from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.metrics import HorizonMetrics, measure
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.portfolio import Positions, parse_portfolio

LABEL = "hindsight: weights of today on past prices; never ranks anyone"


@dataclass(frozen=True, slots=True)
class HorizonBacktest:
    """One horizon: its last sessions, measured as a held portfolio would be."""

    horizon: int
    first_session: str
    metrics: dict[str, float | None]  # by the names of ``HorizonMetrics``; None where undefined


@dataclass(frozen=True, slots=True)
class Backtest:
    """A portfolio on the prices before ``as_of``; nothing in it may enter a rank."""

    label: str
    portfolio_hash: str
    as_of: str  # the last session that was measured
    horizons: tuple[HorizonBacktest, ...]  # shortest first


def backtest(
    positions: Positions,
    *,
    as_of: date,
    vendors: Sequence[PriceVendor],
    params: ProtocolParams = QUANTA,
) -> Backtest:
    """Measures a portfolio over the 7, 30 and 90 sessions that end with ``as_of``.

    ``positions`` are submitted weights, ``{"AAPL": "0.15", ...}``, within the limits of a
    submission. Turnover is zero: nothing is traded. A ticker without a price is refused.
    """
    portfolio = parse_portfolio(positions, params=params)
    sessions = _sessions(as_of, max(params.scoring.horizons))
    prices = _prices(portfolio.tickers, sessions, vendors, params)
    trailing = returns.trailing_returns(portfolio.scored_weights(), prices, params)
    return Backtest(
        label=LABEL,
        portfolio_hash=portfolio.hash,
        as_of=f"{as_of}",
        horizons=tuple(_measured(trailing, horizon, params) for horizon in params.scoring.horizons),
    )


def _sessions(as_of: date, count: int) -> tuple[date, ...]:
    """The last sessions up to ``as_of``, which must be one itself."""
    if not sessions_between(as_of, as_of):
        raise InvalidPrices(f"{as_of} is no session: the exchange was closed")
    return (*sessions_before(as_of, count - 1), as_of)


def _prices(
    tickers: Sequence[str],
    sessions: Sequence[date],
    vendors: Sequence[PriceVendor],
    params: ProtocolParams,
) -> pd.DataFrame:
    """Settled prices of the tickers, the first return included."""
    entry = sessions_before(sessions[0], 1)[0]
    seen = pd.concat(
        [vendor.observe(tickers, entry, sessions[-1]) for vendor in vendors], ignore_index=True
    ).assign(asked=",".join(sorted(vendor.name for vendor in vendors)))
    if unknown := sorted(set(tickers) - set(seen["ticker"])):
        raise InvalidPrices(f"no vendor has prices of {', '.join(unknown)} up to {sessions[-1]}")
    prices = oracle.epoch_prices(
        seen,
        epoch_id=Epoch.containing(sessions[-1]).id,
        sessions=sessions,
        entry_session=entry,
        params=params,
    )
    _require_priced(prices, sessions[0], params)
    return prices


def _require_priced(prices: pd.DataFrame, first: date, params: ProtocolParams) -> None:
    """Every ticker has a return in the first session, and later no gap too long to be carried."""
    begins = (prices["session"] == pd.Timestamp(first)) & prices["total_return"].isna()
    broken = prices["carried_sessions"] > params.market_data.max_carried_sessions
    for row in prices[begins | broken].head(1).itertuples():
        raise InvalidPrices(f"{row.ticker} has no return on {row.session:%Y-%m-%d}")


def _measured(
    trailing: "pd.Series[float]", horizon: int, params: ProtocolParams
) -> HorizonBacktest:
    recent = trailing.iloc[-horizon:]
    series = np.asarray(recent, dtype=np.float64)[np.newaxis]
    found = measure(series, np.zeros(1), params.scoring)
    numbers = {field.name: float(getattr(found, field.name)[0]) for field in fields(HorizonMetrics)}
    return HorizonBacktest(
        horizon=horizon,
        first_session=f"{recent.index[0]:%Y-%m-%d}",
        metrics={name: None if np.isnan(value) else value for name, value in numbers.items()},
    )
