"""A simulated season: epochs of real prices, played by miners and validators that do not exist.

Only what outsiders would send goes into the store. Running the platform's own stages over it is
the caller's business.
"""

import pandas as pd

from quanta_pipelines.adapters.price_vendors import PriceVendor
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.protocol.epoch import Epoch, commit_window, sessions_before
from quanta_pipelines.protocol.errors import InvalidEpoch
from quanta_pipelines.protocol.oracle import settle_closes, universe
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.simulation.miners import commit_all, plan, reveal_all
from quanta_pipelines.simulation.population import (
    POOL_MEMBERS,
    POOL_OPERATOR,
    SIZE,
    population,
    role_of,
)
from quanta_pipelines.simulation.validators import OtherValidators, validator_set

EMISSION_RAO = 1_000 * RAO  # of the whole subnet, an epoch
LOOKBACK = 61  # sessions of closes, so 60 returns


class Season:
    """Plays simulated epochs into a signal store; every snapshot is marked as simulated."""

    def __init__(
        self,
        store: SignalStore,
        vendor: PriceVendor,
        first_epoch: Epoch,
        params: ProtocolParams = QUANTA,
        *,
        miners: int = SIZE,
    ) -> None:
        self._store, self._vendor, self._params = store, vendor, params
        self._first = first_epoch
        self._miners = population(vendor.tickers(), size=miners)
        self._others = OtherValidators(store, vendor, first_epoch, params)

    def play(self, epoch: Epoch) -> None:
        """One epoch from snapshot to votes.

        What is already in the store stays as it is, so an epoch may be played again, and one that
        was interrupted goes on. Earlier epochs of the season must have been played.
        """
        if epoch < self._first:
            raise InvalidEpoch(f"the simulated season starts with {self._first}, not {epoch}")
        number = (epoch.monday - self._first.monday).days // 7
        self._record_snapshot(epoch)
        self._register(epoch, number)
        closes = self._fix_universe(epoch)
        plans = [
            plan(miner, epoch, closes, number=number, params=self._params) for miner in self._miners
        ]
        commit_all(self._store, epoch, plans)
        reveal_all(self._store, epoch, plans)
        self._others.vote(epoch, number=number)

    def _register(self, epoch: Epoch, number: int) -> None:
        """Registers who joins in an epoch, and at the start the one pool with its members."""
        since = commit_window(epoch, self._params).opens
        for place, miner in enumerate(self._miners):
            if miner.habits.joins == number:
                self._store.participants.register(miner.hotkey, role_of(place), since=since)
        if number == 0:
            operator = self._miners[POOL_OPERATOR].hotkey
            for place in POOL_MEMBERS:
                self._store.pools.join(self._miners[place].hotkey, operator, at=since)

    def _record_snapshot(self, epoch: Epoch) -> None:
        self._store.record_snapshot(
            epoch,
            emission_rao=EMISSION_RAO,
            external_rao=0,
            stakes={validator.hotkey: validator.stake_rao for validator in validator_set()},
            source="simulated",
        )

    def _fix_universe(self, epoch: Epoch) -> pd.DataFrame:
        """Fixes what may be held; returns its closes, dividends reinvested, for the strategies."""
        entry = epoch.entry_session
        first = sessions_before(entry, LOOKBACK - 1)[0]
        observed = self._vendor.observe(self._vendor.tickers(), first, entry)
        settled = settle_closes(observed, self._params)
        self._store.fix_universe(epoch, universe(observed, settled, entry, self._params))
        returns = settled.pivot(index="session", columns="ticker", values="total_return")
        held = returns[list(self._store.universe(epoch.id))].fillna(0.0)
        return 100 * (1 + held).cumprod()
