"""Years of weekly epochs with one population: wallets, antes, newcomers for those who are broke.

Every seat belongs to a decile of skill for good: who takes the seat of a broke miner has the same
skill, so deciles stay of equal size and selection between them is left out. All money is whole rao.
"""

from dataclasses import dataclass, field

import numpy as np

from quanta_pipelines.protocol.metrics import FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.protocol.returns import turnover
from quanta_pipelines.protocol.rewards import Settlement
from quanta_pipelines.simulation.economy.market import Market
from quanta_pipelines.simulation.economy.skill import Tastes
from quanta_pipelines.simulation.economy.week import Books, judged, settled

DECILES = 10


@dataclass(frozen=True, slots=True)
class Assumptions:
    """The population; amounts in ALPHA. None of these is a rule."""

    miners: int = 100
    ante: int = 50
    wallet: int = 1_000  # that a miner comes with: twenty antes
    emission: int = 1_000  # of the whole subnet, an epoch
    coefficient_step: float = 0.01  # information coefficient of decile d is d - 1 times this

    def coefficients(self) -> FloatArray:
        """Information coefficient by seat, the decile without skill first."""
        return np.asarray(self.deciles() * self.coefficient_step, dtype=np.float64)

    def deciles(self) -> IntArray:
        """Decile by seat, from 0."""
        return np.arange(self.miners) * DECILES // self.miners


@dataclass
class Record:
    """What happened, epoch by epoch, in rao; the inner lists are by decile."""

    burned: list[int] = field(default_factory=list)
    treasury: list[int] = field(default_factory=list)
    carry: list[int] = field(default_factory=list)
    issued: list[int] = field(default_factory=list)
    ranked: list[int] = field(default_factory=list)
    at_stake: list[list[int]] = field(default_factory=list)
    net: list[list[int]] = field(default_factory=list)
    broke: list[list[int]] = field(default_factory=list)
    lives: list[int] = field(default_factory=list)  # epochs that a miner who went broke lasted


def years(
    prices: Market,
    seed: int,
    *,
    emission: bool,
    assumed: Assumptions,
    params: ProtocolParams = QUANTA,
) -> Record:
    """One seed over all epochs of the prices, with or without the subnet's emission."""
    economy = _Economy(prices, seed, assumed, params, assumed.emission * RAO * emission)
    for number in range(len(prices.epochs)):
        economy.epoch(number)
    return economy.record


class _Economy:
    """Wallets and histories of the seats as they are after some epochs."""

    def __init__(
        self, prices: Market, seed: int, assumed: Assumptions, params: ProtocolParams, emission: int
    ) -> None:
        self.prices, self.params, self.emission = prices, params, emission
        self.ante, self.wallet = assumed.ante * RAO, assumed.wallet * RAO
        self.decile = assumed.deciles()
        self.tastes = Tastes(seed, assumed.coefficients(), len(prices.tickers))
        self.wallets = [self.wallet] * assumed.miners
        self.age = np.zeros(assumed.miners, dtype=np.int64)
        self.returns = np.full((assumed.miners, max(params.scoring.horizons)), np.nan)
        self.held: FloatArray = np.zeros((assumed.miners, len(prices.tickers)))
        self.carry = 0
        self.record = Record()

    def epoch(self, number: int) -> None:
        """Newcomers, portfolios, returns, scores, money: one week."""
        name = self.prices.epochs[number].id
        self._replace_broke(name)
        sessions = self.prices.week == number
        moves = self.prices.returns[sessions]
        weights = self.tastes.portfolios(np.prod(1 + moves, axis=0) - 1, name, self.params)
        traded = np.where(self.age > 0, turnover(weights, self.held), 0.0)
        self.held = weights
        longest = self.returns.shape[1]
        self.returns = np.hstack([self.returns, weights @ moves.T])[:, -longest:]
        so_far = self.prices.benchmark[self.prices.week <= number]
        found = judged(self.returns, traded, so_far, self.params)
        books = Books([self.ante] * len(self.wallets), self.emission, self.carry)
        self._pay(settled(found, books, self.params))
        self.age += 1

    def _replace_broke(self, name: str) -> None:
        """A miner that can not post its ante leaves with what it has left; another one comes."""
        broke = np.array([amount < self.ante for amount in self.wallets], dtype=bool)
        seats = np.flatnonzero(broke)
        self.tastes.renew(seats, name)
        for seat in seats.tolist():
            self.record.lives.append(int(self.age[seat]))
            self.wallets[seat] = self.wallet
        self.age[broke], self.held[broke], self.returns[broke] = 0, 0.0, np.nan
        self.record.broke.append(self._by_decile(broke.astype(int).tolist()))

    def _pay(self, paid: Settlement) -> None:
        seats = len(self.wallets)
        net, staked = [0] * seats, [0] * seats
        for each in paid.allocations:
            seat = int(each.hotkey.rpartition("-")[2])
            net[seat] = each.payout_rao - each.ante_rao
            staked[seat] = each.ante_rao if each.rank else 0
        self.wallets = [have + more for have, more in zip(self.wallets, net, strict=True)]
        self.carry = paid.carry_out_rao
        record = self.record
        burned = sum(each.ante_burned_rao for each in paid.allocations) + paid.fee_burned_rao
        record.burned.append(burned)
        record.treasury.append(paid.rake_rao + paid.fee_treasury_rao)
        record.carry.append(paid.carry_out_rao)
        record.issued.append(
            paid.emission_rao + paid.validator_emission_rao + paid.owner_emission_rao
        )
        record.ranked.append(sum(1 for amount in staked if amount))
        record.net.append(self._by_decile(net))
        record.at_stake.append(self._by_decile(staked))

    def _by_decile(self, amounts: list[int]) -> list[int]:
        totals = [0] * DECILES
        for decile, amount in zip(self.decile.tolist(), amounts, strict=True):
            totals[decile] += amount
        return totals
