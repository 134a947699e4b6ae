"""From returns to one score per miner, and the two tables that hold it.

A horizon exists when that many trailing returns exist; the composite is the weighted mean of the
horizons that exist. Measures live in ``metrics`` and ``horizons``, ranks, tiers and standing in
``ranking`` (all importable from here), originality and the variance factor in ``integrity``.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.epoch import Epoch, sessions_between
from quanta_pipelines.protocol.errors import InvalidIntegrityInput, InvalidReturns
from quanta_pipelines.protocol.horizons import history_sessions, horizon_table
from quanta_pipelines.protocol.metrics import (
    FloatArray,
    checked_returns,
    measure,
)
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.ranking import (
    PerformanceTier,
    Standing,
    drawdown_limits,
    eligible,
    ineligibility,
    is_unpriced,
    order,
    percentile,
    portfolio_tier,
    rank,
    standings,
    tiers,
)

__all__ = [
    "INTEGRITY_COLUMNS",
    "PerformanceTier",
    "Scores",
    "Standing",
    "composite",
    "drawdown_limits",
    "eligible",
    "history_sessions",
    "horizon_table",
    "ineligibility",
    "order",
    "percentile",
    "portfolio_tier",
    "rank",
    "score",
    "score_table",
    "standings",
    "tiers",
]


SCORE_COLUMNS = (
    "epoch_id",
    "hotkey",
    "final",
    "standing",
    "reason",
    "composite",
    "originality",
    "variance_factor",
    "final_score",
    "score_rank",
    "percentile",
    "tier",
    "eligible",
    "portfolio_tier",
    "history_sessions",
    "max_drawdown_30d",
    "committed_at",
)


# What integrity says of a miner, and what holds where nothing is said
INTEGRITY_COLUMNS: dict[str, float | bool] = {
    "originality": 1.0,
    "variance_factor": 1.0,
    "plagiarism": False,  # confirmed, no mere suspicion
    "cluster_member": False,  # of a cluster in which another one holds the position
    "below_least_stake": False,
}


@dataclass(frozen=True, slots=True)
class Scores:
    """What portfolios score: rows are portfolios, horizons the shortest first."""

    composite: FloatArray  # 6 decimals; NaN without a horizon
    horizon_scores: FloatArray  # NaN where the horizon does not exist


def score(returns: FloatArray, turnover: FloatArray, params: ProtocolParams = QUANTA) -> Scores:
    """Composite and horizon scores of portfolios, each from its own row alone.

    ``returns`` is ``[p, n]``, oldest first; NaN before a portfolio's first return means that there
    is no history, anywhere else it is refused. ``turnover`` is ``[p]``, one-way.
    """
    known, traded = checked_panel(returns, turnover)
    sessions = history_sessions(known)
    by_horizon = np.full((len(known), len(params.scoring.horizons)), np.nan)
    for column, horizon in enumerate(params.scoring.horizons):
        rows = sessions >= horizon
        if rows.any():
            measured = measure(known[rows, -horizon:], traded[rows], params.scoring)
            by_horizon[rows, column] = measured.horizon_score
    return Scores(composite(by_horizon, params), by_horizon)


def checked_panel(returns: FloatArray, turnover: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both as float64, if returns are absent before a history alone and every number is one."""
    known, traded = np.asarray(returns, dtype=np.float64), np.asarray(turnover, dtype=np.float64)
    if known.ndim != 2 or traded.shape != known.shape[:1]:
        raise InvalidReturns(
            "returns have the shape (portfolios, sessions) and turnover (portfolios,), one "
            f"portfolio's [1, n] and [1]: not {known.shape} and {traded.shape}"
        )
    history_sessions(known)
    checked_returns(np.where(np.isnan(known), 0.0, known))  # names the place in the whole input
    if not np.isfinite(traded).all():
        at = int(np.argmin(np.isfinite(traded)))
        raise InvalidReturns(f"turnover[{at}] is {traded[at]}")
    return known, traded


def composite(horizon_scores: FloatArray, params: ProtocolParams = QUANTA) -> FloatArray:
    """Weighted mean of the horizons that exist, 6 decimals; NaN where none does."""
    exists = ~np.isnan(horizon_scores)
    weights = np.where(exists, params.scoring.horizon_weights, 0.0)
    total = weights.sum(axis=1)
    weighted = (weights * np.where(exists, horizon_scores, 0.0)).sum(axis=1)
    absent = 0.5 if params.scoring.missing_score == "half" else np.nan
    mean = np.divide(weighted, total, out=np.full_like(total, absent), where=total > 0.0)
    return np.asarray(np.round(mean, 6))


def score_table(
    horizon_metrics: pd.DataFrame,
    portfolios: pd.DataFrame,
    portfolio_returns: pd.DataFrame,
    commitments: pd.DataFrame,
    *,
    epoch_id: str,
    final: bool = True,
    integrity: pd.DataFrame | None = None,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """Table ``Scores``: one row per miner with a portfolio or a commitment, with its standing.

    Not ``final`` are the scores of an epoch with sessions to come; ``portfolio_returns`` then end
    with the last session so far.
    ``integrity`` has one row per miner: hotkey and ``INTEGRITY_COLUMNS``; a factor that is not
    known (NaN) lowers nothing. Every miner with a composite must be there. Without the table all
    factors are 1 and nobody is in a cluster, below S_min or a plagiarist.
    """
    miners = pd.Index(
        sorted({*portfolios["hotkey"], *commitments["hotkey"]}), name="hotkey", dtype=object
    )
    facts = _facts(horizon_metrics, portfolios, portfolio_returns, commitments, miners)
    facts["history_sessions"] = _history(facts, _last_session(portfolio_returns, epoch_id))
    scored = composite(_wide(horizon_metrics, "horizon_score", miners, params), params)
    left_out = facts["filled_epochs"].isna() | is_unpriced(facts["unpriced_weight"], params)
    facts["composite"] = np.where(left_out, np.nan, scored)
    facts = facts.join(_of_integrity(integrity, facts["composite"], params))
    factors = facts["originality"] * facts["variance_factor"]
    facts["final_score"] = np.round(facts["composite"] * factors, 6)
    standing = standings(facts, params)
    table = facts.assign(
        epoch_id=pd.Series(epoch_id, index=miners, dtype=object),
        final=final,
        portfolio_tier=np.array(
            portfolio_tier(facts["volatility"].to_numpy(), params), dtype=object
        ),
        **standing,
        **_places(facts, standing["standing"] == Standing.RANKED, horizon_metrics, params),
    )
    return table.reset_index()[list(SCORE_COLUMNS)]


def _facts(
    horizon_metrics: pd.DataFrame,
    portfolios: pd.DataFrame,
    portfolio_returns: pd.DataFrame,
    commitments: pd.DataFrame,
    miners: pd.Index,
) -> pd.DataFrame:
    """What is known of each miner before it is judged; NaN where there is nothing to know."""
    held = portfolios.drop_duplicates("hotkey").set_index("hotkey").reindex(miners)
    received = commitments.set_index("hotkey")["received_at"].reindex(miners)
    by_horizon = horizon_metrics.sort_values("horizon")
    longest = by_horizon.drop_duplicates("hotkey", keep="last").set_index("hotkey").reindex(miners)
    month = by_horizon[by_horizon["horizon"] == 30].set_index("hotkey").reindex(miners)
    return pd.DataFrame(
        {
            "committed": received.notna(),
            "committed_at": held["committed_at"].fillna(received),
            "filled_epochs": held["filled_epochs"],
            "history_epoch": held["history_epoch"],
            "history_sessions": longest["history_sessions"],
            "unpriced_weight": portfolio_returns.groupby("hotkey")["unpriced_weight"].max(),
            "volatility": longest["volatility"],
            "benchmark_volatility": longest["benchmark_volatility"],
            "max_drawdown_30d": month["max_drawdown"],
        },
        index=miners,
    )


def _last_session(portfolio_returns: pd.DataFrame, epoch_id: str) -> date:
    """The last session with returns; of the whole epoch where nobody holds anything."""
    if portfolio_returns.empty:
        return Epoch.parse(epoch_id).sessions[-1]
    last: date = portfolio_returns["session"].max().date()
    return last


def _of_integrity(
    integrity: pd.DataFrame | None, composite: "pd.Series[float]", params: ProtocolParams
) -> pd.DataFrame:
    """``INTEGRITY_COLUMNS`` of each miner; factors stand where there is a composite."""
    scored = composite.notna()
    if integrity is None:
        known = pd.DataFrame(INTEGRITY_COLUMNS, index=composite.index)
    else:
        known = _checked_integrity(integrity, composite.index[scored], composite.index)
    switches = {
        "originality": params.scoring.originality_applied,
        "variance_factor": params.scoring.variance_applied,
    }
    factors = {
        name: (known[name].fillna(1.0) if applied else pd.Series(1.0, known.index)).where(scored)
        for name, applied in switches.items()
    }
    return known.assign(**factors)


def _checked_integrity(integrity: pd.DataFrame, scored: pd.Index, miners: pd.Index) -> pd.DataFrame:
    """Integrity by miner; nobody who has a score is left out, and no factor leaves [0, 1]."""
    table = integrity.set_index("hotkey")[list(INTEGRITY_COLUMNS)]
    missing = scored.difference(table.index)
    if len(missing) or table.index.has_duplicates:
        what = f"has no row for {missing[0]}" if len(missing) else "has a miner twice"
        raise InvalidIntegrityInput(f"the table of integrity {what}")
    factors = table[["originality", "variance_factor"]]
    outside = np.argwhere(((factors < 0.0) | (factors > 1.0)).to_numpy())
    if len(outside):
        row, column = outside[0]
        raise InvalidIntegrityInput(
            f"{factors.columns[column]} of {factors.index[row]} is {factors.iat[row, column]}, "
            "not 0 to 1"
        )
    flags = ["plagiarism", "cluster_member", "below_least_stake"]
    known = table.reindex(miners)
    return known.assign(**{name: known[name].eq(True) for name in flags})  # noqa: FBT003


def _history(facts: pd.DataFrame, last: date) -> "pd.Series[int]":
    """Sessions of each history: as measured, or by the calendar where no horizon exists yet."""
    unmeasured = facts.loc[facts["history_sessions"].isna(), "history_epoch"].dropna().unique()
    counted = {
        began: len(sessions_between(Epoch.parse(began).monday, last)) for began in unmeasured
    }
    by_calendar = facts["history_epoch"].map(counted)
    return facts["history_sessions"].fillna(by_calendar).fillna(0).astype("int64")


def _wide(
    horizon_metrics: pd.DataFrame, column: str, miners: pd.Index, params: ProtocolParams
) -> FloatArray:
    """One column of the table ``HorizonMetrics`` as ``[p, 3]``; NaN where there is no row."""
    wide = horizon_metrics.pivot(index="hotkey", columns="horizon", values=column)
    return wide.reindex(index=miners, columns=list(params.scoring.horizons)).to_numpy(np.float64)


def _places(
    facts: pd.DataFrame,
    ranked: "pd.Series[bool]",
    horizon_metrics: pd.DataFrame,
    params: ProtocolParams,
) -> dict[str, Any]:
    """Rank, percentile, tier and eligibility: of the ranked alone, and among them."""
    among = facts[ranked]
    arrived = (among["committed_at"].astype("int64"), among.index)
    ranks = rank(
        among["final_score"].to_numpy(),
        tie_break=arrived if params.scoring.tie_order == "arrival" else None,
    )
    allowed = eligible(
        among["composite"].to_numpy(),
        float(among["composite"].median()),
        _wide(horizon_metrics, "max_drawdown", among.index, params),
        _wide(horizon_metrics, "benchmark_max_drawdown", among.index, params),
        params,
    )
    if params.scoring.eligibility_applied:
        allowed = allowed & ~among["plagiarism"].to_numpy(dtype=bool)
    at = ranked.to_numpy(dtype=bool)
    score_rank = pd.array([pd.NA] * len(facts), dtype="Int64")
    position, tier = np.full(len(facts), np.nan), np.full(len(facts), None, dtype=object)
    rewarded = np.zeros(len(facts), dtype=bool)
    score_rank[at], position[at], rewarded[at] = ranks, percentile(ranks, len(among)), allowed
    tier[at] = [str(name) for name in tiers(ranks, len(among), params)]
    return {"score_rank": score_rank, "percentile": position, "tier": tier, "eligible": rewarded}
