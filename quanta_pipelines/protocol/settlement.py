"""An epoch's tables of money: ``Rewards``, ``PoolPayouts`` and ``LedgerEntries``.

Here rows become entries and entries become rows; what is paid is decided in ``rewards``, how it
moves in ``ledger``.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.antes import FORFEITED, RewardEntry
from quanta_pipelines.protocol.case_money import NO_CASES, CaseMoney, case_movements
from quanta_pipelines.protocol.errors import InvalidEntries
from quanta_pipelines.protocol.ledger import Movement, ledger_table, movements
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.pool_settlement import (
    NO_POOLS,
    PoolTerms,
    pool_movements,
    pool_payout_table,
    with_closed_cases,
)
from quanta_pipelines.protocol.ranking import PerformanceTier, Standing
from quanta_pipelines.protocol.rewards import Settlement, settle
from quanta_pipelines.protocol.validator_results import dividend_payouts

_COLUMNS = {
    "epoch_id": "object",
    "hotkey": "object",
    "standing": "object",
    "reason": "object",
    "eligible": "bool",
    "rank": "Int64",
    "tier": "object",
    "final_tier": "object",
    "reward_share": "float64",
    "ante_rao": "int64",
    "gross_rao": "int64",
    "fee_rao": "int64",
    "payout_rao": "int64",
    "ante_returned_rao": "int64",
    "ante_burned_rao": "int64",
}

_AMOUNTS = [name for name in _COLUMNS if name.endswith("_rao")]

# Why a miner is not ranked, where its score does not say it
_NO_CONSENSUS = "the votes rank nobody: the epoch is not settled"
_NOT_SUPPORTED = "ranked here, but too little of the validators' stake ranks it"
_REFUSED = "the ante is outside the limits"
_FORFEITS = "a further member of a cluster, below the penalty cut"


@dataclass(frozen=True, slots=True)
class SettlementTables:
    """What an epoch pays by miner, pool member and movement; its ledger is that of a first time."""

    rewards: pd.DataFrame
    ledger_entries: pd.DataFrame
    pool_payouts: pd.DataFrame

    @property
    def moved(self) -> list[Movement]:
        """The movements in their order, as a restatement posts them."""
        rows = self.ledger_entries[["from_account", "to_account", "amount_rao", "reason"]]
        return [Movement(*row) for row in rows.itertuples(index=False, name=None)]


def settlement_tables(
    consensus: pd.DataFrame,
    scores: pd.DataFrame,
    commitments: pd.DataFrame,
    validator_results: pd.DataFrame | None = None,
    *,
    emission_rao: int,
    external_rao: int,
    carry_in_rao: int,
    epoch_id: str,
    voted: bool,
    cluster_members: Collection[str] = (),
    cases: CaseMoney = NO_CASES,
    pools: PoolTerms = NO_POOLS,
    slashes: Sequence[Movement] = (),
    params: ProtocolParams = QUANTA,
) -> SettlementTables:
    """Settle an epoch: one row of rewards per standing commitment.

    ``emission_rao`` is the whole subnet's. Who is ranked, and who is eligible, is what
    ``consensus`` says; ``scores`` say how the others stand. ``voted`` is whether there were votes:
    where there were, and ``consensus`` is empty, the epoch is not settled: every ante goes back,
    unrevealed ones included, and the rest is carried. Without any vote nobody was ranked, and what
    was not revealed is forfeited as ever.
    ``cluster_members`` are further members of clusters: the unranked among them forfeit their ante
    below the penalty cut. ``validator_results`` say how the validators' emission is shared; without
    them, or where nobody earned a dividend, it waits in the account ``validators``. ``cases`` say
    whose payouts are held, and what of those held earlier comes free or is burned. ``pools`` say
    who shares in an operator's reward, ``slashes`` what confirmed offences burn.
    """
    known = _known(consensus, scores, commitments, voted=voted)
    entries = _entries(known, consensus, params)
    if cluster_members:
        entries = _forfeiting(entries, consensus, scores, cluster_members)
    settlement = settle(
        entries,
        emission_rao=emission_rao,
        external_rao=external_rao,
        carry_in_rao=carry_in_rao,
        params=params,
    )
    antes = {entry.hotkey: entry.ante_rao for entry in entries}
    earned = (
        {}
        if validator_results is None
        else dividend_payouts(validator_results, settlement.validator_emission_rao)
    )
    rewards = _rewards_table(
        settlement, antes, dict(zip(known["hotkey"], known["reason"], strict=True)), epoch_id
    )
    payouts = dict(zip(rewards["hotkey"], rewards["payout_rao"].tolist(), strict=True))
    shared = with_closed_cases(
        pool_payout_table(
            rewards,
            pools.memberships,
            pools.contributed,
            epoch_id=epoch_id,
            waiting=cases.waiting,
            params=params,
        ),
        pools.earlier,
        cases,
        epoch_id,
    )
    moved = [
        *movements(settlement, antes, earned),
        *case_movements(payouts, cases),
        *pool_movements(shared),
        *slashes,
    ]
    return SettlementTables(rewards, ledger_table(moved, epoch_id), shared)


def _known(
    consensus: pd.DataFrame, scores: pd.DataFrame, commitments: pd.DataFrame, *, voted: bool
) -> pd.DataFrame:
    """One row per commitment, in the order of arrival, with its standing and why it is not ranked.

    The votes come first, this platform's own scores only where they say nothing.
    """
    _check_miners(consensus, scores, commitments)
    own = ["hotkey", "standing", "reason", "final_score", "committed_at"]
    known = (
        commitments[["hotkey", "ante_rao"]]
        .merge(scores[own], on="hotkey")
        .merge(consensus[["hotkey", "consensus_weight"]], on="hotkey", how="left")
        .sort_values(["committed_at", "hotkey"])
    )
    agreed = known["hotkey"].isin(consensus["hotkey"])
    alone = ~agreed & (known["standing"] == Standing.RANKED)
    if consensus.empty and voted:
        alone |= known["standing"] == Standing.UNREVEALED
    known.loc[agreed, ["standing", "reason"]] = [Standing.RANKED.value, ""]
    known.loc[alone, "standing"] = Standing.UNRANKED.value
    known.loc[alone, "reason"] = _NO_CONSENSUS if consensus.empty else _NOT_SUPPORTED
    return known


def _entries(
    known: pd.DataFrame, consensus: pd.DataFrame, params: ProtocolParams
) -> list[RewardEntry]:
    """One entry per commitment, in the order of arrival."""
    rows = zip(
        known["hotkey"],
        _ranked_by(known, params),
        known["ante_rao"].tolist(),
        known["hotkey"].isin(consensus.loc[consensus["eligible"], "hotkey"]).tolist(),
        known["standing"],
        strict=True,
    )
    return [RewardEntry(*row) for row in rows]


def _check_miners(consensus: pd.DataFrame, scores: pd.DataFrame, commitments: pd.DataFrame) -> None:
    unrevealed = set(scores.loc[scores["standing"] == Standing.UNREVEALED, "hotkey"])
    agreed, committed = set(consensus["hotkey"]), set(commitments["hotkey"])
    problems = {
        "committed without a row in scores": committed - set(scores["hotkey"]),
        "ranked by the votes without a commitment": agreed - committed,
        "ranked by the votes without a reveal": agreed & unrevealed,
    }
    for problem, hotkeys in problems.items():
        if hotkeys:
            raise InvalidEntries(f"{problem}: {', '.join(sorted(hotkeys))}")


def _ranked_by(known: pd.DataFrame, params: ProtocolParams) -> list[Decimal]:
    """The number that ranks, as the exact decimal it was rounded to; 0 where there is none."""
    own = params.consensus.rank_by == "own_score"
    column, decimals = ("final_score", 6) if own else ("consensus_weight", 9)
    units = np.rint(known[column].fillna(0.0).to_numpy(dtype=np.float64) * 10**decimals)
    return [Decimal(int(unit)).scaleb(-decimals) for unit in units]


def _forfeiting(
    entries: Sequence[RewardEntry],
    consensus: pd.DataFrame,
    scores: pd.DataFrame,
    cluster_members: Collection[str],
) -> list[RewardEntry]:
    """The entries, with unranked cluster members below the penalty cut as forfeited.

    The cut is the lowest score of those whom the consensus leaves out of the penalty band.
    """
    final = scores.set_index("hotkey")["final_score"]
    spared = consensus.loc[consensus["tier"] != PerformanceTier.PENALTY_BAND, "hotkey"]
    below = set(final.index[final < final.reindex(spared).min()]) & set(cluster_members)
    return [
        replace(entry, standing=FORFEITED)
        if entry.standing == Standing.UNRANKED and entry.hotkey in below
        else entry
        for entry in entries
    ]


def _rewards_table(
    settlement: Settlement, antes: Mapping[str, int], reasons: Mapping[str, str], epoch_id: str
) -> pd.DataFrame:
    """Table ``Rewards`` by hotkey; who was refused or forfeits as a cluster member is unranked."""
    taken = settlement.allocations
    standing = [Standing.UNRANKED.value if each == FORFEITED else each for each in taken.standing]
    known = [
        _FORFEITS if each == FORFEITED else reasons[hotkey]
        for hotkey, each in zip(taken.hotkey, taken.standing, strict=True)
    ]
    rows = pd.DataFrame(
        {
            "epoch_id": epoch_id,
            "hotkey": taken.hotkey,
            "standing": standing,
            "reason": known,
            "eligible": taken.eligible,
            "rank": pd.array(taken.rank, dtype="Int64"),
            "tier": [tier and tier.value for tier in taken.tier],
            "final_tier": [tier and tier.value for tier in taken.final_tier],
            "reward_share": taken.weight,
            **{name: getattr(taken, name) for name in _AMOUNTS},
        }
    )
    table = pd.concat([rows.astype(_COLUMNS), _refused(settlement.refused, antes, epoch_id)])
    return table.sort_values("hotkey", ignore_index=True)


def _refused(hotkeys: Sequence[str], antes: Mapping[str, int], epoch_id: str) -> pd.DataFrame:
    """Rows of those whose ante never stood: it goes back, whole."""
    back = [antes[hotkey] for hotkey in hotkeys]
    rows = pd.DataFrame(dict.fromkeys(_COLUMNS), index=range(len(hotkeys)), dtype=object)
    rows = rows.assign(
        epoch_id=epoch_id,
        hotkey=hotkeys,
        standing=Standing.UNRANKED.value,
        reason=_REFUSED,
        eligible=False,
        reward_share=0.0,
        **dict.fromkeys(_AMOUNTS, 0),
    )
    return rows.assign(ante_rao=back, payout_rao=back, ante_returned_rao=back).astype(_COLUMNS)
