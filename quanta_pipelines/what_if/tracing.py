"""Which fields of a rule set a step reads, so that a step nothing has changed for is not run again.

A step is a pure function of its tables, of the earlier state it loads and of the parameters it
reads. With the same values of all of them it takes the same way and reads nothing else, so its
tables are those of before: the reads are recorded while it runs and are not declared anywhere.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quanta_pipelines.protocol.params import ProtocolParams


@dataclass(frozen=True, slots=True)
class Trace:
    """What one step of one epoch was computed from, under the base rules."""

    inputs: tuple[tuple[str, str], ...]  # tables by name and epoch
    read: Mapping[str, object]  # parameters, section.field, with the values that were seen
    outputs: Mapping[str, str]  # content hashes by table

    def sees_no_change(self, params: ProtocolParams, changed: set[tuple[str, str]]) -> bool:
        """Whether a rule set and the tables that differ under it are all the same to the step."""
        return changed.isdisjoint(self.inputs) and all(
            _value(params, name) == value for name, value in self.read.items()
        )


def traced(params: ProtocolParams) -> tuple[ProtocolParams, dict[str, object]]:
    """The same rule set, and a record of every field that is looked at from now on."""
    read: dict[str, object] = {}
    sections: dict[str, Any] = {
        spec.name: _watched(spec.name, getattr(params, spec.name), read)
        for spec in dataclasses.fields(params)
    }
    return dataclasses.replace(params, **sections), read


def _watched(section: str, rules: Any, read: dict[str, object]) -> object:
    """A section that is equal in every value and notes which of them are read.

    Hashing it or comparing it reads all of its fields, as it should.
    """
    kind = type(rules)
    names = frozenset(spec.name for spec in dataclasses.fields(kind))

    def noted(self: object, name: str) -> object:
        value = object.__getattribute__(self, name)
        if name in names:
            read[f"{section}.{name}"] = value
        return value

    watched: object = object.__new__(
        type(kind.__name__, (kind,), {"__slots__": (), "__getattribute__": noted})
    )
    for name in names:
        object.__setattr__(watched, name, getattr(rules, name))
    return watched


def _value(params: ProtocolParams, name: str) -> object:
    section, _, field = name.partition(".")
    return getattr(getattr(params, section), field)
