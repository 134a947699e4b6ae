"""Every number of the rules, once: value, unit, range and source on one line.

Deployment settings (keys, addresses, paths) are not here and never reach a rule. ``QUANTA`` is the
protocol's own rule set, ``SPEC`` the specification's formulas as literally written; each
difference between the two is one field. In a source, "1.3" is the specification's section 1.3 and
"P5" is section 5 of the protocol's rules.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from quanta_pipelines.protocol.errors import ParameterOutOfRange


def _number(default: float | Decimal | str, unit: str, low: float, high: float, source: str) -> Any:
    """A field whose value stays within ``[low, high]``; a text default is an exact decimal."""
    value = Decimal(default) if isinstance(default, str) else default
    return field(default=value, metadata={"unit": unit, "range": (low, high), "source": source})


def _choice(options: tuple[str, ...], meaning: str, source: str) -> Any:
    """A field that takes one of a few names; the first is the default."""
    about = {"unit": meaning, "options": options, "source": source}
    return field(default=options[0], metadata=about)


def _switch(meaning: str, source: str) -> Any:
    """A rule that the protocol applies and that can be turned off."""
    return field(default=True, metadata={"unit": meaning, "source": source})


def _same_kind(value: object, default: object) -> bool:
    """Whether a value is of its default's type; an int may stand for a float, a bool never."""
    if isinstance(default, float):
        return isinstance(value, float | int) and not isinstance(value, bool)
    return type(value) is type(default)


class _Ranged:
    """Refuses a value outside the range or the options its field declares."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):  # type: ignore[arg-type]
            value, about = getattr(self, spec.name), spec.metadata
            place = f"{type(self).__name__}.{spec.name}"
            if not _same_kind(value, spec.default):
                wanted = type(spec.default).__name__
                raise ParameterOutOfRange(f"{place} must be {wanted}, not {value!r}")
            if "range" in about:
                low, high = about["range"]
                if not math.isfinite(value) or not low <= value <= high:
                    raise ParameterOutOfRange(f"{place} must lie in [{low}, {high}], not {value}")
            if "options" in about and value not in about["options"]:
                raise ParameterOutOfRange(f"{place} must be one of {about['options']}, not {value}")

    def _require_order(self, lower: str, upper: str) -> None:
        if getattr(self, lower) > getattr(self, upper):
            raise ParameterOutOfRange(
                f"{type(self).__name__}: {lower} {getattr(self, lower)} must not exceed "
                f"{upper} {getattr(self, upper)}"
            )

    def _require_sum(self, names: tuple[str, ...], total: int = 1) -> None:
        found = sum(Fraction(str(getattr(self, name))) for name in names)
        if found != total:
            what = " + ".join(names)
            raise ParameterOutOfRange(
                f"{type(self).__name__}: {what} must be {total}, not {float(found)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketDataParams(_Ranged):
    """How observed prices become one settled price, and which tickers may be held."""

    # fmt: off
    primary_order: tuple[str, ...] = ("tiingo", "polygon", "yahoo", "recorded")  # the first with a close is the primary; P3
    required_vendors: int = _number(2, "agreeing vendors where two or more are configured", 1, 3, "P3")
    agreement_bps: float = _number(10.0, "basis points of the cross-vendor median", 0, 1000, "P3")
    agreement_dollars: float = _number(0.01, "dollars", 0, 1, "P3")
    anomaly_std_threshold: float = _number(3.0, "robust standard deviations", 0, 100, "1.3")
    anomaly_window: int = _number(60, "sessions", 5, 252, "P3")
    min_volume_threshold_percent: float = _number(10.0, "percent of the mean volume", 0, 100, "1.3")
    volume_window: int = _number(30, "sessions", 1, 252, "1.3, P3")
    flat_line_sessions: int = _number(3, "sessions", 2, 30, "P3")
    max_price_staleness_seconds: int = _number(900, "seconds while the market is open", 1, 86_400, "1.3")
    price_cache_ttl_seconds: int = _number(300, "seconds", 0, 86_400, "1.3")
    historical_cache_ttl_seconds: int = _number(86_400, "seconds", 0, 604_800, "1.3")
    twap_weight: float = _number(0.5, "weight in the live price", 0, 1, "2.1")
    primary_weight: float = _number(0.3, "weight in the live price", 0, 1, "2.1")
    volume_weighted_weight: float = _number(0.2, "weight in the live price", 0, 1, "2.1")
    twap_min_quotes: int = _number(10, "quotes in 24 h", 1, 10_000, "2.1")
    max_carried_sessions: int = _number(5, "sessions a last price is carried forward", 0, 30, "P3")
    max_unpriced_weight: float = _number(0.20, "share of submitted weight", 0, 1, "P3")
    max_disputed_weight: float = _number(0.10, "share of all portfolio weight", 0, 1, "P3")
    benchmark: str = "SPY"  # ticker; the equal-weighted universe where it is not priced; P4
    min_close: float = _number(5.0, "dollars at opens_at", 0, 10_000, "P1")
    min_dollar_volume: float = _number(5_000_000.0, "dollars, median of a session", 0, 1e12, "P1")
    dollar_volume_window: int = _number(30, "sessions", 1, 252, "P1")
    min_universe_vendors: int = _number(2, "vendors where two are configured", 1, 3, "P1")
    # fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringParams(_Ranged):
    """From returns to one score: horizons, metric weights, standing, tiers, eligibility."""

    # fmt: off
    horizon_7d_weight: float = _number(0.30, "weight of the last 7 sessions", 0, 1, "1.3")
    horizon_30d_weight: float = _number(0.45, "weight of the last 30 sessions", 0, 1, "1.3")
    horizon_90d_weight: float = _number(0.25, "weight of the last 90 sessions", 0, 1, "1.3")
    sortino_weight: float = _number(0.35, "weight in a horizon's score", 0, 1, "1.3")
    calmar_weight: float = _number(0.25, "weight in a horizon's score", 0, 1, "1.3")
    max_drawdown_weight: float = _number(0.25, "weight in a horizon's score", 0, 1, "1.3")
    turnover_weight: float = _number(0.15, "weight in a horizon's score", 0, 1, "1.3")
    sortino_steepness: float = _number(0.5, "slope of the logistic", 0.001, 10, "3.1")
    sortino_midpoint: float = _number(1.0, "ratio that scores one half", -10, 10, "3.1")
    calmar_steepness: float = _number(0.3, "slope of the logistic", 0.001, 10, "3.1")
    calmar_midpoint: float = _number(1.0, "ratio that scores one half", -10, 10, "3.1")
    max_drawdown_threshold: float = _number(0.10, "positive fraction", 0.001, 1, "1.3")
    max_turnover_per_week: float = _number(1.0, "one-way fraction", 0.001, 2, "1.3")
    risk_free_rate: float = _number(0.05, "a year, compounded daily", -0.5, 1, "3.1")
    trading_days_per_year: int = _number(252, "sessions a year", 1, 366, "3.1")
    ratio_floor: float = _number(0.0001, "smallest denominator", 1e-12, 1, "3.1")
    ratio_cap: float = _number(10.0, "largest magnitude of a ratio", 0.1, 1e6, "3.1")
    max_filled_epochs: int = _number(5, "epochs in a row without a portfolio that end a history", 1, 52, "P4")
    drift: bool = field(default=False, metadata={"unit": "weights drift inside an epoch", "source": "P4"})
    bootstrap_iterations: int = _number(1000, "resamples", 1, 1_000_000, "1.3")
    bootstrap_block: int = _number(5, "sessions a block", 1, 90, "P6")
    confidence_level: float = _number(0.95, "probability", 0.01, 0.9999, "1.3")
    min_interval_sessions: int = _number(20, "sessions", 2, 90, "P6")
    provisional_sessions: int = _number(30, "sessions below which a miner is provisional", 0, 252, "P6")
    top_tier_percent: Decimal = _number("0.15", "cumulative share of ranked miners", 0, 1, "1.3")
    profitable_tier_percent: Decimal = _number("0.50", "cumulative share, top tier included", 0, 1, "1.3")
    break_even_percent: Decimal = _number("0.20", "share after the profitable", 0, 1, "1.3")
    penalty_band_percent: Decimal = _number("0.30", "share at the end", 0, 1, "1.3")
    low_variance_floor: float = _number(0.05, "annualised volatility", 0, 1, "P6")
    low_variance_benchmark_share: float = _number(0.5, "share of the benchmark's volatility", 0, 1, "P6")
    low_volatility_below: float = _number(0.15, "annualised volatility", 0, 10, "P6")
    medium_volatility_below: float = _number(0.25, "annualised volatility", 0, 10, "P6")
    originality_correlation_threshold: float = _number(0.70, "correlation of active returns", 0, 0.999, "1.3")
    variance_ratio_threshold: float = _number(3.0, "times the cross-section's median", 1, 1000, "1.3")
    # What SPEC changes, one field each
    return_basis: str = _choice(("held", "trailing"), "which weights a session uses", "P4, P12")
    horizon_unit: str = _choice(("sessions", "calendar_days"), "what 7, 30 and 90 count", "P5, P12")
    missing_score: str = _choice(("absent", "half"), "score without data", "P11, P12")
    downside_over: str = _choice(("all", "below_target"), "sessions in the mean", "P5, P12")
    drawdown_start: str = _choice(("before_first", "first_return"), "where the path starts at 1", "P5, P12")
    std_ddof: int = _number(1, "delta degrees of freedom", 0, 1, "P5, P12")
    sharpe_reported: bool = _switch("Sharpe ratios are computed", "P5, P12")
    ratio_clip: str = _choice(("both_sides", "floor_only"), "how ratios are bounded", "P5, P12")
    bootstrap_method: str = _choice(("circular_block", "iid"), "resampling", "P6, P12")
    interval_of: str = _choice(("composite", "one_horizon"), "what the interval is for", "P6, P12")
    short_interval: str = _choice(("null", "ten_percent"), "interval of a short history", "P6, P12")
    originality_applied: bool = _switch("originality enters the final score", "P6, P12")
    variance_applied: bool = _switch("the variance factor enters the final score", "P6, P12")
    provisional_applied: bool = _switch("short histories are provisional", "P6, P12")
    eligibility_applied: bool = _switch("ineligible winners earn no reward", "P6, P12")
    drawdown_gate: str = _choice(("benchmark", "absolute"), "limit for eligibility", "P6, P12")
    tier_rule: str = _choice(("exact", "percentile"), "how cuts are compared", "P6, P12")
    tie_order: str = _choice(("protocol", "arrival"), "order inside a tie", "P6, P12")
    # fmt: on

    def __post_init__(self) -> None:
        _Ranged.__post_init__(self)
        self._require_sum(("horizon_7d_weight", "horizon_30d_weight", "horizon_90d_weight"))
        self._require_sum(
            ("sortino_weight", "calmar_weight", "max_drawdown_weight", "turnover_weight")
        )
        self._require_sum(("profitable_tier_percent", "break_even_percent", "penalty_band_percent"))
        self._require_order("top_tier_percent", "profitable_tier_percent")

    @property
    def horizons(self) -> tuple[int, ...]:
        """The horizons' lengths in sessions, shortest first."""
        return (7, 30, 90)

    @property
    def horizon_weights(self) -> tuple[float, ...]:
        """The horizons' weights in the composite, shortest first."""
        return (self.horizon_7d_weight, self.horizon_30d_weight, self.horizon_90d_weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenomicsParams(_Ranged):
    """Antes, rake, fees, burn, power law and emission; shares are exact decimals."""

    # fmt: off
    rake: Decimal = _number("0.08", "share of the pool that the treasury takes", 0, 1, "1.3")
    network_fee: Decimal = _number("0.02", "share of a gross reward", 0, 1, "1.3")
    network_fee_burn: Decimal = _number("0.25", "share of all fees that is burned", 0, 1, "1.3")
    minimum_ante: Decimal = _number("10", "ALPHA", 0, 1_000_000, "1.3")
    maximum_ante: Decimal = _number("10000", "ALPHA", 0, 1_000_000_000, "P2")
    loser_ante_burn: Decimal = _number("0.50", "share of a forfeited ante that is burned", 0, 1, "1.3")
    power_law_gamma: Decimal = _number("1.5", "exponent; governance may set 1 to 2", 1, 2, "1.3, 4.1")
    ante_theta: Decimal = _number("0", "exponent of ante / mean ante", 0, 2, "P9")
    carry_in_divisor: int = _number(4, "part of the carry that enters an epoch", 1, 52, "P9")
    miner_emission_share: Decimal = _number("0.41", "share of the subnet's emission", 0, 1, "1.3")
    validator_emission_share: Decimal = _number("0.41", "share of the subnet's emission", 0, 1, "1.3")
    owner_emission_share: Decimal = _number("0.18", "share of the subnet's emission", 0, 1, "1.3")
    default_pool_fee: Decimal = _number("0.15", "share of a pool's reward", 0, 1, "1.3")
    min_pool_fee: Decimal = _number("0.10", "share of a pool's reward", 0, 1, "1.1")
    max_pool_fee: Decimal = _number("0.20", "share of a pool's reward", 0, 1, "1.3")
    emission_mode: str = _choice(("escrow", "chain"), "who pays the miners' emission", "P9")
    ante_mode: str = _choice(("ante_first", "pooled"), "winners' antes before or inside the power law", "P9, P12")
    fee_burned: bool = _switch("part of the fees is burned", "P9, P12")
    winners_keep_tier: bool = _switch("a winner's tier is that of its rank", "P9, P12")
    # fmt: on

    def __post_init__(self) -> None:
        _Ranged.__post_init__(self)
        self._require_sum(
            ("miner_emission_share", "validator_emission_share", "owner_emission_share")
        )
        self._require_order("minimum_ante", "maximum_ante")
        self._require_order("min_pool_fee", "max_pool_fee")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusParams(_Ranged):
    """How validators' weights become one, and how disputes end."""

    # fmt: off
    kappa: Decimal = _number("0.5", "share of stake that must support a weight", 0.001, 1, "1.3")
    bond_ema_alpha: float = _number(0.1, "weight of the new observation", 0, 1, "1.3")
    bond_penalty_beta: float = _number(1.0, "share of clipping that bonds feel", 0, 1, "P8")
    bond_mode: str = _choice(("yuma1", "yuma3", "yuma3_liquid"), "how bonds grow and what they earn", "P8")
    liquid_alpha_low: float = _number(0.7, "weight of the new observation far below the midpoint", 0, 1, "P8")
    liquid_alpha_high: float = _number(0.9, "weight of the new observation far above the midpoint", 0, 1, "P8")
    liquid_alpha_steepness: float = _number(10.0, "of the logistic curve, per unit of distance", 0, 1000, "P8")
    liquid_alpha_midpoint: float = _number(0.5, "distance from consensus", 0, 1, "P8")
    commit_reveal_delay_hours: int = _number(14, "hours from commitment to reveal", 0, 48, "1.3")
    commitment_expiry_hours: int = _number(48, "hours a commitment lives", 1, 168, "1.3")
    dispute_supermajority: Decimal = _number("0.66", "share of eligible stake", 0.5, 1, "1.3")
    dispute_bond_penalty: Decimal = _number("0.01", "share of bonds, once per upheld dispute", 0, 1, "1.3")
    dispute_distance: Decimal = _number("0.10", "share of the consensus weight that is still near it", 0, 1, "P8")
    dispute_distance_floor: Decimal = _number("0.000001", "weight that is near any consensus", 0, 1, "P8")
    dispute_window_hours: int = _number(24, "hours after consensus", 0, 336, "P1")
    max_validator_stake: Decimal = _number("0.05", "share of stake", 0.001, 1, "1.3")
    max_stake_growth: Decimal = _number("3", "times its raw share that capping may give", 1, 1000, "P8")
    collusion_correlation: float = _number(0.95, "correlation of deviations from consensus", 0, 1, "1.3")
    collusion_min_miners: int = _number(8, "miners that both validators scored", 3, 1000, "P7")
    collusion_min_deviation: float = _number(0.01, "L1 distance from the median of the others", 0, 2, "P7")
    collusion_epochs: int = _number(3, "epochs with agreement that open a case", 1, 52, "P7")
    collusion_window: int = _number(5, "epochs looked at", 1, 52, "P7")
    score_submission_window_minutes: int = _number(30, "minutes from settles_at", 1, 1440, "1.3")
    median: str = _choice(("inclusive", "lower"), "stake-weighted median at an exact tie", "P8, P12")
    rank_by: str = _choice(("consensus", "own_score"), "what an epoch's rank is taken from", "P8, P12")
    # fmt: on

    def __post_init__(self) -> None:
        _Ranged.__post_init__(self)
        self._require_order("collusion_epochs", "collusion_window")
        self._require_order("liquid_alpha_low", "liquid_alpha_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityParams(_Ranged):
    """Originality, plagiarism, variance, clusters, stake, identity and slashing."""

    # fmt: off
    min_stake_multiplier: Decimal = _number("1.5", "times the mean reward of an identity", 0, 100, "1.3")
    identity_stake_weight: float = _number(0.50, "weight in the identity score", 0, 1, "1.3")
    identity_performance_weight: float = _number(0.30, "weight in the identity score", 0, 1, "1.3")
    identity_tenure_weight: float = _number(0.20, "weight in the identity score", 0, 1, "1.3")
    ticker_overlap_threshold: Decimal = _number("0.90", "share of the smaller portfolio's names", 0.01, 1, "1.3")
    active_sessions: int = _number(30, "last common sessions of an active return", 3, 252, "P7")
    min_active_sessions: int = _number(10, "common sessions below which there is none", 4, 252, "P7")
    precedence_shared_weight: Decimal = _number("0.50", "sum of min weights that makes portfolios alike", 0.01, 1, "P7")
    min_held_weight: Decimal = _number("0.01", "weight from which a ticker counts as held", 0, 1, "P7")
    plagiarism_shared_weight: Decimal = _number("0.80", "sum of min weights", 0.01, 1, "P7")
    plagiarism_epochs: int = _number(3, "epochs with a copy that open a case", 1, 52, "P7")
    plagiarism_window: int = _number(4, "epochs looked at", 1, 52, "P7")
    plagiarism_max_lag: int = _number(4, "epochs that the original may be older", 0, 52, "P7")
    plagiarism_chance: float = _number(1e-6, "probability of such an overlap by chance", 1e-300, 1, "P7")
    plagiarism_originals: int = _number(8, "holders of the very same portfolio that copies are compared with", 1, 1000, "ADR 0016")
    variance_sessions: int = _number(30, "sessions of a variance", 3, 252, "P7")
    variance_winsor_mad: float = _number(4.0, "median absolute deviations from the median", 0.1, 1000, "P7")
    variance_flag_epochs: int = _number(2, "epochs in a row at or above the ratio's threshold", 1, 52, "P7")
    sybil_correlation: float = _number(0.95, "correlation of active returns", 0.01, 1, "P7")
    min_stake_epochs: int = _number(13, "last epochs of rewards behind S_min", 1, 104, "P7")
    identity_full_stake: Decimal = _number("10", "times S_min that counts in full", 0.01, 1000, "P7")
    identity_ema_alpha: float = _number(0.1, "weight of the new percentile", 0, 1, "P7")
    identity_tenure_days: int = _number(90, "days that count in full", 1, 3650, "P7")
    base_slash_penalty: Decimal = _number("0.05", "share of the remaining stake", 0, 1, "1.3")
    slash_escalation_factor: Decimal = _number("0.50", "growth of the penalty per offence", 0, 10, "1.3")
    slash_window_days: int = _number(180, "days in which offences add up", 1, 3650, "P7")
    slash_forget_days: int = _number(90, "clean days that forget one offence", 1, 3650, "P7")
    case_decision_days: int = _number(14, "days an operator has for a case", 1, 365, "P7")
    min_secret_length: int = _number(32, "characters", 16, 1024, "1.1")
    min_secret_distinct: int = _number(8, "distinct characters", 1, 64, "P2")
    # fmt: on

    def __post_init__(self) -> None:
        _Ranged.__post_init__(self)
        self._require_sum(
            ("identity_stake_weight", "identity_performance_weight", "identity_tenure_weight")
        )
        self._require_order("min_active_sessions", "active_sessions")
        self._require_order("plagiarism_epochs", "plagiarism_window")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochParams(_Ranged):
    """Windows of an epoch, limits of a portfolio, and the chain's clock."""

    # fmt: off
    commit_window_hours: int = _number(24, "hours before opens_at", 1, 168, "P1")
    reveal_window_hours: int = _number(48, "hours after opens_at", 1, 168, "P1")
    settle_time: str = "20:30"  # New York, on the day of the last session; vendors correct until 20:00; P1
    timezone: str = "America/New_York"  # of the exchange; 1.3
    min_positions: int = _number(5, "tickers", 1, 500, "1.1")
    max_positions: int = _number(30, "tickers", 1, 500, "1.1")
    max_weight: Decimal = _number("0.20", "share of a portfolio", 0, 1, "1.1")
    weight_decimals: int = _number(6, "decimals of a submitted weight", 1, 6, "P2")
    weight_sum_tolerance: Decimal = _number("0.001", "distance of the sum from 1", 0, 0.1, "1.1")
    block_seconds: int = _number(12, "seconds a block", 1, 600, "1.3")
    blocks_per_epoch: int = _number(360, "blocks a tempo", 1, 100_000, "1.3")
    submission_phase_blocks: int = _number(60, "blocks", 0, 100_000, "1.3")
    evaluation_phase_blocks: int = _number(240, "blocks", 0, 100_000, "1.3")
    distribution_phase_blocks: int = _number(60, "blocks", 0, 100_000, "1.3")
    # fmt: on

    def __post_init__(self) -> None:
        _Ranged.__post_init__(self)
        self._require_sum(
            ("submission_phase_blocks", "evaluation_phase_blocks", "distribution_phase_blocks"),
            total=self.blocks_per_epoch,
        )
        self._require_order("min_positions", "max_positions")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolParams:
    """One complete rule set."""

    market_data: MarketDataParams = MarketDataParams()
    scoring: ScoringParams = ScoringParams()
    tokenomics: TokenomicsParams = TokenomicsParams()
    consensus: ConsensusParams = ConsensusParams()
    security: SecurityParams = SecurityParams()
    epoch: EpochParams = EpochParams()

    def changed(self, **changes: Any) -> "ProtocolParams":
        """This rule set with fields replaced, named as ``section__field``.

        Raises ``ParameterOutOfRange`` for a section or a field that does not exist.
        """
        known = {
            f"{section.name}__{spec.name}"
            for section in dataclasses.fields(self)
            for spec in dataclasses.fields(getattr(self, section.name))
        }
        sections: dict[str, dict[str, Any]] = {}
        for path, value in changes.items():
            section, _, name = path.partition("__")
            if path not in known:
                raise ParameterOutOfRange(f"there is no parameter {section}.{name}")
            sections.setdefault(section, {})[name] = value
        return dataclasses.replace(
            self,
            **{
                section: dataclasses.replace(getattr(self, section), **fields)
                for section, fields in sections.items()
            },
        )


def params_version(params: ProtocolParams) -> str:
    """SHA-256 of the canonical JSON of a rule set: sorted keys, no spaces, decimals as text."""
    canonical = json.dumps(
        dataclasses.asdict(params), sort_keys=True, separators=(",", ":"), default=_decimal_text
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def _decimal_text(value: object) -> str:
    """Decimals print without trailing zeros, so that 0.5 and 0.50 are one rule set."""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    raise TypeError(f"{value!r} has no canonical form")


QUANTA = ProtocolParams()

SPEC = QUANTA.changed(
    scoring__return_basis="trailing",
    scoring__horizon_unit="calendar_days",
    scoring__missing_score="half",
    scoring__downside_over="below_target",
    scoring__drawdown_start="first_return",
    scoring__std_ddof=0,
    scoring__sharpe_reported=False,
    scoring__ratio_clip="floor_only",
    scoring__bootstrap_method="iid",
    scoring__interval_of="one_horizon",
    scoring__short_interval="ten_percent",
    scoring__originality_applied=False,
    scoring__variance_applied=False,
    scoring__provisional_applied=False,
    scoring__eligibility_applied=False,
    scoring__drawdown_gate="absolute",
    scoring__tier_rule="percentile",
    scoring__tie_order="arrival",
    tokenomics__ante_mode="pooled",
    tokenomics__fee_burned=False,
    tokenomics__winners_keep_tier=False,
    consensus__median="lower",
    consensus__rank_by="own_score",
)
