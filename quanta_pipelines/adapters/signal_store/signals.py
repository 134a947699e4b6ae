"""Commitments, universes and reveals: rows that are stored, and found again to judge by."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from quanta_pipelines.adapters.signal_store.tables import (
    COMMITMENTS,
    NEWEST_FIRST,
    REVEALS,
    UNIVERSES,
)
from quanta_pipelines.protocol.commit_reveal import Commitment, Judgement, Reveal, Verdict


@dataclass(frozen=True, slots=True)
class StoredCommitment:
    """A commitment's row, and how many earlier ones of its miner and epoch it replaced."""

    commitment_id: int
    commitment: Commitment
    ante_rao: int
    replaced: int


def commitments_of(
    connection: Connection, hotkey: str, epoch_id: str
) -> tuple[StoredCommitment, ...]:
    """All commitments of a miner for an epoch, the standing one first."""
    query = (
        select(COMMITMENTS)
        .where(COMMITMENTS.c.hotkey == hotkey, COMMITMENTS.c.epoch_id == epoch_id)
        .order_by(*NEWEST_FIRST)
    )
    rows = connection.execute(query).all()
    return tuple(
        StoredCommitment(
            row.id,
            Commitment(hotkey, epoch_id, row.commitment, row.received_at),
            row.ante_rao,
            replaced=len(rows) - 1 - place,
        )
        for place, row in enumerate(rows)
    )


def insert_commitment(connection: Connection, commitment: Commitment, ante: int) -> None:
    """Adds a commitment with its ante in rao."""
    row = {
        "hotkey": commitment.hotkey,
        "epoch_id": commitment.epoch_id,
        "commitment": commitment.commitment,
        "ante_rao": ante,
        "received_at": commitment.received_at,
    }
    connection.execute(insert(COMMITMENTS), row)


def universe_of(connection: Connection, epoch_id: str) -> tuple[str, ...]:
    """Tickers of an epoch's universe in order, none where it is not fixed."""
    query = select(UNIVERSES.c.ticker).where(UNIVERSES.c.epoch_id == epoch_id)
    return tuple(connection.scalars(query.order_by(UNIVERSES.c.ticker)))


def insert_universe(connection: Connection, epoch_id: str, tickers: tuple[str, ...]) -> None:
    """Adds an epoch's universe."""
    rows = [{"epoch_id": epoch_id, "ticker": ticker} for ticker in tickers]
    connection.execute(insert(UNIVERSES), rows)


def has_accepted(connection: Connection, hotkey: str, epoch_id: str) -> bool:
    """Whether a reveal of this miner and epoch was accepted."""
    query = select(REVEALS.c.id).where(
        REVEALS.c.hotkey == hotkey,
        REVEALS.c.epoch_id == epoch_id,
        REVEALS.c.verdict == Verdict.ACCEPTED.value,
    )
    return connection.scalar(query) is not None


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
