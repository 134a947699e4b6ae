"""What the signal store hands out besides tables, and the checks on what it takes in."""

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from quanta_pipelines.adapters.signal_store.errors import InvalidRecord, OutsideWindow
from quanta_pipelines.protocol.conversion import Conversion
from quanta_pipelines.protocol.epoch import Window
from quanta_pipelines.protocol.errors import InvalidCommitment, ProtocolError

Source = Literal["chain", "file", "simulated"]
Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None

TEXT_LIMIT, NAME_LIMIT, JSON_LIMIT = 4000, 64, 65_536  # characters

_HEX64 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class CommitReceipt:
    """What a miner is told: when it may reveal, and how many earlier commitments this replaced."""

    commitment_id: int
    revealable_from: dt.datetime
    expires_at: dt.datetime
    replaced: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Emission, revenue and validators' stakes as an epoch found them, and who said so."""

    epoch_id: str
    emission_rao: int
    external_rao: int
    stakes: Mapping[str, int]
    source: Source
    bonds: Mapping[str, int] = field(default_factory=dict)  # of miners; empty: not known
    conversions: tuple[Conversion, ...] = ()  # of amounts that were stated in other units


class SignalState(StrEnum):
    """Where a miner stands with its signal for an epoch."""

    ABSENT = "absent"  # nothing was committed
    COMMITTED = "committed"  # too early to reveal
    REVEALABLE = "revealable"
    REVEALED = "revealed"
    UNREVEALED = "unrevealed"  # the commitment expired


@dataclass(frozen=True, slots=True)
class SignalStatus:
    """A miner's signal for an epoch: the standing commitment, its ante, its windows."""

    hotkey: str
    epoch_id: str
    state: SignalState
    escrow_rao: int
    commitment: str | None = None
    ante_rao: int = 0
    replaced: int = 0
    committed_at: dt.datetime | None = None
    revealable_from: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    revealed_at: dt.datetime | None = None


def check_hex64(what: str, text: str) -> None:
    """Refuses what is no 256-bit hash in lower case."""
    if _HEX64.fullmatch(text) is None:
        raise InvalidCommitment(f"{what} is 64 lower-case hex digits, not {text!r}")


def check_moment(moment: dt.datetime) -> None:
    """Refuses a moment that could mean several."""
    if moment.utcoffset() is None:
        raise ProtocolError(f"a moment carries its time zone, {moment.isoformat()} has none")


def check_window(what: str, window: Window, moment: dt.datetime) -> None:
    """Refuses what arrives outside its window."""
    if not window.contains(moment):
        raise OutsideWindow(
            f"{what} is taken from {_text(window.opens)} to {_text(window.closes)}, "
            f"this one arrived at {_text(moment)}"
        )


def check_text(what: str, text: str, limit: int = TEXT_LIMIT) -> None:
    """Refuses a text that is too long."""
    if len(text) > limit:
        raise InvalidRecord(f"{what} has at most {limit} characters, not {len(text)}")


def check_name(what: str, text: str) -> None:
    """Refuses a name that is empty or too long."""
    if not text.strip():
        raise InvalidRecord(f"{what} is not empty")
    check_text(what, text, NAME_LIMIT)


def json_text(what: str, value: Json, limit: int = JSON_LIMIT) -> str:
    """Canonical JSON in ASCII: sorted keys, no spaces; NaN and infinity are refused."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRecord(f"{what} is no JSON: {error}") from error
    check_text(what, text, limit)
    return text


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds")
