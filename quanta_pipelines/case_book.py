"""Cases as an operator sees them now: the newest published table, and what was decided since."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from data_contracts.integrity import IntegrityCases
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.signal_store import (
    AdminAction,
    CaseEvent,
    NotRecorded,
    OpenCase,
    SignalStore,
)
from quanta_pipelines.protocol.integrity import CaseState, case_state

TABLE = "integrity_cases"


@dataclass(frozen=True, slots=True)
class Case:
    """One case at a moment; ``published_state`` is what the newest table says, which pays."""

    case_id: str
    kind: str
    hotkey: str
    other_hotkey: str
    state: str
    published_state: str
    opened_epoch: str
    opened_at: datetime
    decide_by: datetime
    author: str
    reason: str
    evidence: str

    @property
    def waits(self) -> bool:
        """Whether an operator may still decide it."""
        return self.state in ("open", "under_review")


def cases_at(lake: Lake, store: SignalStore, now: datetime) -> list[Case]:
    """Every case of the newest published table, by id, as it stands ``now``."""
    known = lake.epochs(TABLE)
    if not known:
        return []
    table = lake.read(TABLE, known[-1], gates=IntegrityCases.gates())
    events = store.cases.events()
    return [_at(row, events, now) for _, row in table.iterrows()]


def find(lake: Lake, store: SignalStore, case_id: str, now: datetime) -> Case:
    """One case; its absence is an error that says where cases are listed."""
    for case in cases_at(lake, store, now):
        if case.case_id == case_id:
            return case
    raise NotRecorded(f"there is no case {case_id}: quanta cases list shows all")


def decide(
    lake: Lake,
    store: SignalStore,
    case_id: str,
    event: CaseEvent,
    *,
    author: str,
    reason: str,
    evidence: str,
    now: datetime,
) -> Case:
    """Records what an operator says of a case, and gives the case as it then stands.

    Money and standings follow with the next epoch that is run. Raises ``NotRecorded`` where there
    is no such case, ``ContradictsRecord`` where it is closed or its time is over.
    """
    case = find(lake, store, case_id, now)
    store.cases.record(
        OpenCase(case.case_id, case.opened_at, case.decide_by),
        event,
        author=author,
        reason=reason,
        evidence=evidence,
        at=now,
        audit=AdminAction(author, f"case {event.value}", {"case_id": case_id}, now),
    )
    return find(lake, store, case_id, now)


def _at(row: "pd.Series[Any]", events: pd.DataFrame, now: datetime) -> Case:
    """A published row with what was recorded since; a closed one is what the table says."""
    own = events[(events["case_id"] == row["case_id"]) & (events["at"] <= pd.Timestamp(now))]
    opened_at: datetime = row["opened_at"].to_pydatetime()
    state, author, reason = str(row["state"]), str(row["author"]), str(row["reason"])
    if state in ("open", "under_review"):
        decided = own[own["event"] != CaseEvent.REVIEW.value].head(1)
        at = decided["at"].iloc[0].to_pydatetime() if len(decided) else None
        confirmed = bool((decided["event"] == CaseEvent.CONFIRM.value).any())
        found = case_state(opened_at, at, confirmed=confirmed, now=now)
        if found == CaseState.LAPSED:
            state, author, reason = "dismissed", "quanta", "nobody decided in time"
        elif len(own):
            newest = (decided if len(decided) else own.tail(1)).iloc[0]
            state = str(found) if len(decided) else "under_review"
            author, reason = str(newest["author"]), str(newest["reason"])
    return Case(
        case_id=row["case_id"],
        kind=row["kind"],
        hotkey=row["hotkey"],
        other_hotkey=row["other_hotkey"],
        state=state,
        published_state=row["state"],
        opened_epoch=row["opened_epoch"],
        opened_at=opened_at,
        decide_by=row["decide_by"].to_pydatetime(),
        author=author,
        reason=reason,
        evidence=row["evidence"],
    )


def case_lines(cases: list[Case]) -> list[str]:
    """A list of cases for people."""
    return [
        f"{case.case_id}  {case.state:<12} {case.hotkey} of {case.other_hotkey}  "
        f"decide by {case.decide_by:%Y-%m-%d %H:%M} UTC"
        for case in cases
    ]
