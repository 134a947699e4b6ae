"""What the marts say, as answers: pages of the leaderboard, one epoch's economy, the network.

Nothing is computed here: every number is a cell of a mart, or a count of the store's registry.
"""

import math
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from quanta_pipelines.adapters.published_marts import Publication
from quanta_pipelines.adapters.signal_store import Role
from quanta_pipelines.api.fields import tokens
from quanta_pipelines.api.problems import Problem
from quanta_pipelines.api.responses import (
    EpochResponse,
    LeaderboardEntry,
    LeaderboardResponse,
    NetworkResponse,
    ScoreDistribution,
    Tier,
)
from quanta_pipelines.api.services import Services
from quanta_pipelines.protocol.epoch import Epoch, EpochPhase, phase_at
from quanta_pipelines.protocol.errors import UnknownSessions

_TIER: TypeAdapter[Tier] = TypeAdapter(Tier)


def board(
    services: Services,
    publication: Publication,
    epoch_id: str | None,
    *,
    tier: str | None,
    rows: slice,
) -> LeaderboardResponse:
    """A page of an epoch's ranking; raises ``unknown_epoch`` or ``epoch_not_settled``."""
    chosen = epoch_id or publication.settled[-1]
    economy = settled_epoch(services, publication, chosen)
    totals = _network_row(publication, chosen)
    ranked = publication.leaderboard[publication.leaderboard["epoch_id"] == chosen]
    shown = ranked if tier is None else ranked[ranked["tier"] == tier]
    return LeaderboardResponse(
        epoch_id=chosen,
        updated_at=publication.published_at,
        total_miners=int(totals["n_miners"]),
        entries=[_entry(row) for row in shown.iloc[rows].to_dict("records")],
        avg_return_7d=number(totals["mean_return_7d"]),
        median_score=number(economy["median_composite"]),
        top_performer_return=number(totals["first_return_30d"]),
    )


def settled_epoch(services: Services, publication: Publication, epoch_id: str) -> "pd.Series[Any]":
    """An epoch's row of the mart; its absence says why."""
    found = publication.epochs[publication.epochs["epoch_id"] == epoch_id]
    if found.empty:
        raise _absence(services, epoch_id)
    return found.iloc[0]


def epoch_economy(services: Services, publication: Publication, epoch_id: str) -> EpochResponse:
    """Who took part in an epoch, and where its money came from and went."""
    row = settled_epoch(services, publication, epoch_id)
    totals = _network_row(publication, epoch_id)
    money = {
        "emission": row["emission_rao"],
        "external": row["external_rao"],
        "total_ante": row["antes_staked_rao"],
        "carry_in": row["carry_in_rao"],
        "network_rake": row["rake_rao"],
        "total_distributed": row["distributed_rao"],
        "total_burned": row["burned_rao"],
        "fees_to_treasury": row["fees_to_treasury_rao"],
        "carry_out": row["carry_out_rao"],
    }
    return EpochResponse(
        epoch_id=epoch_id,
        has_consensus=bool(row["has_consensus"]),
        total_signals=int(totals["n_miners"]),
        provisional=int(row["n_provisional"]),
        unranked=int(row["n_unranked"]),
        unrevealed=int(row["n_unrevealed"]),
        avg_score=number(row["mean_composite"]),
        score_distribution=ScoreDistribution(
            **{
                f"{tier}_count": int(totals[f"n_{tier}"])
                for tier in ("top_tier", "profitable", "break_even", "penalty_band")
            }
        ),
        **both_units(money),
    )


def network(services: Services, publication: Publication) -> NetworkResponse:
    """Totals over all settled epochs, and counts of who takes part now."""
    last = publication.settled[-1]
    totals = _network_row(publication, last)
    roles = services.store.participants.counts(services.now())
    money = {
        "total_stake": totals["stake_rao"],
        "total_rewards_distributed": totals["rewards_to_date_rao"],
        "total_burned": totals["burned_to_date_rao"],
    }
    return NetworkResponse(
        epoch_id=last,
        updated_at=publication.published_at,
        total_signal_generators=roles[Role.SIGNAL_GENERATOR],
        solo_miners=roles[Role.SOLO_MINER],
        pool_operators=roles[Role.POOL_OPERATOR],
        validators=int(totals["n_validators"]),
        network_avg_return_30d=number(totals["mean_return_30d"]),
        top_10_avg_return_30d=number(totals["top_10_mean_return_30d"]),
        **both_units(money),
    )


def both_units(money: dict[str, Any]) -> dict[str, Any]:
    """Each amount in tokens and, under its name with ``_rao``, in rao."""
    whole = {name: int(rao) for name, rao in money.items()}
    return {name: tokens(rao) for name, rao in whole.items()} | {
        f"{name}_rao": str(rao) for name, rao in whole.items()
    }


def number(value: Any) -> float | None:
    """A float, ``None`` where the table has nothing."""
    return None if pd.isna(value) or not math.isfinite(value) else float(value)


def text(value: Any) -> str | None:
    """Text, ``None`` where the table has nothing."""
    return None if pd.isna(value) else str(value)


def tier_of(value: Any) -> Tier | None:
    """A tier, ``None`` where the miner has none."""
    return None if pd.isna(value) else _TIER.validate_python(value)


def _network_row(publication: Publication, epoch_id: str) -> "pd.Series[Any]":
    """An epoch's row of the mart ``network_by_epoch``, which has one wherever ``epochs`` has."""
    return publication.network[publication.network["epoch_id"] == epoch_id].iloc[0]


def _entry(row: dict[Any, Any]) -> LeaderboardEntry:
    money = {
        "ante": row["ante_rao"],
        "reward": row["gross_rao"],
        "payout": row["payout_rao"],
    }
    return LeaderboardEntry(
        rank=row["rank"],
        miner_hotkey=row["hotkey"],
        composite_score=number(row["composite"]),
        score_lower=number(row["composite_lower"]),
        score_upper=number(row["composite_upper"]),
        performance_tier=row["tier"],
        eligible=row["eligible"],
        final_tier=tier_of(row["final_tier"]),
        consensus_weight=row["consensus_weight"],
        portfolio_tier=text(row["portfolio_tier"]),
        return_7d=number(row["return_7d"]),
        return_30d=number(row["return_30d"]),
        sharpe_30d=number(row["sharpe_30d"]),
        max_drawdown_30d=number(row["max_drawdown_30d"]),
        epochs_participated=row["epochs_participated"],
        avg_rank_percentile=row["average_percentile"],
        **both_units(money),
    )


def _absence(services: Services, epoch_id: str) -> Problem:
    """Why an epoch is not in the marts: it is on its way, or nobody knows of it."""
    phase = _phase(services, epoch_id)
    if phase not in (None, EpochPhase.DISTRIBUTION):
        return Problem("epoch_not_settled", f"{epoch_id} is in its phase {phase}")
    if services.lake.exists("raw_prices", epoch_id):
        return Problem("epoch_not_settled", f"{epoch_id} has been run, but not to its end")
    return Problem("unknown_epoch", f"{epoch_id} is not among the settled epochs")


def _phase(services: Services, epoch_id: str) -> EpochPhase | None:
    try:
        return phase_at(Epoch.parse(epoch_id), services.now(), services.params)
    except UnknownSessions:
        return None
