"""What an attacker sees when it acts, and the signals that it sends."""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from quanta_pipelines.protocol.commit_reveal import Reveal, commitment
from quanta_pipelines.protocol.epoch import Epoch, commit_window, reveal_window_of
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.simulation.keys import simulated_rng, simulated_secret
from quanta_pipelines.simulation.miners import Plan, Step
from quanta_pipelines.simulation.population import SimulatedMiner
from quanta_pipelines.simulation.strategies import positions

Positions = tuple[tuple[str, str], ...]

LAST_MINUTE = dt.timedelta(minutes=2)  # before the commit window closes
AFTER_OPENING = dt.timedelta(hours=3)  # of the commitment's own reveal window


@dataclass(frozen=True, slots=True)
class Leak:
    """A portfolio of an honest miner that got out before its reveal."""

    positions: Positions
    committed_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Scene:
    """One epoch as the attackers see it.

    ``closes`` end with the close from which the epoch's returns start. ``revealed`` are the
    accepted portfolios of earlier epochs by epoch id, ``board`` the rewards of the epoch before.
    ``leaks`` and ``first_session`` are what nobody can know in time; an attack that looks at them
    says so.
    """

    epoch: Epoch
    closes: pd.DataFrame  # [sessions, tickers of the universe]
    revealed: Mapping[str, pd.DataFrame]  # hotkey, ticker, weight
    board: pd.DataFrame  # hotkey, rank, final_tier
    leaks: Mapping[str, Leak]  # by hotkey of an honest miner
    first_session: "pd.Series[float]"  # returns by ticker of the epoch's first session
    near_cash: Sequence[str] = ()  # tickers that hardly move
    params: ProtocolParams = QUANTA

    def leaders(self) -> list[str]:
        """Honest miners whose portfolio can be watched, best rank first."""
        ranked = self.board[
            self.board["rank"].notna() & self.board["hotkey"].isin(list(self.leaks))
        ]
        return list(ranked.sort_values(["rank", "hotkey"])["hotkey"])


class MinerAttack(Protocol):
    """Miners that do not play as they should; one object lives through one season."""

    @property
    def seats(self) -> int:
        """How many identities of the population it takes over."""
        ...

    def moves(self, scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
        """What its identities send in an epoch; they may be others than the seats."""
        ...


def own_positions(miner: SimulatedMiner, scene: Scene) -> Positions:
    """What a seat holds when it plays honestly."""
    rng = simulated_rng("portfolio", miner.name, scene.epoch.id)
    watched = [ticker for ticker in miner.order if ticker in scene.closes.columns]
    return positions(miner.strategy, scene.closes[watched[: miner.breadth]], rng, scene.params)


def signal(
    miner: SimulatedMiner,
    scene: Scene,
    held: Positions,
    *,
    at: dt.datetime | None = None,
    reveals: bool = True,
) -> Plan:
    """The commitment to a portfolio and, unless it is kept, its reveal.

    Nothing is checked: a portfolio outside the limits is hidden like any other.
    """
    epoch, params = scene.epoch, scene.params
    window = commit_window(epoch, params)
    moment = max(window.opens, min(at or window.closes, window.closes) - LAST_MINUTE)
    secret = simulated_secret("secret", f"{miner.name} {moment.isoformat()}", epoch.id)
    hidden = commitment(text_hash(held), secret, miner.hotkey, epoch.id, params=params)
    claim = Reveal(miner.hotkey, epoch.id, hidden, held, secret)
    opening = reveal_window_of(moment, epoch, params).opens + AFTER_OPENING
    steps = (Step(opening, miner, claim),) if reveals else ()
    return Plan((Step(moment, miner, claim),), steps)


def text_hash(held: Positions) -> str:
    """Hash of positions as ``Portfolio`` writes them, whether they are within the limits or not."""
    text = "|".join(f"{ticker}:{float(weight):.6f}" for ticker, weight in sorted(held))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def honest(scene: Scene, seats: Sequence[SimulatedMiner]) -> list[Plan]:
    """What seats send when nobody attacks."""
    return [signal(seat, scene, own_positions(seat, scene)) for seat in seats]
