"""One validator's vote: its row of weights, and how the row stands against the consensus.

Weights are whole units of 10^-9, so that a row sums to one exactly. How rows are combined lives in
``yuma``.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.apportion import part
from quanta_pipelines.protocol.errors import InvalidWeights
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.stakes import Stakes, exact, exact_stakes
from quanta_pipelines.protocol.yuma import row_sums

WEIGHT_UNITS = 10**9  # a row's sum; data_contracts.consensus has to repeat it
_SCORE_UNITS = 10**6  # scores carry 6 decimals
_U16 = 65_535


def weight_units(final_scores: FloatArray) -> IntArray:
    """Scores divided by their sum, in units of 10^-9 that sum to 10^9.

    What rounding down leaves over goes to whole groups of equal scores, the largest remainder
    first, as long as a group fits: equal scores get equal weights, hence equal ranks and rewards.
    Only what fits no group is given out in the order given, that of the hotkeys; where all scores
    are equal that cannot be avoided. A better score never gets less. Scores that are all 0 carry
    no information and give no weights: zeros, never uniform ones.
    """
    scores = np.asarray(final_scores, dtype=np.float64)
    if not (np.isfinite(scores) & (scores >= 0)).all():
        raise InvalidWeights("a final score is finite and not negative")
    micro = np.rint(scores * _SCORE_UNITS).astype(np.int64).tolist()
    if not any(micro):
        return np.zeros(len(scores), dtype=np.int64)
    return np.array(_shared_out(micro), dtype=np.int64)


def _shared_out(scores: Sequence[int]) -> list[int]:
    """Units in proportion to the scores; one group of equal scores at most is split."""
    whole, sizes = sum(scores), Counter(scores)
    quotas = {score: divmod(WEIGHT_UNITS * score, whole) for score in sizes}
    units = {score: floor for score, (floor, _) in quotas.items()}
    left = WEIGHT_UNITS - sum(sizes[score] * floor for score, floor in units.items())
    following = {worse: better for better, worse in pairwise(sorted(sizes, reverse=True))}
    waiting = []
    for score in sorted(sizes, key=lambda score: -quotas[score][1]):
        better = following.get(score)
        overtakes = better is not None and units[better] == units[score]
        if sizes[score] > left or overtakes or quotas[score][1] == 0:
            waiting.append(score)
        else:
            units[score] += 1
            left -= sizes[score]
    parts = [units[score] for score in scores]
    split = [at for at, score in enumerate(scores) if waiting and score == waiting[0]]
    for at in split[:left]:
        parts[at] += 1
    return parts


def drawdown_columns(params: ProtocolParams = QUANTA) -> list[str]:
    """``max_drawdown_7d`` and so on, shortest horizon first."""
    return [f"max_drawdown_{horizon}d" for horizon in params.scoring.horizons]


def validator_row(
    scores: pd.DataFrame, horizon_metrics: pd.DataFrame, params: ProtocolParams = QUANTA
) -> pd.DataFrame:
    """Vote of a validator on the miners that its own scores rank, one row each, by hotkey.

    ``weight_units``, with the composite and the drawdown per horizon (NaN where none exists)
    beside it. No row where nobody is ranked or every score is 0: then no weights are submitted.
    """
    ranked = scores[scores["standing"] == "ranked"].sort_values("hotkey", ignore_index=True)
    units = weight_units(ranked["final_score"].to_numpy(dtype=np.float64))
    row = ranked[["hotkey", "composite"]].assign(weight_units=units)
    deepest = horizon_metrics.pivot(index="hotkey", columns="horizon", values="max_drawdown")
    found = deepest.reindex(index=row["hotkey"], columns=list(params.scoring.horizons))
    row[drawdown_columns(params)] = found.to_numpy(dtype=np.float64)
    row = row.astype({"hotkey": "object", "composite": "float64"})
    row = row[["hotkey", "weight_units", "composite", *drawdown_columns(params)]]
    return row if units.any() else row.head(0)


def u16_weights(weights: Sequence[float] | FloatArray | IntArray) -> IntArray:
    """Weights as the chain takes them: the largest becomes 65535, halves round up.

    A weight that rounds to 0 stays in its place; the caller drops it.
    """
    units = exact_stakes(np.asarray(weights))
    top = max(units, default=0) or 1
    return np.array([(2 * _U16 * unit + top) // (2 * top) for unit in units], dtype=np.int64)


def agreement(weights: FloatArray, consensus: FloatArray) -> FloatArray:
    """Part of each validator's row that the consensus covers, for rows that sum to 1.

    ``sum_j min(W_ij, C_j) / min(1, sum_j C_j)``; NaN for an empty row, or where nothing is agreed.
    """
    agreed = math.fsum(consensus)
    covered = row_sums(np.minimum(weights, consensus)) / min(1.0, agreed or 1.0)
    return np.where(weights.any(axis=1) & (agreed > 0), covered, np.nan)


def divergence(weights: FloatArray, consensus: FloatArray) -> FloatArray:
    """Half the L1 distance of each row to the normalised consensus; NaN where agreement is."""
    agreed = math.fsum(consensus)
    distance = row_sums(np.abs(weights - consensus / (agreed or 1.0))) / 2
    return np.where(weights.any(axis=1) & (agreed > 0), distance, np.nan)


def dispute_flagged(
    weights: FloatArray,
    consensus: FloatArray,
    stakes: Stakes,
    present: Sequence[bool] | BoolArray,
    params: ProtocolParams = QUANTA,
) -> BoolArray:
    """Miners on whom too little of all eligible stake is near the consensus.

    One row and one stake per eligible validator. Near is within ``dispute_distance`` of the
    consensus weight, or ``dispute_distance_floor`` where that is more, compared in whole units;
    who is not ``present`` is near nothing but counts in the total.
    """
    given, agreed = (np.rint(np.asarray(of) * WEIGHT_UNITS) for of in (weights, consensus))
    rules = params.consensus
    distance = [
        max(
            part(rules.dispute_distance, int(unit)),
            part(rules.dispute_distance_floor, WEIGHT_UNITS),
        )
        for unit in agreed
    ]
    near = (np.abs(given - agreed) <= distance) & np.asarray(present, dtype=bool)[:, None]
    units = exact_stakes(stakes)
    support = near.T.astype(object) @ np.array(units, dtype=object)
    asked = exact(rules.dispute_supermajority)
    return np.asarray(support * asked.denominator < asked.numerator * sum(units), dtype=np.bool_)


def penalised_bonds(
    bonds: FloatArray, upheld: Sequence[int] | IntArray, params: ProtocolParams = QUANTA
) -> FloatArray:
    """Bonds after the penalty for each validator's upheld disputes, which add up."""
    penalty = float(params.consensus.dispute_bond_penalty) * np.asarray(upheld, dtype=np.float64)
    return np.asarray(bonds * np.maximum(1 - penalty, 0.0)[:, None])
