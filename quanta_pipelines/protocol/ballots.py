"""The table ``validator_weights``, whose votes of it count, and its cells as a matrix.

How a vote is computed lives in ``votes``, how votes become consensus in ``consensus``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch, settles_at
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.stakes import quorum
from quanta_pipelines.protocol.votes import WEIGHT_UNITS


@dataclass(frozen=True, slots=True)
class Ballots:
    """Cells of the votes that count, placed in a matrix of voters by miners."""

    cells: pd.DataFrame
    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]
    shape: tuple[int, int]

    def reported(self) -> BoolArray:
        """Where a voter has a cell."""
        filled = np.zeros(self.shape, dtype=bool)
        filled[self.rows, self.columns] = True
        return filled

    def matrix(self, column: str) -> FloatArray:
        """One column of the votes, NaN where a voter has no cell."""
        filled = np.full(self.shape, np.nan)
        filled[self.rows, self.columns] = self.cells[column].to_numpy(dtype=np.float64)
        return filled

    def units(self) -> FloatArray:
        """The weights in whole units, which floats hold exactly; a missing cell is a vote of 0."""
        return np.nan_to_num(self.matrix("weight_units"), nan=0.0)

    def weights(self) -> FloatArray:
        """The weights as shares of a row."""
        return self.units() / WEIGHT_UNITS


def placed(votes: pd.DataFrame, voters: Sequence[str], hotkeys: "pd.Series[str]") -> Ballots:
    """The voters' cells on these miners; what they say about others has no place."""
    rows = pd.Index(voters).get_indexer(pd.Index(votes["validator"]))
    columns = pd.Index(hotkeys).get_indexer(pd.Index(votes["hotkey"]))
    counts = (rows >= 0) & (columns >= 0)
    return Ballots(
        votes.loc[counts], rows[counts], columns[counts], shape=(len(voters), len(hotkeys))
    )


def voters_of(votes: pd.DataFrame, stakes: Mapping[str, int], params: ProtocolParams) -> list[str]:
    """Eligible validators with stake that voted; nobody where they are no quorum."""
    names, voted = sorted(stakes), set(votes["validator"])
    present = [name in voted for name in names]
    if not quorum([stakes[name] for name in names], present, params.consensus.kappa):
        return []
    return [name for name, here in zip(names, present, strict=True) if here and stakes[name]]


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
