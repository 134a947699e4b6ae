"""Simulated validators: they score by the rules on slightly different prices, and vote.

The first validator of the snapshot is the platform's own; what it votes is the platform's
business, so it does nothing here. The others keep the returns of the last sessions in memory and
rebuild them from the store where an epoch does not follow on the one before.
"""

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from quanta_pipelines.adapters.price_vendors import PriceVendor
from quanta_pipelines.adapters.signal_store import OutsideWindow, SignalStore
from quanta_pipelines.protocol import integrity
from quanta_pipelines.protocol.consensus import validator_row
from quanta_pipelines.protocol.epoch import Epoch, settles_at, submission_offset
from quanta_pipelines.protocol.oracle import (
    benchmark_returns,
    data_hash,
    epoch_prices,
    universe_returns,
)
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.portfolio import RAO, accepted_positions, standing_portfolios
from quanta_pipelines.protocol.returns import epoch_returns
from quanta_pipelines.protocol.scoring import horizon_table, score_table
from quanta_pipelines.simulation.keys import OWN_VALIDATOR, simulated_key, simulated_rng

NOISE = 1e-4  # standard deviation of a close around the vendor's, relative
STAKES = (450_000, 900_000, 700_000, 560_000, 360_000, 290_000, 230_000, 180_000)  # ALPHA
SILENT_EVERY, LATE_EVERY = 5, 7  # epochs in which the last validator abstains


@dataclass(frozen=True, slots=True)
class SimulatedValidator:
    """A validator that exists only in a simulation."""

    hotkey: str
    stake_rao: int
    wavers: bool = False  # silent in one epoch of five, late in one of seven


def validator_set() -> tuple[SimulatedValidator, ...]:
    """The platform's own validator, then seven others with unequal stakes."""
    own, *others = (stake * RAO for stake in STAKES)
    last = len(others)
    return (
        SimulatedValidator(OWN_VALIDATOR, own),
        *(
            SimulatedValidator(
                simulated_key(f"validator {number}").hotkey, stake, wavers=number == last
            )
            for number, stake in enumerate(others, start=1)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the validators know after an epoch: returns newest first, by hotkey."""

    epoch: Epoch
    portfolios: pd.DataFrame
    commitments: pd.DataFrame
    held: list[pd.DataFrame]  # portfolios of every epoch so far, newest first
    holdings: list[integrity.Holdings] = field(default_factory=list)  # of them, once they are asked
    returns: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    prices: dict[str, list[pd.DataFrame]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)


class OtherValidators:
    """The validators that are not the platform, with what they remember of earlier epochs."""

    def __init__(
        self,
        store: SignalStore,
        vendor: PriceVendor,
        first_epoch: Epoch,
        params: ProtocolParams = QUANTA,
    ) -> None:
        self._store, self._vendor, self._params = store, vendor, params
        self._first = first_epoch
        self._validators = validator_set()[1:]
        self._memory: _Memory | None = None

    def vote(self, epoch: Epoch, *, number: int) -> None:
        """Scores the epoch and submits, each validator at its own moment of the window."""
        memory = self._remembering(epoch)
        for validator in sorted(self._validators, key=lambda one: self._moment(one, epoch)):
            if not (validator.wavers and number % SILENT_EVERY == SILENT_EVERY - 1):
                self._submit(validator, memory, number)

    def _remembering(self, epoch: Epoch) -> _Memory:
        """Memory after an epoch, rebuilt from the store as far as it does not reach."""
        if self._memory is None or self._memory.epoch != epoch:
            before = None if epoch == self._first else self._remembering(epoch.previous())
            self._memory = self._after(before, epoch)
        return self._memory

    def _after(self, before: _Memory | None, epoch: Epoch) -> _Memory:
        """What the epoch adds to each validator's memory."""
        self._store.universe(epoch.id)  # an epoch that was not played is an error here
        earlier = before.portfolios if before else None
        commitments = self._store.commitments(epoch.id)
        accepted = accepted_positions(self._store.reveals(epoch.id), commitments)
        held = standing_portfolios(accepted, earlier, epoch=epoch, params=self._params)
        memory = _Memory(epoch, held, commitments, [held, *(before.held if before else [])])
        settled = self._prices(epoch)
        for validator in self._validators:
            prices = _own_view(settled, validator.hotkey, epoch)
            returns = epoch_returns(
                held,
                earlier,
                prices,
                benchmark_returns(prices, self._params),
                epoch_id=epoch.id,
                params=self._params,
            )
            older = before.returns[validator.hotkey] if before else []
            memory.returns[validator.hotkey] = self._recent([returns, *older])
            known = before.prices[validator.hotkey] if before else []
            memory.prices[validator.hotkey] = self._recent([prices, *known])
            memory.hashes[validator.hotkey] = data_hash(prices)
        return memory

    def _prices(self, epoch: Epoch) -> pd.DataFrame:
        """The vendor's prices, settled; flags would need more history, and score nothing."""
        entry = epoch.entry_session
        return epoch_prices(
            self._vendor.observe(self._vendor.tickers(), entry, epoch.sessions[-1]),
            epoch_id=epoch.id,
            sessions=epoch.sessions,
            entry_session=entry,
            params=self._params,
        )

    def _recent(self, history: list[pd.DataFrame]) -> list[pd.DataFrame]:
        """The newest epochs that hold the longest horizon's sessions."""
        sessions = np.cumsum([epoch["session"].nunique() for epoch in history])
        enough = int(np.searchsorted(sessions, max(self._params.scoring.horizons)))
        return history[: enough + 1]

    def _submit(self, validator: SimulatedValidator, memory: _Memory, number: int) -> None:
        """Votes, unless there is nobody to rank."""
        row = self._row(validator, memory)
        if row.empty:
            return
        at = self._moment(validator, memory.epoch)
        if validator.wavers and number % LATE_EVERY == LATE_EVERY - 1:
            at += dt.timedelta(minutes=self._params.consensus.score_submission_window_minutes + 1)
        prices = memory.hashes[validator.hotkey]
        with suppress(OutsideWindow):  # late counts as silent, in a simulation too
            self._store.submit_weights(validator.hotkey, memory.epoch, row, prices, received_at=at)

    def _row(self, validator: SimulatedValidator, memory: _Memory) -> pd.DataFrame:
        history = memory.returns[validator.hotkey]
        metrics = horizon_table(
            pd.concat(history, ignore_index=True), epoch_id=memory.epoch.id, params=self._params
        )
        scores = score_table(
            metrics,
            memory.portfolios,
            history[0],
            memory.commitments,
            epoch_id=memory.epoch.id,
            integrity=self._integrity(memory, history, memory.prices[validator.hotkey]),
            params=self._params,
        )
        return validator_row(scores, metrics, self._params)

    def _integrity(
        self, memory: _Memory, returns: list[pd.DataFrame], prices: list[pd.DataFrame]
    ) -> pd.DataFrame:
        """Factors and clusters as this validator computes them, on its own prices."""
        epoch = memory.epoch
        view = integrity.epoch_view(
            integrity.committed_positions(pd.concat(memory.held, ignore_index=True)),
            pd.concat(returns, ignore_index=True),
            universe_returns(pd.concat(prices, ignore_index=True)),
            epoch_id=epoch.id,
            holdings=memory.holdings[0] if memory.holdings else None,
            params=self._params,
        )
        memory.holdings[:] = [view.holdings]  # the same for every validator
        opening = integrity.Opening(
            committed=frozenset(memory.commitments["hotkey"]),
            coldkeys=self._store.participants.coldkeys(epoch.opens_at),
        )
        return integrity.score_columns(view, opening, self._params)

    def _moment(self, validator: SimulatedValidator, epoch: Epoch) -> dt.datetime:
        offset = submission_offset(validator.hotkey, epoch, self._params)
        return settles_at(epoch, self._params) + offset


def _own_view(settled: pd.DataFrame, hotkey: str, epoch: Epoch) -> pd.DataFrame:
    """Settled prices as this validator sees them: each close about a basis point apart."""
    tickers = np.sort(settled["ticker"].unique())
    days = (epoch.entry_session, *epoch.sessions)
    factors = np.array(
        [simulated_rng("close", hotkey, str(day)).normal(1.0, NOISE, len(tickers)) for day in days]
    )
    at = np.searchsorted(np.array(days[1:], "datetime64[D]"), settled["session"].to_numpy()) + 1
    which = np.searchsorted(tickers, settled["ticker"].to_numpy())
    now, before = factors[at, which], factors[at - 1, which]
    return settled.assign(
        close=settled["close"] * now,
        total_return=(1 + settled["total_return"]) * now / before - 1,
    )
