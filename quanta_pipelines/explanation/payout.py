"""The money of one miner, so that its payout follows from the printed numbers to the last rao.

Amounts come from the ledger and the table of rewards. Positions and their weights are those of
``power_law``, shares those of ``apportion``; a payout that does not follow is an error, not a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from quanta_pipelines.explanation.counterfactuals import Income
from quanta_pipelines.explanation.parts import Fact, Row, Source, Step
from quanta_pipelines.protocol import ledger
from quanta_pipelines.protocol.antes import WINNING
from quanta_pipelines.protocol.apportion import largest_remainder
from quanta_pipelines.protocol.case_money import FORFEITED, HELD, RELEASED, held
from quanta_pipelines.protocol.params import ProtocolParams
from quanta_pipelines.protocol.power_law import winner_weights

_TO_MINER = ("ante_refunded", "ante_returned", "reward")
_CASES = {
    HELD: "Ledger: held until its case is decided",
    RELEASED: "Ledger: held earlier, now free",
    FORFEITED: "Ledger: held earlier, now burned",
}
_WINNERS = tuple(tier.value for tier in WINNING)
KEY = ("hotkey",)


@dataclass(frozen=True, slots=True)
class _Share:
    """A winner's place in the power law: positions, weight of all, and what rounding added."""

    first: int
    last: int
    units: int
    units_of_all: int
    extra_rao: int


@dataclass(frozen=True)
class Money:
    """An epoch's money, ready to be explained miner by miner."""

    rewards: dict[str, dict[Any, Any]]  # by hotkey
    paid: dict[str, list[dict[Any, Any]]]  # movements to a miner, by account
    waits: dict[str, list[dict[Any, Any]]]  # movements of money held for cases, by account held
    pool: tuple[Fact, ...]
    shares: dict[str, _Share]
    params: ProtocolParams

    @classmethod
    def of(cls, rewards: pd.DataFrame, entries: pd.DataFrame, params: ProtocolParams) -> "Money":
        """Of the tables ``Rewards`` and ``LedgerEntries`` of one epoch.

        Raises ``ValueError`` where the winners' rewards do not follow from the pool.
        """
        pool = _pool_facts(entries, rewards, params)
        won = _amount(pool, "winner_pool_rao")
        shares = _shares(rewards, won, params)
        by_hotkey = {row["hotkey"]: row for row in rewards.to_dict("records")}
        paid: dict[str, list[dict[Any, Any]]] = {}
        for row in entries[entries["reason"].isin(_TO_MINER)].to_dict("records"):
            paid.setdefault(row["to_account"], []).append(row)
        waits: dict[str, list[dict[Any, Any]]] = {}
        for row in entries[entries["reason"].isin(_CASES)].to_dict("records"):
            account = row["to_account"] if row["reason"] == HELD else row["from_account"]
            waits.setdefault(account, []).append(row)
        return cls(by_hotkey, paid, waits, pool, shares, params)

    def step(self, hotkey: str) -> Step:
        """Where the ante went and what was earned, of a miner with an ante or without."""
        if hotkey not in self.rewards:
            says = "No ante was posted for this epoch, so nothing was won and nothing lost."
            return Step("payout", "Payout", says, ())
        values = self.rewards[hotkey]
        row = Row("rewards", KEY, values)
        facts = [*self._ante(row), *self._reward(hotkey, row), *self._paid(hotkey, row)]
        return Step("payout", "Payout", _in_words(values), tuple(facts))

    def _ante(self, row: Row) -> list[Fact]:
        burn = self.params.tokenomics.loser_ante_burn
        returned, burned = int(row["ante_returned_rao"]), int(row["ante_burned_rao"])
        ante = int(row["ante_rao"])
        return [
            row.fact("ante_rao", "Ante posted", "rao", group="Ante"),
            row.fact("ante_returned_rao", "Ante returned", "rao", group="Ante"),
            row.fact("ante_burned_rao", "Ante burned", "rao", group="Ante"),
            Fact(
                name="ante_to_pool_rao",
                label="Ante left in the pool",
                value=str(ante - returned - burned),
                kind="rao",
                group="Ante",
                formula=f"ante − returned − burned; a forfeited ante burns {burn:f} of it",
            ),
        ]

    def _reward(self, hotkey: str, row: Row) -> list[Fact]:
        share = self.shares.get(hotkey)
        facts = [row.fact("gross_rao", "Reward before the fee", "rao", group="Reward")]
        if share is not None:
            gamma = self.params.tokenomics.power_law_gamma
            facts = [
                *self.pool,
                _fact("first_position", "First position among the winners", share.first, "count"),
                _fact("last_position", "Last position of its tie", share.last, "count"),
                _fact(
                    "weight_units",
                    "Weight",
                    share.units,
                    "units",
                    formula=f"mean of p^-{gamma:f} over its positions, in whole units",
                ),
                _fact("weight_units_of_all", "Weight of all winners", share.units_of_all, "units"),
                _fact(
                    "remainder_rao",
                    "Rounding",
                    share.extra_rao,
                    "rao",
                    formula="1 rao more for the largest remainders: the pool is paid whole",
                ),
                replace(
                    facts[0], formula="floor(winners' pool × weight / weight of all) + rounding"
                ),
            ]
        how = f"floor({self.params.tokenomics.network_fee:f} × reward before the fee)"
        fee = row.fact("fee_rao", "Network fee", "rao", group="Reward")
        return [*facts, replace(fee, formula=how)]

    def _paid(self, hotkey: str, row: Row) -> list[Fact]:
        """The payout, and the movements of the ledger that it is."""
        paid = row.fact("payout_rao", "Payout", "rao", group="Payout")
        moved = self.paid.get(ledger.miner(hotkey), [])
        total = sum(entry["amount_rao"] for entry in moved)
        if total != int(row["payout_rao"]):
            raise ValueError(f"{hotkey} is paid {total} rao and owed {int(row['payout_rao'])}")
        return [
            replace(paid, formula="reward before the fee − fee + ante returned"),
            *(_entry(entry, f"Ledger: {entry['reason'].replace('_', ' ')}") for entry in moved),
            *(_entry(entry, _CASES[entry["reason"]]) for entry in self.waits.get(held(hotkey), [])),
        ]


def _entry(entry: dict[Any, Any], label: str) -> Fact:
    return Fact(
        name=f"ledger_{entry['reason']}",
        label=label,
        value=str(entry["amount_rao"]),
        kind="rao",
        group="Payout",
        source=Source("ledger_entries", {"entry": str(entry["entry"])}, "amount_rao"),
    )


def income_of(entries: pd.DataFrame) -> Income:
    """What an epoch was settled with: the whole emission, revenue, the carry of the one before."""

    def moved(reason: str) -> int:
        return sum(entries.loc[entries["reason"] == reason, "amount_rao"].tolist())

    return Income(moved("emission"), moved("external"), moved("carry_in"))


def _pool_facts(
    entries: pd.DataFrame, rewards: pd.DataFrame, params: ProtocolParams
) -> tuple[Fact, ...]:
    """From what came into the pool to what the winners share, in the order of the rules."""
    moved = {
        name: _moved(entries, **where)
        for name, where in {
            "pool_emission_rao": {"reason": "emission", "to_account": ledger.POOL},
            "pool_antes_rao": {"reason": "ante_staked"},
            "pool_external_rao": {"reason": "external"},
            "carry_in_rao": {"reason": "carry_in"},
            "antes_returned_rao_of_all": {"reason": "ante_returned"},
            "antes_burned_rao": {"reason": "ante_burned"},
            "rake_rao": {"reason": "rake"},
        }.items()
    }
    divisor = params.tokenomics.carry_in_divisor
    used = moved["carry_in_rao"][0] // divisor
    left = moved["pool_emission_rao"][0] + moved["pool_antes_rao"][0]
    left += moved["pool_external_rao"][0] + used
    left -= moved["antes_returned_rao_of_all"][0] + moved["antes_burned_rao"][0]
    winners = left - moved["rake_rao"][0]
    labels = {
        "pool_emission_rao": "Miners' emission",
        "pool_antes_rao": "Antes at stake",
        "pool_external_rao": "External revenue",
        "carry_in_rao": "Carried in",
    }
    out = {
        "antes_returned_rao_of_all": "Antes returned to ranked miners",
        "antes_burned_rao": "Forfeited antes burned",
        "rake_rao": "Network rake",
    }
    rake = f"min(floor({params.tokenomics.rake:f} × (emission + antes + external)), what is left)"
    facts = [_pool(name, label, *moved[name]) for name, label in labels.items()]
    facts.append(
        _pool("carry_used_rao", "Of it in this epoch", used, None, f"floor(carried in / {divisor})")
    )
    facts += [
        _pool(name, label, *moved[name], rake if name == "rake_rao" else "")
        for name, label in out.items()
    ]
    how = "emission + antes + external + carry of this epoch − returned − burned − rake"
    facts.append(_pool("winner_pool_rao", "Winners' pool", winners, None, how))
    shared = sum(rewards["gross_rao"].tolist())
    if shared not in (0, winners):
        raise ValueError(f"the winners share {winners} rao, their rewards are {shared}")
    return tuple(facts)


def _moved(entries: pd.DataFrame, **where: str) -> tuple[int, Source]:
    """The sum of the movements that fit, and what they have in common."""
    fits = entries
    for column, value in where.items():
        fits = fits[fits[column] == value]
    return sum(fits["amount_rao"].tolist()), Source("ledger_entries", where, "amount_rao")


def _pool(name: str, label: str, rao: int, source: Source | None, formula: str = "") -> Fact:
    return Fact(
        name=name,
        label=label,
        value=str(rao),
        kind="rao",
        group="Winners' pool",
        source=source,
        formula=formula,
    )


def _fact(name: str, label: str, value: int, kind: str, *, formula: str = "") -> Fact:
    return Fact(
        name=name,
        label=label,
        value=str(value),
        kind=kind,  # type: ignore[arg-type]
        group="Reward",
        formula=formula,
    )


def _amount(facts: Sequence[Fact], name: str) -> int:
    return next(int(fact.value or 0) for fact in facts if fact.name == name)


def _shares(rewards: pd.DataFrame, pool_rao: int, params: ProtocolParams) -> dict[str, _Share]:
    """Each winner's place; empty where nobody won."""
    won = rewards[rewards["final_tier"].isin(_WINNERS)].sort_values(["rank", "hotkey"])
    if won.empty:
        return {}
    ranks, antes = won["rank"].astype(int).tolist(), won["ante_rao"].tolist()
    weights = winner_weights(ranks, antes, params)
    whole = sum(weights)
    paid = largest_remainder(pool_rao, weights)
    if paid != won["gross_rao"].tolist():
        raise ValueError("the power law gives other rewards than were published")
    return {
        hotkey: _Share(
            first=ranks.index(rank) + 1,
            last=len(ranks) - ranks[::-1].index(rank),
            units=units,
            units_of_all=whole,
            extra_rao=gross - pool_rao * units // whole,
        )
        for hotkey, rank, units, gross in zip(won["hotkey"], ranks, weights, paid, strict=True)
    }


def _in_words(row: dict[Any, Any]) -> str:
    """The outcome of an ante in one sentence."""
    standing, tier, final = row["standing"], row["tier"], row["final_tier"]
    if standing == "unrevealed" and not row["ante_returned_rao"]:
        return "The commitment was not revealed, so its ante is forfeited: half burns, half is won."
    if standing != "ranked":
        returned = row["ante_returned_rao"] == row["ante_rao"]
        what = "goes back in full" if returned else "is forfeited"
        return f"Not ranked, so there is no reward; the ante {what}."
    if final in _WINNERS:
        return "A winner: the ante comes back and the reward follows the power law."
    if tier in _WINNERS:
        return "A winner by rank that is not eligible counts as break-even: the ante comes back."
    if final == "break_even":
        return "Break-even: the ante comes back, there is no reward."
    return "In the penalty band the ante is forfeited: half burns, half goes to the winners."
