"""One epoch of the economy: the production rules on arrays, without tables between them.

Scores, standing, the vote of the one validator (with one, consensus is its own row), eligibility
and settlement are those of ``protocol``. Integrity is left out: nobody here copies anybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.consensus import weight_units
from quanta_pipelines.protocol.metrics import BoolArray, FloatArray, measure
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.rewards import RewardEntry, Settlement, settle
from quanta_pipelines.protocol.scoring import composite, eligible, history_sessions, standings

_DECIMALS = 9


@dataclass(frozen=True)
class Books:
    """What an epoch is settled with, beside scores."""

    antes_rao: Sequence[int]
    emission_rao: int
    carry_in_rao: int


@dataclass(frozen=True)
class Judged:
    """Scores of an epoch, by seat; NaN where a seat has none."""

    composite: FloatArray
    standing: "pd.Series[str]"
    eligible: BoolArray


def seat_name(seat: int) -> str:
    """Stands for a hotkey; text order is the order of seats."""
    return f"seat-{seat:05d}"


def judged(
    returns: FloatArray,
    turnover: FloatArray,
    benchmark: FloatArray,
    params: ProtocolParams = QUANTA,
) -> Judged:
    """Composite, standing and eligibility; ``returns`` is ``[seats, sessions]``, NaN before."""
    horizons = params.scoring.horizons
    sessions = history_sessions(returns)
    scores, drawdowns = (np.full((len(returns), len(horizons)), np.nan) for _ in range(2))
    index_drawdowns = np.full(len(horizons), np.nan)
    volatility, index_volatility = (np.full(len(returns), np.nan) for _ in range(2))
    for column, horizon in enumerate(horizons):
        rows = sessions >= horizon
        if not rows.any():
            continue
        found = measure(returns[rows, -horizon:], turnover[rows], params.scoring)
        scores[rows, column], drawdowns[rows, column] = found.horizon_score, found.max_drawdown
        index = measure(benchmark[None, -horizon:], np.zeros(1), params.scoring)
        index_drawdowns[column] = index.max_drawdown[0]
        volatility[rows], index_volatility[rows] = found.volatility, index.volatility[0]
    total = composite(scores, params)
    facts = pd.DataFrame(
        {
            "committed": True,
            "filled_epochs": 0.0,
            "unpriced_weight": 0.0,
            "composite": total,
            "history_sessions": sessions,
            "volatility": volatility,
            "benchmark_volatility": index_volatility,
            "cluster_member": False,
            "below_least_stake": False,
        }
    )
    standing = standings(facts, params)["standing"]
    ranked = (standing == "ranked").to_numpy(dtype=bool)
    allowed = np.zeros(len(returns), dtype=bool)
    if ranked.any():
        middle = float(np.median(total[ranked]))
        allowed[ranked] = eligible(
            total[ranked], middle, drawdowns[ranked], index_drawdowns, params
        )
    return Judged(total, standing, allowed)


def settled(found: Judged, books: Books, params: ProtocolParams = QUANTA) -> Settlement:
    """The epoch's money: the validator's weights rank, everyone posts an ante."""
    ranked = (found.standing == "ranked").to_numpy(dtype=bool)
    units = np.zeros(len(ranked), dtype=np.int64)
    units[ranked] = weight_units(found.composite[ranked])
    return settle(
        [
            RewardEntry(
                seat_name(seat),
                Decimal(int(units[seat])).scaleb(-_DECIMALS),
                ante,
                bool(found.eligible[seat]),
                str(found.standing[seat]),
            )
            for seat, ante in enumerate(books.antes_rao)
        ],
        emission_rao=books.emission_rao,
        carry_in_rao=books.carry_in_rao,
        params=params,
    )
