import copy
import dataclasses
import inspect
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import pytest

from quanta_pipelines.protocol.errors import ParameterOutOfRange
from quanta_pipelines.protocol.params import QUANTA, SPEC, ProtocolParams, params_version

SECTIONS = [spec.name for spec in dataclasses.fields(ProtocolParams)]
FIELDS = [
    (section, spec) for section in SECTIONS for spec in dataclasses.fields(getattr(QUANTA, section))
]
NAMES = [f"{section}__{spec.name}" for section, spec in FIELDS]
RANGED = [(s, f) for s, f in FIELDS if "range" in f.metadata]
CHOICES = [(s, f) for s, f in FIELDS if "options" in f.metadata]
PLAIN = {  # text without a range, described by a comment on its line
    "market_data__primary_order",
    "market_data__benchmark",
    "epoch__settle_time",
    "epoch__timezone",
}

SPEC_DIFFERS = {  # section 12 of the rules, in its order
    "scoring__return_basis": "trailing",
    "scoring__horizon_unit": "calendar_days",
    "scoring__missing_score": "half",
    "scoring__downside_over": "below_target",
    "scoring__drawdown_start": "first_return",
    "scoring__std_ddof": 0,
    "scoring__sharpe_reported": False,
    "scoring__ratio_clip": "floor_only",
    "scoring__bootstrap_method": "iid",
    "scoring__interval_of": "one_horizon",
    "scoring__short_interval": "ten_percent",
    "scoring__originality_applied": False,
    "scoring__variance_applied": False,
    "scoring__provisional_applied": False,
    "scoring__eligibility_applied": False,
    "scoring__drawdown_gate": "absolute",
    "scoring__tier_rule": "percentile",
    "scoring__tie_order": "arrival",
    "tokenomics__ante_mode": "pooled",
    "tokenomics__fee_burned": False,
    "tokenomics__winners_keep_tier": False,
    "consensus__median": "lower",
    "consensus__rank_by": "own_score",
}


def value(params: ProtocolParams, name: str) -> object:
    section, _, field = name.partition("__")
    return getattr(getattr(params, section), field)


def forced(section: str, field: str, new: object) -> ProtocolParams:
    """The protocol's rule set with one value replaced, whatever the rules on sums say."""
    part = copy.copy(getattr(QUANTA, section))
    object.__setattr__(part, field, new)
    changes: dict[str, Any] = {section: part}
    return dataclasses.replace(QUANTA, **changes)


def another(old: object) -> object:
    """A value of the same type that is not the old one."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int | float | Decimal):
        return old + 1
    return old[::-1] if isinstance(old, tuple) else f"{old}x"


def test_the_version_is_64_hex_digits() -> None:
    assert len(bytes.fromhex(params_version(QUANTA))) == 32


def test_the_version_names_a_rule_set() -> None:
    assert params_version(QUANTA) == params_version(ProtocolParams())
    assert params_version(QUANTA) != params_version(SPEC)


@pytest.mark.parametrize(("section", "spec"), FIELDS, ids=NAMES)
def test_every_field_changes_the_version(section: str, spec: "dataclasses.Field[Any]") -> None:
    old = getattr(getattr(QUANTA, section), spec.name)
    changed = forced(section, spec.name, another(old))
    assert params_version(changed) != params_version(QUANTA)


@pytest.mark.parametrize("spelling", ["0.5", "0.50", "5E-1", "0.500000"])
def test_the_version_does_not_depend_on_how_a_decimal_is_spelled(spelling: str) -> None:
    respelled = QUANTA.changed(consensus__kappa=Decimal(spelling))
    assert params_version(respelled) == params_version(QUANTA)


@pytest.mark.parametrize("spelling", ["10", "10.0", "1E+1"])
def test_the_version_does_not_depend_on_how_a_whole_number_is_spelled(spelling: str) -> None:
    respelled = QUANTA.changed(tokenomics__minimum_ante=Decimal(spelling))
    assert params_version(respelled) == params_version(QUANTA)


def test_the_version_does_not_depend_on_the_order_of_fields() -> None:
    def reversed_fields(part: Any) -> Any:
        names = [spec.name for spec in dataclasses.fields(part)][::-1]
        values = {
            name: reversed_fields(found) if dataclasses.is_dataclass(found) else found
            for name, found in ((name, getattr(part, name)) for name in names)
        }
        return dataclasses.make_dataclass("Reversed", names)(**values)

    mirrored = reversed_fields(QUANTA)
    assert dataclasses.fields(mirrored)[0].name == SECTIONS[-1]
    assert params_version(cast("ProtocolParams", mirrored)) == params_version(QUANTA)


def test_a_value_without_a_canonical_form_has_no_version() -> None:
    with pytest.raises(TypeError, match="has no canonical form"):
        params_version(forced("consensus", "kappa", Fraction(1, 2)))


@pytest.mark.parametrize("side", ["low", "high"])
@pytest.mark.parametrize(("section", "spec"), RANGED, ids=[f.name for _, f in RANGED])
def test_every_number_refuses_a_value_outside_its_range(
    section: str, spec: "dataclasses.Field[Any]", side: str
) -> None:
    low, high = spec.metadata["range"]
    outside = type(spec.default)(low - 1 if side == "low" else high + 1)
    with pytest.raises(ParameterOutOfRange, match=rf"\.{spec.name} must lie in \[.*not {outside}"):
        QUANTA.changed(**{f"{section}__{spec.name}": outside})


@pytest.mark.parametrize(("section", "spec"), RANGED, ids=[f.name for _, f in RANGED])
def test_no_number_is_nan(section: str, spec: "dataclasses.Field[Any]") -> None:
    nan = Decimal("nan") if isinstance(spec.default, Decimal) else math.nan
    with pytest.raises(ParameterOutOfRange, match=r"not (nan|NaN)"):
        QUANTA.changed(**{f"{section}__{spec.name}": nan})


def test_a_number_keeps_its_kind() -> None:
    with pytest.raises(ParameterOutOfRange, match=r"rake must be Decimal, not 0\.08"):
        QUANTA.changed(tokenomics__rake=0.08)
    with pytest.raises(ParameterOutOfRange, match=r"min_positions must be int, not 5\.5"):
        QUANTA.changed(epoch__min_positions=5.5)


def test_limits_keep_their_order() -> None:
    with pytest.raises(ParameterOutOfRange, match="min_positions 31 must not exceed"):
        QUANTA.changed(epoch__min_positions=31)


@pytest.mark.parametrize(("section", "spec"), CHOICES, ids=[f.name for _, f in CHOICES])
def test_every_choice_refuses_a_name_it_does_not_list(
    section: str, spec: "dataclasses.Field[Any]"
) -> None:
    with pytest.raises(ParameterOutOfRange, match=r"must be one of .*, not nonsense"):
        QUANTA.changed(**{f"{section}__{spec.name}": "nonsense"})
    for option in spec.metadata["options"]:
        changed = QUANTA.changed(**{f"{section}__{spec.name}": option})
        assert value(changed, f"{section}__{spec.name}") == option


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scoring__horizon_7d_weight": 0.31}, "horizon_90d_weight must be 1, not 1.01"),
        ({"scoring__turnover_weight": 0.16}, "turnover_weight must be 1, not 1.01"),
        ({"scoring__break_even_percent": Decimal("0.21")}, "must be 1, not 1.01"),
        ({"scoring__top_tier_percent": Decimal("0.6")}, "top_tier_percent 0.6 must not exceed"),
        ({"tokenomics__owner_emission_share": Decimal("0.19")}, "must be 1, not 1.01"),
        ({"security__identity_tenure_weight": 0.21}, "must be 1, not 1.01"),
        ({"epoch__submission_phase_blocks": 61}, "must be 360, not 361"),
    ],
)
def test_shares_of_a_whole_sum_to_it(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterOutOfRange, match=message):
        QUANTA.changed(**change)


@pytest.mark.parametrize("name", ["scoring__gamma", "weather__rain", "scoring"])
def test_a_parameter_that_does_not_exist_is_refused_by_name(name: str) -> None:
    with pytest.raises(ParameterOutOfRange, match="there is no parameter"):
        QUANTA.changed(**{name: 1})


def test_a_change_leaves_the_rest_alone() -> None:
    changed = QUANTA.changed(scoring__std_ddof=0, consensus__median="lower")
    assert [n for n in NAMES if value(changed, n) != value(QUANTA, n)] == [
        "scoring__std_ddof",
        "consensus__median",
    ]
    assert params_version(QUANTA) == params_version(ProtocolParams())


def test_the_literal_specification_differs_in_what_section_12_lists() -> None:
    differences = {n: value(SPEC, n) for n in NAMES if value(SPEC, n) != value(QUANTA, n)}
    assert differences == SPEC_DIFFERS


@pytest.mark.parametrize("name", SPEC_DIFFERS)
def test_each_difference_can_be_had_alone(name: str) -> None:
    changed = QUANTA.changed(**{name: SPEC_DIFFERS[name]})
    assert [n for n in NAMES if value(changed, n) != value(QUANTA, n)] == [name]


@pytest.mark.parametrize(("section", "spec"), FIELDS, ids=NAMES)
def test_every_field_says_its_unit_and_source(section: str, spec: "dataclasses.Field[Any]") -> None:
    if f"{section}__{spec.name}" in PLAIN:
        source = inspect.getsource(type(getattr(QUANTA, section)))
        (line,) = (text for text in source.splitlines() if text.strip().startswith(f"{spec.name}:"))
        assert "  # " in line
    else:
        assert spec.metadata["unit"]
        assert spec.metadata["source"]


def test_the_horizons_are_shortest_first() -> None:
    assert QUANTA.scoring.horizons == (7, 30, 90)
    assert QUANTA.scoring.horizon_weights == (0.30, 0.45, 0.25)
