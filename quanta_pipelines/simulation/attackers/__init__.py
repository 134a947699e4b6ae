"""Simulated attackers: populations that play into the signal store like anyone, and not fairly.

Each kind is an object that lives through one season; which of them share a season, and what their
profit is compared with, is said here once. What they earn is measured in ``red_team``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from quanta_pipelines.simulation.attackers.copying import (
    Copier,
    FrontRunner,
    LaggedCopier,
    NoisyCopier,
    PaddedCopier,
)
from quanta_pipelines.simulation.attackers.gambling import CashLike, DilutedCash, LotteryTicket
from quanta_pipelines.simulation.attackers.hindsight import HindsightPicker
from quanta_pipelines.simulation.attackers.identities import ReRegistration, WhaleAnte
from quanta_pipelines.simulation.attackers.malformed import DuplicateTickers
from quanta_pipelines.simulation.attackers.scene import MinerAttack
from quanta_pipelines.simulation.attackers.sybils import HedgedPair, SybilSplit
from quanta_pipelines.simulation.attackers.withholding import NonRevealer

__all__ = [
    "IDLE",
    "KINDS",
    "MINER_KINDS",
    "NAMES",
    "RING",
    "SHARED",
    "VALIDATOR_KINDS",
    "Baseline",
    "Kind",
    "MinerAttack",
]

Baseline = Literal["the copied", "itself", "the seats"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of attack by miners."""

    name: str
    does: str
    create: Callable[[], MinerAttack]
    compared: Baseline = (
        "itself"  # who has its skill, and is honest in the season without attackers
    )
    may_never_pay: bool = False  # the attacks that no rule may let pay, without exception


MINER_KINDS: tuple[Kind, ...] = (
    Kind(
        "exact copier",
        "sends a leader's leaked portfolio in the last minutes of the same window",
        lambda: Copier(place=0),
        "the copied",
        may_never_pay=True,
    ),
    Kind(
        "copier with noise",
        "the same with every weight moved by a tenth",
        lambda: NoisyCopier(place=1),
        "the copied",
    ),
    *(
        Kind(
            f"copier lag {lag}",
            f"sends what a leader revealed {lag} epoch{'s' * (lag > 1)} before",
            lambda lag=lag: LaggedCopier(place=1 + lag, lag=lag),  # type: ignore[misc]
            "the copied",
            may_never_pay=True,
        )
        for lag in (1, 2, 3, 4)
    ),
    Kind(
        "zero-weight padding",
        "a leaked portfolio, padded to 30 names at the smallest weight",
        lambda: PaddedCopier(place=6),
        "the copied",
        may_never_pay=True,
    ),
    Kind(
        "front-runner",
        "commits a leaked portfolio an hour before its owner",
        lambda: FrontRunner(place=7),
        "the copied",
    ),
    Kind(
        "duplicate tickers",
        "its largest position twice, in two spellings",
        DuplicateTickers,
        may_never_pay=True,
    ),
    Kind("sybil split", "one portfolio under five names", SybilSplit, may_never_pay=True),
    Kind("hedged sybil pair", "two names on two sides of one bet", HedgedPair, "the seats"),
    Kind("cash-like", "tickers that hardly move", CashLike, "the seats", may_never_pay=True),
    Kind("diluted with cash", "its own portfolio, two fifths of it near-cash", DilutedCash),
    Kind("lottery ticket", "the five names that swing most", LotteryTicket, "the seats"),
    Kind("re-registration", "a new name after every loss", ReRegistration),
    Kind("hindsight picker", "the past winners", HindsightPicker, "the seats", may_never_pay=True),
    Kind("non-revealer", "three commitments, the best one revealed", NonRevealer),
    Kind("whale ante", "the largest ante there may be", WhaleAnte),
)
RING, IDLE = "colluding validators", ("weight-copying validator", "lazy validator")
VALIDATOR_KINDS: dict[str, str] = {
    RING: "two validators that double the votes for three miners of their own",
    IDLE[0]: "sends the consensus of the epoch before",
    IDLE[1]: "sends its first row for good",
}
KINDS = {kind.name: kind for kind in MINER_KINDS}
NAMES: tuple[str, ...] = (*KINDS, *VALIDATOR_KINDS)

# Attacks that share a season: the rules compare pairs, and no two of these copy the same miner or
# hold the same portfolio. What ties them is the pool alone: an ante that one forfeits is shared by
# all others, so each looks a little better than by itself. The whale, whose ante would be most of
# the pool, and the sybils, who take several ranks, have seasons of their own.
SHARED: tuple[tuple[str, ...], ...] = (
    tuple(kind.name for kind in MINER_KINDS if kind.compared == "the copied"),
    (
        "hedged sybil pair",
        "cash-like",
        "diluted with cash",
        "lottery ticket",
        "re-registration",
        "hindsight picker",
        "duplicate tickers",
        "non-revealer",
    ),
)
