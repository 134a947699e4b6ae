"""Rule sets of a what-if: fields of ``ProtocolParams`` by name, set alone or swept over a grid."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from itertools import product

from quanta_pipelines.protocol.errors import ParameterOutOfRange
from quanta_pipelines.protocol.params import ProtocolParams

MOST_VARIANTS = 200
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Variant:
    """A rule set beside the base, and what makes it differ, as it was written."""

    name: str
    changes: tuple[tuple[str, str], ...]
    params: ProtocolParams


def variants(
    base: ProtocolParams, settings: Sequence[str], grid: Sequence[str]
) -> tuple[Variant, ...]:
    """Every combination of the grid's values, each with the settings.

    A setting is ``section.field=value``, a line of the grid ``section.field=value,value``. Raises
    ``ParameterOutOfRange`` that names the value and what is allowed.
    """
    fixed = [_assignment(text) for text in settings]
    swept = [_line(base, text) for text in grid]
    names = [name for name, _ in fixed] + [name for name, _ in swept]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParameterOutOfRange(f"{twice[0]} is given twice")
    if not names:
        raise ParameterOutOfRange("nothing is changed: give --set or --grid")
    count = 1
    for _, values in swept:
        count *= len(values)
    if count > MOST_VARIANTS:
        raise ParameterOutOfRange(f"the grid has {count} variants, at most {MOST_VARIANTS} are run")
    combined = product(*([(name, value) for value in values] for name, values in swept))
    return tuple(_variant(base, fixed, chosen) for chosen in combined)


def in_words(changes: Sequence[tuple[str, str]]) -> str:
    """Changes as they are written on the command line."""
    return ", ".join(f"{name}={text}" for name, text in changes)


def _variant(
    base: ProtocolParams, fixed: Sequence[tuple[str, str]], swept: Sequence[tuple[str, str]]
) -> Variant:
    """The base with all changes at once, so that shares that sum to 1 can be changed together.

    It is named by what distinguishes it: its place in the grid, or without one the settings.
    """
    changes = (*fixed, *swept)
    values = {name.replace(".", "__"): _value(base, name, text) for name, text in changes}
    return Variant(in_words(swept or fixed), changes, base.changed(**values))


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not value:
        raise ParameterOutOfRange(f"a change looks like tokenomics.rake=0.05, not {text!r}")
    return name, value


def _line(base: ProtocolParams, text: str) -> tuple[str, list[str]]:
    """A parameter and the values that it takes in turn."""
    name, joined = _assignment(text)
    if isinstance(_default(base, name), tuple):
        raise ParameterOutOfRange(f"{name} is a list: set it, it can not be swept")
    values = [value.strip() for value in joined.split(",")]
    if "" in values or len(set(values)) < len(values):
        raise ParameterOutOfRange(f"{name}: the values {joined!r} are empty or the same")
    return name, values


def _default(base: ProtocolParams, name: str) -> object:
    section, _, field = name.partition(".")
    known = {
        f"{part.name}.{spec.name}"
        for part in dataclasses.fields(base)
        for spec in dataclasses.fields(getattr(base, part.name))
    }
    if name not in known:
        near = get_close_matches(name, sorted(known), n=1)
        hint = f"; did you mean {near[0]}" if near else ""
        raise ParameterOutOfRange(f"there is no parameter {name}{hint}")
    return getattr(getattr(base, section), field)


def _value(base: ProtocolParams, name: str, text: str) -> object:
    """A value of the type that the field has; its range is the rule set's own to check."""
    default = _default(base, name)
    if isinstance(default, bool):
        if text.lower() not in _TRUTH:
            raise ParameterOutOfRange(f"{name} is true or false, not {text!r}")
        return _TRUTH[text.lower()]
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(","))
    kind = type(default)
    try:
        return Decimal(text) if isinstance(default, Decimal) else kind(text)  # type: ignore[call-arg]
    except (ValueError, InvalidOperation):
        raise ParameterOutOfRange(f"{name} is {_words(kind)}, not {text!r}") from None


def _words(kind: type) -> str:
    return "a whole number" if kind is int else "a number"
