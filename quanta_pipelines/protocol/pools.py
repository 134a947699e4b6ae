"""Pools: one portfolio out of its members', and one reward back to them.

A pool's operator submits the combined portfolio as any miner does. Which members a pool has, and
what they contributed, is the caller's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from statistics import median

from quanta_pipelines.protocol.apportion import largest_remainder, part
from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


@dataclass(frozen=True, slots=True)
class MemberSignal:
    """What a member brings: its weights by ticker, its identity score and trailing composite."""

    hotkey: str
    weights: Mapping[str, Decimal]
    identity: Decimal  # 0 to 1
    composite: Decimal  # trailing, 0 to 1


@dataclass(frozen=True, slots=True)
class PoolPayouts:
    """A pool's payout, divided: the operator's fee, its ante, and each member's part."""

    fee_rao: int
    ante_rao: int
    members: Mapping[str, int]


def member_weights(members: Sequence[MemberSignal]) -> dict[str, Fraction]:
    """Omega of each member: ``identity * max(0, composite - median composite)``, summing to 1.

    The median is that of the members. All equal where every omega is 0; empty without members.
    """
    hotkeys = [member.hotkey for member in members]
    if len(set(hotkeys)) < len(hotkeys):
        raise InvalidEntries(f"a member is in a pool once: {', '.join(sorted(hotkeys))}")
    if not members:
        return {}
    middle = median(Fraction(member.composite) for member in members)
    omega = [
        Fraction(member.identity) * max(Fraction(0), Fraction(member.composite) - middle)
        for member in members
    ]
    if not any(omega):
        omega = [Fraction(1)] * len(members)
    return {hotkey: one / sum(omega) for hotkey, one in zip(hotkeys, omega, strict=True)}


def pool_portfolio(
    members: Sequence[MemberSignal], params: ProtocolParams = QUANTA
) -> dict[str, Decimal] | None:
    """The portfolio that a pool submits, by ticker; ``None`` where it cannot submit.

    Members' weights are combined by omega, the 30 largest names are kept (ties: by ticker) and
    scaled to 1, then no name holds more than 20 %: the excess is spread over the others in
    proportion until none is above. With fewer than 5 names there is no such portfolio. To cap, cut
    and cap again, since the cut lifts capped weights, would give the same. Weights have the
    decimals of a submission and sum to exactly 1; the cap holds after rounding.
    """
    rules, combined = params.epoch, _combined(members)
    kept = sorted(combined, key=lambda ticker: (-combined[ticker], ticker))[: rules.max_positions]
    unit = 10**rules.weight_decimals
    cap = part(rules.max_weight, unit)
    if len(kept) < rules.min_positions or len(kept) * cap < unit:
        return None
    shares = _capped({ticker: combined[ticker] for ticker in kept}, Fraction(cap, unit))
    units = _rounded(shares, unit, cap)
    if sum(count > 0 for count in units.values()) < rules.min_positions:
        return None
    return {
        ticker: Decimal(count).scaleb(-rules.weight_decimals)
        for ticker, count in sorted(units.items())
        if count
    }


def pool_payouts(
    *,
    reward_rao: int,
    ante_rao: int,
    contributions: Mapping[str, int],
    fee: Decimal | None = None,
    params: ProtocolParams = QUANTA,
) -> PoolPayouts:
    """Divides what a pool was paid: ``reward_rao`` after the network's fee, ``ante_rao`` returned.

    The operator's fee, 15 % unless it asks for another between 10 and 20 %, is rounded down and is
    taken of the reward only. The ante goes back whole to the operator, who posted it. The rest of
    the reward follows ``contributions`` (whole units by member) by the largest remainder, ties by
    hotkey. Without a contribution it is shared equally, without a member the operator keeps it.
    """
    rules = params.tokenomics
    asked = rules.default_pool_fee if fee is None else fee
    if not rules.min_pool_fee <= asked <= rules.max_pool_fee:
        raise InvalidEntries(
            f"a pool's fee lies in [{rules.min_pool_fee}, {rules.max_pool_fee}], not {asked}"
        )
    if min(reward_rao, ante_rao, *contributions.values()) < 0:
        raise InvalidEntries(
            f"rewards, antes and contributions are at least 0: {reward_rao} rao, {ante_rao} rao, "
            f"{dict(contributions)}"
        )
    if not contributions:
        return PoolPayouts(reward_rao, ante_rao, {})
    taken = part(asked, reward_rao)
    hotkeys = sorted(contributions)
    weights = [contributions[hotkey] for hotkey in hotkeys]
    parts = largest_remainder(reward_rao - taken, weights if any(weights) else [1] * len(hotkeys))
    return PoolPayouts(taken, ante_rao, dict(zip(hotkeys, parts, strict=True)))


def _combined(members: Sequence[MemberSignal]) -> dict[str, Fraction]:
    """Weights of all members by omega; names that end at 0 are left out."""
    found: dict[str, Fraction] = {}
    omega = member_weights(members)
    for member in members:
        for ticker, weight in member.weights.items():
            if weight < 0:
                raise InvalidEntries(f"{member.hotkey}: {ticker} has the weight {weight}")
            found[ticker] = found.get(ticker, Fraction(0)) + omega[member.hotkey] * Fraction(weight)
    return {ticker: weight for ticker, weight in found.items() if weight}


def _capped(weights: Mapping[str, Fraction], cap: Fraction) -> dict[str, Fraction]:
    """Weights scaled to 1, none above ``cap``: the excess is spread over the rest, repeatedly."""
    free, fixed = dict(weights), dict[str, Fraction]()
    while free:
        scale = (1 - cap * len(fixed)) / sum(free.values())
        above = [ticker for ticker, weight in free.items() if weight * scale > cap]
        if not above:
            return fixed | {ticker: weight * scale for ticker, weight in free.items()}
        for ticker in above:
            fixed[ticker] = cap
            del free[ticker]
    return fixed


def _rounded(shares: Mapping[str, Fraction], unit: int, cap: int) -> dict[str, int]:
    """Whole units by the largest remainder, ties by ticker; the cap is whole and stays the cap."""
    counts = {ticker: int(share * unit) for ticker, share in shares.items()}
    order = sorted(shares, key=lambda ticker: (counts[ticker] - shares[ticker] * unit, ticker))
    for ticker in [each for each in order if counts[each] < cap][: unit - sum(counts.values())]:
        counts[ticker] += 1
    return counts
