"""Who takes part in which role since when, as events that fold to a registry at any moment."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd
from sqlalchemy import Connection, Engine, Select, func, insert, select

from quanta_pipelines.adapters.signal_store import database
from quanta_pipelines.adapters.signal_store.admin_log import AdminAction, log_action
from quanta_pipelines.adapters.signal_store.errors import ContradictsRecord
from quanta_pipelines.adapters.signal_store.frames import INSTANT, table_of
from quanta_pipelines.adapters.signal_store.records import check_moment
from quanta_pipelines.adapters.signal_store.service_tables import PARTICIPANT_EVENTS
from quanta_pipelines.protocol.commit_reveal import public_key

_EVENT = PARTICIPANT_EVENTS.c
_PARTICIPANTS = {"hotkey": "object", "coldkey": "object", "role": "object", "since": INSTANT}
_EVENTS = {
    "hotkey": "object",
    "ordinal": "int64",
    "coldkey": "object",
    "role": "object",
    "since": INSTANT,
}


class Role(StrEnum):
    """What a participant does; ``gone`` ends its part."""

    SIGNAL_GENERATOR = "signal_generator"
    POOL_OPERATOR = "pool_operator"
    SOLO_MINER = "solo_miner"
    VALIDATOR = "validator"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Participant:
    """A participant in its role; the coldkey is None as long as it was never given."""

    hotkey: str
    coldkey: str | None
    role: Role
    since: dt.datetime


class Participants:
    """Registry of participants."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def register(
        self,
        hotkey: str,
        role: Role,
        *,
        since: dt.datetime,
        coldkey: str | None = None,
        audit: AdminAction | None = None,
    ) -> None:
        """Records a role from a moment on; the role and coldkey that it has change nothing.

        ``audit`` is logged in the same transaction.
        Without a coldkey the last known one stays: who could drop it would leave its cluster.
        """
        check_moment(since)
        for key in filter(None, (hotkey, coldkey)):
            public_key(key)
        with database.writing(self._engine, f"participant {hotkey}") as connection:
            log_action(connection, audit)
            last, ordinal = _last(connection, hotkey)
            known = coldkey or (last.coldkey if last else None)
            if last and (last.role, last.coldkey) == (role, known):
                return
            _check_order(hotkey, since, last)
            row = {"hotkey": hotkey, "coldkey": known, "role": Role(role).value, "since": since}
            connection.execute(insert(PARTICIPANT_EVENTS), {**row, "ordinal": ordinal + 1})

    def find(self, hotkey: str, *, at: dt.datetime) -> Participant | None:
        """A participant as it was at a moment, or None before and after its part."""
        check_moment(at)
        with database.reading(self._engine) as connection:
            row = connection.execute(_at(at).where(_EVENT.hotkey == hotkey)).first()
        if row is None or row.role == Role.GONE:
            return None
        return Participant(row.hotkey, row.coldkey, Role(row.role), row.since)

    def at(self, moment: dt.datetime) -> pd.DataFrame:
        """One row per participant at a moment, by hotkey."""
        check_moment(moment)
        query = _at(moment).where(_EVENT.role != Role.GONE.value).order_by(_EVENT.hotkey)
        with database.reading(self._engine) as connection:
            return table_of(connection, query, _PARTICIPANTS)

    def counts(self, moment: dt.datetime) -> dict[Role, int]:
        """How many participants have each role at a moment; 0 for a role that nobody has."""
        check_moment(moment)
        held = _at(moment).subquery()
        query = select(held.c.role, func.count()).group_by(held.c.role)
        with database.reading(self._engine) as connection:
            found = dict(connection.execute(query).tuples().all())
        return {role: found.get(role.value, 0) for role in Role if role is not Role.GONE}

    def coldkeys(self, at: dt.datetime) -> dict[str, str]:
        """Coldkey of each hotkey as it was known at a moment, in order; also of who is gone."""
        check_moment(at)
        query = _at(at).where(_EVENT.coldkey.is_not(None)).order_by(_EVENT.hotkey)
        with database.reading(self._engine) as connection:
            return {row.hotkey: row.coldkey for row in connection.execute(query)}

    def events(self) -> pd.DataFrame:
        """One row per event, by hotkey and number."""
        query = select(PARTICIPANT_EVENTS).order_by(_EVENT.hotkey, _EVENT.ordinal)
        with database.reading(self._engine) as connection:
            return table_of(connection, query, _EVENTS)


def _at(moment: dt.datetime) -> Select[tuple[object, ...]]:
    """The last event of each hotkey up to a moment."""
    newest = (
        select(_EVENT.hotkey, func.max(_EVENT.ordinal).label("ordinal"))
        .where(_EVENT.since <= moment)
        .group_by(_EVENT.hotkey)
        .subquery()
    )
    same = (newest.c.hotkey == _EVENT.hotkey) & (newest.c.ordinal == _EVENT.ordinal)
    return select(PARTICIPANT_EVENTS).join(newest, same)


def _last(connection: Connection, hotkey: str) -> tuple[Participant | None, int]:
    query = select(PARTICIPANT_EVENTS).where(_EVENT.hotkey == hotkey)
    row = connection.execute(query.order_by(_EVENT.ordinal.desc()).limit(1)).first()
    if row is None:
        return None, 0
    return Participant(hotkey, row.coldkey, Role(row.role), row.since), row.ordinal


def _check_order(hotkey: str, since: dt.datetime, last: Participant | None) -> None:
    if last and since < last.since:
        raise ContradictsRecord(
            f"{hotkey} is {last.role} since {last.since.isoformat()}: "
            f"nothing can be recorded for {since.isoformat()} any more"
        )
