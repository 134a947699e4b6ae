"""What pools pass on of their rewards, and what confirmed offences burn: tables and movements.

A pool is known by its operator's hotkey, which takes part like any miner and is paid like one. What
its members' shares are is decided in ``pools``, what an offence burns in ``integrity.slashing``.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.integrity.slashing import offence_numbers, slash
from quanta_pipelines.protocol.ledger import BURN, Movement, miner, operator, stake
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.pools import pool_payouts

_COMPOSITE_UNITS = 10**6  # a composite has six decimals
_IDENTITY_UNITS = 10**9  # an identity has nine
_COLUMNS = {
    "epoch_id": "object",
    "operator": "object",
    "member": "object",
    "contribution_units": "int64",
    "pool_reward_rao": "int64",
    "operator_fee_rao": "int64",
    "payout_rao": "int64",
}


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


def pool_payout_table(
    rewards: pd.DataFrame,
    memberships: pd.DataFrame,
    contributed: Mapping[str, int],
    *,
    epoch_id: str,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """Table ``PoolPayouts``: one row per member of a pool whose operator had an ante in the epoch.

    ``memberships`` (member, operator) are those at ``opens_at``. What is divided is the operator's
    reward after the network's fee; the ante stays with who posted it.
    """
    net = (rewards["gross_rao"] - rewards["fee_rao"]).set_axis(rewards["hotkey"])
    rows = []
    for pool, members in memberships.groupby("operator"):
        if pool not in net.index:
            continue
        reward = int(net[pool])
        units = {member: contributed.get(member, 0) for member in members["member"]}
        paid = pool_payouts(reward_rao=reward, ante_rao=0, contributions=units, params=params)
        rows += [
            (epoch_id, pool, member, units[member], reward, paid.fee_rao, paid.members[member])
            for member in sorted(units)
        ]
    table = pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)
    return table.sort_values(["operator", "member"], ignore_index=True)


def pool_movements(payouts: pd.DataFrame) -> list[Movement]:
    """What leaves each operator's account: its fee to its own purse, and the members' parts."""
    found = []
    for pool, members in payouts.groupby("operator"):
        fee, reward = (
            int(members[name].iloc[0]) for name in ("operator_fee_rao", "pool_reward_rao")
        )
        if fee + int(members["payout_rao"].sum()) != reward:
            raise InvalidEntries(f"the pool of {pool} passes on another sum than its {reward} rao")
        found.append(Movement(miner(str(pool)), operator(str(pool)), fee, "operator_fee"))
        found += [
            Movement(miner(str(pool)), miner(member), rao, "pool_payout")
            for member, rao in zip(members["member"], members["payout_rao"].tolist(), strict=True)
        ]
    return [each for each in found if each.amount_rao]


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
        found.append(Movement(stake(each.hotkey), BURN, burned.burned_rao, "slashed"))
    return [movement for movement in found if movement.amount_rao]


def _units(value: float | None, units: int) -> int:
    """A number with few decimals as whole units; 0 where there is none."""
    return 0 if value is None or np.isnan(value) else int(np.rint(value * units))
