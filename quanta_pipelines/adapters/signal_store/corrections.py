"""Corrections of settled prices: recorded once, never changed, the newest of a cell stands."""

import datetime as dt
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, Row, func, insert, select

from quanta_pipelines.adapters.signal_store import database
from quanta_pipelines.adapters.signal_store.admin_log import AdminAction, log_action
from quanta_pipelines.adapters.signal_store.errors import ContradictsRecord
from quanta_pipelines.adapters.signal_store.tables import PRICE_CORRECTIONS
from quanta_pipelines.protocol.corrections import PriceCorrection, check_correction

_CELL = ("ticker", "session", "field")
_STANDING = {
    "ticker": "object",
    "session": "datetime64[ns]",
    "field": "object",
    "old_value": "float64",
    "new_value": "float64",
    "author": "object",
    "reason": "object",
    "evidence": "object",
    "recorded_at": "datetime64[ns, UTC]",
    "correction_id": "int64",
    "n_replaced": "int64",
}


class PriceCorrections:
    """The corrections of a signal store; ``SignalStore.corrections`` is the one of a store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, correction: PriceCorrection, *, audit: AdminAction | None = None) -> int:
        """Adds a correction and returns its number; ``audit`` is logged in the same transaction.

        Raises ``InvalidCorrection`` where it lacks something, ``ContradictsRecord`` where its old
        value is not what the newest correction of the cell left, or the cell already holds the new
        one. What vendors settle the caller must have looked up: the store has no prices.
        """
        check_correction(correction)
        with database.writing(self._engine, f"corrections of {correction.ticker}") as connection:
            _check_follows(_newest(connection, correction), correction)
            log_action(connection, audit)
            row = {name: getattr(correction, name) for name in PriceCorrection.__slots__}
            query = insert(PRICE_CORRECTIONS).returning(PRICE_CORRECTIONS.c.id)
            return int(connection.execute(query, row).scalar_one())

    def standing(self, first: dt.date, last: dt.date) -> pd.DataFrame:
        """One row per corrected ticker, session and field between two days, both included."""
        cell = [PRICE_CORRECTIONS.c[name] for name in _CELL]
        newest = PRICE_CORRECTIONS.c.id.desc()
        ranked = (
            select(
                PRICE_CORRECTIONS,
                PRICE_CORRECTIONS.c.id.label("correction_id"),
                func.row_number().over(partition_by=cell, order_by=newest).label("place"),
                (func.count().over(partition_by=cell) - 1).label("n_replaced"),
            )
            .where(PRICE_CORRECTIONS.c.session.between(first, last))
            .subquery()
        )
        with database.reading(self._engine) as connection:
            rows = connection.execute(select(ranked).where(ranked.c.place == 1)).mappings().all()
        table = pd.DataFrame(rows, columns=[*rows[0]] if rows else list(_STANDING))
        return table[list(_STANDING)].astype(_STANDING).sort_values(list(_CELL), ignore_index=True)


def _newest(connection: Connection, correction: PriceCorrection) -> Row[Any] | None:
    same = [PRICE_CORRECTIONS.c[name] == getattr(correction, name) for name in _CELL]
    query = select(PRICE_CORRECTIONS).where(*same).order_by(PRICE_CORRECTIONS.c.id.desc())
    return connection.execute(query.limit(1)).first()


def _check_follows(newest: Row[Any] | None, correction: PriceCorrection) -> None:
    place = f"the {correction.field} of {correction.ticker} on {correction.session}"
    if correction.new_value == correction.old_value:
        raise ContradictsRecord(f"{place} is {correction.new_value} already")
    if newest is not None and newest.new_value != correction.old_value:
        raise ContradictsRecord(
            f"{place} is {newest.new_value} since correction {newest.id} by {newest.author}, "
            f"not {correction.old_value}"
        )
