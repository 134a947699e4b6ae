"""What administrators did: actor, action and payload, for the audit."""

import datetime as dt
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, Engine, insert, select

from quanta_pipelines.adapters.signal_store import database
from quanta_pipelines.adapters.signal_store.frames import INSTANT, table_of
from quanta_pipelines.adapters.signal_store.records import Json, check_moment, check_name, json_text
from quanta_pipelines.adapters.signal_store.service_tables import ADMIN_ACTIONS

_ENTRIES = {
    "entry": "int64",
    "actor": "object",
    "action": "object",
    "payload": "object",
    "at": INSTANT,
}


@dataclass(frozen=True, slots=True)
class AdminAction:
    """What an administrator does, to be logged in the transaction that does it."""

    actor: str
    action: str
    payload: Json
    at: dt.datetime


def log_action(connection: Connection, action: AdminAction | None) -> int:
    """Adds an entry to a transaction and returns its number; 0 where there is nothing to log."""
    if action is None:
        return 0
    check_moment(action.at)
    check_name("the actor of an action", action.actor)
    check_name("an action", action.action)
    row = {
        "actor": action.actor,
        "action": action.action,
        "payload": json_text("the payload of an action", action.payload),
        "at": action.at,
    }
    query = insert(ADMIN_ACTIONS).returning(ADMIN_ACTIONS.c.id)
    return int(connection.execute(query, row).scalar_one())


class AdminLog:
    """Log of administrators' actions. It takes every payload: the caller leaves secrets out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, actor: str, action: str, payload: Json, *, at: dt.datetime) -> int:
        """Adds an entry and returns its number; the same action again is another entry."""
        with database.writing(self._engine, "admin log") as connection:
            return log_action(connection, AdminAction(actor, action, payload, at))

    def entries(
        self, *, since: dt.datetime | None = None, until: dt.datetime | None = None
    ) -> pd.DataFrame:
        """One row per entry from ``since`` up to before ``until``, in order."""
        column = ADMIN_ACTIONS.c.at
        query = select(ADMIN_ACTIONS, ADMIN_ACTIONS.c.id.label("entry"))
        if since is not None:
            check_moment(since)
            query = query.where(column >= since)
        if until is not None:
            check_moment(until)
            query = query.where(column < until)
        with database.reading(self._engine) as connection:
            return table_of(connection, query.order_by(column, ADMIN_ACTIONS.c.id), _ENTRIES)
