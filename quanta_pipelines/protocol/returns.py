"""From held weights and settled prices to one return per miner and session.

A session is paid by the weights that were revealed for its epoch, never by later ones. What a
miner holds comes from ``portfolio``, what a session returned from ``oracle``; risk measures live
in ``metrics``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidPortfolio, InvalidPrices
from quanta_pipelines.protocol.metrics import LOWEST_RETURN, FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


@dataclass(frozen=True, slots=True)
class HeldReturns:
    """What portfolios returned: rows are portfolios, columns sessions."""

    portfolio: FloatArray
    unpriced_weight: FloatArray  # share without a price that may be carried


@dataclass(frozen=True, slots=True)
class _Prices:
    """Settled prices of some tickers: rows are sessions, columns tickers."""

    sessions: pd.DatetimeIndex
    total_returns: FloatArray
    carried: FloatArray


def held_returns(
    weights: FloatArray,
    total_returns: FloatArray,
    carried: FloatArray,
    params: ProtocolParams = QUANTA,
) -> HeldReturns:
    """Returns of portfolios with constant weights, or bought and held where weights ``drift``.

    ``weights`` is ``[p, k]`` over tickers, ``total_returns`` and ``carried`` (sessions in a row
    without a settled close) are ``[s, k]``. A ticker without a return (NaN) earns zero; its weight
    counts as unpriced once its last price is too old to be carried.
    """
    if np.isinf(total_returns).any() or not np.isfinite(weights).all():
        raise InvalidPrices(
            "weights and returns of tickers are finite; only a return may be absent"
        )
    earned = np.nan_to_num(total_returns, nan=0.0)
    unpriced = carried > params.market_data.max_carried_sessions
    gains = _drifted(weights, earned) if params.scoring.drift else _summed(weights, earned)
    # Weights sum up to rounding: none loses more than everything, none misses a limit it meets
    share = np.round(_summed(weights, unpriced.astype(np.float64)), 9)
    return HeldReturns(np.maximum(gains, LOWEST_RETURN), np.clip(share, 0.0, 1.0))


def compounded(prices: pd.DataFrame) -> "pd.Series[float]":
    """What each ticker of ``ValidatedPrices`` returned over all its sessions; unpriced ones earn 0.

    Multiplied in the order of the sessions.
    """
    ordered = prices.sort_values(["ticker", "session"])
    growth = (1.0 + ordered["total_return"].fillna(0.0)).groupby(ordered["ticker"]).cumprod()
    return growth.groupby(ordered["ticker"]).last() - 1.0


def turnover(weights_now: FloatArray, weights_before: FloatArray | None) -> FloatArray:
    """One-way turnover between target weights ``[..., k]``; 0 for a first portfolio."""
    if weights_before is None:
        return np.zeros(weights_now.shape[:-1])
    changed = np.abs(weights_now - weights_before)
    # Running sums keep the order of tickers: others' tickers add exact zeros and change no bit
    return np.asarray(np.cumsum(changed, axis=-1)[..., -1] / 2.0)


def epoch_returns(
    portfolios: pd.DataFrame,
    previous: pd.DataFrame | None,
    prices: pd.DataFrame,
    benchmark: "pd.Series[float]",
    *,
    epoch_id: str,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """Table ``PortfolioReturns``: one row per miner of ``portfolios`` and session of ``prices``.

    ``portfolios`` and ``previous`` are tables ``Portfolios`` of this epoch and the one before,
    ``prices`` is ``ValidatedPrices``, ``benchmark`` holds total returns by session.
    """
    miners = portfolios.drop_duplicates("hotkey").sort_values("hotkey").reset_index(drop=True)
    tickers = _tickers(portfolios, previous)
    weights = _weights(portfolios, miners["hotkey"], tickers)
    priced = _pivot(prices, tickers)
    held = held_returns(weights, priced.total_returns, priced.carried, params)
    traded = _traded(weights, miners, previous, tickers, epoch_id)
    n_miners, n_sessions = held.portfolio.shape
    by_miner = miners.loc[miners.index.repeat(n_sessions)].reset_index(drop=True)
    by_session = benchmark.reindex(priced.sessions).to_numpy(dtype=np.float64)
    return pd.DataFrame(
        {
            "epoch_id": pd.Series(epoch_id, index=by_miner.index, dtype=object),
            "hotkey": by_miner["hotkey"],
            "session": np.tile(priced.sessions.to_numpy(), n_miners),
            "portfolio_return": held.portfolio.ravel(),
            "benchmark_return": np.tile(by_session, n_miners),
            "unpriced_weight": held.unpriced_weight.ravel(),
            "turnover": np.repeat(traded, n_sessions),
            "filled_epochs": by_miner["filled_epochs"],
            "history_epoch": by_miner["history_epoch"],
        }
    )


def trailing_returns(
    weights: Mapping[str, float], prices: pd.DataFrame, params: ProtocolParams = QUANTA
) -> "pd.Series[float]":
    """What today's weights would have returned in the past: an analysis made with hindsight.

    It favours whoever buys last quarter's winners, so it is offered to miners and never ranks
    anyone. One return per session of ``prices``.
    """
    tickers = pd.Index(sorted(weights))
    priced = _pivot(prices, tickers)
    row = np.array([[weights[ticker] for ticker in tickers]], dtype=np.float64)
    held = held_returns(row, priced.total_returns, priced.carried, params)
    return pd.Series(held.portfolio[0], index=priced.sessions, name="trailing_return")


def _summed(weights: FloatArray, values: FloatArray) -> FloatArray:
    """``weights @ values.T`` in ticker order, so that no BLAS and no other miner moves a bit."""
    by_ticker = np.ascontiguousarray(weights.T)
    total = np.zeros((values.shape[0], weights.shape[0]))
    for weight, value in zip(by_ticker, values.T, strict=True):
        if value.any():  # adding zeros changes no bit
            total += value[:, np.newaxis] * weight
    return np.ascontiguousarray(total.T)


def _drifted(weights: FloatArray, earned: FloatArray) -> FloatArray:
    start = np.ones((1, earned.shape[1]))
    value = _summed(weights, np.concatenate([start, np.cumprod(1.0 + earned, axis=0)]))
    before, after = value[:, :-1], value[:, 1:]
    growth = np.divide(after, before, out=np.ones_like(after), where=before > 0.0)
    return growth - 1.0  # nothing is left to lose after a total loss


def _tickers(portfolios: pd.DataFrame, previous: pd.DataFrame | None) -> pd.Index:
    held = portfolios["ticker"]
    if previous is not None:
        held = pd.concat([held, previous["ticker"]])
    return pd.Index(np.sort(held.unique()))


def _weights(portfolios: pd.DataFrame, hotkeys: "pd.Series[str]", tickers: pd.Index) -> FloatArray:
    """Weights ``[p, k]`` of the miners in ``hotkeys``; zero where nothing is held."""
    miner, found = pd.factorize(portfolios["hotkey"])
    ticker = tickers.get_indexer(pd.Index(portfolios["ticker"]))
    if pd.Index(miner * len(tickers) + ticker).has_duplicates:
        raise InvalidPortfolio("a miner holds a ticker twice")
    row = pd.Index(hotkeys).get_indexer(found)[miner]
    known = row >= 0
    weights = np.zeros((len(hotkeys), len(tickers)))
    weights[row[known], ticker[known]] = portfolios["weight"].to_numpy()[known]
    return weights


def _pivot(prices: pd.DataFrame, tickers: pd.Index) -> _Prices:
    """Prices of ``tickers``; one that is absent has no return and no price to carry."""
    if prices.duplicated(["ticker", "session"]).any():
        raise InvalidPrices("a ticker has two prices in one session")
    sessions = pd.DatetimeIndex(np.sort(prices["session"].unique()))
    known = prices[prices["ticker"].isin(tickers)]
    cells = (
        sessions.get_indexer(pd.Index(known["session"])),
        tickers.get_indexer(pd.Index(known["ticker"])),
    )
    shape = (len(sessions), len(tickers))
    total_returns, carried = np.full(shape, np.nan), np.full(shape, np.inf)
    total_returns[cells] = known["total_return"]
    carried[cells] = known["carried_sessions"]
    return _Prices(sessions, total_returns, carried)


def _traded(
    weights: FloatArray,
    miners: pd.DataFrame,
    previous: pd.DataFrame | None,
    tickers: pd.Index,
    epoch_id: str,
) -> FloatArray:
    """Turnover per miner; 0 for one that starts its history here or was not there before."""
    if previous is None:
        return turnover(weights, None)
    continued = miners["hotkey"].isin(previous["hotkey"]) & (miners["history_epoch"] != epoch_id)
    changed = turnover(weights, _weights(previous, miners["hotkey"], tickers))
    return np.where(continued, np.clip(changed, 0.0, 1.0), 0.0)
