"""What simulated miners do in an epoch: commit blind, then reveal, through the store like anyone.

A plan is a pure function of miner, epoch and past closes, so an epoch that was interrupted is
continued where the store's rows end. Who the miners are is in ``population``.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.protocol.commit_reveal import Reveal, commitment
from quanta_pipelines.protocol.epoch import (
    Epoch,
    Window,
    commit_window,
    reveal_window_of,
    session_close,
)
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.portfolio import portfolio_hash
from quanta_pipelines.simulation.keys import simulated_rng, simulated_secret
from quanta_pipelines.simulation.population import SimulatedMiner
from quanta_pipelines.simulation.strategies import positions


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a simulated miner does at a moment: the reveal that fits a commitment."""

    at: dt.datetime
    miner: SimulatedMiner
    reveal: Reveal


@dataclass(frozen=True, slots=True)
class Plan:
    """A simulated miner's commitments and reveals of an epoch, oldest first."""

    commits: tuple[Step, ...]
    reveals: tuple[Step, ...]


def plan(
    miner: SimulatedMiner,
    epoch: Epoch,
    closes: pd.DataFrame,
    *,
    number: int,
    params: ProtocolParams = QUANTA,
) -> Plan:
    """What a miner does in the epoch that is this many epochs into the season.

    ``closes`` (sessions by tickers of the universe) may reach beyond the commitment: only sessions
    that had closed when it was made reach the strategy.
    """
    if not miner.habits.commits(number):
        return Plan((), ())
    rng = simulated_rng("habits", miner.name, epoch.id)
    window = commit_window(epoch, params)
    moments = sorted(_moment(window, rng) for _ in range(1 + miner.habits.replaces))
    commits = [_commit(miner, epoch, closes, at, params) for at in moments]
    if not miner.habits.reveals(number):
        return Plan(tuple(commits), ())
    opening = _moment(reveal_window_of(moments[-1], epoch, params), rng)
    reveals = [Step(opening, miner, commits[-1].reveal)]
    if miner.habits.mistypes:
        wrong = replace(commits[-1].reveal, secret=simulated_secret("typo", miner.name, epoch.id))
        reveals.insert(0, Step(opening - dt.timedelta(seconds=90), miner, wrong))
    return Plan(tuple(commits), tuple(reveals))


def _moment(window: Window, rng: np.random.Generator) -> dt.datetime:
    """A full second inside a window, not within its first or last two minutes."""
    length = int((window.closes - window.opens).total_seconds())
    return window.opens + dt.timedelta(seconds=int(rng.integers(120, length - 120)))


def _commit(
    miner: SimulatedMiner,
    epoch: Epoch,
    closes: pd.DataFrame,
    at: dt.datetime,
    params: ProtocolParams,
) -> Step:
    """A portfolio from what was known at a moment, with the commitment that hides it."""
    rng = simulated_rng("portfolio", miner.name, epoch.id)
    watched = [ticker for ticker in miner.order if ticker in closes.columns][: miner.breadth]
    held = positions(miner.strategy, known_at(closes, at)[watched], rng, params)
    secret = simulated_secret("secret", f"{miner.name} {at.isoformat()}", epoch.id)
    hidden = commitment(portfolio_hash(held, params), secret, miner.hotkey, epoch.id, params=params)
    return Step(at, miner, Reveal(miner.hotkey, epoch.id, hidden, held, secret))


def known_at(closes: pd.DataFrame, moment: dt.datetime) -> pd.DataFrame:
    """The sessions that had closed by a moment."""
    days = pd.DatetimeIndex(closes.index)
    known = len(days)
    while known and session_close(days[known - 1].date()) > moment:
        known -= 1
    return closes.iloc[:known]


def commit_all(store: SignalStore, epoch: Epoch, plans: Sequence[Plan]) -> None:
    """Sends the commitments that the store does not have yet, in the order of time."""
    recorded = store.commitments(epoch.id)
    sent = dict(zip(recorded["hotkey"], recorded["n_replaced"] + 1, strict=True))
    for step in _missing([plan.commits for plan in plans], sent):
        store.commit(
            step.miner.hotkey,
            epoch,
            step.reveal.commitment,
            step.miner.ante,
            received_at=step.at,
        )


def reveal_all(store: SignalStore, epoch: Epoch, plans: Sequence[Plan]) -> None:
    """Sends the reveals that the store does not have yet, in the order of time."""
    sent = Counter(store.reveals(epoch.id)["hotkey"])
    for step in _missing([plan.reveals for plan in plans], sent):
        store.reveal(step.reveal, received_at=step.at)


def _missing(plans: Sequence[tuple[Step, ...]], sent: Mapping[str, int]) -> list[Step]:
    """The steps behind those that each miner has already taken, oldest first."""
    steps = [step for steps in plans for step in steps[sent.get(_who(steps), 0) :]]
    return sorted(steps, key=lambda step: (step.at, step.miner.name))


def _who(steps: tuple[Step, ...]) -> str:
    return steps[0].miner.hotkey if steps else ""
