import datetime as dt
from dataclasses import fields

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quanta_pipelines.adapters.price_vendors import RecordedVendor
from quanta_pipelines.protocol import metrics
from quanta_pipelines.protocol.errors import InvalidReturns, NotEnoughHistory
from quanta_pipelines.protocol.metrics import (
    annualised_return,
    bounded_ratio,
    calmar_ratio,
    calmar_score,
    downside_deviation,
    drawdown_duration,
    drawdown_score,
    max_drawdown,
    measure,
    sharpe_ratio,
    sortino_ratio,
    sortino_score,
    total_return,
    turnover_score,
    volatility,
)
from quanta_pipelines.protocol.params import QUANTA, SPEC

PLAIN = QUANTA.changed(scoring__risk_free_rate=0.0).scoring  # the target of a session is zero
SHORT_YEAR = QUANTA.changed(  # four sessions are a year, so nothing is compounded
    scoring__risk_free_rate=0.0, scoring__trading_days_per_year=4
).scoring
DAILY_RATE = 1.05 ** (1 / 252) - 1
MEASURES = (
    total_return,
    annualised_return,
    volatility,
    downside_deviation,
    max_drawdown,
    drawdown_duration,
    sharpe_ratio,
    sortino_ratio,
    calmar_ratio,
)
series = arrays.arrays(np.float64, (3, 7), elements=st.floats(-1.0, 10.0))


def exactly(value):
    return pytest.approx(value, rel=1e-12, abs=1e-15)


def test_returns_compound():
    # 1.10 x 0.80 x 1.05 = 0.924
    assert total_return(np.array([0.10, -0.20, 0.05])) == exactly(-0.076)


def test_a_year_is_252_sessions():
    # 1 % in 126 sessions twice a year: 1.01 x 1.01
    assert annualised_return(np.r_[0.01, np.zeros(125)]) == exactly(0.0201)


def test_volatility_is_that_of_a_sample():
    # mean 0, squares 1 + 1 over n - 1 = 1
    assert volatility(np.array([0.01, -0.01])) == exactly(0.01 * np.sqrt(2) * np.sqrt(252))


def test_volatility_of_the_specification_divides_by_n():
    assert volatility(np.array([0.01, -0.01]), SPEC.scoring) == exactly(0.01 * np.sqrt(252))


def test_downside_deviation_counts_every_session():
    # shortfalls of 1 % and 2 % in four sessions: sqrt((1 + 4) / 4) percent a day
    returns = np.array([0.03, -0.01, 0.0, -0.02])
    assert downside_deviation(returns, PLAIN) == exactly(0.01 * np.sqrt(5 / 4) * np.sqrt(252))


def test_downside_deviation_of_the_specification_counts_losing_sessions():
    # the same shortfalls over the two sessions that have one
    rules = QUANTA.changed(
        scoring__risk_free_rate=0.0, scoring__downside_over="below_target"
    ).scoring
    returns = np.array([0.03, -0.01, 0.0, -0.02])
    assert downside_deviation(returns, rules) == exactly(0.01 * np.sqrt(5 / 2) * np.sqrt(252))


def test_downside_deviation_measures_from_the_risk_free_rate():
    # a session without return falls short by the daily rate
    assert downside_deviation(np.zeros(5)) == exactly(DAILY_RATE * np.sqrt(252))


def test_drawdown_is_measured_from_the_highest_level():
    # levels 1.10, 0.88, 0.924: 1 - 0.88 / 1.10
    assert max_drawdown(np.array([0.10, -0.20, 0.05])) == exactly(0.20)


def test_a_loss_in_the_first_session_is_a_drawdown():
    returns = np.array([-0.5, 0.001, 0.001])
    assert max_drawdown(returns) == exactly(0.5)
    assert drawdown_duration(returns) == 3


def test_the_specification_does_not_see_the_first_session():
    returns = np.array([-0.5, 0.001, 0.001])
    assert max_drawdown(returns, SPEC.scoring) == 0.0
    assert drawdown_duration(returns, SPEC.scoring) == 0


def test_duration_is_the_longest_run_under_water():
    # levels 1.1, 0.99, 1.089 (under), 1.198, 1.078 (under): runs of 2 and 1
    assert drawdown_duration(np.array([0.1, -0.1, 0.1, 0.1, -0.1])) == 2


def test_sharpe_is_excess_return_per_deviation():
    # mean 2 %, deviation sqrt(1 + 1) percent over n - 1 = 1
    expected = 0.02 / (0.01 * np.sqrt(2)) * np.sqrt(252)
    assert sharpe_ratio(np.array([0.01, 0.03]), PLAIN) == exactly(expected)


def test_returns_that_do_not_vary_have_no_sharpe_ratio():
    # 0.1 is no binary fraction: its mean over 7 sessions is off by a rounding error
    assert np.isnan(sharpe_ratio(np.full(7, 0.1)))


def test_sortino_and_calmar_divide_the_annualised_return():
    # 1.1 x 0.9 x 1.1 = 1.089; shortfall sqrt(0.01 / 4) x sqrt(4) = 0.1; drawdown 0.1
    returns = np.array([0.10, -0.10, 0.10, 0.0])
    assert sortino_ratio(returns, SHORT_YEAR) == exactly(0.89)
    assert calmar_ratio(returns, SHORT_YEAR) == exactly(0.89)


def test_sortino_subtracts_the_yearly_rate():
    # a year that returns 5 % evenly: only the floored denominator is left under zero
    rules = QUANTA.changed(scoring__trading_days_per_year=4).scoring
    assert sortino_ratio(np.full(4, 1.05 ** (1 / 4) - 1), rules) == pytest.approx(0.0, abs=1e-10)


def test_ratios_without_risk_reach_the_cap():
    assert sortino_ratio(np.full(7, 0.01)) == 10.0
    assert calmar_ratio(np.full(7, 0.01)) == 10.0


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        (0.5, 0.25, 2.0),
        (-5.0, 0.1, -10.0),  # -50
        (0.0005, 0.0, 5.0),  # 0.0005 / 0.0001
        (0.0, 0.0, 0.0),
    ],
)
def test_ratios_are_floored_and_clipped(numerator, denominator, expected):
    assert bounded_ratio(np.float64(numerator), np.float64(denominator)) == exactly(expected)


@pytest.mark.parametrize(
    ("denominator", "expected"),
    [
        (0.00009, 10.0),  # under the floor: the cap, whatever the return
        (0.0001, 5000.0),  # at the floor: 0.5 / 0.0001
        (0.01, 50.0),
    ],
)
def test_the_specification_bounds_a_ratio_under_the_floor_alone(denominator, expected):
    assert bounded_ratio(np.float64(0.5), np.float64(denominator), SPEC.scoring) == exactly(
        expected
    )


def test_the_specification_divides_a_year_without_losses_by_the_floor():
    # 1.1 ** 4 - 1 = 0.4641 over 0.0001
    rules = SPEC.changed(scoring__risk_free_rate=0.0, scoring__trading_days_per_year=4).scoring
    assert sortino_ratio(np.full(4, 0.1), rules) == exactly(4641.0)


def test_a_total_loss_is_measured():
    returns = np.array([0.01, -1.0, 0.5, 0.01])
    assert total_return(returns) == -1.0
    assert annualised_return(returns) == -1.0
    assert max_drawdown(returns) == 1.0
    assert drawdown_duration(returns) == 3
    assert calmar_ratio(returns) == -1.0


@pytest.mark.parametrize("rules", [QUANTA.scoring, SPEC.scoring])
def test_a_total_loss_in_the_first_session_is_a_drawdown_of_everything(rules):
    assert max_drawdown(np.array([-1.0, 0.1, 0.1]), rules) == 1.0


def test_ratio_scores_are_logistic():
    # one half at the midpoint 1; 0.5 x (3 - 1) = 1 and 0.3 x (3 - 1) = 0.6 above it
    assert sortino_score(np.array([1.0, 3.0])) == exactly([0.5, 1 / (1 + np.exp(-1.0))])
    assert calmar_score(np.array([1.0, 3.0])) == exactly([0.5, 1 / (1 + np.exp(-0.6))])


def test_ratio_scores_reach_their_limits_without_overflow():
    extreme = np.array([-1e300, -1e4, 1e4, 1e300])
    np.testing.assert_array_equal(sortino_score(extreme), [0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(calmar_score(extreme), [0.0, 0.0, 1.0, 1.0])


def test_drawdown_and_turnover_scores_fall_linearly():
    assert drawdown_score(np.array([0.0, 0.025, 0.10, 0.5])) == exactly([1.0, 0.75, 0.0, 0.0])
    assert turnover_score(np.array([0.0, 0.25, 1.0])) == exactly([1.0, 0.75, 0.0])


def test_the_horizon_score_weighs_four_scores():
    # ratios 0.89 both, drawdown 0.1 scores 0, turnover 0.4 scores 0.6
    measured = measure(np.array([[0.10, -0.10, 0.10, 0.0]]), np.array([0.4]), SHORT_YEAR)
    sortino, calmar = 1 / (1 + np.exp(-0.5 * -0.11)), 1 / (1 + np.exp(-0.3 * -0.11))
    assert measured.horizon_score == exactly([0.35 * sortino + 0.25 * calmar + 0.15 * 0.6])


def test_the_specification_reports_no_sharpe_ratio():
    measured = measure(np.array([[0.01, 0.02]]), np.zeros(1), SPEC.scoring)
    assert np.isnan(measured.sharpe_ratio).all()


def test_the_specifications_sample_has_this_sharpe_ratio():
    sample = np.random.RandomState(42).normal(0.001, 0.02, 90)
    assert sharpe_ratio(sample[-30:], SPEC.scoring) == pytest.approx(0.86595593, abs=5e-9)


@pytest.mark.parametrize("name", [measure_.__name__ for measure_ in MEASURES])
def test_all_at_once_is_each_alone(name):
    returns = np.random.default_rng(1).normal(0.0, 0.02, (20, 30))
    together = getattr(measure(returns, np.zeros(20)), name)
    np.testing.assert_array_equal(together, getattr(metrics, name)(returns))


@given(series, st.permutations(range(3)))
def test_a_series_is_measured_by_itself(returns, others):
    turnover = np.array([0.0, 0.5, 1.0])
    together, moved = measure(returns, turnover), measure(returns[others], turnover[others])
    alone = measure(returns[:1], turnover[:1])
    for field in fields(together):
        found = getattr(together, field.name)
        np.testing.assert_array_equal(found[others], getattr(moved, field.name))
        np.testing.assert_array_equal(found[:1], getattr(alone, field.name))


@given(series)
def test_every_measure_of_valid_returns_is_a_number(returns):
    measured = measure(returns, np.zeros(3))
    for field in fields(measured):
        if field.name != "sharpe_ratio":
            assert np.isfinite(getattr(measured, field.name)).all(), field.name
    assert ((measured.horizon_score >= 0.0) & (measured.horizon_score <= 1.0)).all()


@pytest.mark.parametrize("measure_", MEASURES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0001, 10.5])
def test_what_is_no_return_is_refused_by_its_place(measure_, bad):
    returns = np.zeros((2, 5))
    returns[1, 3:] = bad
    with pytest.raises(InvalidReturns, match=r"returns\[1, 3\] is "):
        measure_(returns)


def test_a_measure_says_how_many_sessions_it_needs():
    with pytest.raises(NotEnoughHistory, match="2 sessions are needed, got 1"):
        volatility(np.array([0.01]))
    with pytest.raises(NotEnoughHistory, match="1 sessions are needed, got 0"):
        total_return(np.array([]))


def test_the_layout_of_memory_changes_no_bit():
    returns = np.random.default_rng(2).normal(0.0, 0.02, (50, 90))
    np.testing.assert_array_equal(
        volatility(returns), volatility(np.asfortranarray(returns)), strict=True
    )


# Against empyrical-reloaded, on the recorded closes of 20 stocks


def recorded_returns():
    vendor = RecordedVendor()
    seen = vendor.observe(vendor.tickers(), dt.date(2018, 1, 1), dt.date(2022, 12, 31))
    closes = seen.pivot(index="ticker", columns="session", values="close").to_numpy()
    return closes[:, 1:] / closes[:, :-1] - 1.0


@pytest.fixture(scope="module", params=[7, 30, 90, 1256])
def recorded(request):
    """All windows of a length that do not overlap, series by sessions."""
    returns = recorded_returns()
    n = returns.shape[1] // request.param * request.param
    return returns[:, :n].reshape(-1, request.param)


def agrees(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_total_return_agrees_with_empyrical(recorded):
    agrees(total_return(recorded), empyrical.cum_returns_final(recorded.T))


def test_annualised_return_agrees_with_empyrical(recorded):
    agrees(1 + annualised_return(recorded), 1 + empyrical.annual_return(recorded.T))


def test_volatility_agrees_with_empyrical(recorded):
    agrees(volatility(recorded), empyrical.annual_volatility(recorded.T))


def test_drawdown_is_the_negative_of_empyricals(recorded):
    agrees(max_drawdown(recorded), -empyrical.max_drawdown(recorded.T))


def test_sharpe_agrees_with_empyrical(recorded):
    agrees(sharpe_ratio(recorded), empyrical.sharpe_ratio(recorded.T, risk_free=DAILY_RATE))


def test_downside_deviation_agrees_with_empyrical(recorded):
    expected = empyrical.downside_risk(recorded.T, required_return=DAILY_RATE)
    agrees(downside_deviation(recorded), expected)


def test_calmar_agrees_with_empyrical_inside_its_bounds(recorded):
    expected = np.array([empyrical.calmar_ratio(row) for row in recorded])
    inside = np.abs(expected) < 10.0
    assert inside.any()
    ours, theirs = calmar_ratio(recorded)[inside], expected[inside]
    np.testing.assert_allclose(ours, theirs, rtol=1e-11)
    # 1e-12 of the year's growth; a return near zero has lost digits to its own subtraction of 1
    fall = max_drawdown(recorded)[inside]
    agrees(1 + ours * fall, 1 + theirs * fall)
    assert (np.abs(calmar_ratio(recorded)[~inside]) == 10.0).all()


def test_sortino_agrees_with_empyrical_on_mean_returns(recorded):
    # empyrical annualises the mean excess return, which here is Sharpe times volatility
    lossy = recorded[(recorded < DAILY_RATE).any(axis=1)]
    arithmetic = sharpe_ratio(lossy) * volatility(lossy) / downside_deviation(lossy)
    expected = empyrical.sortino_ratio(lossy.T, required_return=DAILY_RATE)
    agrees(arithmetic, expected)


def test_sortino_differs_from_empyrical_in_its_numerator():
    # compounded growth less 5 % a year instead of 252 mean excess returns
    returns = recorded_returns()
    ours = sortino_ratio(returns) * downside_deviation(returns)
    agrees(ours, empyrical.annual_return(returns.T) - 0.05)
    mean = np.mean(returns - DAILY_RATE, axis=1) * 252
    assert np.abs(ours - mean).min() > 1e-3


def test_a_series_without_drawdown_has_a_calmar_ratio_here_and_none_in_empyrical():
    assert np.isnan(empyrical.calmar_ratio(np.full(7, 0.01)))
    assert calmar_ratio(np.full(7, 0.01)) == 10.0
