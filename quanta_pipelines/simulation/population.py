"""Who the simulated miners are: 72 of them, each with a strategy, an ante and its habits."""

from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import permutations

from quanta_pipelines.adapters.signal_store import Role
from quanta_pipelines.simulation.keys import simulated_key, simulated_rng
from quanta_pipelines.simulation.strategies import (
    SECTORS,
    Dice,
    EqualWeight,
    MeanReversion,
    MinimumVariance,
    Momentum,
    SectorTilt,
    Strategy,
)

SIZE = 72
POOL_OPERATOR, POOL_MEMBERS = 1, (2, 8, 14)  # all take part with antes of their own, too
NEWCOMERS = {64: 4, 65: 6, 66: 9, 67: 12, 68: 15, 69: 18, 70: 22, 71: 26}  # miner: epoch it joins


@dataclass(frozen=True, slots=True)
class Habits:
    """When a simulated miner takes part; epochs are counted from the season's first, 0."""

    joins: int = 0
    pauses: range = range(0)
    skips_every: int = 0  # 4: each fourth epoch goes by without a commitment
    forgets_every: int = 0  # 6: each sixth commitment is never revealed
    replaces: bool = False  # commits twice before the window closes
    mistypes: bool = False  # reveals with a wrong secret first

    def commits(self, number: int) -> bool:
        """Whether it commits in an epoch."""
        return (
            self.joins <= number
            and number not in self.pauses
            and not _due(self.skips_every, number)
        )

    def reveals(self, number: int) -> bool:
        """Whether it reveals what it committed."""
        return not _due(self.forgets_every, number)


HABITS = {
    3: Habits(forgets_every=6),
    11: Habits(pauses=range(10, 16)),  # six epochs: the history ends, and starts anew
    19: Habits(skips_every=4),
    27: Habits(replaces=True),
    35: Habits(mistypes=True),
    43: Habits(skips_every=7),
    51: Habits(pauses=range(20, 23)),
}


@dataclass(frozen=True, slots=True)
class SimulatedMiner:
    """A miner that exists only in a simulation."""

    name: str
    hotkey: str
    strategy: Strategy
    order: tuple[str, ...]  # of preference; it watches the first few that it may hold
    breadth: int
    ante: Decimal
    habits: Habits


def population(
    tickers: tuple[str, ...], *, size: int = SIZE, called: str = "miner"
) -> tuple[SimulatedMiner, ...]:
    """The simulated miners; each prefers ``tickers`` in an order of its own.

    ``called`` names them, and all they do by chance follows from their names.
    """
    return tuple(_miner(number, tickers, called) for number in range(size))


def role_of(number: int) -> Role:
    """What a simulated miner is registered as."""
    if number == POOL_OPERATOR:
        return Role.POOL_OPERATOR
    return Role.SIGNAL_GENERATOR if number in POOL_MEMBERS else Role.SOLO_MINER


def _miner(number: int, tickers: tuple[str, ...], called: str) -> SimulatedMiner:
    name = f"{called} {number:02d}"
    habits = HABITS.get(number, Habits())
    if number in NEWCOMERS:
        habits = replace(habits, joins=NEWCOMERS[number])
    order = simulated_rng("order", name, "always").permutation(sorted(tickers))
    ante = 10 * 50 ** simulated_rng("ante", name, "always").uniform()  # 10 to 500, even in logs
    return SimulatedMiner(
        name,
        simulated_key(name).hotkey,
        _strategy(number),
        order=tuple(str(ticker) for ticker in order),
        breadth=9 + number % 12,
        ante=Decimal(f"{ante:.2f}"),
        habits=habits,
    )


def _strategy(number: int) -> Strategy:
    """The kinds take turns, each time with other numbers."""
    turn, kind = divmod(number, 6)
    tilts = list(permutations(SECTORS, 2))
    more, less = tilts[turn % len(tilts)]
    kinds: tuple[Strategy, ...] = (
        EqualWeight(names=5 + turn % 8),
        Momentum(names=6 + turn % 7, lookback=12 + 3 * turn, skip=turn % 4),
        MinimumVariance(lookback=30 + 2 * turn, shrinkage=0.15 + 0.8 * turn / SIZE),
        MeanReversion(names=7 + turn % 9, lookback=4 + 2 * turn),
        SectorTilt(more, less, tilt=1.5 + 0.25 * (turn % 5)),
        Dice(names=6 + turn % 13),
    )
    return kinds[kind]


def _due(every: int, number: int) -> bool:
    return every > 0 and number % every == every - 1
