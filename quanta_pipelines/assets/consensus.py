"""Stage consensus: every validator's vote, and what their stake agrees on."""

import pandas as pd

from data_contracts.consensus import (
    Consensus,
    ValidatorBonds,
    ValidatorCollusion,
    ValidatorResults,
    ValidatorWeights,
)
from quanta_pipelines.contract_type import epoch_asset
from quanta_pipelines.protocol import ballots, integrity, oracle
from quanta_pipelines.protocol import consensus as voting
from quanta_pipelines.protocol import validator_collusion as collusion
from quanta_pipelines.protocol import validator_results as outcomes
from quanta_pipelines.protocol.epoch import voting_closes
from quanta_pipelines.resources import EpochRun


@epoch_asset(ValidatorWeights, due=voting_closes)
def validator_weights(
    run: EpochRun,
    scores: pd.DataFrame,
    horizon_metrics: pd.DataFrame,
    validated_prices: pd.DataFrame,
) -> pd.DataFrame:
    """Adds this validator's own vote to those the others submitted in their window."""
    return ballots.ballots(
        voting.validator_row(scores, horizon_metrics, run.params),
        run.platform.store.validator_weights(run.id),
        validator=run.platform.own_validator,
        stakes=run.platform.store.snapshot(run.id).stakes,
        data_hash=oracle.data_hash(validated_prices),
        epoch=run.epoch,
        params=run.params,
    )


@epoch_asset(ValidatorCollusion, due=voting_closes)
def validator_collusion(run: EpochRun, validator_weights: pd.DataFrame) -> pd.DataFrame:
    """Looks for validators whose votes err alike, in this epoch and those just before."""
    earlier = run.earlier(
        "validator_weights", ValidatorWeights.gates(), run.params.consensus.collusion_window - 1
    )
    return collusion.collusion_table(
        {**earlier, run.id: validator_weights}, epoch_id=run.id, params=run.params
    )


@epoch_asset(Consensus, due=voting_closes)
def consensus(
    run: EpochRun,
    validator_weights: pd.DataFrame,
    scores: pd.DataFrame,
    horizon_metrics: pd.DataFrame,
    integrity_cases: pd.DataFrame,
) -> pd.DataFrame:
    """Takes the stake-weighted median of the votes; nothing when too little stake voted."""
    return voting.consensus_table(
        validator_weights,
        scores,
        horizon_metrics,
        stakes=run.platform.store.snapshot(run.id).stakes,
        epoch_id=run.id,
        plagiarists=integrity.plagiarists(integrity_cases, run.id, run.params),
        params=run.params,
    )


@epoch_asset(ValidatorBonds, due=voting_closes)
def validator_bonds(
    run: EpochRun,
    validator_weights: pd.DataFrame,
    consensus: pd.DataFrame,
    scores: pd.DataFrame,
) -> pd.DataFrame:
    """Moves each validator's bonds from those of the epoch before towards its vote."""
    return outcomes.bonds_table(
        validator_weights,
        consensus,
        scores,
        stakes=run.platform.store.snapshot(run.id).stakes,
        previous=run.previous("validator_bonds", ValidatorBonds.gates()),
        upheld=run.upheld_disputes(),
        epoch_id=run.id,
        params=run.params,
    )


@epoch_asset(ValidatorResults, due=voting_closes)
def validator_results(
    run: EpochRun,
    validator_weights: pd.DataFrame,
    consensus: pd.DataFrame,
    validator_bonds: pd.DataFrame,
) -> pd.DataFrame:
    """Says how each validator's vote stood, and what its bonds earn of the miners' incentive."""
    return outcomes.results_table(
        validator_weights,
        consensus,
        validator_bonds,
        stakes=run.platform.store.snapshot(run.id).stakes,
        upheld=run.upheld_disputes(),
        epoch_id=run.id,
        params=run.params,
    )
