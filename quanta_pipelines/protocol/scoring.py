"""From returns to one score per miner, and the two tables that hold it.

A horizon exists when that many trailing returns exist; the composite is the weighted mean of the
horizons that exist. Measures of one series live in ``metrics``, ranks and tiers in ``ranking``
(importable from here too), originality and the variance factor in ``integrity``.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from quanta_pipelines.protocol.errors import InvalidReturns
from quanta_pipelines.protocol.metrics import (
    BoolArray,
    FloatArray,
    HorizonMetrics,
    IntArray,
    checked_returns,
    max_drawdown,
    measure,
    volatility,
)
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams
from quanta_pipelines.protocol.ranking import (
    PerformanceTier,
    drawdown_limits,
    eligible,
    ineligibility,
    order,
    percentile,
    portfolio_tier,
    rank,
    tiers,
)
from quanta_pipelines.protocol.standing import score_table

__all__ = [
    "PerformanceTier",
    "Scores",
    "composite",
    "drawdown_limits",
    "eligible",
    "horizon_table",
    "ineligibility",
    "order",
    "percentile",
    "portfolio_tier",
    "rank",
    "score",
    "score_table",
    "tiers",
]
