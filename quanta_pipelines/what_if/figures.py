"""What one rule set paid over a span: money by epoch, and what became of every miner.

Amounts are whole rao until they are shown; ``alpha`` writes them as exact decimals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quanta_pipelines.protocol import ledger
from quanta_pipelines.protocol.portfolio import RAO


@dataclass(frozen=True, slots=True)
class EpochFigures:
    """One epoch: where money went, and each miner's rank, reward and net result."""

    epoch_id: str
    burned_rao: int
    treasury_rao: int
    carry_rao: int  # into the next epoch
    paid_rao: int  # rewards after fees
    ranks: Mapping[str, int]
    rewards: Mapping[str, int]  # after fees, by hotkey; everyone who posted an ante
    net: Mapping[str, int]  # payout less ante


def epoch_figures(epoch_id: str, rewards: pd.DataFrame, entries: pd.DataFrame) -> EpochFigures:
    """Figures of the tables ``rewards`` and ``ledger_entries``."""
    held = ledger.balances(entries)
    earned = rewards["gross_rao"] - rewards["fee_rao"]
    ranked = rewards[rewards["rank"].notna()]
    return EpochFigures(
        epoch_id,
        burned_rao=int(held.get(ledger.BURN, 0)),
        treasury_rao=int(held.get(ledger.TREASURY, 0)),
        carry_rao=ledger.carry_of([entries], epoch_id),
        paid_rao=int(earned.sum()),
        ranks=dict(zip(ranked["hotkey"], ranked["rank"].astype("int64").tolist(), strict=True)),
        rewards=dict(zip(rewards["hotkey"], earned.tolist(), strict=True)),
        net=dict(
            zip(
                rewards["hotkey"],
                (rewards["payout_rao"] - rewards["ante_rao"]).tolist(),
                strict=True,
            )
        ),
    )


def summed(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Amounts by hotkey over epochs, exact, by hotkey."""
    totals: dict[str, int] = {}
    for part in parts:
        for hotkey, amount in part.items():
            totals[hotkey] = totals.get(hotkey, 0) + amount
    return dict(sorted(totals.items()))


def gini(amounts: Sequence[int]) -> float | None:
    """Gini coefficient of amounts of at least 0; none where there is nothing to share.

    Half the mean absolute difference of all pairs over the mean: 0 where all have the same,
    (n - 1)/n where one of n has everything.
    """
    ordered, total = sorted(amounts), sum(amounts)
    if not total:
        return None
    n = len(ordered)
    weighted = sum((2 * at - n - 1) * amount for at, amount in enumerate(ordered, start=1))
    return weighted / (n * total)


def top_share(amounts: Sequence[int]) -> float | None:
    """The largest amount's part of all; none where there is nothing to share."""
    total = sum(amounts)
    return max(amounts) / total if total else None


@dataclass(frozen=True, slots=True)
class Stability:
    """How alike two orders of miners are, over those who are in both."""

    miners: int
    spearman: float | None  # none where fewer than two are in both, or all are tied
    kendall: float | None


def stability(one: Mapping[str, int], other: Mapping[str, int]) -> Stability:
    """Rank correlations of the miners that both rank; ties count as scipy counts them (tau-b)."""
    from scipy.stats import kendalltau, spearmanr

    both = sorted(one.keys() & other.keys())
    left, right = ([ranks[hotkey] for hotkey in both] for ranks in (one, other))
    if len(set(left)) < 2 or len(set(right)) < 2:
        return Stability(len(both), None, None)
    return Stability(
        len(both),
        float(spearmanr(left, right).statistic),
        float(kendalltau(left, right).statistic),
    )


def mean_stability(parts: Sequence[Stability]) -> Stability:
    """Means over epochs with a correlation; ``miners`` is the mean count, rounded down."""
    known = [part for part in parts if part.spearman is not None]
    if not known:
        return Stability(0, None, None)
    return Stability(
        sum(part.miners for part in known) // len(known),
        float(np.mean([part.spearman for part in known])),
        float(np.mean([part.kendall for part in known])),
    )


def alpha(rao: int) -> str:
    """An amount in ALPHA with all nine decimals: -1 rao is ``-0.000000001``."""
    return f"{'-' if rao < 0 else ''}{abs(rao) // RAO}.{abs(rao) % RAO:09d}"
