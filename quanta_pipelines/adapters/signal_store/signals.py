"""Commitments, universes and reveals: rows that are stored, and found again to judge by."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from quanta_pipelines.adapters.signal_store.tables import (
    COMMITMENTS,
    REVEALS,
    UNIVERSES,
)
from quanta_pipelines.protocol.commit_reveal import Commitment, Judgement, Reveal, Verdict


@dataclass(frozen=True, slots=True)
class StoredCommitment:
    """A commitment's row; of those of a miner and epoch the one with the highest number stands."""

    commitment_id: int
    commitment: Commitment
    ante_rao: int
    ordinal: int

    @property
    def replaced(self) -> int:
        """How many earlier ones of its miner and epoch it replaced."""
        return self.ordinal - 1


def commitments_of(
    connection: Connection, hotkey: str, epoch_id: str
) -> tuple[StoredCommitment, ...]:
    """All commitments of a miner for an epoch, the standing one first."""
    query = (
        select(COMMITMENTS)
        .where(COMMITMENTS.c.hotkey == hotkey, COMMITMENTS.c.epoch_id == epoch_id)
        .order_by(COMMITMENTS.c.ordinal.desc())
    )
    rows = connection.execute(query).all()
    return tuple(
        StoredCommitment(
            row.id,
            Commitment(hotkey, epoch_id, row.commitment, row.received_at),
            row.ante_rao,
            row.ordinal,
        )
        for row in rows
    )


def insert_commitment(
    connection: Connection, commitment: Commitment, ante: int, ordinal: int
) -> StoredCommitment:
    """Adds a commitment with its ante in rao."""
    row = {
        "hotkey": commitment.hotkey,
        "epoch_id": commitment.epoch_id,
        "commitment": commitment.commitment,
        "ante_rao": ante,
        "received_at": commitment.received_at,
        "ordinal": ordinal,
    }
    query = insert(COMMITMENTS).returning(COMMITMENTS.c.id)
    number = int(connection.execute(query, row).scalar_one())
    return StoredCommitment(number, commitment, ante, ordinal)


def universe_of(connection: Connection, epoch_id: str) -> tuple[str, ...]:
    """Tickers of an epoch's universe in order, none where it is not fixed."""
    query = select(UNIVERSES.c.ticker).where(UNIVERSES.c.epoch_id == epoch_id)
    return tuple(connection.scalars(query.order_by(UNIVERSES.c.ticker)))


def insert_universe(connection: Connection, epoch_id: str, tickers: tuple[str, ...]) -> None:
    """Adds an epoch's universe."""
    rows = [{"epoch_id": epoch_id, "ticker": ticker} for ticker in tickers]
    connection.execute(insert(UNIVERSES), rows)


def accepted_at(connection: Connection, hotkey: str, epoch_id: str) -> dt.datetime | None:
    """When the accepted reveal of this miner and epoch was received, or None."""
    query = select(REVEALS.c.received_at).where(
        REVEALS.c.hotkey == hotkey,
        REVEALS.c.epoch_id == epoch_id,
        REVEALS.c.verdict == Verdict.ACCEPTED.value,
    )
    return connection.scalar(query)


def insert_reveal(
    connection: Connection, reveal: Reveal, judgement: Judgement, received_at: dt.datetime
) -> None:
    """Adds a reveal with its verdict."""
    row = {
        "hotkey": reveal.hotkey,
        "epoch_id": reveal.epoch_id,
        "commitment": reveal.commitment,
        "positions": reveal.positions,
        "secret": reveal.secret,
        "received_at": received_at,
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
        "portfolio_hash": judgement.portfolio.hash if judgement.portfolio else "",
    }
    connection.execute(insert(REVEALS), row)
