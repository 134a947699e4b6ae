"""Stage consensus: every validator's vote, and what their stake agrees on."""

import pandas as pd

from data_contracts.consensus import Consensus, ValidatorWeights
from quanta_pipelines.contract_type import epoch_asset
from quanta_pipelines.protocol import ballots, oracle
from quanta_pipelines.protocol import consensus as voting
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


@epoch_asset(Consensus, due=voting_closes)
def consensus(
    run: EpochRun,
    validator_weights: pd.DataFrame,
    scores: pd.DataFrame,
    horizon_metrics: pd.DataFrame,
) -> pd.DataFrame:
    """Takes the stake-weighted median of the votes; nothing when too little stake voted."""
    return voting.consensus_table(
        validator_weights,
        scores,
        horizon_metrics,
        stakes=run.platform.store.snapshot(run.id).stakes,
        epoch_id=run.id,
        params=run.params,
    )
