"""Variance, clusters, stake and identity, collusion of validators, slashing and cases."""

import datetime as dt
import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity import (
    CaseState,
    agreements,
    below_least_stake,
    case_state,
    cluster_evidence,
    clusters,
    collusion_evidence,
    deviations,
    forfeits,
    identity_score,
    least_stake_rao,
    offence_numbers,
    percentile_average,
    require_before_opening,
    slash,
    variance_factor,
    variance_flag,
    variance_ratio,
    winsorised_variance,
)
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.portfolio import RAO

seeds = st.integers(0, 2**32 - 1)
SIGNS = np.tile([1.0, -1.0], 15)

# Variance


def test_a_variance_of_thirty_sessions():
    # 15 returns of +1 %, 15 of -1 %: 30 x 0.0001 / 29
    assert winsorised_variance(0.01 * SIGNS[None]) == pytest.approx([0.003 / 29])


def test_one_jump_is_cut_to_four_deviations():
    # median 0, MAD 1 %: a jump of 50 % counts as 4 %; the mean is (0.04 - 0.01) / 30 = 0.1 %
    returns = np.concatenate([0.01 * SIGNS[:-1], [0.50]])[None]
    middle = np.median(returns)
    assert middle == 0.01  # 15 of +1 %, 14 of -1 % and the jump
    # |r - 1 %| is 0 for 15 returns, 2 % for 14 and 49 % for one: its median is the mean of 0 and 2
    # MAD 1 %, so the jump counts as 1 % + 4 x 1 % = 5 %
    clipped = np.concatenate([0.01 * SIGNS[:-1], [0.05]])
    assert winsorised_variance(returns) == pytest.approx([clipped.var(ddof=1)])


def test_a_series_that_mostly_stands_still_is_not_cut():
    returns = np.zeros((1, 30))
    returns[0, 7] = 0.30
    assert winsorised_variance(returns) == pytest.approx([returns.var(ddof=1)])


def test_the_last_thirty_sessions_have_a_variance_and_fewer_have_none():
    returns = np.concatenate([np.full((2, 5), 0.2), np.tile(0.01 * SIGNS, (2, 1))], axis=1)
    returns[1, :6] = np.nan
    found = winsorised_variance(returns)
    assert found[0] == pytest.approx(0.003 / 29)
    assert np.isnan(found[1])
    assert np.isnan(winsorised_variance(returns[:, :29])).all()


def test_the_ratio_is_to_the_median_of_all():
    # variances in the proportion 1 : 4 : 9, the median is 4
    returns = np.array([[1.0], [2.0], [3.0]]) * 0.01 * SIGNS
    assert variance_ratio(returns).tolist() == [0.25, 1.0, 2.25]
    young = np.vstack([returns, np.where(np.arange(30) == 0, np.nan, SIGNS)])
    np.testing.assert_array_equal(variance_ratio(young), [0.25, 1.0, 2.25, np.nan])


def test_where_most_do_not_move_there_is_no_ratio():
    assert np.isnan(variance_ratio(np.array([0.01, 0.0, 0.0])[:, None] * SIGNS)).all()
    assert variance_ratio(np.zeros((0, 30))).size == 0


def test_three_times_the_median_is_the_limit():
    # 3 / 6 = 0.5, 3 / 4.5 = 2 / 3
    found = variance_factor(np.array([0.2, 2.9, 3.0, 4.5, 6.0, np.nan]))
    np.testing.assert_array_equal(found, [1.0, 1.0, 1.0, 0.666666667, 0.5, np.nan])


def test_two_high_epochs_in_a_row_are_flagged():
    ratios = np.array([[3.1, 3.0], [3.1, 2.9], [2.9, 3.1], [np.nan, 3.1], [3.0, 3.0]])
    assert variance_flag(ratios).tolist() == [True, False, False, False, True]
    assert variance_flag(ratios[:, 1:]).tolist() == [False] * 5
    assert variance_flag(np.column_stack([ratios, ratios[:, 0]])).tolist()[2:4] == [False, False]


@settings(deadline=None)
@given(seeds)
def test_variance_ratios_do_not_depend_on_order_or_scale(seed):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0, 0.01, (9, 30)) * rng.random((9, 1))
    moved = rng.permutation(9)
    found = variance_ratio(returns)
    np.testing.assert_array_equal(variance_ratio(returns[moved]), found[moved])
    np.testing.assert_allclose(variance_ratio(7.0 * returns), found, rtol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda: winsorised_variance(np.zeros(30)),
        lambda: winsorised_variance(np.array([[0.1, np.nan, 0.1]])),
        lambda: variance_flag(np.zeros(3)),
        lambda: percentile_average(np.zeros(3)),
    ],
)
def test_shapes_and_gaps_are_refused(call):
    with pytest.raises(InvalidIntegrityInput):
        call()


# Clusters

HOTKEYS = ["h0", "h1", "h2", "h3", "h4", "h5"]


def unlike(rows, seed=8):
    """Rows that are orthogonal to each other and to a constant."""
    noise = np.random.default_rng(seed).normal(size=(31, rows))
    noise[:, 0] = 1.0
    basis = np.linalg.qr(np.column_stack([np.ones(30), noise[:30]]))[0]
    return basis.T[1 : rows + 1] * 0.01


def test_one_coldkey_or_one_movement_is_one_hand():
    rows = unlike(6)
    rows[3] = 2.0 * rows[1]  # h1 = h3 by correlation
    coldkeys = ["c0", "c1", "c0", "c3", "c4", "c3"]  # h0 = h2, h3 = h5
    committed = np.array([5, 4, 3, 2, 1, 6])
    found = clusters(rows, coldkeys, committed, HOTKEYS)
    assert found.cluster.tolist() == [0, 1, 0, 1, 2, 1]
    assert found.size.tolist() == [2, 3, 2, 3, 1, 3]
    assert found.holds_position.tolist() == [False, False, True, True, True, False]
    assert found.same_coldkey.tolist() == [True, False, True, True, False, True]
    assert found.strongest.tolist() == [-1, 3, -1, 1, -1, -1]
    np.testing.assert_array_equal(found.correlation, [np.nan, 1, np.nan, 1, np.nan, np.nan])
    assert len(found.opposites) == 0


def test_the_evidence_names_every_link_of_a_member():
    rows = unlike(6)
    rows[3] = 2.0 * rows[1]
    coldkeys = ["c0", "c1", "c0", "c3", "c4", "c3"]
    found = clusters(rows, coldkeys, np.array([5, 4, 3, 2, 1, 6]), HOTKEYS)
    sessions = pd.bdate_range("2025-10-06", periods=30)
    table = cluster_evidence(found, HOTKEYS, coldkeys, list(sessions))
    links = table[["hotkey", "cluster_holder", "cluster_size", "link", "other"]]
    assert links.to_numpy().tolist() == [
        ["h0", "h2", 2, "coldkey", "c0"],
        ["h1", "h3", 3, "correlation", "h3"],
        ["h2", "h2", 2, "coldkey", "c0"],
        ["h3", "h3", 3, "coldkey", "c3"],
        ["h3", "h3", 3, "correlation", "h1"],
        ["h5", "h3", 3, "coldkey", "c3"],
    ]
    alike = table[table["link"] == "correlation"]
    assert alike["correlation"].tolist() == [1.0, 1.0]
    assert alike["threshold"].tolist() == [0.95, 0.95]
    assert set(alike["first_session"]) == {sessions[0]}
    assert set(alike["last_session"]) == {sessions[-1]}


def test_nobody_is_a_cluster():
    found = clusters(unlike(3), ["a", "b", "c"], np.array([1, 1, 1]), HOTKEYS[:3])
    assert found.holds_position.all()
    assert cluster_evidence(found, HOTKEYS[:3], ["a", "b", "c"], []).empty
    nobody = clusters(np.zeros((0, 30)), [], np.zeros(0, dtype=np.int64), [])
    assert nobody.cluster.size == 0


def test_a_tie_of_commitments_is_held_by_the_lower_hotkey():
    found = clusters(unlike(3), ["a", "a", "a"], np.array([7, 7, 9]), ["z", "b", "a"])
    assert found.holds_position.tolist() == [False, True, False]


@pytest.mark.parametrize(("correlation", "joined"), [(0.95, True), (0.949, False), (-1.0, False)])
def test_the_threshold_of_a_cluster(correlation, joined):
    one, other = unlike(2)
    pair = np.array([one, correlation * one + math.sqrt(1 - correlation**2) * other])
    found = clusters(pair, ["a", "b"], np.array([1, 2]), HOTKEYS[:2])
    assert (found.size == 2).all() == joined
    assert found.holds_position.tolist() == [True, not joined]


def test_an_opposite_is_a_case_and_no_cluster():
    one, _ = unlike(2)
    found = clusters(np.array([one, -one]), ["a", "b"], np.array([1, 2]), HOTKEYS[:2])
    assert found.size.tolist() == [1, 1]
    assert (found.opposites.first, found.opposites.second) == ([0], [1])
    assert found.opposites.correlation == [-1.0]


def test_thirty_sessions_are_needed_to_be_alike():
    one, _ = unlike(2)
    late = np.where(np.arange(30) == 0, np.nan, one)
    found = clusters(np.array([one, late]), ["a", "b"], np.array([1, 2]), HOTKEYS[:2])
    assert found.size.tolist() == [1, 1]


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_clusters_are_the_components_that_a_search_finds(seed):
    rng = np.random.default_rng(seed)
    themes = rng.normal(0.0, 0.01, (6, 30))
    rows = themes[rng.integers(6, size=25)] + rng.normal(0.0, 0.0025, (25, 30))
    coldkeys = [f"c{at}" for at in rng.integers(40, size=25)]
    hotkeys = [f"h{at:02d}" for at in rng.permutation(25)]
    committed = rng.integers(5, size=25)
    correlation = np.round(np.corrcoef(rows), 9)
    reach = {at: {at} for at in range(25)}
    for i, j in combinations(range(25), 2):
        if correlation[i, j] >= 0.95 or coldkeys[i] == coldkeys[j]:
            merged = reach[i] | reach[j]
            for member in merged:
                reach[member] = merged
    found = clusters(rows, coldkeys, committed, hotkeys)
    for at in range(25):
        assert set(np.flatnonzero(found.cluster == found.cluster[at])) == reach[at]
        first = min(reach[at], key=lambda one: (committed[one], hotkeys[one]))
        assert found.holds_position[at] == (first == at)
    assert found.size.tolist() == [len(reach[at]) for at in range(25)]


def test_inputs_of_clusters_are_of_the_same_miners():
    with pytest.raises(InvalidIntegrityInput, match="2 rows of returns, 1 coldkeys"):
        clusters(unlike(2), ["a"], np.array([1, 2]), HOTKEYS[:2])


def test_clusters_are_fixed_before_an_epoch_opens():
    week = Epoch.parse("2025-Q4-W48")
    require_before_opening(week.previous().sessions, week)
    with pytest.raises(InvalidIntegrityInput, match="up to 2025-11-21, not on 2025-11-24"):
        require_before_opening([dt.date(2025, 11, 24), dt.date(2025, 11, 20)], week)


def test_a_member_forfeits_below_the_lowest_score_outside_the_penalty_band():
    ranked, penalised = np.array([0.9, 0.5, 0.4, 0.1]), np.array([False, False, True, True])
    given_ = np.array([0.5, 0.49, 0.2, 0.49, np.nan])
    member = np.array([True, True, True, False, True])
    found = forfeits(given_, member, ranked, penalised)
    assert found.tolist() == [False, True, True, False, False]
    assert not forfeits(given_, member, ranked[:0], penalised[:0]).any()
    everybody = forfeits(given_, member, ranked[2:], penalised[2:])
    assert everybody.tolist() == [True, True, True, False, False]


# Stake and identity


def test_the_least_stake_is_one_and_a_half_mean_rewards_per_identity():
    # (300 + 100) ALPHA over 10 + 10 ranked identities: 20 each; 1.5 x 20 = 30, for three 90
    rewards = [300 * RAO, 100 * RAO]
    assert least_stake_rao(rewards, [10, 10], [1, 3]) == [30 * RAO, 90 * RAO]


def test_the_least_stake_is_rounded_up_and_never_below_the_minimum_ante():
    # 1.5 x (20 ALPHA + 1 rao) / 3 = 10 ALPHA + 0.5 rao
    assert least_stake_rao([20 * RAO + 1], [3], [1]) == [10 * RAO + 1]
    assert least_stake_rao([20 * RAO - 2], [3], [1]) == [10 * RAO]
    assert least_stake_rao([-500 * RAO], [3], [1, 2]) == [10 * RAO, 10 * RAO]
    assert least_stake_rao([], [], [1]) == [10 * RAO]
    assert least_stake_rao([0], [0], [1]) == [10 * RAO]


def test_only_the_last_thirteen_epochs_count():
    rewards = [10**6 * RAO] + [400 * RAO] * 13
    assert least_stake_rao(rewards, [10] * 14, [1]) == [60 * RAO]


def test_the_least_stake_is_exact_beyond_what_floats_hold():
    assert least_stake_rao([2 * 10**18 + 2], [2], [1]) == [15 * 10**17 + 2]  # + 1.5, rounded up


def test_a_stake_is_compared_in_integers():
    least = 10**18 + 1
    assert below_least_stake([10**18, least, least + 1], [least] * 3).tolist() == [
        True,
        False,
        False,
    ]


def test_an_average_of_percentiles_begins_at_nothing():
    # 0.1 x 1 = 0.1; 0.1 x 0.5 + 0.9 x 0.1 = 0.14
    found = percentile_average(np.array([[1.0, 0.5], [np.nan, 0.5], [np.nan, np.nan]]))
    assert found == pytest.approx([0.14, 0.05, 0.0])


def test_an_identity_is_stake_record_and_tenure():
    # 0.50 x 50 / (10 x 10) + 0.30 x 0.1 x 1 + 0.20 x 45 / 90 = 0.25 + 0.03 + 0.10
    found = identity_score(
        [50 * RAO, 100 * RAO, 500 * RAO, 0],
        [10 * RAO] * 4,
        np.array([[1.0], [0.0], [0.0], [0.0]]),
        np.array([45, 90, 900, 0]),
    )
    assert found.tolist() == [0.38, 0.70, 0.70, 0.0]


def test_a_long_perfect_record_is_worth_one():
    perfect = np.ones((1, 400))
    assert identity_score([RAO], [1], perfect, np.array([365])).tolist() == [1.0]


def test_splitting_an_identity_makes_none_of_its_parts_worth_as_much():
    whole = identity_score([300 * RAO], [30 * RAO], np.ones((1, 8)), np.array([200]))
    least = least_stake_rao([400 * RAO], [20], [5])  # 5 x 30 ALPHA each
    parts = identity_score([60 * RAO] * 5, least * 5, np.ones((5, 8)), np.full(5, 200))
    assert below_least_stake([60 * RAO] * 5, least * 5).all()
    assert (parts < whole).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: least_stake_rao([1], [1, 2], [1]),
        lambda: least_stake_rao([1], [-1], [1]),
        lambda: least_stake_rao([1], [1], [0]),
        lambda: identity_score([-1], [1], np.ones((1, 1)), np.array([1])),
        lambda: identity_score([1], [0], np.ones((1, 1)), np.array([1])),
        lambda: slash(-1, 1),
        lambda: slash(1, 0),
    ],
)
def test_numbers_that_cannot_be_are_refused(call):
    with pytest.raises(InvalidIntegrityInput):
        call()


# Collusion

VALIDATORS = ["v0", "v1", "v2", "v3", "v4", "v5", "v6"]


def honest(rng, validators=7, miners=30, noise=0.02):
    """Rows of shares that differ from the true ones by some noise of each validator's own."""
    truth = rng.dirichlet(np.full(miners, 5.0))
    rows = truth * (1.0 + rng.normal(0.0, noise, (validators, miners)))
    return rows / rows.sum(axis=1, keepdims=True)


def with_pair(rng, push=0.3, **options):
    """The same, where the first two favour the same third of the miners."""
    rows = honest(rng, **options)
    rows[:2] *= np.where(np.arange(rows.shape[1]) % 3 == 0, 1.0 + push, 1.0)
    return rows / rows.sum(axis=1, keepdims=True)


def test_a_deviation_is_from_the_median_of_the_others():
    # shares of the first miner 0.5, 0.4, 0.2: the others' medians are 0.3, 0.35, 0.45
    relative, middle = deviations(np.array([[5.0, 5.0], [4.0, 6.0], [0.2, 0.8]]))
    assert middle[:, 0] == pytest.approx([0.3, 0.35, 0.45])
    assert relative[:, 0] == pytest.approx([0.5 / 0.3 - 1, 0.4 / 0.35 - 1, 0.2 / 0.45 - 1])


def test_where_nobody_else_voted_there_is_no_deviation():
    relative, _ = deviations(np.array([[0.5, 0.5, np.nan], [1.0, np.nan, 0.0], [np.nan] * 3]))
    np.testing.assert_array_equal(np.isnan(relative), [[0, 1, 1], [0, 1, 1], [1, 1, 1]])


def test_a_colluding_pair_agrees_and_honest_ones_do_not():
    rng = np.random.default_rng(11)
    rows = with_pair(rng)
    assert np.corrcoef(rows)[2:, 2:].min() > 0.99  # what raw weights would say of honest ones
    found = agreements(rows, VALIDATORS, epoch_id="2025-Q4-W48")
    assert found[["validator", "other", "miners"]].to_numpy().tolist() == [["v0", "v1", 30]]
    relative, middle = deviations(rows)
    expected = np.corrcoef(relative[:2])[0, 1]
    assert found["correlation"].tolist() == [round(expected, 9)]
    assert expected >= 0.95
    apart = np.abs(rows - middle).sum(axis=1)
    assert found[["deviation", "other_deviation"]].to_numpy()[0] == pytest.approx(apart[:2])
    assert found[["threshold", "deviation_threshold"]].to_numpy().tolist() == [[0.95, 0.01]]


def test_honest_validators_do_not_agree():
    found = [
        agreements(honest(np.random.default_rng(seed)), VALIDATORS, epoch_id="2025-Q4-W48")
        for seed in range(50)
    ]
    assert sum(map(len, found)) == 0


def test_colluders_that_are_half_of_the_others_make_the_honest_look_apart():
    # of five validators two are half of an honest one's four others: no median tells who is right
    rows = with_pair(np.random.default_rng(12), validators=5, noise=0.0)
    found = agreements(rows, VALIDATORS[:5], epoch_id="2025-Q4-W48")
    pairs = set(zip(found["validator"], found["other"], strict=True))
    assert pairs == {("v0", "v1"), ("v2", "v3"), ("v2", "v4"), ("v3", "v4")}


def test_a_pair_that_hardly_deviates_is_left_alone():
    # the same deviations, of 0.3 % in a third of the miners: less than 0.01 in all
    rows = with_pair(np.random.default_rng(12), push=0.003, noise=0.0)
    assert agreements(rows, VALIDATORS, epoch_id="2025-Q4-W48").empty
    near = QUANTA.changed(consensus__collusion_min_deviation=0.0005)
    assert len(agreements(rows, VALIDATORS, epoch_id="2025-Q4-W48", params=near)) == 1


@pytest.mark.parametrize(("miners", "found"), [(7, 0), (8, 1)])
def test_eight_common_miners_are_needed(miners, found):
    rows = with_pair(np.random.default_rng(13), miners=12, noise=0.001)
    rows[1, miners:] = np.nan
    pairs = agreements(rows, VALIDATORS, epoch_id="2025-Q4-W48")
    assert len(pairs) == found


def test_the_order_of_validators_does_not_matter():
    rows = with_pair(np.random.default_rng(14))
    found = agreements(rows, VALIDATORS, epoch_id="2025-Q4-W48")
    moved = [3, 1, 6, 4, 0, 5, 2]
    again = agreements(rows[moved], [VALIDATORS[at] for at in moved], epoch_id="2025-Q4-W48")
    pd.testing.assert_frame_equal(found, again)


def votes_of(agreeing, weeks=6):
    rng = np.random.default_rng(15)
    epochs = [epoch.id for epoch in Epoch.range("2025-Q4-W43", "2025-Q4-W48")][:weeks]
    rows = {
        epoch: with_pair(rng) if week in agreeing else honest(rng)
        for week, epoch in enumerate(epochs)
    }
    return rows, dict.fromkeys(epochs, VALIDATORS)


@pytest.mark.parametrize(
    ("agreeing", "rows"),
    [({1, 3, 5}, 3), ({4, 5}, 0), ({0, 4, 5}, 0), ({0, 1, 2, 3, 4, 5}, 5)],
)
def test_three_of_the_last_five_epochs_open_a_case(agreeing, rows):
    found = collusion_evidence(*votes_of(agreeing))
    assert len(found) == rows
    assert set(found["suspect_epochs"]) <= {rows}
    assert found["epoch_id"].is_monotonic_increasing


def test_votes_that_cannot_be_compared_are_refused():
    with pytest.raises(InvalidIntegrityInput, match="7 rows of weights, 1 validators"):
        agreements(honest(np.random.default_rng(1)), ["v0"], epoch_id="2025-Q4-W48")
    with pytest.raises(InvalidIntegrityInput, match="finite and not negative"):
        deviations(np.array([[-0.1, 1.1]]))


def test_silent_and_single_validators_collude_with_nobody():
    assert agreements(np.zeros((0, 4)), [], epoch_id="2025-Q4-W48").empty
    assert agreements(np.ones((1, 9)), ["v0"], epoch_id="2025-Q4-W48").empty
    assert agreements(np.ones((3, 9)), VALIDATORS[:3], epoch_id="2025-Q4-W48").empty
    assert collusion_evidence({}, {}).empty


# Slashing


def test_each_offence_burns_half_as_much_again():
    # 5 %, 7.5 %, 11.25 %, 16.875 %
    fractions = [slash(10**6 * RAO, n).fraction for n in (1, 2, 3, 4)]
    assert fractions == [Fraction(n, 100_000) for n in (5000, 7500, 11250, 16875)]
    assert slash(1000 * RAO, 2).burned_rao == 75 * RAO
    assert slash(1000 * RAO, 2).remaining_rao == 925 * RAO


def test_the_ninth_offence_burns_everything():
    # 0.05 x 1.5^7 = 0.854, 0.05 x 1.5^8 = 1.28
    assert slash(1000 * RAO, 8).fraction == Fraction(5, 100) * Fraction(3, 2) ** 7
    assert slash(1000 * RAO + 7, 9).remaining_rao == 0


def test_a_burn_is_rounded_down_to_a_rao():
    assert [slash(stake, 1).burned_rao for stake in (0, 19, 20, 39, 40)] == [0, 0, 1, 1, 2]
    assert slash(10**18 + 19, 1).burned_rao == 5 * 10**16


@settings(deadline=None)
@given(st.integers(0, 10**19), st.integers(1, 12))
def test_a_slash_neither_makes_nor_loses_a_rao(stake, number):
    found = slash(stake, number)
    assert 0 <= found.burned_rao <= stake
    assert found.burned_rao + found.remaining_rao == stake
    assert 0 <= found.fraction * stake - found.burned_rao < 1


@pytest.mark.parametrize(
    ("days", "numbers"),
    [
        ([0, 10, 20], [1, 2, 3]),
        ([0, 89], [1, 2]),
        ([0, 90], [1, 1]),  # 90 clean days forget one
        ([0, 10, 100], [1, 2, 2]),
        ([0, 10, 189], [1, 2, 2]),  # 179 clean days forget one, the other is 179 days old
        ([0, 10, 190], [1, 2, 1]),  # 180 forget two
        ([0, 60, 120, 180], [1, 2, 3, 4]),  # the first is just in the window
        ([0, 60, 120, 181], [1, 2, 3, 3]),
    ],
)
def test_offences_add_up_while_they_are_recent(days, numbers):
    start = dt.datetime(2025, 1, 1, 12, tzinfo=dt.UTC)
    assert offence_numbers([start + dt.timedelta(days=day) for day in days]) == numbers


def test_times_of_offences_are_aware_and_in_order():
    now = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    assert offence_numbers([]) == []
    with pytest.raises(InvalidIntegrityInput, match="oldest first"):
        offence_numbers([now, now - dt.timedelta(seconds=1)])
    with pytest.raises(InvalidIntegrityInput, match="no time zone"):
        offence_numbers([now.replace(tzinfo=None)])


# Cases


@pytest.mark.parametrize(
    ("decided", "confirmed", "after", "state"),
    [
        (None, False, 0, CaseState.OPEN),
        (None, True, 14, CaseState.OPEN),
        (None, False, 14.001, CaseState.LAPSED),
        (3, True, 2, CaseState.OPEN),  # as it was before the decision
        (3, True, 3, CaseState.CONFIRMED),
        (14, True, 40, CaseState.CONFIRMED),
        (3, False, 40, CaseState.DISMISSED),
    ],
)
def test_a_case_is_decided_within_fourteen_days_or_lapses(decided, confirmed, after, state):
    opened = dt.datetime(2025, 11, 1, tzinfo=dt.UTC)
    at = None if decided is None else opened + dt.timedelta(days=decided)
    now = opened + dt.timedelta(days=after)
    assert case_state(opened, at, confirmed=confirmed, now=now) is state


@pytest.mark.parametrize("days", [-1, 14.001])
def test_a_decision_outside_the_time_is_refused(days):
    opened = dt.datetime(2025, 11, 1, tzinfo=dt.UTC)
    decided = opened + dt.timedelta(days=days)
    with pytest.raises(InvalidIntegrityInput, match="is decided until 2025-11-15"):
        case_state(opened, decided, confirmed=True, now=opened + dt.timedelta(days=30))
