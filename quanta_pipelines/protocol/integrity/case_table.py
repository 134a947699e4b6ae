"""Table ``IntegrityCases``: suspicions that wait for an operator, and what became of them.

A case opens with an epoch's evidence, carries on from table to table, and changes by rows that an
operator wrote: each with author and reason. What a closed case does to scores and money is said by
the functions at the end; who moves it lives in ``settlement`` and ``ledger``.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from quanta_pipelines.protocol.commit_reveal import Verdict
from quanta_pipelines.protocol.epoch import Epoch, reveal_window_of, settles_at
from quanta_pipelines.protocol.integrity.cases import CaseState, case_state
from quanta_pipelines.protocol.integrity.similarity_table import HOLDINGS, RETURNS
from quanta_pipelines.protocol.integrity.slashing import offence_numbers, slash
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams


class CaseKind(StrEnum):
    """What is suspected."""

    PLAGIARISM = "plagiarism"
    HEDGED_PAIR = "hedged_pair"  # two that move against each other: one hand, hedged
    COLLUSION = "collusion"  # of validators
    NON_REVEAL = "non_reveal"  # a commitment that was never revealed: a fact, nobody decides it


OPEN, UNDER_REVIEW = "open", "under_review"
CONFIRMED, DISMISSED = "confirmed", "dismissed"
CASE_STATES = (OPEN, UNDER_REVIEW, CONFIRMED, DISMISSED)
REVIEW, CONFIRM, DISMISS = "review", "confirm", "dismiss"
PLATFORM = "quanta"  # author of what happens without an operator

CASE_COLUMNS = {
    "epoch_id": "object",
    "case_id": "object",
    "kind": "object",
    "hotkey": "object",
    "other_hotkey": "object",
    "state": "object",
    "opened_epoch": "object",
    "opened_at": "datetime64[ns, UTC]",
    "decide_by": "datetime64[ns, UTC]",
    "closed_at": "datetime64[ns, UTC]",
    "closed_epoch": "object",
    "evidence": "object",
    "author": "object",
    "reason": "object",
    "offence_number": "Int64",
    "slash_rao": "Int64",
}

EVENT_COLUMNS = ("case_id", "event", "author", "reason", "evidence", "at")


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What an epoch's tables suspect; ``marks`` are the epochs in which it shows."""

    kind: CaseKind
    hotkey: str
    other_hotkey: str
    marks: tuple[str, ...]
    needed: int  # marks after an earlier case before there is another one
    evidence: Mapping[str, object]

    @property
    def subject(self) -> tuple[str, str, str]:
        """Whose case it is: a copier's, whoever it copies, or a pair's."""
        other = "" if self.kind == CaseKind.PLAGIARISM else self.other_hotkey
        return str(self.kind), self.hotkey, other


@dataclass(frozen=True, slots=True)
class NonReveal:
    """A commitment whose reveal window went by without an accepted reveal."""

    hotkey: str
    commitment: str
    expired_at: dt.datetime


def case_table(
    suspicions: list[Suspicion],
    events: pd.DataFrame,
    previous: pd.DataFrame | None,
    *,
    epoch_id: str,
    bonds: Mapping[str, int] | None = None,
    non_reveals: Sequence[NonReveal] = (),
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """One row per case that was ever opened, by id, as it stands when the epoch's prices are final.

    ``events`` are an operator's rows (``EVENT_COLUMNS``); those after that moment belong to a later
    epoch. ``previous`` is the table of the epoch before. A suspicion opens no second case while one
    of the same subject is open, nor on what an earlier case has seen. ``bonds`` are stakes at
    ``opens_at`` in rao, which a confirmed offence burns a part of. ``non_reveals`` of the epoch are
    offences without a decision.
    """
    epoch = Epoch.parse(epoch_id)
    now = settles_at(epoch, params)
    known = _EMPTY.copy() if previous is None else previous
    rows: list[dict[str, object]] = [
        {str(name): value for name, value in row.items()}
        for row in known.astype(object).to_dict("records")
    ]
    rows += [_opened(each, epoch, now, params) for each in suspicions if _is_new(each, rows)]
    rows += [_non_reveal(each, epoch) for each in non_reveals]
    for row in rows:
        row["epoch_id"] = epoch.id
        if row["state"] in (OPEN, UNDER_REVIEW):
            row |= _moved(row, events, epoch, now, params)
    for row in rows:
        if row["state"] == CONFIRMED and row["closed_epoch"] == epoch.id:
            row |= _penalty(row, rows, bonds or {}, params)
    table = pd.DataFrame(rows, columns=list(CASE_COLUMNS), dtype=object).astype(CASE_COLUMNS)
    return table.sort_values("case_id", ignore_index=True)


_EMPTY = pd.DataFrame(columns=list(CASE_COLUMNS)).astype(CASE_COLUMNS)


def _is_new(suspicion: Suspicion, rows: list[dict[str, object]]) -> bool:
    """Whether enough of it lies after the last case of the same subject; none may be open."""
    earlier = [row for row in rows if _subject(row) == suspicion.subject]
    if any(row["state"] in (OPEN, UNDER_REVIEW) for row in earlier):
        return False
    last = max((str(row["opened_epoch"]) for row in earlier), default="")
    return sum(mark > last for mark in suspicion.marks) >= suspicion.needed


def _subject(row: Mapping[str, object]) -> tuple[str, str, str]:
    other = "" if row["kind"] == CaseKind.PLAGIARISM else str(row["other_hotkey"])
    return str(row["kind"]), str(row["hotkey"]), other


def _opened(
    suspicion: Suspicion, epoch: Epoch, now: dt.datetime, params: ProtocolParams
) -> dict[str, object]:
    return dict.fromkeys(CASE_COLUMNS) | {
        "case_id": _case_id(suspicion.subject, epoch),
        "kind": str(suspicion.kind),
        "hotkey": suspicion.hotkey,
        "other_hotkey": suspicion.other_hotkey,
        "state": OPEN,
        "opened_epoch": epoch.id,
        "opened_at": pd.Timestamp(now),
        "decide_by": pd.Timestamp(decide_by(now, params)),
        "evidence": json.dumps(suspicion.evidence, sort_keys=True, separators=(",", ":")),
        "author": PLATFORM,
        "reason": "the evidence is over every threshold",
    }


def _case_id(subject: tuple[str, str, str], epoch: Epoch) -> str:
    digest = hashlib.sha256("|".join((*subject, epoch.id)).encode()).hexdigest()[:10]
    return f"{subject[0]}-{epoch.id}-{digest}"


def _non_reveal(fact: NonReveal, epoch: Epoch) -> dict[str, object]:
    """A case that is opened and confirmed when the window closes; the other of it is itself."""
    kind, expired = CaseKind.NON_REVEAL, pd.Timestamp(fact.expired_at)
    evidence = {"commitment": fact.commitment, "expired_at": fact.expired_at.isoformat()}
    return dict.fromkeys(CASE_COLUMNS) | {
        "case_id": _case_id((str(kind), fact.hotkey, fact.hotkey), epoch),
        "kind": str(kind),
        "hotkey": fact.hotkey,
        "other_hotkey": fact.hotkey,
        "state": CONFIRMED,
        "opened_epoch": epoch.id,
        "opened_at": expired,
        "decide_by": expired,
        "closed_at": expired,
        "closed_epoch": epoch.id,
        "evidence": json.dumps(evidence, sort_keys=True, separators=(",", ":")),
        "author": PLATFORM,
        "reason": "the commitment was never revealed",
    }


def decide_by(opened_at: dt.datetime, params: ProtocolParams = QUANTA) -> dt.datetime:
    """The last moment at which a case can be decided."""
    return opened_at + dt.timedelta(days=params.security.case_decision_days)


def _moved(
    row: Mapping[str, object],
    events: pd.DataFrame,
    epoch: Epoch,
    now: dt.datetime,
    params: ProtocolParams,
) -> dict[str, object]:
    """What an operator's rows, or the time, have made of an open case by now."""
    own = events[(events["case_id"] == row["case_id"]) & (events["at"] <= pd.Timestamp(now))]
    decided = own[own["event"].isin([CONFIRM, DISMISS])].head(1)
    opened = pd.Timestamp(str(row["opened_at"])).to_pydatetime()
    at = decided["at"].iloc[0].to_pydatetime() if len(decided) else None
    confirmed = bool((decided["event"] == CONFIRM).any())
    state = case_state(opened, at, confirmed=confirmed, now=now, params=params)
    if state == CaseState.LAPSED:
        days = params.security.case_decision_days
        said = {"author": PLATFORM, "reason": f"nobody decided within {days} days"}
        ended = pd.Timestamp(str(row["decide_by"]))
        return {"state": DISMISSED, "closed_at": ended, "closed_epoch": epoch.id, **said}
    if len(decided):
        last = decided.iloc[0]
        closed = {"closed_at": last["at"], "closed_epoch": epoch.id}
        return {"state": str(state), **closed, "author": last["author"], "reason": last["reason"]}
    if len(own):
        last = own.iloc[-1]
        return {"state": UNDER_REVIEW, "author": last["author"], "reason": last["reason"]}
    return {}


def _penalty(
    row: Mapping[str, object],
    rows: list[dict[str, object]],
    bonds: Mapping[str, int],
    params: ProtocolParams,
) -> dict[str, object]:
    """The number of a confirmed offence of a participant, and what it burns of a known stake."""
    own = [each for each in rows if each["hotkey"] == row["hotkey"] and each["state"] == CONFIRMED]
    own.sort(key=lambda each: (str(each["closed_at"]), str(each["case_id"])))
    moments = [pd.Timestamp(str(each["closed_at"])).to_pydatetime() for each in own]
    numbers = offence_numbers(moments, params)
    left = bonds.get(str(row["hotkey"]))
    at = next(place for place, each in enumerate(own) if each["case_id"] == row["case_id"])
    for each, number in zip(own[:at], numbers, strict=False):
        if left is not None and each["closed_epoch"] == row["closed_epoch"]:
            left = slash(left, number, params).remaining_rao
    burned = pd.NA if left is None else slash(left, numbers[at], params).burned_rao
    return {"offence_number": numbers[at], "slash_rao": burned}


def unrevealed(
    commitments: pd.DataFrame,
    reveals: pd.DataFrame,
    epoch_id: str,
    params: ProtocolParams = QUANTA,
) -> list[NonReveal]:
    """Standing commitments of an epoch without an accepted reveal, by hotkey."""
    epoch = Epoch.parse(epoch_id)
    opened = set(reveals.loc[reveals["verdict"] == Verdict.ACCEPTED, "hotkey"])
    silent = commitments[~commitments["hotkey"].isin(opened)].sort_values("hotkey")
    return [
        NonReveal(
            str(hotkey),
            str(hidden),
            reveal_window_of(received.to_pydatetime(), epoch, params).closes,
        )
        for hotkey, hidden, received in zip(
            silent["hotkey"], silent["commitment"], silent["received_at"], strict=True
        )
    ]


# Suspicions


def suspicions(
    similarity: pd.DataFrame, collusion: pd.DataFrame, params: ProtocolParams = QUANTA
) -> list[Suspicion]:
    """What the tables of an epoch suspect, in the order of kind and hotkey.

    ``similarity`` is ``PortfolioSimilarity``, ``collusion`` is ``collusion_evidence`` of the votes
    of the epochs before.
    """
    return [
        *_copiers(similarity[similarity["measure"] == HOLDINGS], params),
        *_opposites(similarity[similarity["measure"] == RETURNS], params),
        *_colluders(collusion, params),
    ]


def _copiers(copies: pd.DataFrame, params: ProtocolParams) -> Iterator[Suspicion]:
    numbers = [
        *("other_hotkey", "held_epoch", "lag", "shared_tickers", "overlap", "shared_weight"),
        *("tickers_in_use", "log10_chance"),
    ]
    rules = params.security
    for hotkey, rows in copies.groupby("hotkey", sort=True):
        worst = rows.sort_values(["suspect_epochs", "other_hotkey"], ascending=[False, True])
        epochs = tuple(sorted(rows["held_epoch"].unique()))
        yield Suspicion(
            CaseKind.PLAGIARISM,
            str(hotkey),
            str(worst["other_hotkey"].iloc[0]),
            epochs,
            rules.plagiarism_epochs,
            {
                "copies": rows[numbers].to_dict("records"),
                "overlap_threshold": float(rules.ticker_overlap_threshold),
                "shared_weight_threshold": float(rules.plagiarism_shared_weight),
                "log10_chance_threshold": float(rows["log10_chance_threshold"].iloc[0]),
                "epochs_threshold": rules.plagiarism_epochs,
                "epochs": len(epochs),
            },
        )


def _opposites(pairs: pd.DataFrame, params: ProtocolParams) -> Iterator[Suspicion]:
    limit = -params.security.sybil_correlation
    enough = pairs["sessions"] >= params.security.active_sessions
    for row in pairs[enough & (pairs["correlation"] <= limit)].itertuples():
        one, other = sorted((str(row.hotkey), str(row.other_hotkey)))
        first, last = pd.Timestamp(str(row.first_session)), pd.Timestamp(str(row.last_session))
        yield Suspicion(
            CaseKind.HEDGED_PAIR,
            one,
            other,
            (Epoch.containing(first.date()).id,),
            1,
            {
                "correlation": row.correlation,
                "correlation_threshold": limit,
                "sessions": row.sessions,
                "first_session": f"{first:%Y-%m-%d}",
                "last_session": f"{last:%Y-%m-%d}",
            },
        )


def _colluders(agreements: pd.DataFrame, params: ProtocolParams) -> Iterator[Suspicion]:
    numbers = ["epoch_id", "miners", "correlation", "deviation", "other_deviation"]
    rules = params.consensus
    for (one, other), rows in agreements.groupby(["validator", "other"], sort=True):
        yield Suspicion(
            CaseKind.COLLUSION,
            str(one),
            str(other),
            tuple(rows["epoch_id"]),
            rules.collusion_epochs,
            {
                "epochs": rows[numbers].to_dict("records"),
                "correlation_threshold": rules.collusion_correlation,
                "deviation_threshold": rules.collusion_min_deviation,
                "epochs_threshold": rules.collusion_epochs,
            },
        )


# What cases do


def plagiarists(cases: pd.DataFrame, epoch_id: str, params: ProtocolParams = QUANTA) -> set[str]:
    """Miners whose confirmed plagiarism is remembered when the epoch's prices are final."""
    now = settles_at(Epoch.parse(epoch_id), params)
    confirmed = cases[(cases["kind"] == CaseKind.PLAGIARISM) & (cases["state"] == CONFIRMED)]
    return {
        str(hotkey)
        for hotkey, rows in confirmed.groupby("hotkey")
        if offence_numbers([*sorted(at.to_pydatetime() for at in rows["closed_at"]), now], params)[
            -1
        ]
        > 1
    }


def awaiting_decision(cases: pd.DataFrame) -> set[str]:
    """Miners under suspicion of plagiarism: what they would be paid waits in escrow."""
    waiting = cases["state"].isin([OPEN, UNDER_REVIEW]) & (cases["kind"] == CaseKind.PLAGIARISM)
    return {str(hotkey) for hotkey in cases.loc[waiting, "hotkey"]}


def open_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``IntegrityCases`` that wait for a decision."""
    return cases[cases["state"].isin([OPEN, UNDER_REVIEW])].drop(columns="epoch_id")


def one_hand(cases: pd.DataFrame | None) -> list[tuple[str, str]]:
    """Pairs that an operator confirmed as one hand, by hotkey."""
    if cases is None:
        return []
    confirmed = cases[(cases["kind"] == CaseKind.HEDGED_PAIR) & (cases["state"] == CONFIRMED)]
    return list(zip(confirmed["hotkey"], confirmed["other_hotkey"], strict=True))
