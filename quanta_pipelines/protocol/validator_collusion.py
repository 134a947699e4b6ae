"""The table ``validator_collusion``: which validators err alike, epoch by epoch, as evidence.

What agreement of two validators is, and how much of it makes a suspicion, is defined in
``integrity.collusion``; here the votes of the last epochs become its matrices. The table accuses
nobody by itself: it changes no vote, no bond and no payment.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity.collusion import agreements
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

_COLUMNS = {
    "epoch_id": "object",
    "validator": "object",
    "other": "object",
    "voted_in": "object",
    "miners": "int64",
    "correlation": "float64",
    "threshold": "float64",
    "deviation": "float64",
    "other_deviation": "float64",
    "deviation_threshold": "float64",
    "agreeing_epochs": "int64",
    "flagged": "bool",
}
_KEY = ["validator", "other", "voted_in"]


def collusion_table(
    votes: Mapping[str, pd.DataFrame], *, epoch_id: str, params: ProtocolParams = QUANTA
) -> pd.DataFrame:
    """One row per pair of validators and epoch of the window in which their deviations agree.

    ``votes`` maps the ids of ``epoch_id`` and of the epochs before it to their tables
    ``validator_weights``; the last 5 count, and one without votes counts as one without agreement.
    ``flagged`` where the pair agrees in at least 3 of them. A miner that a validator gave no cell
    is not compared; a cell of 0 is a vote.
    """
    window = sorted(votes)[-params.consensus.collusion_window :]
    if not window or window[-1] != epoch_id:
        raise InvalidIntegrityInput(
            f"the votes up to {epoch_id} are due, not up to {window[-1] if window else 'none'}"
        )
    tables = [_agreements(votes[name], name, params) for name in window]
    found = [table for table in tables if len(table)]
    if not found:
        return pd.DataFrame(columns=list(_COLUMNS)).astype(_COLUMNS)
    rows = pd.concat(found).rename(columns={"epoch_id": "voted_in"})
    count = rows.groupby(["validator", "other"])["voted_in"].transform("nunique")
    table = rows.assign(
        epoch_id=epoch_id,
        agreeing_epochs=count,
        flagged=count >= params.consensus.collusion_epochs,
    )
    return table[list(_COLUMNS)].astype(_COLUMNS).sort_values(_KEY, ignore_index=True)


def misflagged(collusion: pd.DataFrame, params: ProtocolParams = QUANTA) -> pd.DataFrame:
    """Rows of pairs whose count of epochs or flag is not what the rows themselves say."""
    count = collusion.groupby(["validator", "other"])["voted_in"].transform("nunique")
    counted = collusion["agreeing_epochs"] == count
    wide = count > params.consensus.collusion_window
    flagged = count >= params.consensus.collusion_epochs
    odd: pd.DataFrame = collusion[~counted | wide | (collusion["flagged"] != flagged)]
    return odd


def _agreements(votes: pd.DataFrame, epoch_id: str, params: ProtocolParams) -> pd.DataFrame:
    """Agreements of one epoch's votes, by the names of the validators."""
    given = votes.pivot(index="validator", columns="hotkey", values="weight_units")
    matrix = given.to_numpy(dtype=np.float64)
    return agreements(matrix, [str(name) for name in given.index], epoch_id=epoch_id, params=params)
