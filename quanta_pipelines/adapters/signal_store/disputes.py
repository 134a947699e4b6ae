"""Disputes over an epoch: who opened them with which evidence, what was said, how they ended."""

import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import pandas as pd
from sqlalchemy import Connection, Engine, Select, func, insert, select

from quanta_pipelines.adapters.signal_store import database
from quanta_pipelines.adapters.signal_store.admin_log import AdminAction, log_action
from quanta_pipelines.adapters.signal_store.errors import ContradictsRecord, NotRecorded
from quanta_pipelines.adapters.signal_store.frames import INSTANT, table_of
from quanta_pipelines.adapters.signal_store.records import (
    Json,
    check_moment,
    check_name,
    check_text,
    json_text,
)
from quanta_pipelines.adapters.signal_store.service_tables import (
    DISPUTE_EVENTS,
    DISPUTE_EVIDENCE,
    DISPUTES,
)
from quanta_pipelines.protocol.commit_reveal import public_key
from quanta_pipelines.protocol.epoch import Epoch

_OPEN = "open"
_EVENT = DISPUTE_EVENTS.c
_DISPUTES = {
    "dispute_id": "int64",
    "epoch_id": "object",
    "opened_by": "object",
    "reason": "object",
    "evidence": "object",
    "opened_at": INSTANT,
    "status": "object",
    "changed_at": INSTANT,
}
_EVENTS = {
    "dispute_id": "int64",
    "ordinal": "int64",
    "event": "object",
    "actor": "object",
    "note": "object",
    "at": INSTANT,
}
_EVIDENCE = {
    "dispute_id": "int64",
    "kind": "object",
    "author": "object",
    "document": "object",
    "at": INSTANT,
}
EVIDENCE_LIMIT = 8 * 2**20  # characters: some 100 000 cells


class DisputeEvent(StrEnum):
    """What happens to a dispute; all but a comment close it."""

    COMMENTED = "commented"
    UPHELD = "upheld"
    DISMISSED = "dismissed"
    WITHDRAWN = "withdrawn"


_CLOSING = (DisputeEvent.UPHELD, DisputeEvent.DISMISSED, DisputeEvent.WITHDRAWN)


@dataclass(frozen=True, slots=True)
class Dispute:
    """A dispute at a moment; ``status`` is open, upheld, dismissed or withdrawn."""

    dispute_id: int
    epoch_id: str
    opened_by: str
    reason: str
    evidence: str
    opened_at: dt.datetime
    status: str
    changed_at: dt.datetime


class Disputes:
    """Record of disputes. When one may be opened, and by whom, is the caller's business."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(
        self,
        opened_by: str,
        epoch: Epoch,
        reason: str,
        evidence: Json,
        *,
        at: dt.datetime,
        audit: AdminAction | None = None,
    ) -> int:
        """Records a dispute and returns its number; the same content again is the same dispute.

        ``audit`` is logged in the same transaction, with the number as ``dispute_id``.
        """
        check_moment(at)
        public_key(opened_by)
        check_text("the reason of a dispute", reason)
        text = json_text("the evidence of a dispute", evidence)
        content = json_text("a dispute", [reason, hashlib.sha256(text.encode()).hexdigest()])
        row = {
            "epoch_id": epoch.id,
            "opened_by": opened_by,
            "content_hash": hashlib.sha256(content.encode()).hexdigest(),
        }
        with database.writing(self._engine, f"disputes of {opened_by}") as connection:
            same = [DISPUTES.c[name] == value for name, value in row.items()]
            known = connection.scalar(select(DISPUTES.c.id).where(*same))
            values = {**row, "reason": reason, "evidence": text, "opened_at": at}
            number = int(known or _inserted(connection, values))
            log_action(connection, _numbered(audit, number))
            return number

    def record(
        self,
        dispute_id: int,
        event: DisputeEvent,
        actor: str,
        note: str = "",
        *,
        at: dt.datetime,
        audit: AdminAction | None = None,
        replay: Json = None,
    ) -> None:
        """Adds an event; to close a dispute as it was closed already changes nothing.

        ``audit`` is logged, and ``replay`` kept as the evidence of the verdict, in the same
        transaction.
        """
        check_moment(at)
        check_name("the actor of a dispute's event", actor)
        check_text("the note of a dispute's event", note)
        kind = DisputeEvent(event)
        with database.writing(self._engine, f"dispute {dispute_id}") as connection:
            _opened(connection, dispute_id, at)
            log_action(connection, audit)
            past = connection.execute(_events_of(dispute_id)).all()
            last = past[-1] if past else None
            if last and (last.event, last.actor, last.note) == (kind, actor, note):
                return
            _check_open(dispute_id, [row.event for row in past])
            if last and at < last.at:
                raise ContradictsRecord(
                    f"dispute {dispute_id} was {last.event} at {last.at.isoformat()}, "
                    f"nothing can be recorded for {at.isoformat()} any more"
                )
            row = {"event": kind.value, "actor": actor, "note": note, "at": at}
            numbered = {**row, "dispute_id": dispute_id, "ordinal": len(past) + 1}
            connection.execute(insert(DISPUTE_EVENTS), numbered)
            if replay is not None:
                _add_evidence(connection, dispute_id, "replay", actor, replay, at)

    def add_evidence(
        self,
        dispute_id: int,
        author: str,
        cells: Json,
        *,
        at: dt.datetime,
        audit: AdminAction | None = None,
    ) -> None:
        """Adds cells to the evidence of an open dispute; the same again changes nothing."""
        check_moment(at)
        check_name("the author of evidence", author)
        with database.writing(self._engine, f"dispute {dispute_id}") as connection:
            _opened(connection, dispute_id, at)
            past = connection.execute(_events_of(dispute_id)).all()
            _check_open(dispute_id, [row.event for row in past])
            log_action(connection, audit)
            _add_evidence(connection, dispute_id, "cells", author, cells, at)

    def evidence(self, dispute_id: int) -> pd.DataFrame:
        """One row per piece of evidence, in order: cells that were claimed, and the replay."""
        query = select(DISPUTE_EVIDENCE).where(DISPUTE_EVIDENCE.c.dispute_id == dispute_id)
        with database.reading(self._engine) as connection:
            return table_of(connection, query.order_by(DISPUTE_EVIDENCE.c.id), _EVIDENCE)

    def at(self, moment: dt.datetime, *, epoch_id: str | None = None) -> pd.DataFrame:
        """One row per dispute that was opened by a moment, as it stood then, by number."""
        check_moment(moment)
        query = _at(moment)
        if epoch_id is not None:
            query = query.where(DISPUTES.c.epoch_id == epoch_id)
        with database.reading(self._engine) as connection:
            return table_of(connection, query.order_by(DISPUTES.c.id), _DISPUTES)

    def find(self, dispute_id: int, *, at: dt.datetime) -> Dispute:
        """A dispute as it stood at a moment; its absence is an error."""
        check_moment(at)
        with database.reading(self._engine) as connection:
            row = connection.execute(_at(at).where(DISPUTES.c.id == dispute_id)).first()
        if row is None:
            raise NotRecorded(f"there is no dispute {dispute_id} at {at.isoformat()}")
        return Dispute(**{name: row._mapping[name] for name in _DISPUTES})

    def upheld(self, since: dt.datetime | None, until: dt.datetime) -> dict[str, int]:
        """How many disputes were upheld in ``(since, until]``, by the validator they were against.

        That stands in a dispute's evidence, as the text ``against``. One without it blames nobody.
        Disputes whose evidence names a ``table`` are over that table of an epoch as a whole: the
        first one that was upheld counts, another over the same is the same offence.
        """
        table = self.at(until)
        upheld = table[table["status"] == DisputeEvent.UPHELD.value]
        upheld = upheld.sort_values(["changed_at", "dispute_id"])
        blamed: Counter[str] = Counter()
        counted: set[tuple[str, str, str]] = set()
        for row in upheld.to_dict("records"):
            against, subject = accused(row["evidence"]), disputed_table(row["evidence"])
            offence = (row["epoch_id"], against, subject)
            recent = since is None or row["changed_at"] > since
            if against and recent and not (subject and offence in counted):
                blamed[against] += 1
            counted.add(offence)
        return dict(sorted(blamed.items()))

    def events(self, dispute_id: int) -> pd.DataFrame:
        """One row per event of a dispute, in order."""
        with database.reading(self._engine) as connection:
            return table_of(connection, _events_of(dispute_id), _EVENTS)


def accused(evidence: str) -> str:
    """The validator that a dispute's evidence is against; empty where it names none."""
    return _text_of(evidence, "against")


def disputed_table(evidence: str) -> str:
    """The table whose cells a dispute is over; empty where its evidence names none."""
    return _text_of(evidence, "table")


def _text_of(evidence: str, name: str) -> str:
    said = json.loads(evidence)
    found = said.get(name, "") if isinstance(said, dict) else ""
    return found if isinstance(found, str) else ""


def _add_evidence(
    connection: Connection, dispute_id: int, kind: str, author: str, document: Json, at: dt.datetime
) -> None:
    text = json_text("evidence", document, EVIDENCE_LIMIT)
    digest = hashlib.sha256(f"{kind} {text}".encode()).hexdigest()
    same = (DISPUTE_EVIDENCE.c.dispute_id == dispute_id) & (
        DISPUTE_EVIDENCE.c.content_hash == digest
    )
    if connection.scalar(select(DISPUTE_EVIDENCE.c.id).where(same)) is None:
        row = {"dispute_id": dispute_id, "kind": kind, "author": author, "document": text}
        connection.execute(insert(DISPUTE_EVIDENCE), {**row, "content_hash": digest, "at": at})


def _at(moment: dt.datetime) -> Select[tuple[object, ...]]:
    known = (DISPUTE_EVENTS.c.dispute_id == DISPUTES.c.id) & (_EVENT.at <= moment)
    closed = select(_EVENT.event).where(known, _EVENT.event.in_(_CLOSING)).scalar_subquery()
    changed = (
        select(_EVENT.at).where(known).order_by(_EVENT.ordinal.desc()).limit(1).scalar_subquery()
    )
    return select(
        DISPUTES,
        DISPUTES.c.id.label("dispute_id"),
        func.coalesce(closed, _OPEN).label("status"),
        func.coalesce(changed, DISPUTES.c.opened_at).label("changed_at"),
    ).where(DISPUTES.c.opened_at <= moment)


def _events_of(dispute_id: int) -> Select[tuple[object, ...]]:
    query = select(DISPUTE_EVENTS).where(_EVENT.dispute_id == dispute_id)
    return query.order_by(_EVENT.ordinal)


def _opened(connection: Connection, dispute_id: int, at: dt.datetime) -> None:
    query = select(DISPUTES.c.opened_at).where(DISPUTES.c.id == dispute_id)
    opened_at = connection.scalar(query)
    if opened_at is None:
        raise NotRecorded(f"there is no dispute {dispute_id}")
    if at < opened_at:
        raise ContradictsRecord(
            f"dispute {dispute_id} was opened at {opened_at.isoformat()}, "
            f"an event of {at.isoformat()} lies before that"
        )


def _check_open(dispute_id: int, events: list[str]) -> None:
    for event in events:
        if event in _CLOSING:
            raise ContradictsRecord(f"dispute {dispute_id} is closed: it was {event}")


def _inserted(connection: Connection, values: Mapping[str, object]) -> int:
    query = insert(DISPUTES).returning(DISPUTES.c.id)
    return int(connection.execute(query, dict(values)).scalar_one())


def _numbered(audit: AdminAction | None, number: int) -> AdminAction | None:
    return replace(audit, payload={"dispute_id": number}) if audit else None
