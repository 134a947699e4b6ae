"""Who says how much stake validators have and what an epoch emits: the chain, or a file.

An epoch is settled with what was said when it opened, so the answer is recorded once in the signal
store together with its source.
"""

import json
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from quanta_pipelines.adapters.signal_store import Snapshot
from quanta_pipelines.protocol.commit_reveal import public_key
from quanta_pipelines.protocol.conversion import PURPOSES, Conversion, Rate, converted
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidEntries

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


class _Amount(BaseModel):
    """An amount in another unit than rao of ALPHA, as text: a JSON number would be rounded."""

    model_config = ConfigDict(extra="forbid")

    amount: str
    unit: str


class _Rate(BaseModel):
    """What one of a unit is in ALPHA."""

    model_config = ConfigDict(extra="forbid")

    alpha: str
    source: str
    quoted_at: AwareDatetime


class _Stated(BaseModel):
    """The file: amounts in rao of ALPHA, stakes by the validator's hotkey, bonds by the miner's.

    Emission and external revenue may be stated in another unit, with the rate of that unit.
    """

    model_config = ConfigDict(extra="forbid")

    emission_rao: _Rao | None = None
    external_rao: _Rao | None = None
    emission: _Amount | None = None
    external: _Amount | None = None
    rates: dict[str, _Rate] = Field(default_factory=dict)
    stakes: dict[Annotated[str, AfterValidator(_hotkey)], _Rao] = Field(min_length=1)
    last_epoch: Annotated[str, AfterValidator(_epoch_id)] | None = None
    bonds: dict[Annotated[str, AfterValidator(_hotkey)], _Rao] = Field(default_factory=dict)


class StakesFile:
    """What an operator states in a JSON file, the same for every epoch until it is edited.

    ``{"emission_rao": 1000000000000, "external_rao": 0, "stakes": {"<hotkey>": 450000000000}}``.
    Instead of ``emission_rao`` or ``external_rao`` an amount may be stated in another unit,
    ``"external": {"amount": "1000.00", "unit": "USD"}``, with ``"rates": {"USD": {"alpha":
    "0.0213", "source": "...", "quoted_at": "2025-11-21T21:00:00Z"}}``: both are recorded.
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
        emission, external = (self._amount(stated, name) for name in PURPOSES)
        return Snapshot(
            epoch.id,
            _rao(emission),
            _rao(external),
            dict(sorted(stated.stakes.items())),
            "file",
            dict(sorted(stated.bonds.items())),
            tuple(each for each in (emission, external) if isinstance(each, Conversion)),
        )

    def _amount(self, stated: _Stated, purpose: str) -> int | Conversion:
        """Rao as stated, or an amount of another unit with its rate; revenue may be absent."""
        rao: int | None = getattr(stated, f"{purpose}_rao")
        other: _Amount | None = getattr(stated, purpose)
        if (rao is None) == (other is None):
            if rao is None and purpose == "external":
                return 0
            said = "neither" if rao is None else "both"
            raise UnknownChainState(
                f"{self._path}: one of {purpose}_rao and {purpose} is stated, not {said}"
            )
        if other is None:
            return rao or 0
        rate = stated.rates.get(other.unit)
        try:
            known = Rate(other.unit, rate.alpha, rate.source, rate.quoted_at) if rate else None
            found = converted(purpose, other.amount, other.unit, known)
        except InvalidEntries as error:
            raise UnknownChainState(f"{self._path}: {purpose}: {error}") from error
        if found.rao > LARGEST_RAO:
            raise UnknownChainState(
                f"{self._path}: {purpose}: {found.rao} rao are more than {LARGEST_RAO}"
            )
        return found

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


def _rao(amount: int | Conversion) -> int:
    return amount.rao if isinstance(amount, Conversion) else amount


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
