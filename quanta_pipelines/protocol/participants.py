"""Table ``Participants``: who takes part in which role, and how it has done so far.

A row rests on the row of the epoch before and on this epoch's facts. What a role asks for is in
``progression``, what an identity is worth in ``integrity.identity``. No money is looked at, so an
epoch whose money is restated keeps its participants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from quanta_pipelines.protocol.commit_reveal import Verdict
from quanta_pipelines.protocol.epoch import Epoch, settles_at
from quanta_pipelines.protocol.integrity.case_table import CONFIRMED, OPEN, UNDER_REVIEW
from quanta_pipelines.protocol.integrity.identity import identity_of, least_stake_rao
from quanta_pipelines.protocol.integrity.slashing import offence_numbers
from quanta_pipelines.protocol.metrics import FloatArray
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.progression import (
    DAYS_OF_AN_EPOCH,
    OPERATOR_WINDOW_DAYS,
    Rank,
    Record,
    assigned_uids,
    next_role,
    uptime,
)
from quanta_pipelines.protocol.ranking import Standing

VALIDATOR = "validator"
ROLES = (*Rank, VALIDATOR)
UID_SLOTS = 256  # of a subnet on the chain
MISSED, UNRANKED = "-", "."  # marks of an epoch without an accepted reveal, and without a rank
_DECIMALS = 9

COLUMNS = {
    "epoch_id": "object",
    "hotkey": "object",
    "role": "object",
    "since": "datetime64[ns, UTC]",
    "next_role": "object",
    "uid": "Int64",
    "standing": "object",
    "percentile": "float64",
    "percentile_average": "float64",
    "first_epoch": "object",
    "epochs_due": "int64",
    "reveals_accepted": "int64",
    "uptime": "float64",
    "reputation": "float64",
    "record": "object",
    "stake_rao": "Int64",
    "identity": "float64",
    "open_offence": "bool",
    "offences": "int64",
    "slashed_rao": "int64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFacts:
    """The epoch's tables that say how participants did; ``bonds`` are empty where none is known."""

    consensus: pd.DataFrame
    scores: pd.DataFrame
    commitments: pd.DataFrame
    reveals: pd.DataFrame
    flags: pd.DataFrame
    cases: pd.DataFrame
    registered: pd.DataFrame  # hotkey, role, since, as at ``opens_at``
    validators: Sequence[str]
    bonds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Role:
    """A role, since when, and whether it is the one of the epoch before."""

    name: str | None
    since: pd.Timestamp | None
    kept: bool


def participants_table(
    facts: EpochFacts,
    previous: pd.DataFrame | None,
    *,
    epoch_id: str,
    params: ProtocolParams = QUANTA,
) -> pd.DataFrame:
    """One row per participant, by hotkey: registered, committed, or known from the epoch before.

    Who is not registered and missed as many epochs as end a history is no longer listed.
    """
    epoch = Epoch.parse(epoch_id)
    before = {} if previous is None else _rows_of(previous.set_index("hotkey"))
    said = {
        str(hotkey): (str(role), pd.Timestamp(since))
        for hotkey, role, since in zip(
            *(facts.registered[name] for name in ("hotkey", "role", "since")), strict=True
        )
    }
    hotkeys = sorted({*said, *before, *facts.commitments["hotkey"], *facts.validators})
    roles = {
        hotkey: _role(said.get(hotkey), before.get(hotkey), epoch, votes=hotkey in facts.validators)
        for hotkey in hotkeys
    }
    seen = _rows_of(_shared(facts, epoch, params))
    rows = [
        _row(hotkey, roles[hotkey], seen.get(hotkey, {}), before.get(hotkey), epoch, params)
        for hotkey in hotkeys
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).astype(COLUMNS)
    table = table[table["hotkey"].isin(list(said)) | ~_vanished(table, params)]
    table["stake_rao"], table["identity"] = _identities(table, facts, epoch, params)
    table["uid"] = _uids(table, before)
    table["next_role"] = _next_roles(table, facts, epoch, params)
    return table[list(COLUMNS)].astype(COLUMNS).reset_index(drop=True)


def _rows_of(table: pd.DataFrame) -> dict[str, dict[str, object]]:
    """Rows by the index, cells by column."""
    rows = table.astype(object).to_dict("index")
    return {str(key): {str(name): cell for name, cell in row.items()} for key, row in rows.items()}


def _role(
    said: tuple[str, pd.Timestamp] | None,
    before: Mapping[str, object] | None,
    epoch: Epoch,
    *,
    votes: bool,
) -> _Role:
    """The newest of what the registry says and what the epoch before decided.

    Who votes with stake is a validator as long as it does. Who has no role has none.
    """
    opens = pd.Timestamp(epoch.opens_at)
    held = _held(before)
    was_validator = held is not None and held[0] == VALIDATOR
    if votes:
        return _Role(VALIDATOR, held[1] if held and was_validator else opens, was_validator)
    if was_validator:
        held = None
    if said and (held is None or said[1] > held[1]):
        same = held is not None and said[0] == held[0]
        return _Role(said[0], held[1] if held and same else said[1], same)
    if held is None or before is None:
        return _Role(None, None, before is not None and not was_validator)
    if before["next_role"] != held[0]:
        return _Role(str(before["next_role"]), opens, kept=False)
    return _Role(*held, kept=True)


def _held(before: Mapping[str, object] | None) -> tuple[str, pd.Timestamp] | None:
    """Role of the epoch before, and since when."""
    if before is None or not _is_known(before["role"]):
        return None
    return str(before["role"]), pd.Timestamp(str(before["since"]))


def _shared(facts: EpochFacts, epoch: Epoch, params: ProtocolParams) -> pd.DataFrame:
    """What the epoch's own tables say, by hotkey: standing, percentile, reveal, offences."""
    agreed = facts.consensus.set_index("hotkey")["percentile"]
    own = facts.scores.set_index("hotkey")["standing"].replace(
        {Standing.RANKED.value: Standing.UNRANKED.value}
    )
    committed = pd.Index(facts.commitments["hotkey"])
    standing = own.reindex(committed).mask(committed.isin(agreed.index), Standing.RANKED.value)
    accepted = facts.reveals.loc[facts.reveals["verdict"] == Verdict.ACCEPTED, "hotkey"]
    return pd.DataFrame(
        {
            "standing": standing,
            "percentile": agreed.reindex(committed),
            "accepted": committed.isin(accepted),
        },
        index=committed,
    ).join(_offences(facts.cases, epoch, params), how="outer")


def _offences(cases: pd.DataFrame, epoch: Epoch, params: ProtocolParams) -> pd.DataFrame:
    """Offences that are remembered when the epoch's prices are final, and what it burns."""
    now = settles_at(epoch, params)
    rows = {}
    for hotkey, own in cases.groupby("hotkey"):
        confirmed = own[own["state"] == CONFIRMED]
        moments = sorted(at.to_pydatetime() for at in confirmed["closed_at"])
        remembered = offence_numbers([*moments, now], params)[-1] - 1
        rows[hotkey] = {
            "open_offence": remembered > 0 or bool(own["state"].isin([OPEN, UNDER_REVIEW]).any()),
            "offences": len(moments),
            "slashed_rao": int(
                confirmed.loc[confirmed["closed_epoch"] == epoch.id, "slash_rao"].fillna(0).sum()
            ),
        }
    columns = ["open_offence", "offences", "slashed_rao"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _row(
    hotkey: str,
    role: _Role,
    seen: Mapping[str, object],
    before: Mapping[str, object] | None,
    epoch: Epoch,
    params: ProtocolParams,
) -> dict[str, object]:
    """A participant's row without what depends on others; ``seen`` is its row of ``_shared``."""
    took_part = _is_known(seen.get("standing"))
    first = before["first_epoch"] if before else None
    if not isinstance(first, str):
        first = epoch.id if took_part else None
    row: dict[str, object] = {
        "epoch_id": epoch.id,
        "hotkey": hotkey,
        "role": role.name,
        "since": role.since,
        "standing": seen["standing"] if took_part else None,
        "percentile": seen.get("percentile", np.nan),
        "first_epoch": first,
        "open_offence": seen.get("open_offence") is True,
        **{name: _whole(seen.get(name)) for name in ("offences", "slashed_rao")},
    }
    return row | _record(row, role, seen, before, params)


def _record(
    row: Mapping[str, object],
    role: _Role,
    seen: Mapping[str, object],
    before: Mapping[str, object] | None,
    params: ProtocolParams,
) -> dict[str, object]:
    """The record in the role with one more epoch, where one was due."""
    marks = str(before["record"]).split() if before and role.kept else []
    due, accepted, average = (
        (int(str(before["epochs_due"])), int(str(before["reveals_accepted"])), before)
        if before
        else (0, 0, None)
    )
    mean = float(str(average["percentile_average"])) if average else 0.0
    if row["first_epoch"] is not None and role.name != VALIDATOR:
        revealed, percentile = seen.get("accepted") is True, seen.get("percentile")
        ranked = _is_known(percentile)
        marks.append(_mark(float(str(percentile)) if ranked else None, revealed=revealed))
        due, accepted = due + 1, accepted + revealed
        alpha = params.security.identity_ema_alpha
        mean = alpha * (float(str(percentile)) if ranked else 0.0) + (1.0 - alpha) * mean
    recent = marks[-(OPERATOR_WINDOW_DAYS // DAYS_OF_AN_EPOCH) :]
    kept = sum(mark != MISSED for mark in recent)
    return {
        "record": " ".join(marks),
        "epochs_due": due,
        "reveals_accepted": accepted,
        "percentile_average": round(mean, _DECIMALS),
        "uptime": round(float(uptime(accepted, due)), _DECIMALS) if due else np.nan,
        "reputation": round(float(uptime(kept, len(recent))), _DECIMALS) if recent else np.nan,
    }


def _mark(percentile: float | None, *, revealed: bool) -> str:
    """A rank percentile with nine decimals, or why there is none."""
    if percentile is not None:
        return f"{percentile:.{_DECIMALS}f}"
    return UNRANKED if revealed else MISSED


def percentiles_of(record: str) -> list[Fraction | None]:
    """Rank percentiles of a record, oldest first; nothing for a missed epoch.

    A revealed epoch without a rank was neither missed nor scored: it is left out.
    """
    marks = [mark for mark in record.split() if mark != UNRANKED]
    return [None if mark == MISSED else Fraction(mark) for mark in marks]


def _whole(value: object) -> int:
    return int(float(str(value))) if _is_known(value) else 0


def _is_known(value: object) -> bool:
    """Whether a cell holds something: not None, NaN, NaT or NA."""
    return value is not None and value is not pd.NA and value == value


def _vanished(table: pd.DataFrame, params: ProtocolParams) -> "pd.Series[bool]":
    """Rows whose newest marks are all missed, as many as end a history; never validators."""
    missed = " ".join([MISSED] * params.scoring.max_filled_epochs)
    ended = table["record"].str.endswith(missed)
    stale = table["role"].isna() & table["first_epoch"].isna()
    return (ended | stale) & (table["role"] != VALIDATOR)


def _identities(
    table: pd.DataFrame, facts: EpochFacts, epoch: Epoch, params: ProtocolParams
) -> tuple[ExtensionArray, FloatArray]:
    """Bond and identity of everyone but validators; empty where no bond was recorded."""
    stake = pd.array([pd.NA] * len(table), dtype="Int64")
    identity = np.full(len(table), np.nan)
    if facts.bonds:
        own = np.flatnonzero(table["role"].to_numpy(dtype=object) != VALIDATOR)
        bonds = [facts.bonds.get(hotkey, 0) for hotkey in table["hotkey"].iloc[own]]
        least = _least_stakes(table["hotkey"].iloc[own].tolist(), facts, params)
        days = [
            (epoch.monday - Epoch.parse(first).monday).days if isinstance(first, str) else 0
            for first in table["first_epoch"].iloc[own]
        ]
        average = table["percentile_average"].to_numpy()[own]
        stake[own] = bonds
        identity[own] = identity_of(bonds, least, average, np.array(days, dtype=np.int64), params)
    return stake, identity


def _least_stakes(hotkeys: Sequence[str], facts: EpochFacts, params: ProtocolParams) -> list[int]:
    """S_min by miner; the minimum ante for who held no portfolio."""
    floor = least_stake_rao([], [], [1], params)[0]
    known = facts.flags.dropna(subset=["least_stake_rao"])
    least = dict(zip(known["hotkey"], known["least_stake_rao"].tolist(), strict=True))
    return [int(least.get(hotkey, floor)) for hotkey in hotkeys]


def _uids(table: pd.DataFrame, before: Mapping[str, Mapping[str, object]]) -> "pd.Series[int]":
    """UIDs of validators and solo miners: kept while they are one, else the lowest that is free."""
    holders = table[table["role"].isin([VALIDATOR, Rank.SOLO])].sort_values(["since", "hotkey"])
    kept = {
        hotkey: int(str(before[hotkey]["uid"]))
        for hotkey in holders["hotkey"]
        if hotkey in before and _is_known(before[hotkey]["uid"])
    }
    waiting = [hotkey for hotkey in holders["hotkey"] if hotkey not in kept]
    uids = kept | assigned_uids(waiting, list(kept.values()), UID_SLOTS)
    return table["hotkey"].map(uids).astype("Int64")


def _next_roles(
    table: pd.DataFrame, facts: EpochFacts, epoch: Epoch, params: ProtocolParams
) -> list[str | None]:
    """The role of each from the next epoch on; free UIDs go to the best average first."""
    free = UID_SLOTS - int(table["uid"].notna().sum())
    least = _least_stakes(table["hotkey"].tolist(), facts, params)
    met = [
        not facts.bonds or facts.bonds.get(hotkey, 0) >= stake
        for hotkey, stake in zip(table["hotkey"], least, strict=True)
    ]
    now, found = pd.Timestamp(settles_at(epoch, params)), dict[int, str | None]()
    ranked = table.assign(met=met).sort_values(
        ["percentile_average", "hotkey"], ascending=[False, True]
    )
    for at, row in ranked.iterrows():
        role = row["role"]
        if role not in set(Rank):
            found[int(str(at))] = None if pd.isna(role) else str(role)
            continue
        following = next_role(
            Record(
                role=Rank(role),
                days=max(0, (now - row["since"]).days),
                percentiles=percentiles_of(row["record"]),
                open_offence=bool(row["open_offence"]),
                least_stake_met=bool(row["met"]),
                free_uid=free > 0,
            )
        )
        free -= following == Rank.SOLO and role != Rank.SOLO
        found[int(str(at))] = str(following)
    return [found[int(at)] for at in table.index]
