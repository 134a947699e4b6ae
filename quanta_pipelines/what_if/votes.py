"""What other validators would have submitted under other rules; only the own vote is computed.

Their scores rest on prices that only they have seen. So what is known is kept: how far a validator
stood from this one, miner by miner, under the rules that it voted under.
"""

from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.apportion import largest_remainder
from quanta_pipelines.protocol.consensus import WEIGHT_UNITS
from quanta_pipelines.protocol.metrics import FloatArray
from quanta_pipelines.protocol.votes import drawdown_columns

Votes: TypeAlias = Literal["carried", "recorded"]
MEANING = {
    "carried": "other validators are assumed to follow the other rules: each keeps the ratio of "
    "its recorded weight to this validator's, miner by miner; their own scores are not known",
    "recorded": "other validators' votes stay as they were cast, under the rules of then; only "
    "this validator's vote follows the other rules",
}
_FINE = 10**6  # parts of a unit, so that dividing by the own weight rounds nothing that counts


def carried_votes(recorded: pd.DataFrame, before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """The recorded votes, moved as the own vote moved from ``before`` to ``now``.

    A validator ranks a miner that both own votes rank if and only if it did; one that only the new
    own vote ranks gets the own weight, one that it does not rank is left out. Composite and
    drawdowns move by the difference. Equal own votes give the recorded ones unchanged.
    """
    if before.equals(now) or recorded.empty:
        return recorded
    parts = [
        _moved(vote.set_index("hotkey"), before.set_index("hotkey"), now.set_index("hotkey"))
        for _, vote in recorded.groupby("validator", sort=True)
    ]
    filled = [part for part in parts if not part.empty] or parts[:1]
    return pd.concat(filled, ignore_index=True)[list(recorded.columns)]


def _moved(vote: pd.DataFrame, before: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """One validator's vote; no row where nobody is left to rank."""
    known = now.index.isin(before.index)
    ranked = now.index[~known | now.index.isin(vote.index)]
    row = now.loc[ranked].copy()
    both = ranked.intersection(vote.index).intersection(before.index)
    parts = [
        _share(int(units), str(hotkey), vote, before)
        for hotkey, units in row["weight_units"].items()
    ]
    if not any(parts):
        return _labelled(row.head(0), vote)
    row["weight_units"] = np.array(largest_remainder(WEIGHT_UNITS, parts), dtype=np.int64)
    for column in ("composite", *drawdown_columns()):
        apart = (vote[column] - before[column]).reindex(row.index).where(row.index.isin(both), 0.0)
        row[column] = _within_unit(row[column] + apart.fillna(0.0))
    return _labelled(row, vote)


def _share(units: int, hotkey: str, vote: pd.DataFrame, before: pd.DataFrame) -> int:
    """The own weight times the ratio in which this validator stood to it."""
    own = int(before["weight_units"].get(hotkey, 0))
    if not own or hotkey not in vote.index:
        return units * _FINE
    return units * _FINE * int(vote["weight_units"][hotkey]) // own


def _within_unit(values: "pd.Series[float]") -> FloatArray:
    """Composites and drawdowns lie in [0, 1], with 6 decimals or those of the recorded ones."""
    return np.clip(values.to_numpy(dtype=np.float64), 0.0, 1.0)


def _labelled(row: pd.DataFrame, vote: pd.DataFrame) -> pd.DataFrame:
    """The row with what stands beside every cell of a vote."""
    beside = ("epoch_id", "validator", "stake_rao", "data_hash", "received_at")
    return (
        row.rename_axis("hotkey")
        .reset_index()
        .assign(
            **{
                name: pd.Series(vote[name].iloc[0], index=range(len(row)), dtype=vote[name].dtype)
                for name in beside
            }
        )
    )
