"""Who is a member of which pool, as events that fold to a membership at any moment."""

import datetime as dt
from typing import NamedTuple

import pandas as pd
from sqlalchemy import Connection, Engine, Select, func, insert, select

from quanta_pipelines.adapters.signal_store import database
from quanta_pipelines.adapters.signal_store.errors import ContradictsRecord
from quanta_pipelines.adapters.signal_store.frames import INSTANT, table_of
from quanta_pipelines.adapters.signal_store.records import check_moment
from quanta_pipelines.adapters.signal_store.service_tables import POOL_EVENTS
from quanta_pipelines.protocol.commit_reveal import public_key

_EVENT = POOL_EVENTS.c
_JOINED, _LEFT = "joined", "left"
_MEMBERS = {"member": "object", "operator": "object", "joined_at": INSTANT}
_EVENTS = {
    "member": "object",
    "ordinal": "int64",
    "operator": "object",
    "event": "object",
    "at": INSTANT,
}


class _Last(NamedTuple):
    """A member's last event; the number is 0 where there is none."""

    ordinal: int = 0
    operator: str = ""
    event: str = _LEFT
    at: dt.datetime = dt.datetime.min.replace(tzinfo=dt.UTC)


class Pools:
    """Memberships: a member is in one pool at a time, a pool is known by its operator's hotkey."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def join(self, member: str, operator: str, *, at: dt.datetime) -> None:
        """Records that a member joins; to be in this pool already changes nothing."""
        self._record(member, operator, _JOINED, at)

    def leave(self, member: str, operator: str, *, at: dt.datetime) -> None:
        """Records that a member leaves; to have left this pool last changes nothing."""
        self._record(member, operator, _LEFT, at)

    def _record(self, member: str, operator: str, event: str, at: dt.datetime) -> None:
        check_moment(at)
        public_key(member)
        public_key(operator)
        with database.writing(self._engine, f"pool member {member}") as connection:
            last = _last(connection, member)
            if (last.operator, last.event) == (operator, event):
                return
            _check(member, operator, event, last)
            if at < last.at:
                raise ContradictsRecord(
                    f"{member} {last.event} the pool of {last.operator} at {last.at.isoformat()}: "
                    f"nothing can be recorded for {at.isoformat()} any more"
                )
            row = {"member": member, "operator": operator, "event": event, "at": at}
            connection.execute(insert(POOL_EVENTS), {**row, "ordinal": last.ordinal + 1})

    def members(self, operator: str, *, at: dt.datetime) -> tuple[str, ...]:
        """Members of a pool at a moment, in order."""
        check_moment(at)
        query = _at(at).where(_EVENT.operator == operator).order_by(_EVENT.member)
        with database.reading(self._engine) as connection:
            return tuple(row.member for row in connection.execute(query))

    def at(self, moment: dt.datetime) -> pd.DataFrame:
        """One row per membership at a moment, by member."""
        check_moment(moment)
        with database.reading(self._engine) as connection:
            return table_of(connection, _at(moment).order_by(_EVENT.member), _MEMBERS)

    def events(self) -> pd.DataFrame:
        """One row per event, by member and number."""
        query = select(POOL_EVENTS).order_by(_EVENT.member, _EVENT.ordinal)
        with database.reading(self._engine) as connection:
            return table_of(connection, query, _EVENTS)


def _at(moment: dt.datetime) -> Select[tuple[object, ...]]:
    newest = (
        select(_EVENT.member, func.max(_EVENT.ordinal).label("ordinal"))
        .where(_EVENT.at <= moment)
        .group_by(_EVENT.member)
        .subquery()
    )
    same = (newest.c.member == _EVENT.member) & (newest.c.ordinal == _EVENT.ordinal)
    columns = (_EVENT.member, _EVENT.operator, _EVENT.at.label("joined_at"))
    return select(*columns).join(newest, same).where(_EVENT.event == _JOINED)


def _last(connection: Connection, member: str) -> _Last:
    query = select(_EVENT.ordinal, _EVENT.operator, _EVENT.event, _EVENT.at)
    newest = query.where(_EVENT.member == member).order_by(_EVENT.ordinal.desc()).limit(1)
    row = connection.execute(newest).first()
    return _Last() if row is None else _Last(*row)


def _check(member: str, operator: str, event: str, last: _Last) -> None:
    if event == _JOINED and last.event == _JOINED:
        raise ContradictsRecord(f"{member} is in the pool of {last.operator}: it leaves that first")
    if event == _LEFT and (last.event, last.operator) != (_JOINED, operator):
        raise ContradictsRecord(f"{member} is not in the pool of {operator}")
