"""Metrics of real total returns against empyrical-reloaded, wherever both define the same thing.

``QUANTA_REFERENCE_DATA`` names the folder: 46 tickers from 2016 to 2021, March 2020 included.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import empyrical
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from quanta_pipelines.protocol import metrics
from quanta_pipelines.protocol.oracle import settle_closes
from quanta_pipelines.protocol.params import QUANTA

FloatArray: TypeAlias = npt.NDArray[np.float64]

FOLDER = os.environ.get("QUANTA_REFERENCE_DATA", "")
SAMPLE = "a_sample_us46_2016_2021.parquet"
DAILY_RATE = 1.05 ** (1 / 252) - 1
CAP, FLOOR = QUANTA.scoring.ratio_cap, QUANTA.scoring.ratio_floor

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="QUANTA_REFERENCE_DATA does not name a folder with real prices"
)


@pytest.fixture(scope="module")
def total_returns() -> FloatArray:
    """Tickers by sessions, dividends and splits included; NaN before a listing."""
    rows = pd.read_parquet(Path(FOLDER) / SAMPLE).rename(columns={"date": "session"})
    fetched_at = pd.Timestamp("2021-04-22", tz="UTC")
    observed = rows.assign(
        session=pd.to_datetime(rows["session"]),
        vendor="alphavantage",
        basis="as_traded",
        fetched_at=fetched_at,
    )
    settled = settle_closes(observed)
    wide = settled.pivot(index="ticker", columns="session", values="total_return")
    assert len(wide) == 46
    return wide.iloc[:, 1:].to_numpy(dtype=np.float64)


@pytest.fixture(scope="module", params=[7, 30, 90, 252, 1000], ids="{} sessions".format)
def windows(total_returns: FloatArray, request: pytest.FixtureRequest) -> FloatArray:
    """Every fifth window of each ticker, ``[windows, sessions]``."""
    rolled = np.lib.stride_tricks.sliding_window_view(total_returns, request.param, axis=1)
    flat = rolled[:, ::5].reshape(-1, request.param)
    known = flat[~np.isnan(flat).any(axis=1)]
    assert len(known) > 1_000
    return known


def agrees(ours: FloatArray, theirs: FloatArray) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13)


def test_the_sample_holds_a_crash_and_quiet_weeks(total_returns: FloatArray) -> None:
    assert np.nanmin(total_returns) < -0.10
    assert np.nanmax(total_returns) > 0.10


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.total_return, empyrical.cum_returns_final),
        (metrics.annualised_return, empyrical.annual_return),
        (metrics.volatility, empyrical.annual_volatility),
        (metrics.downside_deviation, lambda rows: empyrical.downside_risk(rows, DAILY_RATE)),
        (metrics.max_drawdown, lambda rows: -empyrical.max_drawdown(rows)),
        (metrics.sharpe_ratio, lambda rows: empyrical.sharpe_ratio(rows, DAILY_RATE)),
    ],
    ids=lambda found: getattr(found, "__name__", "").strip("<>") or None,
)
def test_a_measure_is_empyricals(
    windows: FloatArray, ours: Callable[[FloatArray], Any], theirs: Callable[[FloatArray], Any]
) -> None:
    agrees(ours(windows), theirs(windows.T))


def test_a_calmar_ratio_is_empyricals_between_its_bounds(windows: FloatArray) -> None:
    some = windows[:: max(1, len(windows) // 2_000)]  # empyrical takes one series at a time
    theirs = np.array([empyrical.calmar_ratio(row) for row in some])
    plain = (np.abs(theirs) < CAP) & (metrics.max_drawdown(some) > FLOOR)
    assert plain.mean() > 0.2  # four of five ratios of 7 sessions lie beyond 10
    agrees(metrics.calmar_ratio(some)[plain], theirs[plain])


def test_a_calmar_ratio_without_a_drawdown_is_bounded_where_empyrical_has_none(
    total_returns: FloatArray,
) -> None:
    rolled = np.lib.stride_tricks.sliding_window_view(total_returns, 7, axis=1).reshape(-1, 7)
    rising = rolled[(rolled > 0.001).all(axis=1)]
    assert len(rising) > 10
    assert np.isnan([empyrical.calmar_ratio(row) for row in rising]).all()
    assert (metrics.calmar_ratio(rising) == CAP).all()


def test_a_sortino_ratio_has_empyricals_denominator_and_its_own_numerator(
    windows: FloatArray,
) -> None:
    # empyrical annualises the mean excess return, the protocol takes compounded growth less 5 %
    theirs = empyrical.sortino_ratio(windows.T, DAILY_RATE)
    downside = empyrical.downside_risk(windows.T, DAILY_RATE)
    compounded = (empyrical.annual_return(windows.T) - 0.05) / np.maximum(downside, FLOOR)
    agrees(metrics.sortino_ratio(windows), np.clip(compounded, -CAP, CAP))
    lossy = windows[downside > FLOOR]
    mean_excess = metrics.sharpe_ratio(lossy) * metrics.volatility(lossy)
    agrees(mean_excess / metrics.downside_deviation(lossy), theirs[downside > FLOOR])


def test_drawdown_duration_is_the_longest_run_below_empyricals_peak(windows: FloatArray) -> None:
    wealth = 1.0 + np.asarray(empyrical.cum_returns(windows.T)).T
    peak = np.maximum(np.maximum.accumulate(wealth, axis=1), 1.0)
    longest = np.zeros(len(windows), dtype=np.int64)
    run = longest.copy()
    for under in (wealth < peak).T:
        run = np.where(under, run + 1, 0)
        longest = np.maximum(longest, run)
    np.testing.assert_array_equal(metrics.drawdown_duration(windows), longest)
