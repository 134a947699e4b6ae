"""Who says how much stake validators have and what an epoch emits: the chain, or a file.

An epoch is settled with what was said when it opened, so the answer is recorded once in the signal
store together with its source.
"""

import json
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from quanta_pipelines.adapters.signal_store import Snapshot
from quanta_pipelines.protocol.commit_reveal import public_key
from quanta_pipelines.protocol.epoch import Epoch

LARGEST_RAO = 2**63 - 1  # what a column of the signal store holds


class UnknownChainState(RuntimeError):
    """Stakes and emission of an epoch that nobody can say."""


class ChainState(Protocol):
    """Stakes, emission and revenue as they stand when an epoch opens."""

    def at(self, epoch: Epoch) -> Snapshot:
        """What the epoch is settled with; raises ``UnknownChainState``."""


def _hotkey(text: str) -> str:
    public_key(text)
    return text


def _epoch_id(text: str) -> str:
    return Epoch.parse(text).id


_Rao = Annotated[int, Field(ge=0, le=LARGEST_RAO, strict=True)]


class _Stated(BaseModel):
    """The file: amounts in rao of ALPHA, stakes by the validator's hotkey, bonds by the miner's."""

    model_config = ConfigDict(extra="forbid")

    emission_rao: _Rao
    external_rao: _Rao = 0
    stakes: dict[Annotated[str, AfterValidator(_hotkey)], _Rao] = Field(min_length=1)
    last_epoch: Annotated[str, AfterValidator(_epoch_id)] | None = None
    bonds: dict[Annotated[str, AfterValidator(_hotkey)], _Rao] = Field(default_factory=dict)


class StakesFile:
    """What an operator states in a JSON file, the same for every epoch until it is edited.

    ``{"emission_rao": 1000000000000, "external_rao": 0, "stakes": {"<hotkey>": 450000000000}}``.
    With ``"last_epoch": "2025-Q4-W52"`` it says nothing of later epochs, so that a file that was
    forgotten settles none. No chain was asked: every snapshot carries the source ``file``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def at(self, epoch: Epoch) -> Snapshot:
        """The file as it is now; an error names the file and the field."""
        stated = self._stated()
        if stated.last_epoch is not None and Epoch.parse(stated.last_epoch) < epoch:
            raise UnknownChainState(
                f"{self._path}: last_epoch: it speaks for no epoch after {stated.last_epoch}, "
                f"not for {epoch}"
            )
        return Snapshot(
            epoch.id,
            stated.emission_rao,
            stated.external_rao,
            dict(sorted(stated.stakes.items())),
            "file",
            dict(sorted(stated.bonds.items())),
        )

    def _stated(self) -> _Stated:
        try:
            text = self._path.read_bytes()
            stated = _Stated.model_validate_json(text)
        except OSError as error:
            raise UnknownChainState(f"{self._path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = "/".join(map(str, first["loc"])) or "the document"
            raise UnknownChainState(f"{self._path}: {place}: {first['msg']}") from error
        twice: list[str] = []
        json.loads(text, object_pairs_hook=lambda pairs: _note_repeated(pairs, twice))
        if twice:  # JSON readers keep the last one without a word
            raise UnknownChainState(f"{self._path}: {twice[0]} is stated more than once")
        return stated


def _note_repeated(pairs: list[tuple[str, object]], twice: list[str]) -> dict[str, object]:
    """One object of a JSON document; names in it that stand there again are noted."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            twice.append(name)
        found[name] = value
    return found


class NoChainState:
    """A deployment that has not been told who knows its stakes."""

    def at(self, epoch: Epoch) -> Snapshot:
        """Raises ``UnknownChainState``."""
        raise UnknownChainState(
            f"QUANTA_CHAIN_STATE is not set: nobody knows the stakes of {epoch}"
        )


def configured_chain_state(path: Path | None) -> ChainState:
    """What the setting ``QUANTA_CHAIN_STATE`` names."""
    return StakesFile(path) if path else NoChainState()
