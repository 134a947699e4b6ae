"""Active returns, and the search for pairs that are alike, beside plain loops over all pairs."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity import (
    active_returns,
    correlated_pairs,
    overlapping_blocks,
)
from quanta_pipelines.protocol.integrity.similarity import collected, correlated_blocks

# Orthogonal to each other and to a constant, over any multiple of eight sessions
ONE = np.tile([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0], 2)
TWO = np.tile([1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0], 2)
THREE = np.tile([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0], 2)
seeds = st.integers(0, 2**32 - 1)


def by_lstsq(returns, *regressors):
    """The residual as numpy's least squares has it, over the whole row."""
    design = np.column_stack([np.ones(len(returns)), *regressors])
    return returns - design @ np.linalg.lstsq(design, returns, rcond=1e-10)[0]


def market(rng, sessions=30):
    index = rng.normal(0.0005, 0.01, sessions)
    return index, 0.9 * index + rng.normal(0.0, 0.003, sessions)


# Active returns


def test_what_the_market_explains_is_taken_out():
    # 0.2 % + 0.8 x benchmark + 0.3 x universe + 0.4 % of its own
    benchmark, universe = 0.01 * ONE, 0.01 * TWO
    returns = 0.002 + 0.8 * benchmark + 0.3 * universe + 0.004 * THREE
    found = active_returns(returns[None], benchmark, universe)
    np.testing.assert_allclose(found.values[0], 0.004 * THREE, atol=1e-17)
    assert found.reasons.tolist() == [""]


@settings(deadline=None)
@given(seeds)
def test_active_returns_are_the_residuals_of_least_squares(seed):
    rng = np.random.default_rng(seed)
    benchmark, universe = market(rng)
    returns = rng.normal(0.0, 0.02, (3, 30)) + benchmark
    found = active_returns(returns, benchmark, universe).values
    for row, expected in zip(found, returns, strict=True):
        np.testing.assert_allclose(row, by_lstsq(expected, benchmark, universe), atol=1e-14)


@pytest.mark.parametrize("universe_of", [lambda b: b, lambda b: 0.5 * b + 0.001, lambda b: 0 * b])
def test_a_regressor_that_adds_nothing_is_harmless(universe_of):
    rng = np.random.default_rng(1)
    benchmark = rng.normal(0.0, 0.01, 30)
    returns = rng.normal(0.0, 0.02, (1, 30))
    alone = by_lstsq(returns[0], benchmark)
    for pair in ((benchmark, universe_of(benchmark)), (universe_of(benchmark), benchmark)):
        np.testing.assert_allclose(active_returns(returns, *pair).values[0], alone, atol=1e-14)


def test_who_holds_the_market_has_no_active_return():
    rng = np.random.default_rng(2)
    benchmark, universe = market(rng)
    holders = np.array([benchmark, universe, 0.5 * benchmark + 0.5 * universe, 0.0 * benchmark])
    assert (active_returns(holders, benchmark, universe).values == 0.0).all()
    assert (active_returns(np.round(holders, 9), benchmark, universe).values == 0.0).all()


def test_each_row_is_regressed_over_its_own_sessions():
    rng = np.random.default_rng(3)
    benchmark, universe = market(rng)
    returns = rng.normal(0.0, 0.02, (3, 30))
    returns[1, :18], returns[2, :21] = np.nan, np.nan  # 12 and 9 sessions
    found = active_returns(returns, benchmark, universe)
    expected = by_lstsq(returns[1, 18:], benchmark[18:], universe[18:])
    np.testing.assert_allclose(found.values[1, 18:], expected, atol=1e-14)
    assert np.isnan(found.values[1, :18]).all()
    assert np.isnan(found.values[2]).all()
    assert found.reasons.tolist() == ["", "", "9 common sessions, active returns need 10"]
    assert found.sessions.tolist() == [30, 12, 0]


def test_the_last_thirty_common_sessions_count():
    rng = np.random.default_rng(4)
    benchmark, universe = market(rng, 40)
    benchmark[35], universe[38] = np.nan, np.nan
    returns = rng.normal(0.0, 0.02, (1, 40))
    found = active_returns(returns, benchmark, universe)
    assert found.columns.tolist() == [*range(8, 35), 36, 37, 39]
    chosen = found.columns
    expected = by_lstsq(returns[0, chosen], benchmark[chosen], universe[chosen])
    np.testing.assert_allclose(found.values[0], expected, atol=1e-14)


@settings(deadline=None)
@given(seeds)
def test_no_other_miner_moves_a_bit_of_an_active_return(seed):
    rng = np.random.default_rng(seed)
    benchmark, universe = market(rng)
    returns = rng.normal(0.0, 0.02, (7, 30))
    returns[3, :15] = np.nan
    together = active_returns(returns, benchmark, universe).values
    for row in range(7):
        alone = active_returns(returns[[row]], benchmark, universe).values
        assert alone[0].tobytes() == together[row].tobytes()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r, b, u: (r[0], b, u), r"not \(30,\), \(30,\) and \(30,\)"),
        (lambda r, b, u: (r, b[1:], u), r"not \(3, 30\), \(29,\) and \(30,\)"),
        (lambda r, b, u: (r, b + np.inf, u), "benchmark or the universe is infinite"),
        (lambda r, b, u: (np.where(r == r[1, 4], np.nan, r), b, u), r"returns\[1, 4\] is nan"),
        (lambda r, b, u: (np.where(r == r[2, 0], np.inf, r), b, u), r"returns\[2, 0\] is inf"),
    ],
)
def test_what_is_no_history_is_refused(spoil, words):
    rng = np.random.default_rng(5)
    benchmark, universe = market(rng)
    with pytest.raises(InvalidIntegrityInput, match=words):
        active_returns(*spoil(rng.normal(0.0, 0.02, (3, 30)), benchmark, universe))


# Correlated pairs


def all_correlations(active, least=10):
    """Every pair's correlation over its common sessions, one pair at a time."""
    found = {}
    for i, j in combinations(range(len(active)), 2):
        both = ~np.isnan(active[i]) & ~np.isnan(active[j])
        if both.sum() >= least and active[i, both].std() > 0 and active[j, both].std() > 0:
            found[i, j] = np.corrcoef(active[i, both], active[j, both])[0, 1]
    return found


def crowd(rng, miners=40, sessions=30):
    """Miners around a few themes, some with short histories, some that do not vary."""
    themes = rng.normal(0.0, 0.01, (4, sessions))
    active = themes[rng.integers(4, size=miners)] * rng.choice([-1.0, 1.0], (miners, 1))
    active = active + rng.normal(0.0, 0.004, (miners, sessions)) * rng.random((miners, 1))
    for row in rng.choice(miners, 12, replace=False):
        active[row, : rng.integers(1, sessions)] = np.nan
    active[0], active[1] = 0.0, 0.003
    return active


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_pairs_found_are_those_of_a_loop_over_all(seed):
    active = crowd(np.random.default_rng(seed))
    found = correlated_pairs(active, above=0.70, below=-0.95)
    expected = {
        pair: value
        for pair, value in all_correlations(active).items()
        if round(value, 9) >= 0.70 or round(value, 9) <= -0.95
    }
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == sorted(expected)
    np.testing.assert_allclose(
        found.correlation, [expected[pair] for pair in sorted(expected)], atol=2e-9
    )


@pytest.mark.parametrize("block", [1, 7, 16, 1024])
def test_the_bytes_do_not_depend_on_the_size_of_a_block(block):
    active = crowd(np.random.default_rng(6), miners=60)
    blocks = correlated_blocks(active, above=0.70, below=-0.95, block=block)
    found, whole = collected(blocks), correlated_pairs(active, above=0.70, below=-0.95)
    assert len(found) > 20
    assert (found.correlation < 0).any()
    for one, other in zip(
        (found.first, found.second, found.correlation),
        (whole.first, whole.second, whole.correlation),
        strict=True,
    ):
        assert one.tobytes() == other.tobytes()


def test_a_correlation_is_rounded_before_it_is_compared():
    # 0.7 x ONE + sqrt(0.51) x TWO correlates with ONE by exactly 0.7, whatever the last bits say
    pair = np.array([ONE, 0.7 * ONE + np.sqrt(0.51) * TWO])
    assert correlated_pairs(pair, above=0.7).correlation.tolist() == [0.7]
    assert len(correlated_pairs(pair, above=0.700000001)) == 0
    assert correlated_pairs(pair * [[1.0], [-1.0]], above=0.9, below=-0.7).correlation == [-0.7]


def test_short_histories_are_compared_over_the_sessions_that_both_have():
    late = ONE.copy()
    late[:4] = np.nan
    early = np.where(np.arange(16) < 4, 9.0 * TWO, ONE)  # unlike, before the other began
    assert correlated_pairs(np.array([early, late]), above=0.99).correlation.tolist() == [1.0]
    late[:7] = np.nan
    assert len(correlated_pairs(np.array([early, late]), above=0.99)) == 0  # 9 sessions
    assert len(correlated_pairs(np.array([early, late]), above=0.99, least_sessions=9)) == 1


def test_a_constant_series_correlates_with_nobody():
    flat = np.array([np.zeros(16), np.full(16, 0.01), np.full(16, 0.01), ONE])
    assert len(correlated_pairs(flat, above=0.0001, below=-0.0001)) == 0


def test_the_same_sign_is_one_pair_and_the_opposite_another():
    found = correlated_pairs(np.array([ONE, TWO, -ONE, 2.0 * TWO]), above=0.95, below=-0.95)
    assert list(zip(found.first, found.second, found.correlation, strict=True)) == [
        (0, 2, -1.0),
        (1, 3, 1.0),
    ]


@pytest.mark.parametrize("bad", [np.zeros(5), np.array([[0.1, np.nan]]), np.array([[np.inf, 0.0]])])
def test_what_is_no_active_return_is_refused(bad):
    with pytest.raises(InvalidIntegrityInput, match="active"):
        correlated_pairs(bad, above=0.7)


# Overlapping tickers


def holdings(rng, miners, tickers=40):
    """Random sets of tickers, some of them nearly another's, some empty."""
    sets = [set(rng.choice(tickers, rng.integers(0, 31), replace=False)) for _ in range(miners)]
    for row in range(1, miners, 3):
        sets[row] = (sets[row - 1] - set(list(sets[row - 1])[:1])) | {int(rng.integers(tickers))}
    dense = np.array([[ticker in held for ticker in range(tickers)] for held in sets])
    return sets, sparse.csr_array(dense.astype(np.int32))


def found_in(blocks):
    """All of all parts, by rows; a pair that came twice would be here twice."""
    return sorted(
        (int(i), int(j), int(count)) for block in blocks for i, j, count in zip(*block, strict=True)
    )


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_overlaps_are_those_of_a_loop_over_all_sets(seed):
    rng = np.random.default_rng(seed)
    (now, later), (then, earlier) = holdings(rng, 20), holdings(rng, 20)
    now[4], then[9] = {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5, 6, 7}
    later, earlier = later.tolil(), earlier.tolil()
    later[4], earlier[9] = 0, 0
    later[4, [1, 2, 3, 4, 5]], earlier[9, [1, 2, 3, 4, 5, 6, 7]] = 1, 1
    later, earlier = sparse.csr_array(later), sparse.csr_array(earlier)
    expected = [
        (i, j, len(now[i] & then[j]))
        for i in range(20)
        for j in range(20)
        if i != j and now[i] and then[j]
        if 10 * len(now[i] & then[j]) >= 9 * min(len(now[i]), len(then[j]))
    ]
    assert (4, 9, 5) in expected
    assert found_in(overlapping_blocks(later, earlier)) == expected


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 200), st.integers(1, 400))
def test_overlaps_within_one_epoch_come_once_in_blocks_of_any_size(seed, cells, bundle):
    sets, matrix = holdings(np.random.default_rng(seed), 20)
    expected = [
        (i, j, len(sets[i] & sets[j]))
        for i, j in combinations(range(20), 2)
        if sets[i] and sets[j]
        if 10 * len(sets[i] & sets[j]) >= 9 * min(len(sets[i]), len(sets[j]))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quanta_pipelines.protocol.integrity.overlap.CELLS", cells)
        patch.setattr("quanta_pipelines.protocol.integrity.overlap.BUNDLE", bundle)
        assert found_in(overlapping_blocks(matrix, matrix)) == expected


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(1, 400))
def test_what_somebody_held_lately_is_compared_at_the_size_of_one_portfolio(seed, bundle):
    rng = np.random.default_rng(seed)
    (now, later), (first, _), (second, _) = (holdings(rng, 20) for _ in range(3))
    union = [one | other for one, other in zip(first, second, strict=True)]
    sizes = [min(map(len, pair)) for pair in zip(first, second, strict=True)]
    dense = np.array([[ticker in held for ticker in range(40)] for held in union])
    expected = [
        (i, j, len(now[i] & union[j]))
        for i in range(20)
        for j in range(20)
        if i != j and now[i] and sizes[j]
        if 10 * len(now[i] & union[j]) >= 9 * min(len(now[i]), sizes[j])
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quanta_pipelines.protocol.integrity.overlap.BUNDLE", bundle)
        found = overlapping_blocks(
            later, sparse.csr_array(dense.astype(np.int32)), earlier_sizes=np.array(sizes)
        )
        assert found_in(found) == expected


def test_twenty_seven_of_thirty_names_are_an_overlap():
    # 27 / 30 = 0.90 holds, 26 / 30 = 0.867 does not
    names = np.zeros((3, 40), dtype=np.int32)
    names[0, :30], names[1, 3:33], names[2, 4:34] = 1, 1, 1
    matrix = sparse.csr_array(names)
    assert [pair for pair in found_in(overlapping_blocks(matrix, matrix)) if pair[0] == 0] == [
        (0, 1, 27)
    ]


def test_nobody_holds_anything():
    empty = sparse.csr_array((3, 0), dtype=np.int32)
    assert found_in(overlapping_blocks(empty, empty)) == []
