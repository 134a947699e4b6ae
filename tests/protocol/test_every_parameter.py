"""Every number and switch of the rules has an effect, or is listed with who reads it instead.

Each field is changed alone, whatever the rules on sums say, and every scenario beside it must say
something else.
"""

import ast
import copy
import dataclasses
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from quanta_pipelines import protocol
from quanta_pipelines.protocol.params import QUANTA, SPEC, ProtocolParams

from .scenarios import (
    after_disputes,
    agreed,
    antes_taken,
    bonded,
    bonded_liquid,
    capped,
    clocks,
    copied,
    disagreement,
    disputes,
    earned,
    in_concert,
    intake,
    judged,
    later_splits,
    live,
    market,
    one_hand,
    paid,
    phases,
    pooled,
    scored,
    settled,
    slashed,
    staked,
    standing,
    sure,
    swinging,
    tiers_of_100,
)

Scenario = Callable[[ProtocolParams], str]

NUMBERS: dict[str, tuple[Any, ...]] = {
    "market_data__primary_order": (("yahoo", "polygon", "tiingo", "recorded"), market, live),
    "market_data__required_vendors": (1, market),
    "market_data__agreement_bps": (50.0, market, disagreement),
    "market_data__agreement_dollars": (0.05, market),
    "market_data__anomaly_std_threshold": (6.0, market),
    "market_data__anomaly_window": (20, market),
    "market_data__min_volume_threshold_percent": (50.0, market),
    "market_data__volume_window": (12, market),
    "market_data__flat_line_sessions": (2, market),
    "market_data__max_price_staleness_seconds": (450, live),
    "market_data__price_cache_ttl_seconds": (600, live),
    "market_data__twap_weight": (0.2, live),
    "market_data__primary_weight": (0.1, live),
    "market_data__volume_weighted_weight": (0.9, live),
    "market_data__twap_min_quotes": (13, live),
    "market_data__max_carried_sessions": (3, earned),
    "market_data__max_unpriced_weight": (0.30, scored),
    "market_data__max_disputed_weight": (0.20, disputes),
    "market_data__benchmark": ("AAA", market, disputes),
    "market_data__min_close": (1.0, market),
    "market_data__min_dollar_volume": (2e6, market),
    "market_data__dollar_volume_window": (60, market),
    "market_data__min_universe_vendors": (3, market),
    "scoring__horizon_7d_weight": (0.20, scored),
    "scoring__horizon_30d_weight": (0.20, scored),
    "scoring__horizon_90d_weight": (0.20, scored),
    "scoring__sortino_weight": (0.20, scored),
    "scoring__calmar_weight": (0.20, scored),
    "scoring__max_drawdown_weight": (0.20, scored),
    "scoring__turnover_weight": (0.20, scored),
    "scoring__sortino_steepness": (0.6, scored),
    "scoring__sortino_midpoint": (0.0, scored),
    "scoring__calmar_steepness": (0.4, scored),
    "scoring__calmar_midpoint": (0.0, scored),
    "scoring__max_drawdown_threshold": (0.20, scored),
    "scoring__max_turnover_per_week": (0.5, scored),
    "scoring__risk_free_rate": (0.02, scored),
    "scoring__trading_days_per_year": (365, scored),
    "scoring__ratio_floor": (0.001, scored),
    "scoring__ratio_cap": (5.0, scored),
    "scoring__max_filled_epochs": (3, standing),
    "scoring__bootstrap_iterations": (500, sure),
    "scoring__bootstrap_block": (10, sure),
    "scoring__confidence_level": (0.90, sure),
    "scoring__min_interval_sessions": (10, sure),
    "scoring__provisional_sessions": (20, scored),
    "scoring__top_tier_percent": (Decimal("0.10"), tiers_of_100, settled),
    "scoring__profitable_tier_percent": (Decimal("0.40"), tiers_of_100),
    "scoring__break_even_percent": (Decimal("0.25"), tiers_of_100),
    "scoring__penalty_band_percent": (Decimal("0.25"), tiers_of_100),
    "scoring__originality_correlation_threshold": (0.60, copied, judged),
    "scoring__variance_ratio_threshold": (2.0, swinging, judged),
    "scoring__low_variance_floor": (0.20, scored),
    "scoring__low_variance_benchmark_share": (1.0, scored),
    "scoring__low_volatility_below": (0.30, scored),
    "scoring__medium_volatility_below": (0.30, scored),
    "tokenomics__rake": (Decimal("0.05"), settled),
    "tokenomics__network_fee": (Decimal("0.03"), settled),
    "tokenomics__network_fee_burn": (Decimal("0.50"), settled),
    "tokenomics__minimum_ante": (Decimal(12), settled, antes_taken),
    "tokenomics__maximum_ante": (Decimal(30_000), settled, antes_taken),
    "tokenomics__loser_ante_burn": (Decimal("0.40"), settled),
    "tokenomics__power_law_gamma": (Decimal("1.2"), settled),
    "tokenomics__ante_theta": (Decimal("0.5"), settled),
    "tokenomics__carry_in_divisor": (2, settled),
    "tokenomics__miner_emission_share": (Decimal("0.50"), settled),
    "tokenomics__validator_emission_share": (Decimal("0.32"), settled),
    "tokenomics__owner_emission_share": (Decimal("0.09"), settled),
    "tokenomics__default_pool_fee": (Decimal("0.12"), pooled),
    "tokenomics__min_pool_fee": (Decimal("0.12"), pooled),
    "tokenomics__max_pool_fee": (Decimal("0.18"), pooled),
    "consensus__kappa": (Decimal("0.6"), agreed),
    "consensus__bond_ema_alpha": (0.2, bonded),
    "consensus__bond_penalty_beta": (0.5, bonded),
    "consensus__liquid_alpha_low": (0.3, bonded_liquid),
    "consensus__liquid_alpha_high": (0.95, bonded_liquid),
    "consensus__liquid_alpha_steepness": (5.0, bonded_liquid),
    "consensus__liquid_alpha_midpoint": (0.25, bonded_liquid),
    "consensus__dispute_distance": (Decimal("0.90"), after_disputes),
    "consensus__dispute_distance_floor": (Decimal("0.5"), after_disputes),
    "consensus__commit_reveal_delay_hours": (20, intake),
    "consensus__commitment_expiry_hours": (36, intake),
    "consensus__dispute_supermajority": (Decimal("0.75"), after_disputes),
    "consensus__dispute_bond_penalty": (Decimal("0.02"), after_disputes),
    "consensus__dispute_window_hours": (48, phases),
    "consensus__max_validator_stake": (Decimal("0.20"), capped),
    "consensus__max_stake_growth": (Decimal(2), capped),
    "consensus__collusion_correlation": (0.30, in_concert),
    "consensus__collusion_min_miners": (12, in_concert),
    "consensus__collusion_min_deviation": (0.30, in_concert),
    "consensus__collusion_epochs": (2, in_concert),
    "consensus__collusion_window": (3, in_concert),
    "consensus__score_submission_window_minutes": (60, clocks, phases),
    "security__min_stake_multiplier": (Decimal(2), staked),
    "security__identity_stake_weight": (0.25, staked),
    "security__identity_performance_weight": (0.20, staked),
    "security__identity_tenure_weight": (0.10, staked),
    "security__ticker_overlap_threshold": (Decimal("0.80"), copied),
    "security__base_slash_penalty": (Decimal("0.10"), slashed),
    "security__slash_escalation_factor": (Decimal(1), slashed),
    "security__active_sessions": (20, copied, one_hand),
    "security__min_active_sessions": (15, copied),
    "security__precedence_shared_weight": (Decimal("0.30"), copied),
    "security__min_held_weight": (Decimal("0.05"), copied),
    "security__plagiarism_shared_weight": (Decimal("0.70"), copied),
    "security__plagiarism_epochs": (2, copied),
    "security__plagiarism_window": (6, copied),
    "security__plagiarism_max_lag": (1, copied),
    "security__plagiarism_chance": (1e-15, copied),
    "security__plagiarism_originals": (1, copied),
    "security__variance_sessions": (20, swinging),
    "security__variance_winsor_mad": (3.0, swinging),
    "security__variance_flag_epochs": (3, swinging),
    "security__sybil_correlation": (0.80, one_hand),
    "security__min_stake_epochs": (2, staked),
    "security__identity_full_stake": (Decimal(5), staked),
    "security__identity_ema_alpha": (0.2, staked),
    "security__identity_tenure_days": (180, staked),
    "security__slash_window_days": (120, slashed),
    "security__slash_forget_days": (60, slashed),
    "security__case_decision_days": (7, slashed),
    "security__min_secret_length": (40, intake),
    "security__min_secret_distinct": (10, intake),
    "epoch__commit_window_hours": (30, intake, phases),
    "epoch__reveal_window_hours": (60, phases),
    "epoch__settle_time": ("21:30", clocks, phases),
    "epoch__timezone": ("America/Chicago", clocks, later_splits),
    "epoch__min_positions": (4, intake),
    "epoch__max_positions": (31, intake, pooled),
    "epoch__max_weight": (Decimal("0.25"), intake, pooled),
    "epoch__weight_decimals": (4, intake),
    "epoch__weight_sum_tolerance": (Decimal("0.002"), intake),
    "epoch__block_seconds": (6, clocks),
    "epoch__blocks_per_epoch": (720, clocks),
    "epoch__submission_phase_blocks": (30, clocks),
    "epoch__evaluation_phase_blocks": (200, clocks),
    "epoch__distribution_phase_blocks": (90, clocks),
}
SWITCHES: dict[str, tuple[Scenario, ...]] = {
    "scoring__drift": (earned,),
    "scoring__return_basis": (scored,),
    "scoring__horizon_unit": (scored,),
    "scoring__missing_score": (scored,),
    "scoring__downside_over": (scored, sure),
    "scoring__drawdown_start": (scored, sure),
    "scoring__std_ddof": (scored,),
    "scoring__sharpe_reported": (scored,),
    "scoring__ratio_clip": (scored,),
    "scoring__bootstrap_method": (sure,),
    "scoring__interval_of": (sure,),
    "scoring__short_interval": (sure,),
    "scoring__originality_applied": (judged,),
    "scoring__variance_applied": (judged,),
    "scoring__provisional_applied": (scored,),
    "scoring__eligibility_applied": (scored, settled),
    "scoring__drawdown_gate": (scored,),
    "scoring__tier_rule": (tiers_of_100, settled),
    "scoring__tie_order": (scored, agreed, settled),
    "tokenomics__emission_mode": (settled,),
    "tokenomics__ante_mode": (settled,),
    "tokenomics__fee_burned": (settled,),
    "tokenomics__winners_keep_tier": (settled,),
    "consensus__bond_mode": (bonded,),
    "consensus__median": (agreed,),
    "consensus__rank_by": (agreed, paid),
}
# A share that no rule reads, since it is what its partners leave of the whole
REMAINDERS = {
    "scoring__penalty_band_percent": {"scoring__break_even_percent": Decimal("0.25")},
    "tokenomics__owner_emission_share": {"tokenomics__miner_emission_share": Decimal("0.50")},
    "epoch__distribution_phase_blocks": {"epoch__evaluation_phase_blocks": 210},
}
NOT_YET = {
    # test_the_rules_say_how_long_a_kept_reply_is_fresh of the adapters shows that it is used
    "market_data__historical_cache_ttl_seconds": "the cache of vendors, no stage",
}

FIELDS = {
    f"{section.name}__{spec.name}": spec
    for section in dataclasses.fields(ProtocolParams)
    for spec in dataclasses.fields(getattr(QUANTA, section.name))
}


def value(params: ProtocolParams, name: str) -> Any:
    section, _, field = name.partition("__")
    return getattr(getattr(params, section), field)


def other_options(name: str) -> tuple[object, ...]:
    default = FIELDS[name].default
    options = FIELDS[name].metadata.get("options", (True, False))
    return tuple(option for option in options if option != default)


def forced(params: ProtocolParams, name: str, new: object) -> ProtocolParams:
    """A rule set with one value replaced and nothing else, whatever the rules on sums say."""
    section, _, field = name.partition("__")
    part = copy.copy(getattr(params, section))
    object.__setattr__(part, field, new)
    changes: dict[str, Any] = {section: part}
    return dataclasses.replace(params, **changes)


CASES = [
    *((name, new, scenario) for name, (new, *shown) in NUMBERS.items() for scenario in shown),
    *(
        (name, option, scenario)
        for name, shown in SWITCHES.items()
        for option in other_options(name)
        for scenario in shown
    ),
]
SCENARIOS = sorted({scenario for _, _, scenario in CASES}, key=lambda scenario: scenario.__name__)

SPEC_DIFFERS = [name for name in FIELDS if value(SPEC, name) != value(QUANTA, name)]
HIDDEN = {  # what cannot show in SPEC unless another of its switches is turned back as well
    "scoring__drawdown_gate": "scoring__eligibility_applied",
}


def label(part: object) -> str:
    return part.__name__ if callable(part) else str(part)


@pytest.mark.parametrize(("name", "new", "scenario"), CASES, ids=label)
def test_every_field_that_a_stage_uses_changes_an_output(
    name: str, new: object, scenario: Scenario
) -> None:
    if name in REMAINDERS:
        changed = QUANTA.changed(**{name: new}, **REMAINDERS[name])
    else:
        changed = forced(QUANTA, name, new)
    differs = scenario(changed) != scenario(QUANTA)
    assert differs, f"{name} = {new} changes nothing in {scenario.__name__}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=label)
def test_a_field_that_no_stage_uses_changes_nothing(scenario: Scenario) -> None:
    changed = QUANTA
    for name in NOT_YET:
        old = value(QUANTA, name)
        changed = forced(changed, name, not old if isinstance(old, bool) else 2 * old)
    same = scenario(changed) == scenario(QUANTA)
    assert same, f"a field of NOT_YET shows in {scenario.__name__}: give it a scenario"


def test_a_field_that_no_stage_uses_is_not_mentioned_by_the_rules() -> None:
    mentioned: set[str] = set()
    for path in Path(protocol.__file__).parent.rglob("*.py"):
        if path.name != "params.py":
            nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
            mentioned |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
            mentioned |= {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    used = [name for name in NOT_YET if name.partition("__")[2] in mentioned]
    assert not used, f"used by now, so each needs a scenario: {used}"


def test_every_field_is_used_or_awaited() -> None:
    listed = [*NUMBERS, *SWITCHES, *NOT_YET]
    assert sorted(listed) == sorted(FIELDS)  # each once


def test_every_changed_value_is_one_that_its_line_allows() -> None:
    for name, (new, *_) in NUMBERS.items():
        low, high = FIELDS[name].metadata.get("range", (None, None))
        assert type(new) is type(FIELDS[name].default), name
        assert low is None or low <= new <= high, name
    for name in SWITCHES:
        assert other_options(name), name


@pytest.mark.parametrize("name", [name for name in SPEC_DIFFERS if name not in NOT_YET])
def test_each_switch_of_the_literal_specification_shows(name: str) -> None:
    for scenario in SWITCHES[name]:
        assert scenario(SPEC) != scenario(QUANTA), scenario.__name__
        literal = (
            forced(SPEC, HIDDEN[name], value(QUANTA, HIDDEN[name])) if name in HIDDEN else SPEC
        )
        turned_back = forced(literal, name, value(QUANTA, name))
        differs = scenario(turned_back) != scenario(literal)
        assert differs, f"{name} does not show in {scenario.__name__} of SPEC"
