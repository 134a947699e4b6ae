"""Validators that vote for themselves, copy, or stopped looking."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.metrics import FloatArray, IntArray
from quanta_pipelines.protocol.votes import WEIGHT_UNITS
from quanta_pipelines.simulation.keys import simulated_rng

NOISE = 0.02  # of each weight, between honest validators


class Voter(Protocol):
    """A validator's way to vote; one object lives through one season."""

    def vote(
        self, scored: pd.DataFrame, agreed: pd.DataFrame, rng: np.random.Generator, /
    ) -> pd.DataFrame:
        """Its row, made of the row that the rules give, or of what was agreed before.

        ``scored`` is what ``votes.validator_row`` returns, ``agreed`` the table ``consensus`` of
        the epoch before, empty in the first.
        """
        ...


@dataclass
class HonestVoter:
    """Scores for itself, on data that differ a little."""

    def vote(
        self, scored: pd.DataFrame, _agreed: pd.DataFrame, rng: np.random.Generator, /
    ) -> pd.DataFrame:
        """Every weight times one plus noise."""
        return _reweighted(scored, 1 + NOISE * rng.standard_normal(len(scored)))


@dataclass
class Colluder:
    """Scores like the others, and votes twice as much for the miners of its ring."""

    friends: Sequence[str]
    push: float = 2.0

    def vote(
        self, scored: pd.DataFrame, _agreed: pd.DataFrame, rng: np.random.Generator, /
    ) -> pd.DataFrame:
        """The honest row with the friends' weights multiplied."""
        noise = 1 + NOISE * rng.standard_normal(len(scored))
        friendly = scored["hotkey"].isin(list(self.friends)).to_numpy()
        return _reweighted(scored, np.where(friendly, self.push, 1.0) * noise)


@dataclass
class WeightCopier:
    """Computes nothing: sends the consensus of the epoch before."""

    def vote(
        self, scored: pd.DataFrame, agreed: pd.DataFrame, rng: np.random.Generator, /
    ) -> pd.DataFrame:
        """The agreed weights of those who are there; an honest row while nothing is agreed."""
        if agreed.empty:
            return HonestVoter().vote(scored, agreed, rng)
        weights = agreed.set_index("hotkey")["consensus_weight"].reindex(scored["hotkey"])
        if not weights.fillna(0.0).any():
            return HonestVoter().vote(scored, agreed, rng)
        return _in_units(scored, weights.fillna(0.0).to_numpy(dtype=np.float64))


@dataclass
class LazyValidator:
    """Scores once and sends the same row for good."""

    first: "pd.Series[float] | None" = field(default=None, init=False)

    def vote(
        self, scored: pd.DataFrame, agreed: pd.DataFrame, rng: np.random.Generator, /
    ) -> pd.DataFrame:
        """The weights of its first row, of the miners that are still there."""
        row = HonestVoter().vote(scored, agreed, rng)
        if self.first is None:
            self.first = row.set_index("hotkey")["weight_units"].astype(float)
        known = self.first.reindex(scored["hotkey"]).fillna(0.0)
        old = np.asarray(known, dtype=np.float64)
        return _in_units(scored, old) if old.any() else row


def season_rng(name: str, epoch_id: str) -> np.random.Generator:
    """A validator's chance in an epoch."""
    return simulated_rng("vote", name, epoch_id)


def _reweighted(scored: pd.DataFrame, factors: FloatArray) -> pd.DataFrame:
    units = scored["weight_units"].to_numpy(dtype=np.float64)
    return _in_units(scored, np.asarray(units * np.maximum(factors, 0.0), dtype=np.float64))


def _in_units(scored: pd.DataFrame, weights: FloatArray) -> pd.DataFrame:
    """The row with these weights, in whole units that sum to 10^9."""
    if scored.empty:
        return scored
    shares = weights / weights.sum()
    return scored.assign(weight_units=_whole(shares))


def _whole(shares: FloatArray) -> IntArray:
    units = np.floor(shares * WEIGHT_UNITS).astype(np.int64)
    left = WEIGHT_UNITS - int(units.sum())
    largest = np.argsort(units - shares * WEIGHT_UNITS, kind="stable")
    units[largest[:left]] += 1
    return units
