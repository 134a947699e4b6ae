"""Slashing: what a confirmed offence burns, in exact integers.

Offences of one participant add up while they are recent; clean time forgets the oldest.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


@dataclass(frozen=True, slots=True)
class Slash:
    """What one offence burns of the stake that was left."""

    number: int  # the n of the n-th offence
    fraction: Fraction
    stake_rao: int  # before
    burned_rao: int

    @property
    def remaining_rao(self) -> int:
        """Stake after."""
        return self.stake_rao - self.burned_rao


def slash(stake_rao: int, number: int, params: ProtocolParams = QUANTA) -> Slash:
    """Burns ``min(1, 0.05 * 1.5^(n-1))`` of ``stake_rao``, rounded down to a whole rao.

    The fraction is exact. Rounding favours the stake by less than one rao; a fraction of 1 burns
    all of it.
    """
    if stake_rao < 0 or number < 1:
        raise InvalidIntegrityInput(
            f"a stake is at least 0 rao and an offence at least the first: {stake_rao}, {number}"
        )
    rules = params.security
    growth = 1 + Fraction(rules.slash_escalation_factor)
    fraction = min(Fraction(1), Fraction(rules.base_slash_penalty) * growth ** (number - 1))
    return Slash(
        number, fraction, stake_rao, stake_rao * fraction.numerator // fraction.denominator
    )


def offence_numbers(
    confirmed_at: Sequence[dt.datetime], params: ProtocolParams = QUANTA
) -> list[int]:
    """The n of each confirmed offence of one participant, oldest first.

    n counts the offence itself and those before it that are at most 180 days old, less one for
    every full 90 days since the one before: clean time forgets the oldest first. Times are aware;
    days are full 24 hours.
    """
    if any(moment.tzinfo is None for moment in confirmed_at):
        raise InvalidIntegrityInput("the time of an offence has no time zone")
    if list(confirmed_at) != sorted(confirmed_at):
        raise InvalidIntegrityInput("offences come oldest first")
    rules = params.security
    window, clean = (
        dt.timedelta(days=n) for n in (rules.slash_window_days, rules.slash_forget_days)
    )
    remembered: list[dt.datetime] = []
    numbers = []
    for moment in confirmed_at:
        if remembered:
            remembered = remembered[(moment - remembered[-1]) // clean :]
        remembered = [past for past in remembered if moment - past <= window]
        remembered.append(moment)
        numbers.append(len(remembered))
    return numbers
