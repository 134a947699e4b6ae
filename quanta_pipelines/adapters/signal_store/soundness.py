"""What must hold in a store at any moment, asked of the database itself.

Constraints and triggers refuse most of it beforehand; these questions find what somebody did to
the tables past them, a damaged file, and mistakes of this code.
"""

from typing import Any

from sqlalchemy import Connection, Select, and_, func, or_, select

from quanta_pipelines.adapters.signal_store import escrow
from quanta_pipelines.adapters.signal_store.tables import COMMITMENTS, ESCROW_MOVEMENTS, REVEALS
from quanta_pipelines.protocol.commit_reveal import Verdict

_SHOWN = 20  # of each kind of problem


def problems(connection: Connection) -> tuple[str, ...]:
    """One line per problem, none where everything holds."""
    found = _integrity(connection)
    for says, query in _QUESTIONS.items():
        rows = connection.execute(query.limit(_SHOWN)).all()
        found += [f"{says}: {', '.join(str(value) for value in row)}" for row in rows]
    return tuple(found)


def _integrity(connection: Connection) -> list[str]:
    """SQLite's own check of its pages and indexes; PostgreSQL has ``pg_amcheck`` for that."""
    if connection.dialect.name != "sqlite":
        return []
    said = connection.exec_driver_sql(f"PRAGMA integrity_check({_SHOWN})").scalars().all()
    loose = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [f"integrity: {line}" for line in said if line != "ok"] + [
        f"foreign key: {tuple(row)}" for row in loose
    ]


def _escrow_that_is_not_the_standing_ante() -> Select[Any]:
    held = escrow.balance_per_miner().subquery()
    newest = (
        select(
            COMMITMENTS.c.epoch_id,
            COMMITMENTS.c.hotkey,
            func.max(COMMITMENTS.c.ordinal).label("ordinal"),
        )
        .group_by(COMMITMENTS.c.epoch_id, COMMITMENTS.c.hotkey)
        .subquery()
    )
    same = and_(
        newest.c.epoch_id == COMMITMENTS.c.epoch_id, newest.c.hotkey == COMMITMENTS.c.hotkey
    )
    theirs = and_(held.c.epoch_id == COMMITMENTS.c.epoch_id, held.c.hotkey == COMMITMENTS.c.hotkey)
    return (
        select(
            COMMITMENTS.c.epoch_id,
            COMMITMENTS.c.hotkey,
            COMMITMENTS.c.ante_rao,
            func.coalesce(held.c.escrow_rao, 0),
        )
        .join(newest, and_(same, newest.c.ordinal == COMMITMENTS.c.ordinal))
        .outerjoin(held, theirs)
        .where(func.coalesce(held.c.escrow_rao, 0) != COMMITMENTS.c.ante_rao)
        .order_by(COMMITMENTS.c.epoch_id, COMMITMENTS.c.hotkey)
    )


def _numbers_with_a_gap() -> Select[Any]:
    return (
        select(COMMITMENTS.c.epoch_id, COMMITMENTS.c.hotkey)
        .group_by(COMMITMENTS.c.epoch_id, COMMITMENTS.c.hotkey)
        .having(
            or_(
                func.max(COMMITMENTS.c.ordinal) != func.count(),
                func.min(COMMITMENTS.c.ordinal) != 1,
            )
        )
        .order_by(COMMITMENTS.c.epoch_id, COMMITMENTS.c.hotkey)
    )


def _movements_of_another_account() -> Select[Any]:
    miner, held = "miner:" + COMMITMENTS.c.hotkey, "escrow:" + COMMITMENTS.c.hotkey
    moved = ESCROW_MOVEMENTS.c
    posted = and_(
        moved.reason == escrow.POSTED, moved.from_account == miner, moved.to_account == held
    )
    returned = and_(
        moved.reason == escrow.REPLACED, moved.from_account == held, moved.to_account == miner
    )
    return (
        select(moved.id, moved.reason, moved.from_account, moved.to_account, moved.amount_rao)
        .join(COMMITMENTS, COMMITMENTS.c.id == moved.commitment_id)
        .where(or_(~or_(posted, returned), moved.amount_rao != COMMITMENTS.c.ante_rao))
        .order_by(moved.id)
    )


def _accepted_without_its_commitment() -> Select[Any]:
    later = COMMITMENTS.alias()
    replaced = select(later.c.id).where(
        later.c.epoch_id == COMMITMENTS.c.epoch_id,
        later.c.hotkey == COMMITMENTS.c.hotkey,
        later.c.ordinal > COMMITMENTS.c.ordinal,
    )
    opened = select(COMMITMENTS.c.id).where(
        COMMITMENTS.c.epoch_id == REVEALS.c.epoch_id,
        COMMITMENTS.c.hotkey == REVEALS.c.hotkey,
        COMMITMENTS.c.commitment == REVEALS.c.commitment,
        ~replaced.exists(),
    )
    return (
        select(REVEALS.c.epoch_id, REVEALS.c.hotkey, REVEALS.c.commitment)
        .where(REVEALS.c.verdict == Verdict.ACCEPTED.value, ~opened.exists())
        .order_by(REVEALS.c.id)
    )


_QUESTIONS: dict[str, Select[Any]] = {
    "escrow is not the standing commitment's ante": _escrow_that_is_not_the_standing_ante(),
    "commitments are not numbered from 1 without a gap": _numbers_with_a_gap(),
    "a movement is not that of its commitment": _movements_of_another_account(),
    "accepted, but it opens no standing commitment": _accepted_without_its_commitment(),
}
