"""A second validator: scores epochs on its own lake and vendors, and votes at a peer's service.

Signals, stakes and universe come from the peer, prices from the own vendors. An epoch that was
scored stays as it is: whoever starts again after being killed sends the same vote.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pandas as pd

from data_contracts.market_data import ValidatedPrices
from data_contracts.scoring import HorizonMetrics, Scores
from quanta_pipelines.adapters.signal_store import ContradictsRecord
from quanta_pipelines.backfill import Backfill
from quanta_pipelines.claimed_cells import PRICES, Claim, differences, own_value
from quanta_pipelines.client import ApiError
from quanta_pipelines.peer import Peer, UntrueRecord
from quanta_pipelines.protocol.epoch import Epoch, settles_at, submission_offset, voting_closes
from quanta_pipelines.protocol.oracle import data_hash
from quanta_pipelines.protocol.votes import validator_row
from quanta_pipelines.resources import Platform

POLL = timedelta(minutes=1)  # between two attempts while an epoch's window is open


@dataclass(frozen=True, slots=True)
class DifferingCell:
    """A settled price in which the peer differs."""

    ticker: str
    session: str
    column: str
    own: str | float | int | bool | None
    peer: str | float | int | bool | None


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What became of one epoch: the vote, and how the peer's prices compare.

    ``problem`` is empty where the vote was taken, or where there was nothing to vote on.
    """

    epoch_id: str
    hotkey: str
    scored: bool = False
    miners: int = 0
    data_hash: str = ""
    price_sources: tuple[str, ...] = ()
    submission_id: int | None = None
    problem: str = ""
    note: str = ""
    peer: str = ""
    peer_data_hash: str = ""
    cells: tuple[DifferingCell, ...] = ()
    claims: tuple[Claim, ...] = ()  # the same as evidence: what this side has

    @property
    def voted(self) -> bool:
        """Whether the peer has the vote."""
        return self.submission_id is not None


def vote_moment(hotkey: str, epoch: Epoch, platform: Platform) -> datetime:
    """When a validator submits: at its own offset into the window."""
    return settles_at(epoch, platform.params) + submission_offset(hotkey, epoch, platform.params)


def due_epoch(now: datetime, platform: Platform) -> Epoch:
    """The newest epoch whose prices are final at ``now``."""
    epoch = Epoch.containing(now.date())
    while settles_at(epoch, platform.params) > now:
        epoch = epoch.previous()
    return epoch


def seconds_to_wait(platform: Platform, epoch: Epoch) -> float:
    """Until the own moment of an epoch's window; 0 before the window opens and from then on."""
    now, opens = platform.clock(), settles_at(epoch, platform.params)
    left = vote_moment(platform.own_validator, epoch, platform) - now
    return max(0.0, left.total_seconds()) if now >= opens else 0.0


def run_epoch(
    platform: Platform, work: Backfill, peer: Peer, epoch: Epoch, say: Callable[[str], None]
) -> EpochReport:
    """Scores an epoch, and those before it that are missing here; votes; compares prices."""
    report = EpochReport(epoch.id, platform.own_validator)
    try:
        for one in _to_score(platform, epoch):
            say(f"{one}: taking signals from the peer, scoring on own prices")
            peer.mirror(platform.store, one)
            outcome = work.scores(one)
            if not outcome.succeeded:
                return replace(report, problem=f"{one}: {'; '.join(outcome.problems)}")
        report, row = _scored(platform, epoch, report)
        if not report.note:
            number = peer.submit(epoch, row, report.data_hash, report.price_sources)
            report = replace(report, submission_id=number)
        return _compared(platform, peer, epoch, report)
    except (ApiError, ContradictsRecord, UntrueRecord) as error:
        return replace(report, problem=_in_words(error, platform, epoch))


def _to_score(platform: Platform, epoch: Epoch) -> Iterator[Epoch]:
    """Epochs up to this one whose scores are not published here, oldest first."""
    for one in Epoch.range(platform.genesis, epoch):
        for name, contract in (("scores", Scores), ("horizon_metrics", HorizonMetrics)):
            if platform.lake.refusal(name, one.id, contract.gates()) is not None:
                yield one
                break


def _scored(
    platform: Platform, epoch: Epoch, report: EpochReport
) -> tuple[EpochReport, pd.DataFrame]:
    """The report with what is voted on, and the row: both from the published tables alone.

    A note says why there is nothing to submit.
    """
    lake = platform.lake
    scores = lake.read("scores", epoch.id, gates=Scores.gates())
    metrics = lake.read("horizon_metrics", epoch.id, gates=HorizonMetrics.gates())
    prices = lake.read(PRICES, epoch.id, gates=ValidatedPrices.gates())
    row = validator_row(scores, metrics, platform.params)
    note = "nobody is ranked: nothing is submitted" if row.empty else ""
    if not platform.store.snapshot(epoch.id).stakes.get(platform.own_validator):
        note = f"{platform.own_validator} has no stake: it does not vote"
    found = replace(
        report,
        scored=True,
        miners=len(row),
        data_hash=data_hash(prices),
        price_sources=_sources(prices),
        note=note,
    )
    return found, row


def _compared(platform: Platform, peer: Peer, epoch: Epoch, report: EpochReport) -> EpochReport:
    """The report with the peer's prices beside the own ones; cells only where hashes differ."""
    try:
        theirs = peer.prices(epoch)
    except ApiError as error:
        if error.code not in ("epoch_not_settled", "window_closed"):
            raise
        return replace(report, note=report.note or f"prices are not compared: {error.detail}")
    report = replace(report, peer=theirs.validator, peer_data_hash=theirs.data_hash)
    if theirs.data_hash == report.data_hash:
        return report
    own = platform.lake.read(PRICES, epoch.id)
    claims = differences(theirs.table, own, PRICES)
    cells = [
        DifferingCell(
            *claim.cell,
            own=claim.value,
            peer=own_value(theirs.table, claim, PRICES),
        )
        for claim in claims
    ]
    return replace(report, cells=tuple(cells), claims=claims)


def _sources(prices: pd.DataFrame) -> tuple[str, ...]:
    """Everyone whose closes are in the table."""
    return tuple(sorted({name for text in prices["sources"] for name in text.split(",") if name}))


def _in_words(error: Exception, platform: Platform, epoch: Epoch) -> str:
    """What a refusal means for a validator."""
    if not isinstance(error, ApiError):
        return f"the peer's records cannot be used: {error}"
    code = error.code
    if code == "window_closed":
        closes = voting_closes(epoch, platform.params)
        return f"not in the window, which closes {closes.isoformat()}: {error.detail}"
    if code == "contradicts_record":
        return f"another vote of this hotkey stands already: {error.detail}"
    if code in ("unreachable", "rate_limited", "store_unavailable", "tables_unavailable"):
        return f"the peer does not answer, try again: {error}"
    return f"refused: {error}"


def run_for_ever(
    platform: Platform,
    attempt: Callable[[Epoch], EpochReport],
    sleep: Callable[[float], None],
) -> Iterator[EpochReport]:
    """Epoch after epoch, each at its own moment; again while its window is open and it failed."""
    last: Epoch | None = None
    while True:
        now = platform.clock()
        epoch = due_epoch(now, platform)
        moment = vote_moment(platform.own_validator, epoch, platform)
        if epoch != last and now >= moment:
            report = attempt(epoch)
            yield report
            over = platform.clock() > voting_closes(epoch, platform.params)
            if not report.problem or over:
                last = epoch
        sleep(POLL.total_seconds())
