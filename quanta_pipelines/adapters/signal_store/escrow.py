"""Antes on their way into escrow and back: double entry, on the accounts of ``protocol.ledger``.

What an epoch's standing commitments hold here is what its ``ledger_entries`` post again when it is
settled, and move on from there.
"""

import datetime as dt

import pandas as pd
from sqlalchemy import Connection, Select, case, func, insert, select

from quanta_pipelines.adapters.signal_store.frames import INSTANT, table_of
from quanta_pipelines.adapters.signal_store.tables import COMMITMENTS, ESCROW_MOVEMENTS
from quanta_pipelines.protocol.ledger import escrow as escrow_account
from quanta_pipelines.protocol.ledger import miner as miner_account

POSTED, REPLACED = "ante_posted", "ante_replaced"

_MOVED = ESCROW_MOVEMENTS.join(COMMITMENTS)
_SIGNED = case(
    (ESCROW_MOVEMENTS.c.reason == POSTED, ESCROW_MOVEMENTS.c.amount_rao),
    else_=-ESCROW_MOVEMENTS.c.amount_rao,
)
_MOVEMENTS = {
    "epoch_id": "object",
    "entry": "int64",
    "hotkey": "object",
    "commitment": "object",
    "from_account": "object",
    "to_account": "object",
    "amount_rao": "int64",
    "reason": "object",
    "moved_at": INSTANT,
}
_BALANCES = {"epoch_id": "object", "hotkey": "object", "escrow_rao": "int64"}


def post(
    connection: Connection, commitment_id: int, hotkey: str, amount_rao: int, moved_at: dt.datetime
) -> None:
    """The ante of a new commitment, from its miner into escrow."""
    row = {
        "commitment_id": commitment_id,
        "from_account": miner_account(hotkey),
        "to_account": escrow_account(hotkey),
        "amount_rao": amount_rao,
        "reason": POSTED,
        "moved_at": moved_at,
    }
    connection.execute(insert(ESCROW_MOVEMENTS), row)


def give_back(
    connection: Connection, commitment_id: int, hotkey: str, amount_rao: int, moved_at: dt.datetime
) -> None:
    """The ante of a commitment that is replaced, from escrow to its miner."""
    row = {
        "commitment_id": commitment_id,
        "from_account": escrow_account(hotkey),
        "to_account": miner_account(hotkey),
        "amount_rao": amount_rao,
        "reason": REPLACED,
        "moved_at": moved_at,
    }
    connection.execute(insert(ESCROW_MOVEMENTS), row)


def balance_of(connection: Connection, hotkey: str, epoch_id: str) -> int:
    """What a miner holds in escrow for an epoch, in rao."""
    query = (
        select(func.coalesce(func.sum(_SIGNED), 0))
        .select_from(_MOVED)
        .where(COMMITMENTS.c.hotkey == hotkey, COMMITMENTS.c.epoch_id == epoch_id)
    )
    return int(connection.execute(query).scalar_one())


def balances(connection: Connection, epoch_id: str) -> pd.DataFrame:
    """One row per miner of an epoch: what it holds in escrow."""
    query = balance_per_miner().where(COMMITMENTS.c.epoch_id == epoch_id)
    return table_of(connection, query.order_by(COMMITMENTS.c.hotkey), _BALANCES)


def balances_of(connection: Connection, hotkey: str) -> dict[str, int]:
    """What a miner holds in escrow by epoch, oldest first."""
    query = balance_per_miner().where(COMMITMENTS.c.hotkey == hotkey)
    rows = connection.execute(query.order_by(COMMITMENTS.c.epoch_id))
    return {row.epoch_id: int(row.escrow_rao) for row in rows}


def balance_per_miner() -> "Select[tuple[str, str, int]]":
    """Query of what each miner and epoch holds in escrow."""
    return (
        select(COMMITMENTS.c.epoch_id, COMMITMENTS.c.hotkey, func.sum(_SIGNED).label("escrow_rao"))
        .select_from(_MOVED)
        .group_by(COMMITMENTS.c.epoch_id, COMMITMENTS.c.hotkey)
    )


def movements(connection: Connection, epoch_id: str) -> pd.DataFrame:
    """One row per movement of an epoch, numbered within it in the order in which they were made."""
    number = func.row_number().over(order_by=ESCROW_MOVEMENTS.c.id)
    query = (
        select(
            number.label("entry"),
            COMMITMENTS.c.epoch_id,
            COMMITMENTS.c.hotkey,
            COMMITMENTS.c.commitment,
            ESCROW_MOVEMENTS,
        )
        .select_from(_MOVED)
        .where(COMMITMENTS.c.epoch_id == epoch_id)
        .order_by(ESCROW_MOVEMENTS.c.id)
    )
    return table_of(connection, query, _MOVEMENTS)
