"""What the signal store hands out besides tables, and the checks on what it takes in."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from quanta_pipelines.adapters.signal_store.errors import OutsideWindow
from quanta_pipelines.protocol.epoch import Window
from quanta_pipelines.protocol.errors import InvalidCommitment, ProtocolError

Source = Literal["chain", "simulated"]

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


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds")
