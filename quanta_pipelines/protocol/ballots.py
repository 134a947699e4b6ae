"""The table ``validator_weights``: this validator's own vote beside those of the others.

How a vote is computed lives in ``votes``, how votes become consensus in ``consensus``.
"""

from collections.abc import Mapping

import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch, settles_at
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


def ballots(
    own: pd.DataFrame,
    others: pd.DataFrame,
    *,
    validator: str,
    stakes: Mapping[str, int],
    data_hash: str,
    epoch: Epoch,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """All votes of an epoch, by validator and miner.

    ``own`` comes from ``votes.validator_row`` and counts as received when the epoch settles; rows
    of ``others`` in the name of ``validator`` do not count. A platform whose hotkey has no stake in
    the epoch's snapshot scores for itself and does not vote.
    """
    vote = own.copy() if validator in stakes else own.head(0).copy()
    vote.insert(0, "epoch_id", pd.Series(epoch.id, index=vote.index, dtype=object))
    vote.insert(1, "validator", pd.Series(validator, index=vote.index, dtype=object))
    vote["stake_rao"] = pd.Series(stakes.get(validator, 0), index=vote.index, dtype="int64")
    vote["data_hash"] = pd.Series(data_hash, index=vote.index, dtype=object)
    moment = pd.Timestamp(settles_at(epoch, params)).as_unit("ns")
    vote["received_at"] = pd.Series(moment, index=vote.index, dtype="datetime64[ns, UTC]")
    foreign = others.loc[others["validator"] != validator, list(vote.columns)]
    present = [frame for frame in (vote, foreign) if not frame.empty] or [vote]
    return pd.concat(present).sort_values(["validator", "hotkey"], ignore_index=True)
