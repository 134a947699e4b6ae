"""A rule set beside the base: who gains and loses, how concentrated rewards are, how ranks hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from quanta_pipelines.what_if.figures import (
    EpochFigures,
    Stability,
    alpha,
    gini,
    mean_stability,
    stability,
    summed,
    top_share,
)

MOVERS = 10  # shown on each side


@dataclass(frozen=True, slots=True)
class Mover:
    """A miner whose result over the span differs from the base's; amounts in ALPHA."""

    hotkey: str
    base: str
    variant: str
    difference: str


@dataclass(frozen=True, slots=True)
class Concentration:
    """How rewards after fees are shared, among everyone who posted an ante in the span."""

    miners: int
    gini: float | None
    top_share: float | None  # the largest earner's part


@dataclass(frozen=True, slots=True)
class EpochLine:
    """One epoch of a rule set; amounts in ALPHA."""

    epoch_id: str
    burned: str
    treasury: str
    carry: str
    rewards: str
    concentration: Concentration
    against_base: Stability | None


@dataclass(frozen=True, slots=True)
class Compared:
    """One rule set over the span; the base is compared with itself in nothing."""

    name: str
    changes: tuple[tuple[str, str], ...]
    params_version: str
    problem: str  # why the span ends early; empty where it does not
    epochs: tuple[EpochLine, ...]
    totals: Mapping[str, str]  # ALPHA
    concentration: Concentration
    against_base: Stability | None  # mean over epochs
    week_to_week: Stability  # mean over pairs of successive epochs
    winners: int
    losers: int
    gained: tuple[Mover, ...]
    lost: tuple[Mover, ...]
    steps_run: int
    tables_changed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the replay of one rule set brought."""

    name: str
    changes: tuple[tuple[str, str], ...]
    params_version: str
    epochs: tuple[EpochFigures, ...]
    problem: str
    steps_run: int
    tables_changed: int


def compared(outcome: Outcome, base: Outcome | None) -> Compared:
    """Figures of a rule set; without a ``base`` it is the base.

    A span that ended early is compared with the same epochs of the base.
    """
    epochs = outcome.epochs
    beside = base.epochs[: len(epochs)] if base else ()
    against = [
        stability(old.ranks, new.ranks) for old, new in zip(beside, epochs, strict=bool(base))
    ]
    before, now = (summed([one.net for one in side]) for side in (beside, epochs))
    moved = _moved(before, now) if base else []
    gained = [mover for mover in moved if mover[1] > 0]
    lost = [mover for mover in reversed(moved) if mover[1] < 0]
    return Compared(
        name=outcome.name,
        changes=outcome.changes,
        params_version=outcome.params_version,
        problem=outcome.problem,
        epochs=tuple(_line(one, against[at] if base else None) for at, one in enumerate(epochs)),
        totals=_totals(epochs),
        concentration=_concentration(summed([one.rewards for one in epochs])),
        against_base=mean_stability(against) if base else None,
        week_to_week=mean_stability(
            [stability(old.ranks, new.ranks) for old, new in pairwise(epochs)]
        ),
        winners=len(gained),
        losers=len(lost),
        gained=tuple(_mover(hotkey, before, now) for hotkey, _ in gained[:MOVERS]),
        lost=tuple(_mover(hotkey, before, now) for hotkey, _ in lost[:MOVERS]),
        steps_run=outcome.steps_run,
        tables_changed=outcome.tables_changed,
    )


def _line(one: EpochFigures, against: Stability | None) -> EpochLine:
    return EpochLine(
        one.epoch_id,
        burned=alpha(one.burned_rao),
        treasury=alpha(one.treasury_rao),
        carry=alpha(one.carry_rao),
        rewards=alpha(one.paid_rao),
        concentration=_concentration(one.rewards),
        against_base=against,
    )


def _totals(epochs: Sequence[EpochFigures]) -> dict[str, str]:
    """Sums over the span, and the carry that is left at its end."""
    return {
        "burned": alpha(sum(one.burned_rao for one in epochs)),
        "treasury": alpha(sum(one.treasury_rao for one in epochs)),
        "rewards": alpha(sum(one.paid_rao for one in epochs)),
        "miners_net": alpha(sum(sum(one.net.values()) for one in epochs)),
        "carry_at_end": alpha(epochs[-1].carry_rao if epochs else 0),
    }


def _concentration(rewards: Mapping[str, int]) -> Concentration:
    amounts = list(rewards.values())
    return Concentration(len(amounts), gini(amounts), top_share(amounts) if amounts else None)


def _moved(before: Mapping[str, int], now: Mapping[str, int]) -> list[tuple[str, int]]:
    """Differences by hotkey, the largest gain first; equal ones by hotkey."""
    everyone = sorted(before.keys() | now.keys())
    differences = [(hotkey, now.get(hotkey, 0) - before.get(hotkey, 0)) for hotkey in everyone]
    return sorted((one for one in differences if one[1]), key=lambda one: -one[1])


def _mover(hotkey: str, before: Mapping[str, int], now: Mapping[str, int]) -> Mover:
    old, new = before.get(hotkey, 0), now.get(hotkey, 0)
    return Mover(hotkey, alpha(old), alpha(new), alpha(new - old))
