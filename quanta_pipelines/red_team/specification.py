"""The same signals under ``SPEC``: today's weights scored on the past, and paid by its formulas.

The platform refuses to run trailing weights, so the rules' own functions run here, one after the
other, with the whole set ``SPEC``. What the intake accepted is no field of a rule set and is the
same under both.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from quanta_pipelines.protocol import ballots, consensus, horizons, ledger, scoring, settlement
from quanta_pipelines.protocol import validator_results as outcomes
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.params import SPEC
from quanta_pipelines.simulation.keys import OWN_VALIDATOR

CALENDAR_DAYS = 90  # of the longest horizon

Votes = Callable[[pd.DataFrame, pd.DataFrame], Mapping[str, pd.DataFrame]]


@dataclass
class SpecificationSeason:
    """What one season's epochs come to under ``SPEC``, one after the other."""

    returns: pd.DataFrame  # settled total returns, sessions by tickers
    emission_rao: int
    stake_rao: int = 1
    carry_rao: int = 0
    before: dict[str, pd.DataFrame] = field(default_factory=dict)  # tables of the epoch before

    def settle(
        self, epoch: Epoch, tables: Mapping[str, pd.DataFrame], votes: Votes
    ) -> dict[str, pd.DataFrame]:
        """Scores, consensus and money of an epoch, from what the intake accepted."""
        history = self._trailing(epoch, tables)
        metrics = horizons.horizon_table(history, epoch_id=epoch.id, params=SPEC)
        scores = scoring.score_table(
            metrics,
            tables["portfolios"],
            tables["portfolio_returns"],
            tables["commitments"],
            epoch_id=epoch.id,
            params=SPEC,
        )
        return self._paid(epoch, tables["commitments"], scores, metrics, votes)

    def _paid(
        self,
        epoch: Epoch,
        commitments: pd.DataFrame,
        scores: pd.DataFrame,
        metrics: pd.DataFrame,
        votes: Votes,
    ) -> dict[str, pd.DataFrame]:
        own = consensus.validator_row(scores, metrics, SPEC)
        rows = votes(own, self.before.get("consensus", pd.DataFrame()))
        stakes = dict.fromkeys([OWN_VALIDATOR, *rows], self.stake_rao)
        cast = self._cast(own, rows, epoch)
        agreed = consensus.consensus_table(
            cast, scores, metrics, stakes=stakes, epoch_id=epoch.id, params=SPEC
        )
        bonds = outcomes.bonds_table(
            cast,
            agreed,
            scores,
            stakes=stakes,
            previous=self.before.get("bonds"),
            upheld={},
            epoch_id=epoch.id,
            params=SPEC,
        )
        results = outcomes.results_table(
            cast, agreed, bonds, stakes=stakes, upheld={}, epoch_id=epoch.id, params=SPEC
        )
        money = settlement.settlement_tables(
            agreed,
            scores,
            commitments,
            results,
            emission_rao=self.emission_rao,
            external_rao=0,
            carry_in_rao=self.carry_rao,
            epoch_id=epoch.id,
            voted=not cast.empty,
            params=SPEC,
        )
        entries = ledger.ledger_table(money.moved, epoch.id)
        self.before = {"consensus": agreed, "bonds": bonds}
        self.carry_rao = int(entries.loc[entries["to_account"] == ledger.CARRY, "amount_rao"].sum())
        return {
            "scores": scores,
            "rewards": money.rewards,
            "ledger_entries": entries,
            "commitments": commitments,
        }

    def _cast(
        self, own: pd.DataFrame, rows: Mapping[str, pd.DataFrame], epoch: Epoch
    ) -> pd.DataFrame:
        """All votes as the table ``ValidatorWeights``."""
        columns = [*own.columns, "epoch_id", "validator", "stake_rao", "data_hash", "received_at"]
        made = [
            ballots.ballots(
                row,
                pd.DataFrame(columns=columns),
                validator=name,
                stakes={name: self.stake_rao},
                data_hash="0" * 64,
                epoch=epoch,
                params=SPEC,
            )
            for name, row in {OWN_VALIDATOR: own, **rows}.items()
        ]
        return pd.concat(made).sort_values(["validator", "hotkey"], ignore_index=True)

    def _trailing(self, epoch: Epoch, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """Table ``PortfolioReturns`` of the epoch's weights over the past 90 calendar days."""
        last = pd.Timestamp(epoch.sessions[-1])
        past = self.returns.loc[last - pd.Timedelta(days=CALENDAR_DAYS - 1) : last]
        held = tables["portfolios"].pivot(index="hotkey", columns="ticker", values="weight")
        weights = held.fillna(0.0)
        earned = past[list(weights.columns)].fillna(0.0)
        made = weights.to_numpy() @ earned.to_numpy().T
        facts = tables["portfolio_returns"].drop_duplicates("hotkey").set_index("hotkey")
        facts = facts.reindex(weights.index)
        n = len(past)
        market = past.mean(axis=1) if "SPY" not in past else past["SPY"]
        return pd.DataFrame(
            {
                "epoch_id": epoch.id,
                "hotkey": np.repeat(weights.index.to_numpy(), n),
                "session": np.tile(past.index.to_numpy(), len(weights)),
                "portfolio_return": made.ravel(),
                "benchmark_return": np.tile(market.to_numpy(), len(weights)),
                "unpriced_weight": 0.0,
                "turnover": np.repeat(facts["turnover"].to_numpy(), n),
                "filled_epochs": np.repeat(facts["filled_epochs"].to_numpy(), n),
                "history_epoch": epoch.id,
            }
        )
