"""Stage rewards: one settlement gives every payout and movement of money; and who is who."""

import pandas as pd

from data_contracts.rewards import LedgerEntries, Participants, PoolPayouts, Rewards
from data_contracts.scoring import Scores
from quanta_pipelines import books
from quanta_pipelines.contract_type import Frames, epoch_asset
from quanta_pipelines.protocol import case_money, integrity, pool_settlement, settlement
from quanta_pipelines.protocol import participants as registry
from quanta_pipelines.protocol.epoch import distribution_starts
from quanta_pipelines.resources import EpochRun


@epoch_asset(Rewards, LedgerEntries, PoolPayouts, due=distribution_starts)
def rewards(
    run: EpochRun,
    consensus: pd.DataFrame,
    validator_weights: pd.DataFrame,
    scores: pd.DataFrame,
    commitments: pd.DataFrame,
    validator_results: pd.DataFrame,
    integrity_flags: pd.DataFrame,
    integrity_cases: pd.DataFrame,
) -> Frames:
    """Settles antes, emission and dividends in whole rao, with the carry of the epoch before."""
    gates = LedgerEntries.gates()
    epochs = case_money.epochs_held(integrity_cases, run.id)
    snapshot = run.platform.store.snapshot(run.id)
    tables = settlement.settlement_tables(
        consensus,
        scores,
        commitments,
        validator_results,
        emission_rao=snapshot.emission_rao,
        external_rao=snapshot.external_rao,
        carry_in_rao=books.carry_in(run),
        epoch_id=run.id,
        voted=not validator_weights.empty,
        cluster_members=integrity.further_members(integrity_flags),
        cases=case_money.case_money(
            integrity_cases,
            list(run.earlier("ledger_entries", gates, epochs).values()),
            run.id,
        ),
        pools=_pools(run, epochs),
        slashes=pool_settlement.case_slashes(integrity_cases, run.id),
        params=run.params,
    )
    return {
        "rewards": tables.rewards,
        "ledger_entries": books.posted(run, tables.moved),
        "pool_payouts": tables.pool_payouts,
    }


def _pools(run: EpochRun, epochs_held: int) -> pool_settlement.PoolTerms:
    """Pools as the epoch opened; without any, earlier tables are not looked at."""
    memberships = run.platform.store.pools.at(run.epoch.opens_at)
    held = run.earlier("pool_payouts", PoolPayouts.gates(), epochs_held)
    if memberships.empty:
        return pool_settlement.PoolTerms(memberships, {}, list(held.values()))
    contributed = pool_settlement.contributed_by(
        memberships,
        run.previous("participants", Participants.gates()),
        run.previous("scores", Scores.gates()),
    )
    return pool_settlement.PoolTerms(memberships, contributed, list(held.values()))


@epoch_asset(Participants, due=distribution_starts)
def participants(
    run: EpochRun,
    consensus: pd.DataFrame,
    scores: pd.DataFrame,
    commitments: pd.DataFrame,
    reveals: pd.DataFrame,
    integrity_flags: pd.DataFrame,
    integrity_cases: pd.DataFrame,
) -> pd.DataFrame:
    """Carries every participant's record on by the epoch, and says who rises and who falls."""
    snapshot = run.platform.store.snapshot(run.id)
    return registry.participants_table(
        registry.EpochFacts(
            consensus=consensus,
            scores=scores,
            commitments=commitments,
            reveals=reveals,
            flags=integrity_flags,
            cases=integrity_cases,
            registered=run.platform.store.participants.at(run.epoch.opens_at),
            validators=sorted(snapshot.stakes),
            bonds=snapshot.bonds,
        ),
        run.previous("participants", Participants.gates()),
        epoch_id=run.id,
        params=run.params,
    )
