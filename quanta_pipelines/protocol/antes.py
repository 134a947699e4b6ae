"""What becomes of each ante: ranks, tiers, and what is returned, burned or left in the pool.

Refused antes never stood. What winners earn on top of theirs lives in ``rewards``.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from quanta_pipelines.protocol.apportion import part
from quanta_pipelines.protocol.consensus import settled_tiers
from quanta_pipelines.protocol.params import ProtocolParams
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.protocol.ranking import PerformanceTier, Standing

FORFEITED = "forfeited"  # a cluster's further member below the penalty cut
AT_STAKE = (Standing.RANKED, Standing.UNREVEALED, FORFEITED)
STANDINGS = (*Standing, FORFEITED)
WINNING = (PerformanceTier.TOP_TIER, PerformanceTier.PROFITABLE)


@dataclass(frozen=True, slots=True)
class RewardEntry:
    """A miner with an ante in escrow; ``score`` is what it is ranked by, exactly."""

    hotkey: str
    score: Decimal | int
    ante_rao: int
    eligible: bool = True
    standing: str = "ranked"


class Line(NamedTuple):
    """An entry with its place and what becomes of its ante, before any reward."""

    entry: RewardEntry
    returned_rao: int
    burned_rao: int
    rank: int = 0  # 0 for miners without one
    tier: PerformanceTier | None = None
    final_tier: PerformanceTier | None = None


def refused_hotkeys(entries: Sequence[RewardEntry], params: ProtocolParams) -> set[str]:
    """Antes outside the limits never stood; one that goes back anyway need not be refused."""
    least = part(params.tokenomics.minimum_ante, RAO)
    most = part(params.tokenomics.maximum_ante, RAO)
    return {
        entry.hotkey
        for entry in entries
        if not least <= entry.ante_rao <= most and entry.standing in AT_STAKE
    }


def placed(entries: Sequence[RewardEntry], params: ProtocolParams) -> list[Line]:
    """Ranked entries, best first, then the others by hotkey."""
    others = [entry for entry in entries if entry.standing != Standing.RANKED]
    others.sort(key=lambda entry: entry.hotkey)
    return [
        *_ranked_lines([entry for entry in entries if entry.standing == Standing.RANKED], params),
        *(_unranked_line(entry, params) for entry in others),
    ]


def _unranked_line(entry: RewardEntry, params: ProtocolParams) -> Line:
    if entry.standing in AT_STAKE:
        return Line(entry, 0, part(params.tokenomics.loser_ante_burn, entry.ante_rao))
    return Line(entry, entry.ante_rao, 0)


def _ranked_lines(entries: Sequence[RewardEntry], params: ProtocolParams) -> list[Line]:
    by_arrival = params.scoring.tie_order == "arrival"
    ordered = list(entries) if by_arrival else sorted(entries, key=attrgetter("hotkey"))
    ordered.sort(key=attrgetter("score"), reverse=True)  # stable: ties keep their order
    scores = [entry.score for entry in ordered]
    ranks: list[int] = []
    for at, (score, before) in enumerate(zip(scores, [None, *scores], strict=False), 1):
        ranks.append(ranks[-1] if score == before and not by_arrival else at)
    supported = list(map(bool, scores))  # none is negative
    tiers = settled_tiers(np.array(ranks, dtype=np.int64), supported, params)
    final = _final_tiers(ordered, ranks, tiers, params)
    kept = _kept([entry.ante_rao for entry in ordered], final, params)
    rows = zip(ordered, *kept, ranks, tiers, final, strict=True)
    return list(map(partial(tuple.__new__, Line), rows))


def _final_tiers(
    entries: Sequence[RewardEntry],
    ranks: Sequence[int],
    tiers: Sequence[PerformanceTier],
    params: ProtocolParams,
) -> list[PerformanceTier]:
    """Tiers that are settled: a winner that is not eligible counts as break-even.

    Without ``winners_keep_tier`` the winners are divided anew: the top share of them, not of all.
    """
    gated = params.scoring.eligibility_applied
    final = [
        PerformanceTier.BREAK_EVEN if tier in WINNING and gated and not entry.eligible else tier
        for entry, tier in zip(entries, tiers, strict=True)
    ]
    if params.tokenomics.winners_keep_tier:
        return final
    winning = [rank for rank, tier in zip(ranks, final, strict=True) if tier in WINNING]
    cut = Fraction(params.scoring.top_tier_percent) * len(winning)
    return [
        tier if tier not in WINNING else WINNING[bisect_left(winning, rank) >= cut]
        for rank, tier in zip(ranks, final, strict=True)
    ]


def _kept(
    antes: Sequence[int], tiers: Sequence[PerformanceTier], params: ProtocolParams
) -> tuple[list[int], list[int]]:
    """What of each ranked miner's ante comes back, and what is burned."""
    forfeits = PerformanceTier.PENALTY_BAND
    stakes = WINNING if params.tokenomics.ante_mode == "pooled" else ()
    numerator, denominator = params.tokenomics.loser_ante_burn.as_integer_ratio()
    returned = [
        0 if tier is forfeits or tier in stakes else ante
        for ante, tier in zip(antes, tiers, strict=True)
    ]
    burned = [
        ante * numerator // denominator if tier is forfeits else 0
        for ante, tier in zip(antes, tiers, strict=True)
    ]
    return returned, burned
