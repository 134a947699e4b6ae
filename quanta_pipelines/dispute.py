"""Disputes between validators: a claim of differing cells, settled by scoring under both.

A dispute says that a validator voted on cells that are not the platform's own. The epoch is scored
again with the own cells and with the claimed ones; the votes show who used which, and the consensus
of all stake shows which cells stand. Evidence and verdict are rows in the signal store; what an
upheld dispute costs is computed with the next epoch's bonds.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import pandas as pd

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.signal_store import (
    AdminAction,
    Dispute,
    DisputeEvent,
    Json,
    NotRecorded,
    OutsideWindow,
)
from quanta_pipelines.adapters.signal_store.disputes import accused, disputed_table
from quanta_pipelines.adapters.signal_store.records import check_window
from quanta_pipelines.claimed_cells import (
    PRICES,
    Claim,
    InvalidEvidence,
    as_json,
    claimed_table,
    claims_of,
    united,
)
from quanta_pipelines.protocol.ballots import placed
from quanta_pipelines.protocol.epoch import (
    Epoch,
    Window,
    distribution_starts,
    settles_at,
    voting_closes,
)
from quanta_pipelines.protocol.oracle import data_hash
from quanta_pipelines.protocol.params import ProtocolParams
from quanta_pipelines.protocol.votes import WEIGHT_UNITS, divergence
from quanta_pipelines.replay import Poll, Replay, poll, replay
from quanta_pipelines.resources import Platform

UPHELD, REJECTED = "upheld", "rejected"


class NotProven(RuntimeError):
    """Evidence that does not show what the accused validator voted on; the dispute stays open."""


@dataclass(frozen=True, slots=True)
class MinerDifference:
    """A miner whose score or weight is another under the claimed cells."""

    hotkey: str
    score_own: float | None
    score_claimed: float | None
    weight_own: int  # in units of 10^-9
    weight_claimed: int


@dataclass(frozen=True, slots=True)
class VoteMatch:
    """How far a vote is from what each replay gives: sum of differences in units of 10^-9."""

    validator: str
    from_own: int
    from_claimed: int

    @property
    def follows(self) -> str:
        """Which replay it is nearer to, and whether it is exactly that."""
        if self.from_own == self.from_claimed:
            return "neither"
        side = "own" if self.from_own < self.from_claimed else "claimed"
        return side if min(self.from_own, self.from_claimed) else f"{side}, exactly"


@dataclass(frozen=True, slots=True)
class Resolution:
    """A verdict with its numbers. ``own`` is this platform, ``claimed`` the accused's cells."""

    dispute_id: int
    epoch_id: str
    against: str
    opened_by: str
    table: str
    cells: int
    verdict: str
    reason: str
    own_data_hash: str
    claimed_data_hash: str
    voted_data_hash: str
    votes: tuple[VoteMatch, ...]  # the accused's, then the platform's own where it voted
    consensus_from_own: float  # half the L1 distance to the consensus, 0 to 1
    consensus_from_claimed: float
    miners: tuple[MinerDifference, ...]


def open_dispute(
    platform: Platform,
    epoch: Epoch,
    *,
    against: str,
    opened_by: str,
    reason: str,
    table: str,
    claims: Sequence[Claim],
    at: datetime,
) -> int:
    """Records a dispute with its claims, and returns its number; the same again is the same one.

    Raises ``OutsideWindow`` before prices are settled and once the epoch may be paid,
    ``NotRecorded`` where an involved hotkey is no validator of the epoch's snapshot.
    """
    check_window(f"a dispute of {epoch}", dispute_window(epoch, platform.params), at)
    stakes = platform.store.snapshot(epoch.id).stakes
    for hotkey in (against, opened_by):
        if hotkey not in stakes:
            raise NotRecorded(f"{hotkey} is no validator in the snapshot of {epoch}")
    if against in (opened_by, platform.own_validator):
        raise InvalidEvidence(f"{against} is this side: a dispute is against another validator")
    if not claims:
        raise InvalidEvidence(f"no cell is claimed: there is nothing to dispute in {epoch}")
    _claimed(platform, epoch, table, claims)
    shown: Json = [dict(cell) for cell in as_json(united(claims))[:_SHOWN]]
    subject: Json = {"against": against, "table": table, "cells": shown}
    disputes = platform.store.disputes
    audit = AdminAction(opened_by, "open_dispute", {}, at)
    number = disputes.open(opened_by, epoch, reason, subject, at=at, audit=audit)
    if disputes.find(number, at=at).status == "open":
        add_evidence(platform, number, opened_by, claims, at=at)
    return number


_SHOWN = 100  # cells that stand in the dispute itself; all are in its evidence


def dispute_window(epoch: Epoch, params: ProtocolParams) -> Window:
    """When disputes are taken: from the settlement of prices until the epoch may be paid."""
    return Window(settles_at(epoch, params), distribution_starts(epoch, params))


def add_evidence(
    platform: Platform, number: int, author: str, claims: Sequence[Claim], *, at: datetime
) -> None:
    """Adds claims to an open dispute; refuses what contradicts those that are there."""
    dispute = platform.store.disputes.find(number, at=at)
    united([*claims_so_far(platform, dispute), *claims])
    audit = AdminAction(author, "add_evidence", {"dispute_id": number}, at)
    platform.store.disputes.add_evidence(number, author, as_json(claims), at=at, audit=audit)


def claims_so_far(platform: Platform, dispute: Dispute) -> tuple[Claim, ...]:
    """Every cell that is claimed in a dispute, once."""
    rows = platform.store.disputes.evidence(dispute.dispute_id)
    table = disputed_table(dispute.evidence)
    documents = [json.loads(text) for text in rows.loc[rows["kind"] == "cells", "document"]]
    return united([claim for document in documents for claim in claims_of(document, table)])


def resolve(platform: Platform, number: int, *, author: str, at: datetime) -> Resolution:
    """Replays a dispute's epoch under both cells, and records the verdict with its numbers.

    One that was resolved before gives its recorded verdict. Raises ``NotProven`` where the claimed
    prices are not those that the accused's ``data_hash`` is of; nothing is recorded then.
    """
    dispute = platform.store.disputes.find(number, at=at)
    if (known := recorded_resolution(platform, number)) is not None:
        return known
    epoch = Epoch.parse(dispute.epoch_id)
    if at < voting_closes(epoch, platform.params):
        raise OutsideWindow(f"votes for {epoch} are still taken: resolve dispute {number} later")
    found = judged(platform, dispute, claims_so_far(platform, dispute))
    event = DisputeEvent.UPHELD if found.verdict == UPHELD else DisputeEvent.DISMISSED
    payload: Json = {"dispute_id": number, "verdict": found.verdict}
    platform.store.disputes.record(
        number,
        event,
        author,
        found.reason,
        at=at,
        audit=AdminAction(author, "resolve_dispute", payload, at),
        replay=json.loads(json.dumps(asdict(found))),
    )
    return found


def recorded_resolution(platform: Platform, number: int) -> Resolution | None:
    """The verdict of a dispute that was resolved by replay."""
    rows = platform.store.disputes.evidence(number)
    documents = rows.loc[rows["kind"] == "replay", "document"]
    if documents.empty:
        return None
    said = json.loads(documents.iloc[0])
    said["votes"] = tuple(VoteMatch(**vote) for vote in said["votes"])
    said["miners"] = tuple(MinerDifference(**miner) for miner in said["miners"])
    return Resolution(**said)


def judged(platform: Platform, dispute: Dispute, claims: Sequence[Claim]) -> Resolution:
    """The verdict on a dispute, from replays under the own and the claimed cells alone."""
    epoch, table = Epoch.parse(dispute.epoch_id), disputed_table(dispute.evidence)
    against = accused(dispute.evidence)
    if not against or not table or not claims:
        raise NotProven(f"dispute {dispute.dispute_id} claims no cells: add evidence to it")
    own = platform.lake.read(table, epoch.id, gates=CONTRACTS[table].gates())
    theirs = claimed_table(own, claims, table, epoch.id)
    counted = poll(platform, epoch)
    vote = counted.votes[counted.votes["validator"] == against]
    if vote.empty:
        raise NotProven(f"{against} did not vote in {epoch}: there is no vote to dispute")
    hashes = _hashes(platform, epoch, table, (own, theirs), str(vote["data_hash"].iloc[0]))
    left, right = (replay(platform, epoch, {table: given}) for given in (own, theirs))
    matches = _matches(counted, (against, platform.own_validator), left, right)
    apart = tuple(_from_consensus(counted, side) for side in (left, right))
    reason, verdict = _verdict(left, right, matches, apart)
    return Resolution(
        dispute_id=dispute.dispute_id,
        epoch_id=epoch.id,
        against=against,
        opened_by=dispute.opened_by,
        table=table,
        cells=len(claims),
        verdict=verdict,
        reason=reason,
        own_data_hash=hashes[0],
        claimed_data_hash=hashes[1],
        voted_data_hash=hashes[2],
        votes=matches,
        consensus_from_own=apart[0],
        consensus_from_claimed=apart[1],
        miners=_differences(left, right),
    )


def _claimed(platform: Platform, epoch: Epoch, table: str, claims: Sequence[Claim]) -> pd.DataFrame:
    own = platform.lake.read(table, epoch.id, gates=CONTRACTS[table].gates())
    return claimed_table(own, claims, table, epoch.id)


def _hashes(
    platform: Platform, epoch: Epoch, table: str, sides: Sequence[pd.DataFrame], voted: str
) -> tuple[str, str, str]:
    """Hashes of the own and the claimed prices, and the one voted with, which claims must give."""
    if table != PRICES:  # the hash is over prices: those of both sides are the own ones
        prices = platform.lake.read(PRICES, epoch.id)
        return data_hash(prices), data_hash(prices), voted
    own, claimed = (data_hash(side) for side in sides)
    if claimed != voted:
        raise NotProven(
            f"the claimed cells give the data hash {claimed[:12]}, the accused voted with "
            f"{voted[:12]}: cells are missing or wrong, the dispute stays open"
        )
    return own, claimed, voted


def _matches(
    counted: Poll, validators: Sequence[str], left: Replay, right: Replay
) -> tuple[VoteMatch, ...]:
    """How far the validators' votes are from both replays; none of one that did not vote."""
    units = counted.votes.pivot(index="hotkey", columns="validator", values="weight_units")
    sides = [side.row.set_index("hotkey")["weight_units"] for side in (left, right)]
    return tuple(
        VoteMatch(name, *(_distance(units[name].dropna(), side) for side in sides))
        for name in validators
        if name in units
    )


def _distance(vote: "pd.Series[float]", row: "pd.Series[int]") -> int:
    return int(vote.sub(row, fill_value=0).abs().sum())


def _from_consensus(counted: Poll, side: Replay) -> float:
    """Half the L1 distance between a replay's row and the consensus, scaled to sum to one."""
    agreed = counted.consensus
    if agreed.empty or side.row.empty:
        raise NotProven("without a consensus, or with nobody to rank, nothing can be decided")
    votes = side.row.assign(validator="replay")
    cells = placed(votes, ["replay"], agreed["hotkey"]).units() / WEIGHT_UNITS
    return round(float(divergence(cells, agreed["consensus_weight"].to_numpy())[0]), 12)


def _verdict(
    left: Replay, right: Replay, matches: Sequence[VoteMatch], apart: Sequence[float]
) -> tuple[str, str]:
    """Why, and which verdict: all of what an accusation says must hold."""
    if left.row[["hotkey", "weight_units"]].equals(right.row[["hotkey", "weight_units"]]):
        return "the claimed cells change no weight", REJECTED
    theirs = matches[0]
    if theirs.from_claimed >= theirs.from_own:
        return "the accused's vote does not follow from the claimed cells", REJECTED
    if any(mine.from_own >= mine.from_claimed for mine in matches[1:]):
        return "the own vote does not follow from the own cells", REJECTED
    if apart[0] >= apart[1]:
        return "the consensus is no nearer to the own cells than to the claimed ones", REJECTED
    return "its vote follows from the claimed cells, and the consensus from the own ones", UPHELD


def _differences(left: Replay, right: Replay) -> tuple[MinerDifference, ...]:
    scores = [side.scores.set_index("hotkey")["final_score"] for side in (left, right)]
    units = [side.row.set_index("hotkey")["weight_units"] for side in (left, right)]
    names = sorted({*scores[0].index, *scores[1].index})
    miners = [
        MinerDifference(
            hotkey=str(name),
            score_own=_score(scores[0].get(name)),
            score_claimed=_score(scores[1].get(name)),
            weight_own=int(units[0].get(name, 0)),
            weight_claimed=int(units[1].get(name, 0)),
        )
        for name in names
    ]
    return tuple(
        miner
        for miner in miners
        if (miner.score_own, miner.weight_own) != (miner.score_claimed, miner.weight_claimed)
    )


def _score(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
