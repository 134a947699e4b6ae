"""What operators decide about integrity cases: rows with author and reason, never changed.

A case itself is a row of the table ``integrity_cases``; here stand only the events that move it.
"""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd
from sqlalchemy import Engine, insert, select

from quanta_pipelines.adapters.signal_store import database
from quanta_pipelines.adapters.signal_store.admin_log import AdminAction, log_action
from quanta_pipelines.adapters.signal_store.errors import ContradictsRecord, InvalidRecord
from quanta_pipelines.adapters.signal_store.frames import INSTANT, table_of
from quanta_pipelines.adapters.signal_store.records import check_moment, check_name, check_text
from quanta_pipelines.adapters.signal_store.service_tables import CASE_EVENTS

_EVENTS = {
    "case_id": "object",
    "event": "object",
    "author": "object",
    "reason": "object",
    "evidence": "object",
    "at": INSTANT,
}


class CaseEvent(StrEnum):
    """What an operator does with a case."""

    REVIEW = "review"
    CONFIRM = "confirm"
    DISMISS = "dismiss"


@dataclass(frozen=True, slots=True)
class OpenCase:
    """What an event must fit: the case as a published table shows it."""

    case_id: str
    opened_at: dt.datetime
    decide_by: dt.datetime


class Cases:
    """Record of operators' decisions; ``SignalStore.cases`` is the one of a store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(
        self,
        case: OpenCase,
        event: CaseEvent,
        *,
        author: str,
        reason: str,
        evidence: str = "",
        at: dt.datetime,
        audit: AdminAction | None = None,
    ) -> None:
        """Adds an event; the very same decision again changes nothing.

        Raises ``ContradictsRecord`` before the case was opened, after its last moment, after a
        decision, and for an event that lies before the last one; ``InvalidRecord`` without an
        author or a reason. ``audit`` is logged in the same transaction.
        """
        check_moment(at)
        check_name("the author of a case's event", author)
        check_text("the reason of a case's event", reason)
        if not reason.strip():
            raise InvalidRecord("the reason of a case's event is empty")
        kind = CaseEvent(event)
        if not case.opened_at <= at <= case.decide_by:
            raise ContradictsRecord(
                f"{case.case_id} is decided from {case.opened_at.isoformat()} to "
                f"{case.decide_by.isoformat()}, not at {at.isoformat()}"
            )
        with database.writing(self._engine, f"case {case.case_id}") as connection:
            log_action(connection, audit)
            query = select(CASE_EVENTS).where(CASE_EVENTS.c.case_id == case.case_id)
            past = connection.execute(query.order_by(CASE_EVENTS.c.id)).all()
            last = past[-1] if past else None
            if last and (last.event, last.author, last.reason) == (kind.value, author, reason):
                return
            for row in past:
                if row.event != CaseEvent.REVIEW.value:
                    raise ContradictsRecord(
                        f"{case.case_id} was decided: {row.event} by {row.author} at "
                        f"{row.at.isoformat()}"
                    )
            if last and at < last.at:
                raise ContradictsRecord(
                    f"{case.case_id} has an event of {last.at.isoformat()}, nothing can be "
                    f"recorded for {at.isoformat()} any more"
                )
            said = {"author": author, "reason": reason, "evidence": evidence, "at": at}
            connection.execute(
                insert(CASE_EVENTS), {**said, "case_id": case.case_id, "event": kind.value}
            )

    def events(self) -> pd.DataFrame:
        """One row per event, in the order in which they were recorded."""
        with database.reading(self._engine) as connection:
            return table_of(connection, select(CASE_EVENTS).order_by(CASE_EVENTS.c.id), _EVENTS)
