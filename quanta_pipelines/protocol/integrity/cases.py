"""Cases: a suspicion waits for an operator, for a limited time, with the money in escrow."""

import datetime as dt
from enum import StrEnum

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


class CaseState(StrEnum):
    """What a case is at a moment; ante and reward stay in escrow while it is open."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    DISMISSED = "dismissed"
    LAPSED = "lapsed"  # dismissed because nobody decided in time


def case_state(
    opened_at: dt.datetime,
    decided_at: dt.datetime | None,
    *,
    confirmed: bool,
    now: dt.datetime,
    params: ProtocolParams = QUANTA,
) -> CaseState:
    """State of a case at ``now``; a decision counts within 14 days of ``opened_at``, ends included.

    A decision after that is refused: the case had lapsed. Without ``decided_at``, ``confirmed``
    says nothing.
    """
    ends = opened_at + dt.timedelta(days=params.security.case_decision_days)
    if decided_at is not None and not opened_at <= decided_at <= ends:
        raise InvalidIntegrityInput(
            f"a case of {opened_at.isoformat()} is decided until {ends.isoformat()}, "
            f"not at {decided_at.isoformat()}"
        )
    if decided_at is not None and decided_at <= now:
        return CaseState.CONFIRMED if confirmed else CaseState.DISMISSED
    return CaseState.OPEN if now <= ends else CaseState.LAPSED
