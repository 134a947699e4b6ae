"""The intake's memory: what miners committed and revealed, and how validators voted.

The only database that outside people write to. Each method is one transaction; what it recorded
survives a crash once it returned, and any of them may raise ``StoreUnavailable``. Where a rule
depends on the time, the caller says when a request was received. Who signed it, and how often
someone may ask, is the API's business.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import pandas as pd
from sqlalchemy import Connection, Engine, select

from quanta_pipelines.adapters.signal_store import (
    database,
    escrow,
    nonces,
    reads,
    schema,
    signals,
    soundness,
    votes,
)
from quanta_pipelines.adapters.signal_store.admin_log import AdminLog
from quanta_pipelines.adapters.signal_store.cases import Cases
from quanta_pipelines.adapters.signal_store.corrections import PriceCorrections
from quanta_pipelines.adapters.signal_store.disputes import Disputes
from quanta_pipelines.adapters.signal_store.errors import (
    ContradictsRecord,
    NotPermitted,
    NotRecorded,
)
from quanta_pipelines.adapters.signal_store.participants import Participants
from quanta_pipelines.adapters.signal_store.pools import Pools
from quanta_pipelines.adapters.signal_store.records import (
    CommitReceipt,
    SignalState,
    SignalStatus,
    Snapshot,
    Source,
    check_hex64,
    check_moment,
    check_window,
)
from quanta_pipelines.protocol.commit_reveal import (
    Commitment,
    Judgement,
    Reveal,
    judge,
    public_key,
)
from quanta_pipelines.protocol.conversion import Conversion
from quanta_pipelines.protocol.epoch import (
    Epoch,
    Window,
    commit_window,
    reveal_window_of,
    settles_at,
)
from quanta_pipelines.protocol.errors import InvalidPortfolio
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.portfolio import ante_rao, canonical_ticker


class SignalStore:
    """Append-only records of commitments, reveals, universes, snapshots and votes.

    Threads may share one; a process that was forked opens its own.
    """

    def __init__(self, engine: Engine, params: ProtocolParams = QUANTA) -> None:
        self._engine = engine
        self._params = params
        self.participants = Participants(engine)
        self.pools = Pools(engine)
        self.disputes = Disputes(engine)
        self.admin_log = AdminLog(engine)
        self.corrections = PriceCorrections(engine)
        self.cases = Cases(engine)

    @classmethod
    def open(
        cls,
        url: str,
        params: ProtocolParams = QUANTA,
        *,
        timeout_seconds: float = database.TIMEOUT_SECONDS,
        migrate: bool = True,
    ) -> "SignalStore":
        """Store at an SQLAlchemy URL; several processes may open it at once.

        ``timeout_seconds`` bounds each wait for a lock or a connection; a statement may take twice
        as long, and connecting to a server has at least two seconds. An older schema is migrated,
        or refused with ``OlderSchema``; a newer one with ``NewerSchema``.
        """
        engine = database.connect(url, timeout_seconds=timeout_seconds)
        try:
            (schema.upgrade if migrate else schema.require)(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, params)

    def close(self) -> None:
        """Closes the pooled connections."""
        self._engine.dispose()

    def ping(self) -> None:
        """Asks the database something; ``StoreUnavailable`` where it does not answer."""
        with database.reading(self._engine) as connection:
            connection.scalar(select(1))

    def problems(self) -> tuple[str, ...]:
        """What does not hold in the whole store, one line each; none where it is sound."""
        with database.reading(self._engine) as connection:
            return soundness.problems(connection)

    def use_nonce(self, hotkey: str, nonce: str, timestamp: dt.datetime, now: dt.datetime) -> None:
        """Uses up a signed request's nonce, once; refuses a replay and a moment far from ``now``.

        Nonces are deleted some time after their requests are refused by their moment alone.
        """
        check_moment(timestamp)
        check_moment(now)
        public_key(hotkey)
        nonces.check_nonce(nonce, timestamp, now)
        with database.writing(self._engine, f"nonce {hotkey}") as connection:
            nonces.use(connection, hotkey, nonce, timestamp)
            nonces.prune(connection, now)

    def commit(
        self,
        hotkey: str,
        epoch: Epoch,
        commitment_hex: str,
        ante: Decimal | str,
        *,
        received_at: dt.datetime,
    ) -> CommitReceipt:
        """Records a commitment with its ante; a newer one replaces it until the window closes.

        The ante moves into escrow, that of the replaced one back to the miner.
        The same commitment again gives the same receipt, whenever it comes. One that a newer one
        replaced can not come back: a request that is played again must change nothing. Nor can one
        that was received before the one that stands, on another machine: it would never count.
        """
        check_moment(received_at)
        public_key(hotkey)
        check_hex64("a commitment", commitment_hex)
        ante_in_rao = ante_rao(ante, self._params)
        claim = Commitment(hotkey, epoch.id, commitment_hex, received_at)
        with database.writing(self._engine, _signal_key(hotkey, epoch)) as connection:
            known = signals.commitments_of(connection, hotkey, epoch.id)
            if commitment_hex not in [row.commitment.commitment for row in known]:
                window = commit_window(epoch, self._params)
                check_window(f"a commitment for {epoch}", window, received_at)
                _check_newest(claim, known)
                _check_unrevealed(connection, claim)
                known = (_replace(connection, claim, ante_in_rao, known), *known)
        mine = next(row for row in known if row.commitment.commitment == commitment_hex)
        if mine is not known[0] or mine.ante_rao != ante_in_rao:
            raise ContradictsRecord(
                f"{hotkey} has used the commitment {commitment_hex} for {epoch} before: it stands "
                f"with an ante of {mine.ante_rao} rao, or a newer one replaced it"
            )
        window = reveal_window_of(mine.commitment.received_at, epoch, self._params)
        return CommitReceipt(mine.commitment_id, window.opens, window.closes, mine.replaced)

    def fix_universe(self, epoch: Epoch, tickers: Iterable[str]) -> None:
        """Records the tickers that may be held in an epoch, once."""
        wanted = tuple(sorted({canonical_ticker(ticker) for ticker in tickers}))
        if not wanted:
            raise InvalidPortfolio(f"the universe of {epoch} is empty")
        with database.writing(self._engine, f"universe {epoch.id}") as connection:
            fixed = signals.universe_of(connection, epoch.id)
            if not fixed:
                signals.insert_universe(connection, epoch.id, wanted)
            elif fixed != wanted:
                differing = ", ".join(sorted(set(fixed) ^ set(wanted)))
                raise ContradictsRecord(f"the fixed universe of {epoch} differs in {differing}")

    def universe(self, epoch_id: str) -> tuple[str, ...]:
        """Tickers that may be held in an epoch, in order."""
        with database.reading(self._engine) as connection:
            tickers = signals.universe_of(connection, epoch_id)
        if not tickers:
            raise NotRecorded(f"the universe of {epoch_id} has not been fixed")
        return tickers

    def reveal(self, reveal: Reveal, *, received_at: dt.datetime) -> Judgement:
        """Judges a reveal against the miner's newest commitment, and records it with its verdict.

        A malformed hotkey, epoch or commitment is an error and leaves no row.
        """
        check_moment(received_at)
        public_key(reveal.hotkey)
        check_hex64("a commitment", reveal.commitment)
        epoch = Epoch.parse(reveal.epoch_id)
        claim = replace(reveal, epoch_id=epoch.id)
        with database.writing(self._engine, _signal_key(claim.hotkey, epoch)) as connection:
            judgement = self._judge(connection, claim, epoch, received_at)
            signals.insert_reveal(connection, claim, judgement, received_at)
        return judgement

    def _judge(
        self, connection: Connection, claim: Reveal, epoch: Epoch, received_at: dt.datetime
    ) -> Judgement:
        universe = signals.universe_of(connection, epoch.id)
        if not universe and received_at >= epoch.opens_at:  # earlier, no content is judged
            raise NotRecorded(f"the universe of {epoch} has not been fixed")
        known = signals.commitments_of(connection, claim.hotkey, epoch.id)
        return judge(
            claim,
            known[0].commitment if known else None,
            received_at=received_at,
            universe=universe,
            already_accepted=bool(signals.accepted_at(connection, claim.hotkey, epoch.id)),
            params=self._params,
        )

    def signal_status(self, hotkey: str, epoch: Epoch, *, at: dt.datetime) -> SignalStatus:
        """Where a miner stands with its signal; ``at`` is the moment to compare windows with."""
        check_moment(at)
        public_key(hotkey)
        with database.reading(self._engine) as connection:
            known = signals.commitments_of(connection, hotkey, epoch.id)
            revealed_at = signals.accepted_at(connection, hotkey, epoch.id)
            held = escrow.balance_of(connection, hotkey, epoch.id)
        if not known:
            return SignalStatus(hotkey, epoch.id, SignalState.ABSENT, held)
        mine = known[0]
        window = reveal_window_of(mine.commitment.received_at, epoch, self._params)
        return SignalStatus(
            hotkey,
            epoch.id,
            _state(window, at, revealed_at),
            held,
            commitment=mine.commitment.commitment,
            ante_rao=mine.ante_rao,
            replaced=mine.replaced,
            committed_at=mine.commitment.received_at,
            revealable_from=window.opens,
            expires_at=window.closes,
            revealed_at=revealed_at,
        )

    def escrow(self, epoch_id: str) -> pd.DataFrame:
        """One row per miner that committed: what it holds in escrow for the epoch, in rao."""
        with database.reading(self._engine) as connection:
            return escrow.balances(connection, epoch_id)

    def escrow_of(self, hotkey: str) -> dict[str, int]:
        """What a miner's antes hold in escrow by epoch, in rao, oldest first; settled ones too."""
        with database.reading(self._engine) as connection:
            return escrow.balances_of(connection, hotkey)

    def escrow_movements(self, epoch_id: str) -> pd.DataFrame:
        """One row per movement of an ante into escrow or out of it, in order."""
        with database.reading(self._engine) as connection:
            return escrow.movements(connection, epoch_id)

    def record_snapshot(
        self,
        epoch: Epoch,
        *,
        emission_rao: int,
        external_rao: int,
        stakes: Mapping[str, int],
        source: Source = "chain",
        bonds: Mapping[str, int] | None = None,
        conversions: Sequence[Conversion] = (),
    ) -> None:
        """Records what an epoch is settled with, once; ``source`` says where it comes from.

        ``stakes`` are the validators', ``bonds`` the miners'; without any, no miner's is known.
        ``conversions`` say from which amounts of other units the emission and revenue come.
        """
        ordered, bonded = (dict(sorted(held.items())) for held in (stakes, bonds or {}))
        rates = tuple(sorted(conversions, key=lambda each: each.purpose))
        wanted = Snapshot(epoch.id, emission_rao, external_rao, ordered, source, bonded, rates)
        votes.check_snapshot(wanted)
        with database.writing(self._engine, f"snapshot {epoch.id}") as connection:
            recorded = votes.find_snapshot(connection, epoch.id)
            if recorded is None:
                votes.insert_snapshot(connection, wanted)
            elif recorded != wanted:
                raise ContradictsRecord(f"another snapshot of {epoch} is already recorded")

    def snapshot(self, epoch_id: str) -> Snapshot:
        """What an epoch is settled with."""
        with database.reading(self._engine) as connection:
            return votes.recorded_snapshot(connection, epoch_id)

    def submit_weights(
        self,
        validator: str,
        epoch: Epoch,
        row: pd.DataFrame,
        data_hash: str,
        *,
        received_at: dt.datetime,
        price_sources: Sequence[str] = (),
    ) -> int:
        """Records a validator's vote and returns its number; the first one counts.

        The same vote again gives the same number, whenever it comes. ``price_sources`` are the
        names of the vendors whose prices it rests on.
        """
        check_moment(received_at)
        check_hex64("a data hash", data_hash)
        sources = votes.check_sources(price_sources)
        vote = votes.Vote(validator, epoch.id, data_hash, votes.vote_cells(row), sources)
        with database.writing(self._engine, f"vote {epoch.id} {validator}") as connection:
            if validator not in votes.recorded_snapshot(connection, epoch.id).stakes:
                raise NotPermitted(f"{validator} is no validator in the snapshot of {epoch}")
            earlier = votes.find_vote(connection, validator, epoch.id)
            if earlier is not None:
                if earlier.vote != vote:
                    raise ContradictsRecord(f"{validator} has already voted for {epoch}")
                return earlier.number
            check_window(f"a vote for {epoch}", self._voting(epoch), received_at)
            return votes.insert_vote(connection, vote, received_at)

    def _voting(self, epoch: Epoch) -> Window:
        opens = settles_at(epoch, self._params)
        length = dt.timedelta(minutes=self._params.consensus.score_submission_window_minutes)
        return Window(opens, opens + length, closed=True)

    def commitments(self, epoch_id: str) -> pd.DataFrame:
        """One row per miner that committed: the commitment that stands."""
        with database.reading(self._engine) as connection:
            return reads.commitments(connection, epoch_id)

    def every_commitment(self, epoch_id: str) -> pd.DataFrame:
        """One row per commitment, replaced ones too, in the order of receipt."""
        with database.reading(self._engine) as connection:
            return reads.every_commitment(connection, epoch_id)

    def price_sources(self, epoch_id: str) -> dict[str, tuple[str, ...]]:
        """The price sources that each vote of an epoch names, by validator."""
        with database.reading(self._engine) as connection:
            return reads.price_sources(connection, epoch_id)

    def reveals(self, epoch_id: str) -> pd.DataFrame:
        """One row per reveal, with its verdict."""
        with database.reading(self._engine) as connection:
            return reads.reveals(connection, epoch_id)

    def validator_weights(self, epoch_id: str) -> pd.DataFrame:
        """One row per validator and miner: the votes."""
        with database.reading(self._engine) as connection:
            return reads.validator_weights(connection, epoch_id)


def _check_newest(claim: Commitment, known: Sequence[signals.StoredCommitment]) -> None:
    """Refuses a commitment that was received before the one that stands."""
    if known and claim.received_at < known[0].commitment.received_at:
        raise ContradictsRecord(
            f"{claim.hotkey} has a newer commitment for {claim.epoch_id}: it was received at "
            f"{known[0].commitment.received_at.isoformat()}, this one at "
            f"{claim.received_at.astimezone(dt.UTC).isoformat()}"
        )


def _check_unrevealed(connection: Connection, claim: Commitment) -> None:
    """Refuses a commitment that was held up on its way until an earlier one was revealed."""
    if signals.accepted_at(connection, claim.hotkey, claim.epoch_id) is not None:
        raise ContradictsRecord(
            f"{claim.hotkey} has revealed its portfolio for {claim.epoch_id}: "
            "its commitment can not be replaced any more"
        )


def _replace(
    connection: Connection,
    claim: Commitment,
    ante: int,
    known: Sequence[signals.StoredCommitment],
) -> signals.StoredCommitment:
    """Adds the next commitment of a miner, and moves its ante and that of the one before."""
    added = signals.insert_commitment(connection, claim, ante, len(known) + 1)
    hotkey, moment = claim.hotkey, claim.received_at
    if known:
        old = known[0]
        escrow.give_back(connection, old.commitment_id, hotkey, old.ante_rao, moment)
    escrow.post(connection, added.commitment_id, hotkey, ante, moment)
    return added


def _state(window: Window, at: dt.datetime, revealed_at: dt.datetime | None) -> SignalState:
    if revealed_at is not None:
        return SignalState.REVEALED
    if at < window.opens:
        return SignalState.COMMITTED
    return SignalState.REVEALABLE if window.contains(at) else SignalState.UNREVEALED


def _signal_key(hotkey: str, epoch: Epoch) -> str:
    """What commitments and reveals of one miner and epoch wait for each other by."""
    return f"signal {epoch.id} {hotkey}"
