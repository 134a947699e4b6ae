"""Honest miners that hold real stocks over real weeks, and copiers and validators beside them.

Nobody here knows of anybody else: what a rule says of an honest miner is a false alarm. Portfolios
are random and simulated; prices are real ones from the folder that ``QUANTA_REFERENCE_DATA`` names.
"""

import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch

FloatArray: TypeAlias = npt.NDArray[np.float64]

FOLDER = os.environ.get("QUANTA_REFERENCE_DATA", "")
STOCKS = "b_alphavantage_sp500_1999_2021.parquet"
BENCHMARK = "a_sample_us46_2016_2021.parquet"
WEEKS, TICKERS = 12, 120  # of a population: weeks of portfolios, stocks in its universe
REPLACED = 0.1  # chance of a name to be another one next week
COPIED_FROM = 4  # first week of the copiers


@cache
def real_returns() -> tuple[pd.DataFrame, "pd.Series[float]"]:
    """Total returns of some 480 stocks (sessions by tickers) and of SPY, 2016 to March 2021."""
    closes = pd.read_parquet(Path(FOLDER) / STOCKS, columns=["ticker", "date", "adj_close"])
    days = pd.Index(sorted(closes["date"].unique()))
    closes = closes[closes["date"] >= days[days.searchsorted(days[-1].replace(2016, 1, 4))]]
    wide = closes.pivot(index="date", columns="ticker", values="adj_close").astype("float64")
    wide = wide.dropna(axis=1)
    index = (
        pd.read_parquet(
            Path(FOLDER) / BENCHMARK,
            filters=[("ticker", "==", "SPY")],
            columns=["date", "adj_close"],
        )
        .set_index("date")["adj_close"]
        .astype("float64")
    )
    both = wide.index.intersection(index.index)
    return wide.loc[both].pct_change().iloc[1:], index.loc[both].pct_change().iloc[1:]


@dataclass(frozen=True)
class Population:
    """Weekly portfolios of miners, and what they returned."""

    hotkeys: list[str]
    weights: FloatArray  # [weeks, miners, tickers]
    tickers: list[str]
    moves: FloatArray  # [sessions, tickers]
    benchmark: FloatArray  # [sessions]
    week: npt.NDArray[np.int64]  # [sessions]
    minutes: npt.NDArray[np.int64]  # [miners], after the first commitment of a week

    @property
    def returns(self) -> FloatArray:
        """Returns of the held portfolios: ``[miners, sessions]``."""
        return np.stack(
            [self.weights[week] @ move for week, move in zip(self.week, self.moves, strict=True)],
            axis=1,
        )

    @property
    def universe(self) -> FloatArray:
        """The equal-weighted universe: ``[sessions]``."""
        return np.asarray(self.moves.mean(axis=1))

    def table(self) -> pd.DataFrame:
        """The table ``Portfolios``."""
        week, miner, ticker = np.nonzero(self.weights)
        began = pd.Timestamp("2020-01-03 12:00", tz="UTC").as_unit("ns")
        return pd.DataFrame(
            {
                "epoch_id": np.array(epoch_ids())[week],
                "hotkey": np.array(self.hotkeys)[miner],
                "ticker": np.array(self.tickers)[ticker],
                "weight": self.weights[week, miner, ticker],
                "filled_epochs": 0,
                "committed_at": began
                + pd.to_timedelta(7 * week, unit="D")
                + pd.to_timedelta(self.minutes[miner], unit="min"),
            }
        )

    def with_copiers(self, rng: np.random.Generator, copiers: int, lag: int) -> "Population":
        """The same and miners who, from the fifth week on, hold an honest one's portfolio.

        That of the same week, sent after it, or of ``lag`` weeks before. Earlier they hold what a
        miner of their own would.
        """
        chosen = rng.choice(len(self.hotkeys), copiers, replace=False)
        own = drawn_weights(rng, copiers, len(self.tickers))
        own[COPIED_FROM:] = self.weights[COPIED_FROM - lag : WEEKS - lag, chosen]
        return self.beside([f"copy-of-{self.hotkeys[at]}" for at in chosen], own)

    def beside(self, hotkeys: list[str], weights: FloatArray) -> "Population":
        """The same and others, who send their portfolios after everybody else."""
        return replace(
            self,
            hotkeys=self.hotkeys + hotkeys,
            weights=np.concatenate([self.weights, weights], axis=1),
            minutes=np.concatenate([self.minutes, np.full(len(hotkeys), 10_000)]),
        )

    def holding(self, weights: FloatArray) -> "Population":
        """The same miners with other portfolios."""
        return replace(self, weights=weights)


def epoch_ids() -> list[str]:
    """Names of the weeks; which weeks they really are does not matter here."""
    return [epoch.id for epoch in Epoch.range("2020-Q1-W01", "2020-Q1-W12")]


def drawn_weights(rng: np.random.Generator, miners: int, tickers: int) -> FloatArray:
    """Weekly long-only portfolios of 5 to 30 names, weights up to 0.20: ``[weeks, miners, k]``."""
    weights = np.zeros((WEEKS, miners, tickers))
    for miner in range(miners):
        names = rng.choice(tickers, rng.integers(5, 31), replace=False)
        taste = rng.exponential(size=tickers)  # how much of a name a miner holds, where it does
        for week in range(WEEKS):
            weights[week, miner, names] = capped(taste[names])
            for place in np.flatnonzero(rng.random(len(names)) < REPLACED):
                names[place] = rng.choice(np.setdiff1d(np.arange(tickers), names))
    return weights


def capped(taste: FloatArray) -> FloatArray:
    """Weights in proportion to taste, none above 0.20; what is above goes to the others."""
    weights = taste / taste.sum()
    for _ in range(len(taste)):
        over = weights >= 0.20
        free = 1.0 - 0.20 * over.sum()
        if over.all() or weights.max() <= 0.20 + 1e-12:
            break
        weights = np.where(over, 0.20, weights / weights[~over].sum() * free)
    return np.asarray(np.minimum(weights, 0.20))


def population(seed: int, miners: int) -> Population:
    """Honest miners over 12 weeks of real prices; stocks and weeks are drawn by the seed."""
    rng = np.random.default_rng(seed)
    moves, index = real_returns()
    start = int(rng.integers(len(moves) - 5 * WEEKS))
    chosen = np.sort(rng.choice(moves.shape[1], TICKERS, replace=False))
    window = slice(start, start + 5 * WEEKS)
    return Population(
        hotkeys=[f"m{at:03d}" for at in range(miners)],
        weights=drawn_weights(rng, miners, TICKERS),
        tickers=list(moves.columns[chosen]),
        moves=moves.iloc[window, chosen].to_numpy(),
        benchmark=index.iloc[window].to_numpy(),
        week=np.arange(5 * WEEKS) // 5,
        minutes=rng.integers(0, 1440, miners),
    )
