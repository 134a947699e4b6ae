"""Stage integrity: who is like whom, what is said of each miner, and the cases that follow."""

import pandas as pd

from data_contracts.consensus import ValidatorWeights
from data_contracts.integrity import IntegrityCases, IntegrityFlags, PortfolioSimilarity
from data_contracts.market_data import ValidatedPrices
from data_contracts.rewards import Rewards
from data_contracts.scoring import PortfolioReturns
from data_contracts.signals import CommittedPortfolios
from quanta_pipelines.contract_type import Frames, epoch_asset, rows_table
from quanta_pipelines.protocol import integrity, oracle, returns
from quanta_pipelines.resources import EpochRun


@epoch_asset(PortfolioSimilarity, IntegrityFlags)
def integrity_flags(
    run: EpochRun,
    portfolios: pd.DataFrame,
    portfolio_returns: pd.DataFrame,
    validated_prices: pd.DataFrame,
    commitments: pd.DataFrame,
) -> Frames:
    """Compares active returns and portfolios of all epochs so far; flags stand beside numbers."""
    window = run.params.security.active_sessions
    gates = {"returns": PortfolioReturns.gates(), "prices": ValidatedPrices.gates()}
    earlier = {
        "returns": run.history("portfolio_returns", gates["returns"], window),
        "prices": run.history("validated_prices", gates["prices"], window),
    }
    view = integrity.epoch_view(
        _positions(run, portfolios),
        pd.concat([portfolio_returns, *earlier["returns"]], ignore_index=True),
        oracle.universe_returns(pd.concat([validated_prices, *earlier["prices"]])),
        epoch_id=run.id,
        params=run.params,
    )
    pairs = integrity.similarity_table(view, run.params)
    flags = integrity.flags_table(
        view,
        pairs,
        returns.compounded(validated_prices),
        _opening(run, commitments),
        run.previous("integrity_flags", IntegrityFlags.gates()),
        run.params,
    )
    run.remarks["accusations"] = rows_table(integrity.accusations(flags))
    return {"portfolio_similarity": pairs, "integrity_flags": flags}


def _positions(run: EpochRun, portfolios: pd.DataFrame) -> pd.DataFrame:
    """Everything that was ever committed: the last table of each quarter so far, and this epoch."""
    now, table = integrity.committed_positions(portfolios), "committed_portfolios"
    if run.is_genesis(table, run.epoch):
        return now
    ends = integrity.ends_of_quarters(run.platform.genesis, run.epoch)
    return integrity.all_positions(run.together(table, CommittedPortfolios.gates(), ends), now)


def _opening(run: EpochRun, commitments: pd.DataFrame) -> integrity.Opening:
    """What was known when the epoch opened; rewards count only where stakes are known.

    Who does not settle has no rewards to weigh bonds with, and leaves S_min to who does.
    """
    bonds = run.platform.store.snapshot(run.id).bonds if run.platform.settles else {}
    epochs = run.params.security.min_stake_epochs
    paid = list(run.earlier("rewards", Rewards.gates(), epochs).values()) if bonds else []
    return integrity.Opening(
        committed=frozenset(commitments["hotkey"]),
        coldkeys=run.platform.store.participants.coldkeys(run.epoch.opens_at),
        one_hand=integrity.one_hand(run.previous("integrity_cases", IntegrityCases.gates())),
        bonds=integrity.bonds_of(bonds, paid),
    )


@epoch_asset(IntegrityCases)
def integrity_cases(
    run: EpochRun,
    portfolio_similarity: pd.DataFrame,
    commitments: pd.DataFrame,
    reveals: pd.DataFrame,
) -> pd.DataFrame:
    """Opens cases on suspicions, and moves those that wait by what an operator has written.

    A commitment that was never revealed is an offence that nobody decides.

    Votes are only where epochs are settled: elsewhere no case of validators is opened.
    """
    store, snapshot = run.platform.store, run.platform.store.snapshot(run.id)
    window = run.params.consensus.collusion_window if run.platform.settles else 0
    votes = list(run.earlier("validator_weights", ValidatorWeights.gates(), window).values())
    cases = integrity.case_table(
        integrity.suspicions(
            portfolio_similarity, integrity.agreeing_validators(votes, run.params), run.params
        ),
        store.cases.events(),
        run.previous("integrity_cases", IntegrityCases.gates()),
        epoch_id=run.id,
        bonds={**snapshot.stakes, **snapshot.bonds},
        non_reveals=integrity.unrevealed(commitments, reveals, run.id, run.params),
        params=run.params,
    )
    run.remarks["open cases"] = rows_table(integrity.open_cases(cases))
    return cases
