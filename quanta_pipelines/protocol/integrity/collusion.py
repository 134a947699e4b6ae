"""Collusion of validators: two that err in the same direction, by more than noise, again and again.

Weights themselves correlate above 0.99 among honest validators, since all see the same prices.
What two of them share beyond the others is in their deviations from the others' median. Where
colluders are half of the others or more, that median is theirs, and honest validators look apart.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity.ordered import ordered_dot, ordered_sum, rounded
from quanta_pipelines.protocol.metrics import FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

AGREEMENT_COLUMNS = {
    "epoch_id": "object",
    "validator": "object",
    "other": "object",
    "miners": "int64",  # that both scored and a third one too
    "correlation": "float64",
    "threshold": "float64",
    "deviation": "float64",
    "other_deviation": "float64",
    "deviation_threshold": "float64",
}


NEAR = 1e-6  # candidates are computed again, in a fixed order


def deviations(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Relative deviations from the median of the others, ``W_v / m - 1``, and that median.

    ``weights`` is ``[v, m]``, NaN where a validator did not score a miner; each row is first
    divided by its sum. Both results are ``[v, m]``, NaN where there is no weight or no positive
    median of others.
    """
    given = np.asarray(weights, dtype=np.float64)
    if given.ndim != 2 or np.isinf(given).any() or (given < 0).any():
        raise InvalidIntegrityInput(
            f"weights are (validators, miners), finite and not negative: {given.shape}"
        )
    filled = np.nan_to_num(given, nan=0.0)
    total = ordered_sum(filled.T) if filled.size else np.zeros(len(given))
    shares = given / np.where(total > 0, total, np.nan)[:, None]
    middle = np.full_like(shares, np.nan)
    for validator in range(len(shares)):
        others = np.delete(shares, validator, axis=0)
        heard = ~np.isnan(others).all(axis=0)
        middle[validator, heard] = np.nanmedian(others[:, heard], axis=0)
    middle = np.where(middle > 0, middle, np.nan)
    return shares / middle - 1.0, middle


def agreements(
    weights: FloatArray,
    validators: Sequence[str],
    *,
    epoch_id: str,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """Pairs of validators of one epoch whose deviations agree: one row each, with the numbers.

    At least 8 miners that both deviate on can be compared, the deviations correlate by 0.95 or
    more, and each one's L1 distance ``sum |W_v - m|`` over those miners is at least 0.01.
    """
    if len(weights) != len(validators):
        raise InvalidIntegrityInput(f"{len(weights)} rows of weights, {len(validators)} validators")
    by_name = np.argsort(np.array(list(validators), dtype=object))
    names = np.array(list(validators), dtype=object)[by_name]
    relative, middle = deviations(np.asarray(weights, dtype=np.float64)[by_name])
    apart = np.abs(relative * middle)
    rules = params.consensus
    rows = [
        {"epoch_id": epoch_id, "validator": names[i], "other": names[j]}
        | _compared(relative[[i, j]], apart[[i, j]])
        for i, j in _candidates(relative, params)
    ]
    if not rows:
        return _NOTHING.copy()
    table = pd.DataFrame(rows).assign(
        threshold=rules.collusion_correlation, deviation_threshold=rules.collusion_min_deviation
    )
    far = table[["deviation", "other_deviation"]].min(axis=1) >= rules.collusion_min_deviation
    alike = table["correlation"] >= rules.collusion_correlation
    return table.loc[far & alike, list(AGREEMENT_COLUMNS)].astype(AGREEMENT_COLUMNS)


def collusion_evidence(
    weights: Mapping[str, FloatArray],
    validators: Mapping[str, Sequence[str]],
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """Agreements of suspected pairs: those that agree in at least 3 of the last 5 epochs.

    Both mappings are by epoch id, with the weights ``[v, m]`` and the names of their rows. The last
    5 ids in order count; an epoch without votes is one of them, with no row.
    """
    window = sorted(weights)[-params.consensus.collusion_window :]
    tables = [
        agreements(weights[epoch_id], validators[epoch_id], epoch_id=epoch_id, params=params)
        for epoch_id in window
    ]
    rows = pd.concat([table for table in tables if len(table)] or [_NOTHING])
    epochs = rows.groupby(["validator", "other"])["epoch_id"].transform("nunique")
    kept = rows.assign(suspect_epochs=epochs.astype("int64"))
    kept = kept[epochs >= params.consensus.collusion_epochs]
    return kept.sort_values(["validator", "other", "epoch_id"], ignore_index=True)


def agreeing_validators(
    votes: Sequence[pd.DataFrame], params: ProtocolParams = QUANTA
) -> pd.DataFrame:
    """``collusion_evidence`` of some epochs' tables ``ValidatorWeights``, those with votes."""
    wide = {
        str(table["epoch_id"].iloc[0]): table.pivot(
            index="validator", columns="hotkey", values="weight_units"
        ).astype("float64")
        for table in votes
        if len(table)
    }
    return collusion_evidence(
        {epoch_id: table.to_numpy(np.float64) for epoch_id, table in wide.items()},
        {epoch_id: list(table.index) for epoch_id, table in wide.items()},
        params,
    )


def _candidates(relative: FloatArray, params: ProtocolParams) -> list[tuple[int, int]]:
    """Pairs with enough common miners whose correlation is near the threshold or above."""
    rules = params.consensus
    near = pd.DataFrame(relative.T).corr(min_periods=rules.collusion_min_miners).to_numpy()
    found = np.argwhere(np.triu(near >= rules.collusion_correlation - NEAR, 1))
    return [(int(i), int(j)) for i, j in found]


_NOTHING = pd.DataFrame(columns=list(AGREEMENT_COLUMNS)).astype(AGREEMENT_COLUMNS)


def _compared(relative: FloatArray, apart: FloatArray) -> dict[str, float]:
    """Correlation of two rows of deviations over their common miners, and both L1 distances."""
    both = ~np.isnan(relative).any(axis=0)
    count = int(np.count_nonzero(both))
    chosen = relative[:, both].T[:, :, None]
    centred = chosen - ordered_sum(chosen) / count
    one, other = centred[:, 0], centred[:, 1]
    size = np.sqrt(ordered_dot(one, one) * ordered_dot(other, other))
    value = ordered_dot(one, other) / np.where(size > 0, size, np.nan)
    far = rounded(ordered_sum(apart[:, both].T))
    return {
        "miners": count,
        "correlation": float(rounded(value)[0]),
        "deviation": float(far[0]),
        "other_deviation": float(far[1]),
    }
