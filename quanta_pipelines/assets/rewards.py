"""Stage rewards: one settlement gives every miner's payout and every movement of money."""

import pandas as pd

from data_contracts.rewards import LedgerEntries, Rewards
from quanta_pipelines import books
from quanta_pipelines.contract_type import Frames, epoch_asset
from quanta_pipelines.protocol import case_money, integrity, settlement
from quanta_pipelines.protocol.epoch import distribution_starts
from quanta_pipelines.resources import EpochRun


@epoch_asset(Rewards, LedgerEntries, due=distribution_starts)
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
        params=run.params,
    )
    return {"rewards": tables.rewards, "ledger_entries": books.posted(run, tables.moved)}
