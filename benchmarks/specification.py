# ruff: noqa
"""The specification's own metrics and bootstrap: a transcription of its phases 1.1 and 3.1.

Kept as it is written there, so that the benchmark compares with what it would cost; only docstrings
are shorter and annotations are what mypy asks for. The specification imports ``BaseSettings`` from
pydantic, so it means pydantic 1, which pydantic 2 still carries as ``pydantic.v1``.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from pydantic.v1 import BaseModel, Field, root_validator


class TimeHorizon(str, Enum):
    """Evaluation time horizons."""

    SHORT_7D = "7d"
    MEDIUM_30D = "30d"
    LONG_90D = "90d"


class MetricWeights(BaseModel):
    """Scoring metric weights within each horizon."""

    sortino: Decimal = Field(default=Decimal("0.35"))
    calmar: Decimal = Field(default=Decimal("0.25"))
    max_drawdown: Decimal = Field(default=Decimal("0.25"))
    turnover: Decimal = Field(default=Decimal("0.15"))

    @root_validator
    def validate_sum(cls, values: Any) -> Any:
        total = sum(values.values())
        if not (Decimal("0.99") <= total <= Decimal("1.01")):
            raise ValueError("Metric weights must sum to 1.0")
        return values


class HorizonMetrics(BaseModel):
    """Performance metrics for a single time horizon."""

    horizon: TimeHorizon
    period_start: datetime
    period_end: datetime

    # Raw metrics
    total_return: Decimal
    annualized_return: Decimal
    volatility: Decimal
    downside_deviation: Decimal
    max_drawdown: Decimal
    max_drawdown_duration_days: int
    turnover: Decimal

    # Risk-adjusted metrics
    sharpe_ratio: Optional[Decimal] = None
    sortino_ratio: Decimal
    calmar_ratio: Decimal

    # Normalized scores [0, 1]
    sortino_score: Decimal = Field(ge=0, le=1)
    calmar_score: Decimal = Field(ge=0, le=1)
    drawdown_score: Decimal = Field(ge=0, le=1)
    turnover_score: Decimal = Field(ge=0, le=1)

    # Composite for this horizon
    horizon_score: Decimal = Field(ge=0, le=1)


@dataclass
class DailyReturn:
    """Portfolio daily return with metadata."""

    date: datetime
    return_pct: float
    portfolio_value: float
    benchmark_return: Optional[float] = None


class MetricsCalculator:
    """Computes risk-adjusted performance metrics."""

    def __init__(
        self,
        risk_free_rate: float = 0.05,  # 5% annual
        trading_days_per_year: int = 252,
        max_drawdown_threshold: float = 0.10,  # 10%
        max_turnover_per_week: float = 1.0,  # 100%
    ):
        self.risk_free_rate = risk_free_rate
        self.trading_days = trading_days_per_year
        self.dd_threshold = max_drawdown_threshold
        self.turnover_max = max_turnover_per_week
        self.daily_rf = (1 + risk_free_rate) ** (1 / 252) - 1

    def calculate_horizon_metrics(
        self,
        returns: List[DailyReturn],
        horizon: TimeHorizon,
        current_weights: Dict[str, float],
        previous_weights: Optional[Dict[str, float]] = None,
    ) -> HorizonMetrics:
        """Calculate all metrics for a specific time horizon."""
        if len(returns) < 2:
            raise ValueError("Insufficient data for metrics calculation")

        # Extract return series
        ret_series = np.array([r.return_pct for r in returns])

        # Basic return metrics
        total_return = self._total_return(ret_series)
        annualized_return = self._annualize_return(total_return, len(returns))

        # Risk metrics
        volatility = self._volatility(ret_series)
        downside_dev = self._downside_deviation(ret_series)
        max_dd, max_dd_duration = self._max_drawdown(ret_series)

        # Risk-adjusted metrics
        sortino = self._sortino_ratio(ret_series, downside_dev)
        calmar = self._calmar_ratio(annualized_return, max_dd)

        # Turnover
        turnover = self._calculate_turnover(current_weights, previous_weights)

        # Normalized scores [0, 1]
        sortino_score = self._normalize_sortino(sortino)
        calmar_score = self._normalize_calmar(calmar)
        dd_score = self._max_drawdown_score(max_dd)
        turnover_score = self._turnover_score(turnover)

        # Composite score for this horizon
        weights = MetricWeights()
        horizon_score = (
            float(weights.sortino) * sortino_score
            + float(weights.calmar) * calmar_score
            + float(weights.max_drawdown) * dd_score
            + float(weights.turnover) * turnover_score
        )

        return HorizonMetrics(
            horizon=horizon,
            period_start=returns[0].date,
            period_end=returns[-1].date,
            total_return=Decimal(str(total_return)),
            annualized_return=Decimal(str(annualized_return)),
            volatility=Decimal(str(volatility)),
            downside_deviation=Decimal(str(downside_dev)),
            max_drawdown=Decimal(str(max_dd)),
            max_drawdown_duration_days=max_dd_duration,
            turnover=Decimal(str(turnover)),
            sortino_ratio=Decimal(str(sortino)),
            calmar_ratio=Decimal(str(calmar)),
            sortino_score=Decimal(str(sortino_score)),
            calmar_score=Decimal(str(calmar_score)),
            drawdown_score=Decimal(str(dd_score)),
            turnover_score=Decimal(str(turnover_score)),
            horizon_score=Decimal(str(horizon_score)),
        )

    def _total_return(self, returns: Any) -> Any:
        return np.prod(1 + returns) - 1

    def _annualize_return(self, total_return: Any, days: int) -> Any:
        if days <= 0:
            return 0.0
        return (1 + total_return) ** (self.trading_days / days) - 1

    def _volatility(self, returns: Any) -> Any:
        return np.std(returns) * np.sqrt(self.trading_days)

    def _downside_deviation(self, returns: Any) -> Any:
        excess_returns = returns - self.daily_rf
        negative_returns = excess_returns[excess_returns < 0]

        if len(negative_returns) == 0:
            return 0.0001  # Avoid division by zero

        downside_var = np.mean(negative_returns**2)
        return np.sqrt(downside_var) * np.sqrt(self.trading_days)

    def _max_drawdown(self, returns: Any) -> Tuple[Any, int]:
        # Calculate cumulative returns
        cum_returns = np.cumprod(1 + returns)
        running_max = np.maximum.accumulate(cum_returns)
        drawdowns = (cum_returns - running_max) / running_max

        max_dd = abs(np.min(drawdowns))

        # Calculate duration
        # Find the longest underwater period
        underwater = drawdowns < 0
        max_duration = 0
        current_duration = 0

        for is_underwater in underwater:
            if is_underwater:
                current_duration += 1
                max_duration = max(max_duration, current_duration)
            else:
                current_duration = 0

        return max_dd, max_duration

    def _sortino_ratio(self, returns: Any, downside_dev: Any) -> Any:
        excess_return = (
            self._annualize_return(self._total_return(returns), len(returns)) - self.risk_free_rate
        )

        if downside_dev < 0.0001:
            return 10.0  # Cap for extremely low downside risk

        return excess_return / downside_dev

    def _calmar_ratio(self, annualized_return: Any, max_drawdown: Any) -> Any:
        if max_drawdown < 0.0001:
            return 10.0  # Cap for extremely low drawdown

        return annualized_return / max_drawdown

    def _calculate_turnover(
        self, current: Dict[str, float], previous: Optional[Dict[str, float]]
    ) -> float:
        if previous is None:
            return 0.0

        all_tickers = set(current.keys()) | set(previous.keys())

        total_change = sum(
            abs(current.get(ticker, 0) - previous.get(ticker, 0)) for ticker in all_tickers
        )

        return total_change / 2  # Divide by 2 to avoid double counting

    def _normalize_sortino(self, sortino: Any) -> Any:
        return 1 / (1 + np.exp(-0.5 * (sortino - 1)))

    def _normalize_calmar(self, calmar: Any) -> Any:
        return 1 / (1 + np.exp(-0.3 * (calmar - 1)))

    def _max_drawdown_score(self, max_dd: Any) -> Any:
        score = 1 - (max_dd / self.dd_threshold)
        return max(0, min(1, score))  # Clamp to [0, 1]

    def _turnover_score(self, turnover: Any) -> Any:
        score = 1 - (turnover / self.turnover_max)
        return max(0, min(1, score))


class BootstrapValidator:
    """Validates scores using bootstrap resampling for confidence intervals."""

    def __init__(self, n_iterations: int = 1000, confidence_level: float = 0.95):
        self.n_iterations = n_iterations
        self.confidence_level = confidence_level

    def validate_score(
        self,
        returns: List[DailyReturn],
        calculator: MetricsCalculator,
        horizon: TimeHorizon,
    ) -> Tuple[Any, Any, Any]:
        """Bootstrap validation of score: mean, lower bound, upper bound."""
        scores: Any = []
        ret_array = np.array([r.return_pct for r in returns])
        n = len(ret_array)

        for _ in range(self.n_iterations):
            # Resample with replacement
            indices = np.random.choice(n, size=n, replace=True)
            resampled = ret_array[indices]

            # Create mock returns
            mock_returns = [
                DailyReturn(
                    date=datetime.now() + timedelta(days=i), return_pct=r, portfolio_value=1000
                )
                for i, r in enumerate(resampled)
            ]

            # Calculate metrics
            try:
                metrics = calculator.calculate_horizon_metrics(mock_returns, horizon, {}, None)
                scores.append(float(metrics.horizon_score))
            except Exception:
                continue

        if not scores:
            return 0.5, 0.0, 1.0

        scores = np.array(scores)
        mean_score = np.mean(scores)

        alpha = 1 - self.confidence_level
        lower = np.percentile(scores, alpha / 2 * 100)
        upper = np.percentile(scores, (1 - alpha / 2) * 100)

        return mean_score, lower, upper
