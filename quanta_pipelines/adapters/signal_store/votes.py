"""Snapshots and votes: rows of a validator checked, stored and found again."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sqlalchemy import Connection, insert, select

from quanta_pipelines.adapters.signal_store.errors import NotRecorded
from quanta_pipelines.adapters.signal_store.records import Snapshot
from quanta_pipelines.adapters.signal_store.tables import (
    SNAPSHOT_BONDS,
    SNAPSHOT_CONVERSIONS,
    SNAPSHOT_STAKES,
    SNAPSHOTS,
    SUBMITTED_WEIGHTS,
    WEIGHT_SUBMISSIONS,
)
from quanta_pipelines.protocol.commit_reveal import public_key
from quanta_pipelines.protocol.conversion import Conversion, Rate
from quanta_pipelines.protocol.errors import InvalidWeights
from quanta_pipelines.protocol.votes import WEIGHT_UNITS

_DRAWDOWNS = ("max_drawdown_7d", "max_drawdown_30d", "max_drawdown_90d")
_VOTE = ("hotkey", "weight_units", "composite", *_DRAWDOWNS)

SOURCES_LIMIT = 16
_SOURCE = re.compile("[a-z0-9_-]{1,32}")

Cell = dict[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Vote:
    """A validator's row for an epoch, cells in the order of hotkeys."""

    validator: str
    epoch_id: str
    data_hash: str
    cells: tuple[Cell, ...]
    price_sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredVote:
    """A vote with its row's number."""

    number: int
    vote: Vote


def find_snapshot(connection: Connection, epoch_id: str) -> Snapshot | None:
    """The epoch's snapshot, or None."""
    head = connection.execute(select(SNAPSHOTS).where(SNAPSHOTS.c.epoch_id == epoch_id)).first()
    if head is None:
        return None
    stakes = (
        select(SNAPSHOT_STAKES.c.validator, SNAPSHOT_STAKES.c.stake_rao)
        .where(SNAPSHOT_STAKES.c.epoch_id == epoch_id)
        .order_by(SNAPSHOT_STAKES.c.validator)
    )
    found = {row.validator: row.stake_rao for row in connection.execute(stakes)}
    bonds = (
        select(SNAPSHOT_BONDS.c.hotkey, SNAPSHOT_BONDS.c.bond_rao)
        .where(SNAPSHOT_BONDS.c.epoch_id == epoch_id)
        .order_by(SNAPSHOT_BONDS.c.hotkey)
    )
    bonded = {row.hotkey: row.bond_rao for row in connection.execute(bonds)}
    return Snapshot(
        epoch_id,
        head.emission_rao,
        head.external_rao,
        found,
        head.source,
        bonded,
        _conversions(connection, epoch_id),
    )


def _conversions(connection: Connection, epoch_id: str) -> tuple[Conversion, ...]:
    query = select(SNAPSHOT_CONVERSIONS).where(SNAPSHOT_CONVERSIONS.c.epoch_id == epoch_id)
    return tuple(
        Conversion(row.purpose, row.amount, Rate(row.unit, row.rate, row.source, row.quoted_at))
        for row in connection.execute(query.order_by(SNAPSHOT_CONVERSIONS.c.purpose))
    )


def recorded_snapshot(connection: Connection, epoch_id: str) -> Snapshot:
    """The epoch's snapshot; its absence is an error."""
    snapshot = find_snapshot(connection, epoch_id)
    if snapshot is None:
        raise NotRecorded(f"there is no snapshot of emission and stakes for {epoch_id}")
    return snapshot


def check_snapshot(snapshot: Snapshot) -> None:
    """Refuses a snapshot without validators, with negative money or with bad hotkeys."""
    if not snapshot.stakes:
        raise InvalidWeights(f"the snapshot of {snapshot.epoch_id} names no validator")
    held = (*snapshot.stakes.values(), *snapshot.bonds.values())
    for amount in (snapshot.emission_rao, snapshot.external_rao, *held):
        if amount < 0:
            raise InvalidWeights(f"the snapshot of {snapshot.epoch_id} has a negative {amount}")
    for hotkey in (*snapshot.stakes, *snapshot.bonds):
        public_key(hotkey)
    said = {"emission": snapshot.emission_rao, "external": snapshot.external_rao}
    purposes = [each.purpose for each in snapshot.conversions]
    if len(set(purposes)) < len(purposes):
        raise InvalidWeights(f"the snapshot of {snapshot.epoch_id} converts an amount twice")
    for each in snapshot.conversions:
        if each.rao != said[each.purpose]:
            raise InvalidWeights(
                f"the snapshot of {snapshot.epoch_id} has {said[each.purpose]} rao of "
                f"{each.purpose}: {each.amount} {each.rate.unit} at {each.rate.alpha} ALPHA "
                f"are {each.rao}"
            )


def insert_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    """Adds a snapshot with its stakes."""
    head = {
        "epoch_id": snapshot.epoch_id,
        "emission_rao": snapshot.emission_rao,
        "external_rao": snapshot.external_rao,
        "source": snapshot.source,
    }
    stakes = [
        {"epoch_id": snapshot.epoch_id, "validator": validator, "stake_rao": stake}
        for validator, stake in snapshot.stakes.items()
    ]
    connection.execute(insert(SNAPSHOTS), head)
    connection.execute(insert(SNAPSHOT_STAKES), stakes)
    bonds = [
        {"epoch_id": snapshot.epoch_id, "hotkey": hotkey, "bond_rao": bond}
        for hotkey, bond in snapshot.bonds.items()
    ]
    if bonds:
        connection.execute(insert(SNAPSHOT_BONDS), bonds)
    rates = [
        {
            "epoch_id": snapshot.epoch_id,
            "purpose": each.purpose,
            "unit": each.rate.unit,
            "amount": each.amount,
            "rate": each.rate.alpha,
            "source": each.rate.source,
            "quoted_at": each.rate.quoted_at,
        }
        for each in snapshot.conversions
    ]
    if rates:
        connection.execute(insert(SNAPSHOT_CONVERSIONS), rates)


def find_vote(connection: Connection, validator: str, epoch_id: str) -> StoredVote | None:
    """A validator's vote, or None."""
    query = select(WEIGHT_SUBMISSIONS).where(
        WEIGHT_SUBMISSIONS.c.validator == validator, WEIGHT_SUBMISSIONS.c.epoch_id == epoch_id
    )
    head = connection.execute(query).first()
    if head is None:
        return None
    cells = (
        select(*(SUBMITTED_WEIGHTS.c[name] for name in _VOTE))
        .where(SUBMITTED_WEIGHTS.c.submission_id == head.id)
        .order_by(SUBMITTED_WEIGHTS.c.hotkey)
    )
    rows = tuple(dict(row) for row in connection.execute(cells).mappings())
    sources = tuple(head.price_sources or ())
    return StoredVote(head.id, Vote(validator, epoch_id, head.data_hash, rows, sources))


def insert_vote(connection: Connection, vote: Vote, received_at: dt.datetime) -> int:
    """Adds a vote; returns its number."""
    head = {
        "validator": vote.validator,
        "epoch_id": vote.epoch_id,
        "data_hash": vote.data_hash,
        "received_at": received_at,
        "price_sources": list(vote.price_sources) or None,
    }
    query = insert(WEIGHT_SUBMISSIONS).returning(WEIGHT_SUBMISSIONS.c.id)
    number = int(connection.execute(query, head).scalar_one())
    rows = [{**cell, "submission_id": number} for cell in vote.cells]
    connection.execute(insert(SUBMITTED_WEIGHTS), rows)
    return number


def check_sources(sources: Sequence[str]) -> tuple[str, ...]:
    """Names of price sources in order; refuses one twice, too many, or a name that is none."""
    names = tuple(sorted(sources))
    if len(set(names)) < len(names) or len(names) > SOURCES_LIMIT:
        raise InvalidWeights(
            f"a vote names each price source once and at most {SOURCES_LIMIT}, "
            f"not {', '.join(names[: SOURCES_LIMIT + 1])}"
        )
    for name in names:
        if _SOURCE.fullmatch(name) is None:
            raise InvalidWeights(f"a price source is named as {_SOURCE.pattern}, not {name!r}")
    return names


def vote_cells(row: pd.DataFrame) -> tuple[Cell, ...]:
    """A validator's row as records in the order of hotkeys; a malformed one is refused whole.

    One bad cell would fail the contract of the epoch's table, and with it everyone's epoch.
    """
    absent = [name for name in _VOTE if name not in row.columns]
    if absent:
        raise InvalidWeights(f"a vote has the columns {', '.join(_VOTE)}; {absent[0]} is missing")
    vote = row[list(_VOTE)].sort_values("hotkey")
    _check_miners(vote["hotkey"])
    _check_units(vote["weight_units"])
    _check_fractions(vote)
    return tuple(
        {str(name): _plain(value) for name, value in record.items()}
        for record in vote.to_dict("records")
    )


def _check_miners(hotkeys: "pd.Series[str]") -> None:
    repeated = hotkeys[hotkeys.duplicated()]
    if not repeated.empty:
        raise InvalidWeights(f"a vote names each miner once, not {repeated.iloc[0]} twice")
    for hotkey in hotkeys:
        public_key(hotkey)


def _check_units(units: "pd.Series[int]") -> None:
    if not pd.api.types.is_integer_dtype(units) or units.isna().any():
        raise InvalidWeights(f"weight_units are whole numbers, not {units.dtype}")
    if (units < 0).any():
        raise InvalidWeights(f"weight_units are at least 0, not {units.min()}")
    total = sum(int(unit) for unit in units)  # exact, where int64 could wrap around
    if total != WEIGHT_UNITS:
        raise InvalidWeights(f"weight_units sum to {total}, not to {WEIGHT_UNITS}")


def _check_fractions(vote: pd.DataFrame) -> None:
    """Composites lie in [0, 1]; drawdowns too, where their horizon exists."""
    for name in ("composite", *_DRAWDOWNS):
        values = vote[name].to_numpy(dtype="float64")
        absent = np.isnan(values) & (name != "composite")
        wrong = ~absent & ~((values >= 0) & (values <= 1))
        if wrong.any():
            raise InvalidWeights(f"{name} lies in [0, 1], not at {values[wrong][0]}")


def _plain(value: object) -> str | int | float | None:
    """Value for a database: NaN is NULL."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)  # type: ignore[arg-type]
    return None if np.isnan(number) else number
