"""The table ``validator_weights``: this validator's own vote beside those of the others.

How a vote is computed lives in ``votes``, how votes become consensus in ``consensus``.
"""

from collections.abc import Mapping

import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch


def own_vote(
    row: pd.DataFrame, *, validator: str, stakes: Mapping[str, int], data_hash: str, epoch: Epoch
) -> pd.DataFrame:
    """This validator's row as the table holds it, received the moment the window opens.

    ``row`` comes from ``votes.validator_row``. A platform whose hotkey has no stake in the epoch's
    snapshot scores for itself and does not vote: its vote is empty.
    """
    if validator not in stakes:
        row = row.head(0)
    columns = ["weight_units", "composite", "max_drawdown_7d", "max_drawdown_30d"]
    vote = row[["hotkey", *columns, "max_drawdown_90d"]].copy()
    vote.insert(0, "epoch_id", epoch.id)
    vote.insert(1, "validator", validator)
    vote["stake_rao"] = pd.Series(stakes.get(validator, 0), index=vote.index, dtype="int64")
    vote["data_hash"] = pd.Series(data_hash, index=vote.index, dtype=object)
    moment = pd.Timestamp(epoch.settles_at).as_unit("ns")
    vote["received_at"] = pd.Series(moment, index=vote.index, dtype="datetime64[ns, UTC]")
    return vote.astype({"epoch_id": object, "validator": object})


def votes(own: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """All votes of an epoch by validator and miner; what others sent in our name does not count."""
    foreign = others.loc[~others["validator"].isin(own["validator"])]
    present = [frame for frame in (own, foreign) if not frame.empty] or [own]
    return pd.concat(present).sort_values(["validator", "hotkey"], ignore_index=True)
