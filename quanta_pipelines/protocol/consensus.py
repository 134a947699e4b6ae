"""From the votes of all validators to one row per ranked miner: weight, rank, tier, eligibility.

Who is ranked follows from the votes too: platforms whose own scores differ settle the same miners.
What one validator submits lives in ``votes``, how stake counts in ``stakes``, the formulas over
matrices in ``yuma``; their public names can be imported from here. What a tier is paid lives in
``rewards``.
"""

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.ballots import Ballots, placed, voters_of
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, IntArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.ranking import (
    PerformanceTier,
    Standing,
    eligible,
    ineligibility,
    percentile,
    rank,
    tiers,
)
from quanta_pipelines.protocol.stakes import (
    CappedStakes,
    cap_stakes,
    capped_stakes,
    exact,
    exact_stakes,
    quorum,
)
from quanta_pipelines.protocol.votes import (
    WEIGHT_UNITS,
    agreement,
    dispute_flagged,
    divergence,
    drawdown_columns,
    penalised_bonds,
    u16_weights,
    validator_row,
    weight_units,
)
from quanta_pipelines.protocol.yuma import (
    Clipped,
    LiquidAlpha,
    YumaResult,
    clip,
    dividends,
    median_of_reported,
    stake_weighted_median,
    yuma,
    yuma_by,
)

__all__ = [
    "WEIGHT_UNITS",
    "CappedStakes",
    "Clipped",
    "LiquidAlpha",
    "YumaResult",
    "agreement",
    "cap_stakes",
    "capped_stakes",
    "clip",
    "consensus_table",
    "dispute_flagged",
    "divergence",
    "dividends",
    "exact_stakes",
    "median_of_reported",
    "penalised_bonds",
    "quorum",
    "settled_tiers",
    "stake_weighted_median",
    "u16_weights",
    "validator_row",
    "weight_units",
    "yuma",
    "yuma_by",
]

_COLUMNS = {
    "epoch_id": "object",
    "hotkey": "object",
    "consensus_weight": "float64",
    "incentive": "float64",
    "trust": "float64",
    "composite": "float64",
    "max_drawdown_7d": "float64",
    "max_drawdown_30d": "float64",
    "max_drawdown_90d": "float64",
    "rank": "int64",
    "percentile": "float64",
    "tier": "object",
    "eligible": "bool",
    "reason": "object",
    "n_validators": "int64",
    "dispute_flagged": "bool",
}


def consensus_table(
    validator_weights: pd.DataFrame,
    scores: pd.DataFrame,
    horizon_metrics: pd.DataFrame,
    *,
    stakes: Mapping[str, int],
    epoch_id: str,
    plagiarists: Collection[str] = (),
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """One row per miner that enough of the present stake ranks, by hotkey: what is agreed on.

    ``stakes`` holds the rao of every eligible validator, whether it voted or not. Who is silent
    abstains. ``scores`` are this platform's: they say who revealed, when it was committed, and,
    where ``rank_by`` is ``own_score``, the score; not who is ranked. Without a quorum, or where the
    votes rank nobody, the table has no row: no consensus. ``plagiarists`` are not eligible.
    """
    voters = voters_of(validator_weights, stakes, params)
    shares = capped_stakes([stakes[name] for name in voters], params).shares
    ranked = _ranked(validator_weights, scores, voters, shares, params)
    if ranked.empty:
        return pd.DataFrame(columns=list(_COLUMNS)).astype(_COLUMNS)
    ballots = placed(validator_weights, voters, ranked["hotkey"])
    table = ranked[["hotkey", "final_score", "committed_at"]].assign(
        epoch_id=epoch_id,
        **_agreed(ballots, shares, params),
        n_validators=len(voters),
    )
    table["dispute_flagged"] = _flagged(validator_weights, table, stakes, voters, params)
    judged = _judged(table, horizon_metrics, params)
    if params.scoring.eligibility_applied:
        judged = _without_plagiarists(judged, plagiarists)
    return judged[list(_COLUMNS)].astype(_COLUMNS)


def _ranked(
    votes: pd.DataFrame,
    scores: pd.DataFrame,
    voters: Sequence[str],
    shares: Sequence[Fraction],
    params: ProtocolParams,
) -> pd.DataFrame:
    """Rows of ``scores`` that voters with at least kappa of the present stake have a cell for.

    Whether a portfolio was revealed is a fact of the intake and no opinion: without one here, no
    vote ranks a miner.
    """
    revealed = scores[scores["standing"] != Standing.UNREVEALED]
    revealed = revealed.sort_values("hotkey", ignore_index=True)
    reported = placed(votes, voters, revealed["hotkey"]).reported()
    units, kappa = exact_stakes(shares), exact(params.consensus.kappa)
    support = reported.T.astype(object) @ np.array(units, dtype=object)
    enough = support * kappa.denominator >= kappa.numerator * sum(units)
    return revealed[np.asarray((support > 0) & enough, dtype=bool)].reset_index(drop=True)


def _agreed(
    ballots: Ballots, shares: Sequence[Fraction], params: ProtocolParams
) -> dict[str, FloatArray]:
    """Weight, incentive and trust, and the medians of what was reported beside the weights."""
    median = params.consensus.median
    agreed = clip(ballots.units(), shares, params.consensus.kappa, median=median)
    return {
        "consensus_weight": agreed.consensus / WEIGHT_UNITS,
        "incentive": agreed.incentive,
        "trust": agreed.trust,
    } | {
        column: median_of_reported(ballots.matrix(column), shares, median=median)
        for column in ("composite", *drawdown_columns(params))
    }


def _flagged(
    votes: pd.DataFrame,
    table: pd.DataFrame,
    stakes: Mapping[str, int],
    voters: Sequence[str],
    params: ProtocolParams,
) -> BoolArray:
    """Miners whose agreed weight too little of all eligible stake is near."""
    names = sorted(stakes)
    cells = placed(votes, names, table["hotkey"]).weights()
    return dispute_flagged(
        cells,
        table["consensus_weight"].to_numpy(dtype=np.float64),
        [stakes[name] for name in names],
        [name in voters for name in names],
        params,
    )


def _judged(
    table: pd.DataFrame, horizon_metrics: pd.DataFrame, params: ProtocolParams
) -> pd.DataFrame:
    """The table with what follows from the agreed numbers: rank, tier, eligibility."""
    own = params.consensus.rank_by == "own_score"
    # The votes may rank a miner without a score here: then its own score counts as 0
    given = table["final_score" if own else "consensus_weight"].to_numpy(dtype=np.float64)
    value = np.nan_to_num(given, nan=0.0)
    arrival = [table["committed_at"].astype("int64"), table["hotkey"]]
    ranks = rank(value, arrival if params.scoring.tie_order == "arrival" else None)
    composite = table["composite"].to_numpy(dtype=np.float64)
    drawdowns = table[drawdown_columns(params)].to_numpy(dtype=np.float64)
    benchmark = _benchmark_drawdowns(horizon_metrics, params)
    middle = _median(composite)
    return table.assign(
        rank=ranks,
        percentile=percentile(ranks, len(ranks)),
        tier=[tier.value for tier in settled_tiers(ranks, value > 0, params)],
        eligible=eligible(composite, middle, drawdowns, benchmark, params),
        reason=ineligibility(composite, middle, drawdowns, benchmark, params),
    )


def _without_plagiarists(table: pd.DataFrame, plagiarists: Collection[str]) -> pd.DataFrame:
    """The table with confirmed plagiarists not eligible, and the reason beside any other."""
    found = table["hotkey"].isin(set(plagiarists))
    said = [
        "; ".join(filter(None, ["confirmed plagiarism" if guilty else "", reason]))
        for guilty, reason in zip(found, table["reason"], strict=True)
    ]
    return table.assign(eligible=table["eligible"] & ~found, reason=said)


def settled_tiers(
    ranks: IntArray, supported: Sequence[bool] | BoolArray, params: ProtocolParams = QUANTA
) -> list[PerformanceTier]:
    """Tiers of all ranked miners; one whose weight is 0 is in the penalty band at any rank."""
    return [
        tier if has_weight else PerformanceTier.PENALTY_BAND
        for tier, has_weight in zip(tiers(ranks, len(ranks), params), supported, strict=True)
    ]


def _benchmark_drawdowns(horizon_metrics: pd.DataFrame, params: ProtocolParams) -> FloatArray:
    """The benchmark's drawdown per horizon, NaN where it is not known."""
    by_horizon = horizon_metrics.groupby("horizon")["benchmark_max_drawdown"].first()
    return by_horizon.reindex(list(params.scoring.horizons)).to_numpy(dtype=np.float64)


def _median(composite: FloatArray) -> float:
    known = composite[~np.isnan(composite)]
    return float(np.median(known)) if known.size else np.nan
