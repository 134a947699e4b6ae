"""What an identity must stake, S_min, and what it is worth. Stake is integer rao."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity.ordered import ordered_sum, rounded
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.portfolio import RAO


def least_stake_rao(
    net_rewards_rao: Sequence[int],
    ranked: Sequence[int],
    cluster_size: Sequence[int] | IntArray,
    params: ProtocolParams = QUANTA,
) -> list[int]:
    """S_min of each miner in rao, rounded up: what it must have bonded at ``opens_at``.

        S_min = 1.5 * mean net reward of a ranked identity * identities in the cluster

    at least the minimum ante. ``net_rewards_rao`` and ``ranked`` hold, per epoch and oldest first,
    the sum of all net rewards (payout less ante) and the number of ranked miners; the last 13 count
    and each (identity, epoch) weighs the same. ``cluster_size`` is 1 for a miner on its own.
    """
    if len(net_rewards_rao) != len(ranked):
        raise InvalidIntegrityInput(
            f"rewards of {len(net_rewards_rao)} epochs, ranked miners of {len(ranked)}"
        )
    if any(count < 0 for count in ranked) or any(size < 1 for size in cluster_size):
        raise InvalidIntegrityInput("ranked miners are at least 0, identities in a cluster 1")
    epochs = params.security.min_stake_epochs
    rewards, identities = sum(net_rewards_rao[-epochs:]), sum(ranked[-epochs:])
    mean = Fraction(rewards, identities) if identities else Fraction(0)
    factor = Fraction(params.security.min_stake_multiplier) * mean
    floor = math.ceil(params.tokenomics.minimum_ante * RAO)
    return [max(floor, math.ceil(factor * int(size))) for size in cluster_size]


def below_least_stake(stakes_rao: Sequence[int], least_rao: Sequence[int]) -> BoolArray:
    """Who has bonded less than S_min, compared in integers: ``[p]``."""
    pairs = zip(stakes_rao, least_rao, strict=True)
    return np.array([stake < least for stake, least in pairs], dtype=bool)


def percentile_average(percentiles: FloatArray, params: ProtocolParams = QUANTA) -> FloatArray:
    """Exponential average of rank percentiles, weight 0.1 on the newest: ``[p]``.

    ``percentiles`` is ``[p, e]``, oldest first, NaN before an identity existed. It begins at 0, so
    that one lucky epoch is worth a tenth; an epoch without a rank counts 0.
    """
    given = np.asarray(percentiles, dtype=np.float64)
    if given.ndim != 2:
        raise InvalidIntegrityInput(f"percentiles are (miners, epochs), not {given.shape}")
    alpha = params.security.identity_ema_alpha
    average = np.zeros(len(given))
    for epoch in np.nan_to_num(given, nan=0.0).T:
        average = alpha * epoch + (1.0 - alpha) * average
    return average


def identity_score(
    stakes_rao: Sequence[int],
    least_rao: Sequence[int],
    percentiles: FloatArray,
    days: IntArray,
    params: ProtocolParams = QUANTA,
) -> FloatArray:
    """Worth of each identity between 0 and 1, 9 decimals: ``[p]``.

        0.50 min(1, stake / (10 S_min)) + 0.30 EMA of rank percentile + 0.20 min(1, days / 90)

    ``percentiles`` as in ``percentile_average``; ``days`` since its first commitment.
    """
    average = percentile_average(percentiles, params)
    return identity_of(stakes_rao, least_rao, average, days, params)


def identity_of(
    stakes_rao: Sequence[int],
    least_rao: Sequence[int],
    average: FloatArray,
    days: IntArray,
    params: ProtocolParams = QUANTA,
) -> FloatArray:
    """``identity_score`` of whose ``percentile_average`` is known already: ``[p]``."""
    if any(stake < 0 for stake in stakes_rao) or any(least < 1 for least in least_rao):
        raise InvalidIntegrityInput("a stake is at least 0 rao, S_min at least 1")
    rules = params.security
    full = Fraction(rules.identity_full_stake)
    bonded = np.array(
        [
            float(min(Fraction(1), int(stake) / (full * int(least))))
            for stake, least in zip(stakes_rao, least_rao, strict=True)
        ]
    )
    tenure = np.clip(np.asarray(days, dtype=np.float64) / rules.identity_tenure_days, 0.0, 1.0)
    parts = (
        rules.identity_stake_weight * bonded,
        rules.identity_performance_weight * average,
        rules.identity_tenure_weight * tenure,
    )
    return rounded(ordered_sum(parts))
