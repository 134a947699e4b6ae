"""Roles of participants: when one rises, when one falls back, and what it is known for.

Generator, pool operator, solo miner. The facts come from the caller, one ``Record`` per participant
and epoch; nothing here reads a clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from quanta_pipelines.protocol.errors import InvalidEntries

# Section 10 of the rules, in its own words; none of these is a parameter of governance
OPERATOR_DAYS, OPERATOR_EPOCHS, OPERATOR_PERCENTILE = 60, 8, Fraction(70, 100)
OPERATOR_WINDOW_DAYS = 60
SOLO_DAYS, SOLO_EPOCHS, SOLO_PERCENTILE = 90, 12, Fraction(90, 100)
OPERATOR_FLOOR, SOLO_FLOOR, FLOOR_EPOCHS = Fraction(50, 100), Fraction(75, 100), 4
DAYS_OF_AN_EPOCH = 7


class Rank(StrEnum):
    """The roles that a participant rises through, lowest first."""

    GENERATOR = "signal_generator"
    OPERATOR = "pool_operator"
    SOLO = "solo_miner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a participant when an epoch is settled.

    ``percentiles`` are its rank percentiles in this role, one per epoch due and oldest first, 1 for
    the best; ``None`` for a missed epoch. ``days`` it has been active in the role.
    """

    role: Rank
    days: int
    percentiles: Sequence[Fraction | None]
    open_offence: bool = False
    least_stake_met: bool = True
    free_uid: bool = False


def next_role(record: Record) -> Rank:
    """The role after this epoch: one step up, one step back, or the same.

    Up to operator: 60 days active, 8 scored epochs, mean percentile of the epochs of the last 60
    days at least 0.70, no open offence, S_min met. Up to solo miner: 90 days as operator, 12 scored
    epochs, mean at least 0.90, a free UID; an offence or too little stake bars this step too. Back:
    the last 4 epochs each below 0.50 (operator) or 0.75 (solo). What makes one rise lies above what
    makes one fall, so nobody swings between two roles. A missed epoch counts 0 and is not scored.
    """
    _check(record)
    if _falls(record):
        return Rank.GENERATOR if record.role == Rank.OPERATOR else Rank.OPERATOR
    if record.open_offence or not record.least_stake_met:
        return record.role
    if record.role == Rank.GENERATOR and _earned(
        record, OPERATOR_DAYS, OPERATOR_EPOCHS, OPERATOR_PERCENTILE
    ):
        return Rank.OPERATOR
    if (
        record.role == Rank.OPERATOR
        and record.free_uid
        and _earned(record, SOLO_DAYS, SOLO_EPOCHS, SOLO_PERCENTILE)
    ):
        return Rank.SOLO
    return record.role


def mean_percentile(percentiles: Sequence[Fraction | None], days: int) -> Fraction:
    """Mean over the whole epochs in the last ``days``, missed ones as 0; 0 without any."""
    first = max(len(percentiles) - days // DAYS_OF_AN_EPOCH, 0)
    recent = percentiles[first:]
    return sum((each or Fraction(0) for each in recent), Fraction(0)) / max(len(recent), 1)


def uptime(accepted: int, due: int) -> Fraction:
    """Accepted reveals over epochs due; 0 where none was due yet."""
    if not 0 <= accepted <= due:
        raise InvalidEntries(f"{accepted} reveals were accepted in {due} epochs due")
    return Fraction(accepted, due) if due else Fraction(0)


def assigned_uids(waiting: Sequence[str], taken: Sequence[int], slots: int) -> dict[str, int]:
    """The lowest free UIDs, in the order of ``waiting``; who finds none is left out and waits.

    UIDs run from 0 to ``slots`` - 1. ``waiting`` are hotkeys, the one that waits longest first.
    """
    if len(set(waiting)) < len(waiting):
        raise InvalidEntries(f"a hotkey waits once: {', '.join(waiting)}")
    if outside := sorted(uid for uid in taken if not 0 <= uid < slots):
        raise InvalidEntries(f"a UID lies in [0, {slots - 1}], not {outside[0]}")
    free = sorted(set(range(slots)) - set(taken))
    return dict(zip(waiting, free, strict=False))


def _check(record: Record) -> None:
    if record.days < 0:
        raise InvalidEntries(f"a participant is active for at least 0 days, not {record.days}")
    for each in record.percentiles:
        if each is not None and not 0 <= each <= 1:
            raise InvalidEntries(f"a percentile lies in [0, 1], not {each}")


def _falls(record: Record) -> bool:
    if record.role == Rank.GENERATOR or len(record.percentiles) < FLOOR_EPOCHS:
        return False
    floor = OPERATOR_FLOOR if record.role == Rank.OPERATOR else SOLO_FLOOR
    return all((each or 0) < floor for each in record.percentiles[-FLOOR_EPOCHS:])


def _earned(record: Record, days: int, epochs: int, percentile: Fraction) -> bool:
    scored = sum(each is not None for each in record.percentiles)
    mean = mean_percentile(record.percentiles, OPERATOR_WINDOW_DAYS)
    return record.days >= days and scored >= epochs and mean >= percentile
