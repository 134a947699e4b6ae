"""What pools pass on of their rewards, and what confirmed offences burn: tables and movements.

A pool is known by its operator's hotkey, which takes part like any miner and is paid like one. What
its members' shares are is decided in ``pools``, what an offence burns in ``integrity.slashing``.
What an operator is paid while a case is open against it is held, and so is what its members would
get of it: they are paid in the epoch in which the case is dismissed, or never.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.case_money import CaseMoney
from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.integrity.slashing import offence_numbers, slash
from quanta_pipelines.protocol.ledger import BURN, Movement, miner, operator, stake
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.pools import pool_payouts

PAID, HELD, RELEASED, FORFEITED = "paid", "held", "released", "forfeited"  # states of a payout
MOVING = (PAID, RELEASED)
OPERATOR_FEE, POOL_PAYOUT, SLASHED = "operator_fee", "pool_payout", "slashed"  # reasons

_EARNED = ["earned_epoch", "operator", "member"]
_COMPOSITE_UNITS = 10**6  # a composite has six decimals
_IDENTITY_UNITS = 10**9  # an identity has nine
_COLUMNS = {
    "epoch_id": "object",
    "earned_epoch": "object",
    "state": "object",
    "operator": "object",
    "member": "object",
    "contribution_units": "int64",
    "pool_reward_rao": "int64",
    "operator_fee_rao": "int64",
    "payout_rao": "int64",
}


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """Who is in which pool when an epoch opens, and what each member has contributed by then.

    ``memberships`` has member and operator; ``contributed`` whole units by member; ``earlier`` are
    the tables ``PoolPayouts`` of epochs that may have held payouts for a case that closes now.
    """

    memberships: pd.DataFrame
    contributed: Mapping[str, int]
    earlier: Sequence[pd.DataFrame] = ()


NO_POOLS = PoolTerms(pd.DataFrame({"member": [], "operator": []}, dtype=object), {})


@dataclass(frozen=True, slots=True)
class Offence:
    """A confirmed offence, and what its author had bonded before the first one of the epoch."""

    hotkey: str
    confirmed_at: dt.datetime
    stake_rao: int


def contributions(
    members: Sequence[str], identities: Mapping[str, float], composites: Mapping[str, float]
) -> dict[str, int]:
    """Each member's contribution in whole units: ``identity * max(0, composite - median)``.

    That is omega of the pool's portfolio before it is scaled to 1. The median is that of the
    members; half a unit of the median is kept by counting in halves. A member without a composite
    or an identity has contributed nothing.
    """
    parts = {member: _units(composites.get(member), _COMPOSITE_UNITS) for member in members}
    middle = 2 * Fraction(median(parts.values())) if parts else Fraction(0)
    return {
        member: _units(identities.get(member), _IDENTITY_UNITS) * max(0, 2 * part - int(middle))
        for member, part in sorted(parts.items())
    }


def contributed_by(
    memberships: pd.DataFrame, participants: pd.DataFrame | None, scores: pd.DataFrame | None
) -> dict[str, int]:
    """``contributions`` of all pools' members, from the tables of the epoch before.

    A pool's portfolio is combined before the epoch opens, from what is known then. Where nobody's
    identity is known, because no stake is recorded, each weighs 1.
    """
    identities = _by_hotkey(participants, "identity")
    if not identities:
        identities = dict.fromkeys(memberships["member"], 1.0)
    composites = _by_hotkey(scores, "composite")
    found: dict[str, int] = {}
    for _, members in memberships.groupby("operator"):
        found |= contributions(members["member"].tolist(), identities, composites)
    return found


def _by_hotkey(table: pd.DataFrame | None, column: str) -> dict[str, float]:
    if table is None:
        return {}
    known = table.dropna(subset=[column])
    return dict(zip(known["hotkey"], known[column].tolist(), strict=True))


def pool_payout_table(
    rewards: pd.DataFrame,
    memberships: pd.DataFrame,
    contributed: Mapping[str, int],
    *,
    epoch_id: str,
    waiting: Collection[str] = (),
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """Table ``PoolPayouts``: one row per member of a pool whose operator had an ante in the epoch.

    ``memberships`` (member, operator) are those at ``opens_at``. What is divided is the operator's
    reward after the network's fee; the ante stays with who posted it. Payouts of operators that are
    ``waiting`` for a case are held.
    """
    net = (rewards["gross_rao"] - rewards["fee_rao"]).set_axis(rewards["hotkey"])
    rows = []
    for pool, members in memberships.groupby("operator"):
        if pool not in net.index:
            continue
        reward = int(net[pool])
        units = {member: contributed.get(member, 0) for member in members["member"]}
        paid = pool_payouts(reward_rao=reward, ante_rao=0, contributions=units, params=params)
        fixed = (epoch_id, epoch_id, HELD if pool in waiting else PAID, pool)
        rows += [
            (*fixed, member, units[member], reward, paid.fee_rao, paid.members[member])
            for member in sorted(units)
        ]
    table = pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)
    return table.sort_values(["operator", "member"], ignore_index=True)


def with_closed_cases(
    payouts: pd.DataFrame, earlier: Sequence[pd.DataFrame], cases: CaseMoney, epoch_id: str
) -> pd.DataFrame:
    """The epoch's payouts, and with them what was held for operators whose case closes in it.

    ``earlier`` are the tables of the epochs that may have held something, in any order.
    """
    if not earlier:
        return payouts
    known = pd.concat(earlier, ignore_index=True)
    done = known.loc[known["state"].isin([RELEASED, FORFEITED]), _EARNED]
    held = known[known["state"] == HELD].merge(done, on=_EARNED, how="left", indicator="closed")
    held = held[held["closed"] == "left_only"].drop(columns="closed")
    freed = held[held["operator"].isin(list(cases.released_rao))].assign(state=RELEASED)
    lost = held[held["operator"].isin(list(cases.burned_rao))].assign(state=FORFEITED)
    table = pd.concat([payouts, freed, lost], ignore_index=True).assign(epoch_id=epoch_id)
    return table.astype(_COLUMNS).sort_values(_EARNED, ignore_index=True)


def pool_movements(payouts: pd.DataFrame) -> list[Movement]:
    """What leaves each operator's account: its fee to its own purse, and the members' parts.

    What is held or forfeited has left it already.
    """
    found = []
    due = payouts[payouts["state"].isin(MOVING)]
    for (_, pool), members in due.groupby(["earned_epoch", "operator"]):
        fee, reward = (
            int(members[name].iloc[0]) for name in ("operator_fee_rao", "pool_reward_rao")
        )
        if fee + int(members["payout_rao"].sum()) != reward:
            raise InvalidEntries(f"the pool of {pool} passes on another sum than its {reward} rao")
        found.append(Movement(miner(str(pool)), operator(str(pool)), fee, OPERATOR_FEE))
        found += [
            Movement(miner(str(pool)), miner(member), rao, POOL_PAYOUT)
            for member, rao in zip(members["member"], members["payout_rao"].tolist(), strict=True)
        ]
    return [each for each in found if each.amount_rao]


def case_slashes(cases: pd.DataFrame, epoch_id: str) -> list[Movement]:
    """What offences that are confirmed in an epoch burn of known stakes, by hotkey, then by time.

    ``cases`` is ``IntegrityCases``; its ``slash_rao`` counts earlier offences and is empty where no
    stake was recorded. The account ``stake:<hotkey>`` goes below zero by what was burned: the bond
    itself is on the chain.
    """
    due = cases[(cases["closed_epoch"] == epoch_id) & (cases["slash_rao"].fillna(0) > 0)]
    ordered = due.sort_values(["hotkey", "closed_at", "case_id"])
    return [
        Movement(stake(str(hotkey)), BURN, int(rao), SLASHED)
        for hotkey, rao in zip(ordered["hotkey"], ordered["slash_rao"], strict=True)
    ]


def slashing_movements(
    offences: Sequence[Offence],
    earlier: Mapping[str, Sequence[dt.datetime]] | None = None,
    params: ProtocolParams = QUANTA,
) -> list[Movement]:
    """What the offences that were confirmed in an epoch burn of their authors' stake.

    ``earlier`` are the moments of each author's older offences. Several of one author in an epoch
    burn one after the other, each of what is left. Sorted by hotkey, then by time.
    """
    found, left = [], dict[str, int]()
    known = {hotkey: sorted(moments) for hotkey, moments in (earlier or {}).items()}
    for each in sorted(offences, key=lambda one: (one.hotkey, one.confirmed_at)):
        moments = known.setdefault(each.hotkey, [])
        moments.append(each.confirmed_at)
        number = offence_numbers(moments, params)[-1]
        burned = slash(left.get(each.hotkey, each.stake_rao), number, params)
        left[each.hotkey] = burned.remaining_rao
        found.append(Movement(stake(each.hotkey), BURN, burned.burned_rao, SLASHED))
    return [movement for movement in found if movement.amount_rao]


def _units(value: float | None, units: int) -> int:
    """A number with few decimals as whole units; 0 where there is none."""
    return 0 if value is None or np.isnan(value) else int(np.rint(value * units))
