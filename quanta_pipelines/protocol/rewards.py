"""Who is paid what in an epoch, to the last rao: antes, rake, fees, burn and the power law.

Money is whole rao (10^9 to a token) and shares are exact fractions. A settlement that loses or
makes a rao cannot be constructed. Ranks and antes come from ``antes``, weights from ``power_law``;
where each rao moves, and the tables, live in ``ledger``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Integral

from quanta_pipelines.protocol.allocations import Allocation, Allocations
from quanta_pipelines.protocol.antes import (
    AT_STAKE,
    FORFEITED,
    RANKED,
    STANDINGS,
    WINNING,
    Lines,
    RewardEntry,
    placed,
    refused_hotkeys,
)
from quanta_pipelines.protocol.apportion import largest_remainder, part
from quanta_pipelines.protocol.errors import InvalidEntries, ProtocolError
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.power_law import position_weights, winner_weights
from quanta_pipelines.protocol.ranking import Standing

__all__ = [
    "FORFEITED",
    "Allocation",
    "Allocations",
    "Emission",
    "RewardEntry",
    "Settlement",
    "expected_reward",
    "settle",
    "split_emission",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """An epoch's money: what came in, and where all of it went.

    ``refused`` are hotkeys whose ante is outside the limits: it goes back and they take no part.
    """

    allocations: Allocations
    refused: tuple[str, ...]
    emission_rao: int  # the miners' part E; 0 where the chain pays it
    validator_emission_rao: int
    owner_emission_rao: int
    external_rao: int
    carry_in_rao: int
    rake_rao: int
    winner_pool_rao: int
    fee_burned_rao: int
    fee_treasury_rao: int
    carry_out_rao: int

    def __post_init__(self) -> None:
        antes = sum(self.allocations.ante_rao)
        spent = sum(self.allocations.payout_rao) + sum(self.allocations.ante_burned_rao)
        came = self.emission_rao + antes + self.external_rao + self.carry_in_rao
        fees = self.fee_burned_rao + self.fee_treasury_rao
        went = self.rake_rao + spent + fees + self.carry_out_rao
        if came != went:
            raise ProtocolError(f"a settlement pays what it has: {came} rao came, {went} went")


@dataclass(frozen=True, slots=True)
class Emission:
    """A subnet's emission, split among those who earn it."""

    miners_rao: int
    validators_rao: int
    owner_rao: int


@dataclass(frozen=True, slots=True)
class _Pot:
    """What the pool comes to once antes are returned or burned."""

    rake_rao: int
    winners_rao: int
    unused_carry_rao: int


@dataclass(frozen=True, slots=True)
class _Rewards:
    """Shares of the pool and what they come to, line by line; 0 for who is no winner."""

    shares: list[float]
    gross_rao: list[int]
    paid: bool  # whether there was a winner


def split_emission(total_rao: int, params: ProtocolParams = QUANTA) -> Emission:
    """The subnet's emission by its shares, rounded down; the owner takes the rest.

    Nothing passes through here where the chain itself pays (``emission_mode`` chain).
    """
    rules = params.tokenomics
    if rules.emission_mode == "chain":
        return Emission(0, 0, 0)
    miners = part(rules.miner_emission_share, total_rao)
    validators = part(rules.validator_emission_share, total_rao)
    return Emission(miners, validators, total_rao - miners - validators)


def settle(
    entries: Sequence[RewardEntry],
    *,
    emission_rao: int,
    external_rao: int = 0,
    carry_in_rao: int = 0,
    params: ProtocolParams = QUANTA,
) -> Settlement:
    """Settle an epoch: ``emission_rao`` is the whole subnet's emission T.

    Ranked miners come first in the allocations, best first, then the others by hotkey. The order
    of ``entries`` counts only inside ties, and only where ``tie_order`` is ``arrival``. Amounts may
    be any whole numbers, NumPy's included.
    """
    entries = _checked(entries)
    emission_rao = _whole_rao(emission_rao, "emission_rao")
    external_rao = _whole_rao(external_rao, "external_rao")
    carry_in_rao = _whole_rao(carry_in_rao, "carry_in_rao")
    rules, emission = params.tokenomics, split_emission(emission_rao, params)
    refused = refused_hotkeys(entries, params)
    kept = [entry for entry in entries if entry.hotkey not in refused] if refused else entries
    lines = placed(kept, params)
    pot = _pot(lines, emission.miners_rao + external_rao, carry_in_rao, params)
    rewards = _rewards(lines, pot.winners_rao, params)
    allocations = _allocations(lines, rewards, params)
    fees = sum(allocations.fee_rao)
    fee_burned = part(rules.network_fee_burn, fees) if rules.fee_burned else 0
    return Settlement(
        allocations=allocations,
        refused=tuple(sorted(refused)),
        emission_rao=emission.miners_rao,
        validator_emission_rao=emission.validators_rao,
        owner_emission_rao=emission.owner_rao,
        external_rao=external_rao,
        carry_in_rao=carry_in_rao,
        rake_rao=pot.rake_rao,
        winner_pool_rao=pot.winners_rao,
        fee_burned_rao=fee_burned,
        fee_treasury_rao=fees - fee_burned,
        carry_out_rao=pot.unused_carry_rao + (0 if rewards.paid else pot.winners_rao),
    )


def expected_reward(
    rank: int, n_winners: int, pool_rao: int, params: ProtocolParams = QUANTA
) -> int:
    """Gross reward of a rank when every winner has a rank of its own; 0 beyond the winners."""
    if not 1 <= rank <= n_winners:
        return 0
    weights = position_weights(n_winners, params.tokenomics.power_law_gamma)
    return largest_remainder(pool_rao, weights)[rank - 1]


def _checked(entries: Sequence[RewardEntry]) -> list[RewardEntry]:
    """The entries in Python's own numbers, which neither round nor overflow."""
    if len({entry.hotkey for entry in entries}) < len(entries):
        (hotkey, count), *_ = Counter(entry.hotkey for entry in entries).most_common(1)
        raise InvalidEntries(f"{hotkey} has {count} entries, a hotkey has one")
    for entry in entries:
        if entry.standing not in STANDINGS:
            raise InvalidEntries(
                f"{entry.hotkey}: a standing is one of {', '.join(STANDINGS)}, "
                f"not {entry.standing!r}"
            )
    return [entry if _is_plain(entry) else _made_plain(entry) for entry in entries]


def _is_plain(entry: RewardEntry) -> bool:
    """Whether an entry is as ``_made_plain`` would leave it: nearly all are, and it is cheap."""
    score = entry.score
    return (
        type(score) is Decimal
        and type(entry.ante_rao) is int
        and entry.ante_rao >= 0
        and (entry.standing != RANKED or (score.is_finite() and score >= 0))
    )


def _made_plain(entry: RewardEntry) -> RewardEntry:
    """An entry whose score is a decimal and whose ante is an int, or an error that says why not."""
    return replace(
        entry,
        score=_exact_score(entry),
        ante_rao=_whole_rao(entry.ante_rao, f"{entry.hotkey}: ante_rao"),
    )


def _whole_rao(amount: object, name: str) -> int:
    if isinstance(amount, bool) or not isinstance(amount, Integral):
        raise InvalidEntries(f"{name} is a whole number of rao, not {amount!r}")
    if int(amount) < 0:
        raise InvalidEntries(f"{name} is at least 0 rao, not {int(amount)}")
    return int(amount)


def _exact_score(entry: RewardEntry) -> Decimal:
    """The score as a decimal; a float's last bits would decide ranks, so it is refused."""
    score: object = entry.score
    if isinstance(score, Integral) and not isinstance(score, bool):
        score = Decimal(int(score))
    if not isinstance(score, Decimal):
        wanted = "a score is a Decimal or a whole number"
        raise InvalidEntries(f"{entry.hotkey}: {wanted}, not {entry.score!r}")
    if entry.standing == Standing.RANKED and not (score.is_finite() and score >= 0):
        raise InvalidEntries(
            f"{entry.hotkey}: a ranked score is finite and at least 0, not {score}"
        )
    return score


def _pot(lines: Lines, income_rao: int, carry_in_rao: int, params: ProtocolParams) -> _Pot:
    """The rake is taken from all that came in, but never from what must go back or be burned."""
    staked = sum([entry.ante_rao for entry in lines.entries if entry.standing in AT_STAKE])
    held = sum([entry.ante_rao for entry in lines.entries])
    stays = held - sum(lines.returned_rao) - sum(lines.burned_rao)
    carry = carry_in_rao // params.tokenomics.carry_in_divisor
    available = income_rao + carry + stays
    due = part(params.tokenomics.rake, income_rao + staked)
    rake = min(due, available) if any(lines.ranks) else 0
    return _Pot(rake, available - rake, carry_in_rao - carry)


def _rewards(lines: Lines, pool_rao: int, params: ProtocolParams) -> _Rewards:
    """Rewards of the winners, line by line; nobody's where no winner is eligible."""
    winners = [at for at, tier in enumerate(lines.final_tiers) if tier in WINNING]
    shares, gross = [0.0] * len(lines.entries), [0] * len(lines.entries)
    if not winners:
        return _Rewards(shares, gross, paid=False)
    ranks = [lines.ranks[at] or 0 for at in winners]
    weights = winner_weights(ranks, [lines.entries[at].ante_rao for at in winners], params)
    whole = sum(weights)
    parts = largest_remainder(pool_rao, weights)
    for at, weight, rao in zip(winners, weights, parts, strict=True):
        shares[at], gross[at] = weight / whole, rao
    return _Rewards(shares, gross, paid=True)


def _allocations(lines: Lines, rewards: _Rewards, params: ProtocolParams) -> Allocations:
    entries, returned, gross = lines.entries, lines.returned_rao, rewards.gross_rao
    numerator, denominator = params.tokenomics.network_fee.as_integer_ratio()
    fees = [rao * numerator // denominator for rao in gross]
    return Allocations(
        hotkey=[entry.hotkey for entry in entries],
        standing=[str(entry.standing) for entry in entries],
        eligible=[entry.eligible and entry.standing == RANKED for entry in entries],
        rank=lines.ranks,
        tier=lines.tiers,
        final_tier=lines.final_tiers,
        weight=rewards.shares,
        ante_rao=[entry.ante_rao for entry in entries],
        gross_rao=gross,
        fee_rao=fees,
        payout_rao=[rao - fee + back for rao, fee, back in zip(gross, fees, returned, strict=True)],
        ante_returned_rao=returned,
        ante_burned_rao=lines.burned_rao,
    )
