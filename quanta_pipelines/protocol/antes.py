"""What becomes of each ante: ranks, tiers, and what is returned, burned or left in the pool.

Refused antes never stood. What winners earn on top of theirs lives in ``rewards``.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from operator import attrgetter

import numpy as np

from quanta_pipelines.protocol.apportion import part
from quanta_pipelines.protocol.consensus import settled_tiers
from quanta_pipelines.protocol.params import ProtocolParams
from quanta_pipelines.protocol.portfolio import RAO
from quanta_pipelines.protocol.ranking import PerformanceTier, Standing

FORFEITED = "forfeited"  # a cluster's further member below the penalty cut
RANKED = Standing.RANKED.value  # a plain text compares faster than a member
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


@dataclass(frozen=True, slots=True)
class Lines:
    """Entries with their places and what becomes of their antes, column by column.

    Before any reward. Columns instead of an object per entry: tens of thousands of objects would
    cost more than the arithmetic, and as much again when garbage is looked for.
    """

    entries: list[RewardEntry]
    returned_rao: list[int]
    burned_rao: list[int]
    ranks: list[int | None]  # nothing for miners without one
    tiers: list[PerformanceTier | None]
    final_tiers: list[PerformanceTier | None]


def refused_hotkeys(entries: Sequence[RewardEntry], params: ProtocolParams) -> set[str]:
    """Antes outside the limits never stood; one that goes back anyway need not be refused."""
    least = part(params.tokenomics.minimum_ante, RAO)
    most = part(params.tokenomics.maximum_ante, RAO)
    return {
        entry.hotkey
        for entry in entries
        if not least <= entry.ante_rao <= most and entry.standing in AT_STAKE
    }


def placed(entries: Sequence[RewardEntry], params: ProtocolParams) -> Lines:
    """Ranked entries, best first, then the others by hotkey."""
    lines = _ranked_lines([entry for entry in entries if entry.standing == RANKED], params)
    others = [entry for entry in entries if entry.standing != RANKED]
    for entry in sorted(others, key=attrgetter("hotkey")):
        returned, burned = _unranked_ante(entry, params)
        lines.entries.append(entry)
        lines.returned_rao.append(returned)
        lines.burned_rao.append(burned)
        for column in (lines.ranks, lines.tiers, lines.final_tiers):
            column.append(None)
    return lines


def _unranked_ante(entry: RewardEntry, params: ProtocolParams) -> tuple[int, int]:
    """What of an ante comes back, and what is burned."""
    if entry.standing in AT_STAKE:
        return 0, part(params.tokenomics.loser_ante_burn, entry.ante_rao)
    return entry.ante_rao, 0


def _ranked_lines(entries: Sequence[RewardEntry], params: ProtocolParams) -> Lines:
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
    returned, burned = _kept([entry.ante_rao for entry in ordered], final, params)
    return Lines(ordered, returned, burned, [*ranks], [*tiers], [*final])


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
