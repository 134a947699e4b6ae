import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.consensus import Consensus
from quanta_pipelines.protocol.consensus import (
    agreement,
    cap_stakes,
    capped_stakes,
    clip,
    consensus_table,
    dispute_flagged,
    divergence,
    median_of_reported,
    penalised_bonds,
    quorum,
    stake_weighted_median,
    u16_weights,
    validator_row,
    weight_units,
    yuma,
)
from quanta_pipelines.protocol.errors import InvalidWeights
from quanta_pipelines.protocol.params import QUANTA

HALF = Fraction(1, 2)


def rows(*weights):
    return np.array(weights, dtype=np.float64)


def by_definition(column, stakes, kappa):
    """max{ w : sum_i S_i [W_i >= w] >= kappa } over exact rationals, for positive total stake."""
    total = sum(stakes)
    return max(
        weight
        for weight, own in zip(column, stakes, strict=True)
        if own > 0
        and sum(s for w, s in zip(column, stakes, strict=True) if w >= weight) >= kappa * total
    )


# The median


def test_two_equal_validators_tie_and_the_higher_weight_wins():
    assert stake_weighted_median(rows([0.6, 0.4], [0.4, 0.6]), [1, 1]).tolist() == [0.6, 0.6]


def test_a_kappa_just_above_one_half_takes_the_lower_weight():
    # 32768/65535 is what one half becomes in u16: the support of 1/2 is 32767.5/65535
    weights = rows([0.6, 0.4], [0.4, 0.6])
    assert stake_weighted_median(weights, [1, 1], Fraction(32768, 65535)).tolist() == [0.4, 0.4]


def test_the_lower_median_takes_the_lower_weight_at_an_exact_tie_only():
    weights = rows([0.6, 0.4], [0.4, 0.6])
    assert stake_weighted_median(weights, [1, 1], median="lower").tolist() == [0.4, 0.4]
    assert stake_weighted_median(weights, [2, 1], median="lower").tolist() == [0.6, 0.4]


def test_the_lower_median_at_kappa_one_is_what_everybody_supports():
    assert stake_weighted_median(rows([0.3], [0.1]), [1, 1], 1, median="lower").tolist() == [0.1]


def test_a_quarter_of_the_stake_cannot_move_the_median():
    # miner 1: 0.5 has 0.75; miner 2: 0.95 has 0.25, 0.5 has all
    weights = rows([0.5, 0.5], [0.5, 0.5], [0.05, 0.95])
    assert stake_weighted_median(weights, [0.40, 0.35, 0.25]).tolist() == [0.5, 0.5]


def test_eight_validators_of_a_tenth_reach_four_fifths():
    # in floats 8 * 0.1 adds up to 0.7999999999999999
    weights = rows(*[[0.2]] * 8, [0.1], [0.1])
    assert sum([0.1] * 8) < 0.8
    assert stake_weighted_median(weights, [0.1] * 10, Fraction(4, 5)).tolist() == [0.2]
    assert stake_weighted_median(weights, np.full(10, 0.1), 0.8).tolist() == [0.2]


@pytest.mark.parametrize(("n", "kappa"), [(6, Fraction(1, 3)), (10, Fraction(4, 5))])
def test_equal_stakes_agree_with_the_definition(n, kappa):
    weights = np.random.default_rng(n).integers(0, 5, size=(n, 200)) / 4
    expected = [by_definition(column, [1] * n, kappa) for column in weights.T.tolist()]
    assert stake_weighted_median(weights, [0.1] * n, kappa).tolist() == expected


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4), st.sampled_from([0, 1, 2, 3, 10**20, Fraction(1, 3), Decimal("0.1")])
        ),
        min_size=1,
        max_size=8,
    ),
    st.fractions(Fraction(1, 50), 1, max_denominator=50),
)
@settings(max_examples=150, deadline=None)
def test_any_stakes_agree_with_the_definition(cells, kappa):
    column = [float(weight) for weight, _ in cells]
    stakes = [Fraction(stake) for _, stake in cells]
    expected = by_definition(column, stakes, kappa) if any(stakes) else 0.0
    found = stake_weighted_median(np.array(column)[:, None], [stake for _, stake in cells], kappa)
    assert found.tolist() == [expected]


def test_a_row_without_stake_is_no_candidate():
    assert stake_weighted_median(rows([0.9], [0.5], [0.1]), [0, 1, 1]).tolist() == [0.5]


def test_no_stake_or_no_validator_agrees_on_zero():
    assert stake_weighted_median(rows([0.6, 0.4]), [0]).tolist() == [0.0, 0.0]
    assert stake_weighted_median(np.zeros((0, 2)), []).tolist() == [0.0, 0.0]
    assert stake_weighted_median(np.zeros((2, 0)), [1, 1]).tolist() == []


def test_huge_stakes_are_compared_exactly():
    # one rao more on one side of 10^30 decides
    big = 10**30
    assert stake_weighted_median(rows([0.6], [0.4]), [big, big]).tolist() == [0.6]
    assert stake_weighted_median(rows([0.6], [0.4]), [big, big + 1]).tolist() == [0.4]


def test_the_median_of_reports_ignores_who_did_not_report():
    reports = rows([0.9, np.nan, np.nan], [0.5, 0.7, np.nan], [np.nan, 0.1, 0.2])
    # miner 1: 3 of 5; miner 2: 2 of 3 for 0.7; miner 3: only a validator without stake
    found = median_of_reported(reports, [3, 2, 1])
    assert found.tolist() == [0.9, 0.7, 0.2]
    assert np.isnan(median_of_reported(reports, [1, 1, 0])[2])
    assert np.isnan(median_of_reported(reports, [0, 0, 0])).all()


@pytest.mark.parametrize("kappa", [0, Fraction(3, 2), -1])
def test_kappa_is_a_share(kappa):
    with pytest.raises(InvalidWeights, match="kappa"):
        stake_weighted_median(rows([1.0]), [1], kappa)


@pytest.mark.parametrize(
    ("weights", "stakes"),
    [
        (rows([1.0]), [1, 1]),
        (rows([-0.1]), [1]),
        (rows([np.nan]), [1]),
        (rows([np.inf]), [1]),
        (rows([1.0]), [-1]),
        (rows([1.0]), [np.nan]),
        (np.ones(3), [1, 1, 1]),
    ],
)
def test_what_is_no_weight_or_no_stake_is_refused(weights, stakes):
    with pytest.raises(InvalidWeights):
        stake_weighted_median(weights, stakes)


def test_lists_of_rows_are_weights_too():
    # a third of the stake supports .5, all of it .4; of the two that report, half supports .6
    found = median_of_reported([[0.5, 0.5], [0.4, 0.6], [0.4, np.nan]], [1, 1, 1])
    assert found.tolist() == [0.4, 0.6]
    assert stake_weighted_median([[0.6, 0.4], [0.4, 0.6]], [1, 1]).tolist() == [0.6, 0.6]
    assert clip([[0.6, 0.4], [0.4, 0.6]], [1, 1]).incentive.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("of", [median_of_reported, stake_weighted_median, clip])
@pytest.mark.parametrize("weights", [[0.5, 0.5], [[0.5, 0.5]], [[[0.5]], [[0.5]]]])
def test_a_matrix_of_another_shape_is_refused_with_the_one_that_is_wanted(of, weights):
    with pytest.raises(InvalidWeights, match=r"\(validators, miners\), one row for each of 2 sta"):
        of(weights, [1, 1])


def test_a_weight_that_is_none_is_named():
    with pytest.raises(InvalidWeights, match=r"not negative, \[1, 0\] is -0\.1"):
        stake_weighted_median([[0.6, 0.4], [-0.1, 0.6]], [1, 1])


@pytest.mark.parametrize("unit", [1, 10**9 + 7, 3 * 10**25])
def test_the_median_of_64_validators_and_50_000_miners_is_quick(unit):
    rng = np.random.default_rng(7)
    weights = rng.random((64, 50_000))
    stakes = [unit * int(stake) + 1 for stake in rng.integers(1, 10**6, 64)]
    start = time.process_time()
    found = stake_weighted_median(weights, stakes)
    assert time.process_time() - start < 2.0  # 0.4 s alone; room for a busy machine
    assert found[0] == by_definition(weights[:, 0].tolist(), stakes, HALF)


# Yuma


def test_yuma_by_hand():
    # rows as above: C = (.5, .5), the third row is cut to (.05, .5)
    # rank 1 = .75 * .5 + .25 * .05 = .3875, rank 2 = .5; trust 2 = .5 / (.75 * .5 + .25 * .95)
    result = yuma(rows([0.5, 0.5], [0.5, 0.5], [0.05, 0.95]), [0.40, 0.35, 0.25])
    assert result.consensus.tolist() == [0.5, 0.5]
    assert result.clipped.tolist() == [[0.5, 0.5], [0.5, 0.5], [0.05, 0.5]]
    assert result.rank == pytest.approx([0.3875, 0.5])
    assert result.incentive == pytest.approx([0.3875 / 0.8875, 0.5 / 0.8875])
    assert result.trust == pytest.approx([1.0, 0.5 / 0.6125])
    assert result.validator_trust == pytest.approx([1.0, 1.0, 0.55])


def test_yuma_1_bonds_by_hand():
    # first epoch: bonds are the columns of S * W, normalised
    # column 1: (.4 * .5, .35 * .5, .25 * .05) = (.2, .175, .0125) / .3875
    # column 2: (.2, .175, .25 * .5 = .125) / .5
    result = yuma(rows([0.5, 0.5], [0.5, 0.5], [0.05, 0.95]), [0.40, 0.35, 0.25])
    assert result.bonds[:, 0] == pytest.approx(np.array([0.2, 0.175, 0.0125]) / 0.3875)
    assert result.bonds[:, 1] == pytest.approx([0.4, 0.35, 0.25])
    # D_i = B_i1 I_1 + B_i2 I_2, where B_i1 I_1 = (.2, ...) / .8875 and B_i2 I_2 = (.2, ...) / .8875
    assert result.dividends == pytest.approx(np.array([0.4, 0.35, 0.1375]) / 0.8875)


def test_yuma_1_bonds_move_by_a_tenth():
    # all bonds were the first validator's; both now buy half: .1 * .5 + .9 * 1 = .95
    old = rows([2.0], [0.0])
    result = yuma(rows([1.0], [1.0]), [1, 1], bonds=old)
    assert result.bonds[:, 0] == pytest.approx([0.95, 0.05])
    assert result.dividends == pytest.approx([0.95, 0.05])


def test_without_a_bond_penalty_bonds_follow_the_unclipped_weights():
    # column 2 of S * W with weight .95 kept: (.2, .175, .2375) / .6125
    weights = rows([0.5, 0.5], [0.5, 0.5], [0.05, 0.95])
    bonds = yuma(weights, [0.40, 0.35, 0.25], bond_penalty=0.0).bonds
    assert bonds[:, 1] == pytest.approx(np.array([0.2, 0.175, 0.2375]) / 0.6125)


def test_yuma_3_bonds_grow_towards_the_weight():
    # B: 0 -> .1 -> .19 for a weight of 1
    first = yuma(rows([1.0]), [1], mode="yuma3")
    second = yuma(rows([1.0]), [1], mode="yuma3", bonds=first.bonds)
    assert first.bonds.tolist() == [[0.1]]
    assert second.bonds[0, 0] == pytest.approx(0.19)
    assert second.dividends.tolist() == [1.0]


def test_yuma_3_dividends_by_hand():
    # C = (.6, .6), so W stays; B = W / 10, columns (.6, .4) and (.4, .6)
    # rank 1 = .75 * .6 + .25 * .4 = .55, rank 2 = .75 * .4 + .25 * .6 = .45 = incentive
    # with kappa 1/4 both weights of .6 are supported
    # D = (.75 (.6 * .55 + .4 * .45), .25 (.4 * .55 + .6 * .45)) = (.3825, .1225) / .505
    result = yuma(rows([0.6, 0.4], [0.4, 0.6]), [3, 1], mode="yuma3", kappa=Fraction(1, 4))
    assert result.bonds == pytest.approx(rows([0.06, 0.04], [0.04, 0.06]))
    assert result.dividends == pytest.approx([0.3825 / 0.505, 0.1225 / 0.505])


def test_liquid_alpha_follows_the_distance_from_consensus():
    # bought at consensus: d = 0, a = .1 + .2 / (1 + e^5); sold from 1 to .5: d = .5, a = .2
    low = 0.1 + 0.2 / (1 + np.exp(5))
    result = yuma(
        rows([0.5, 0.5]), [1], bonds=rows([0.0, 1.0]), mode="yuma3", liquid_alpha=(0.1, 0.3)
    )
    assert result.bonds[0] == pytest.approx([low * 0.5, 0.8 * 1.0 + 0.2 * 0.5])


def test_a_lone_validator_is_the_consensus():
    result = yuma(rows([3.0, 1.0, 0.0]), [17])
    assert result.consensus.tolist() == [0.75, 0.25, 0.0]
    assert result.incentive.tolist() == [0.75, 0.25, 0.0]
    assert np.isnan(result.trust[2])


def test_weights_may_be_taken_as_they_are():
    assert yuma(rows([3.0, 1.0]), [1], row_normalise=False).consensus.tolist() == [3.0, 1.0]


def test_without_stake_everything_is_zero_and_trust_is_not_known():
    result = yuma(rows([0.5, 0.5], [0.0, 0.0]), [0, 0])
    for zeros in (result.consensus, result.incentive, result.bonds, result.dividends):
        assert not zeros.any()
    assert np.isnan(result.trust).all()


@pytest.mark.parametrize("options", [{"mode": "yuma2"}, {"liquid_alpha": (0.1, 0.3)}])
def test_a_mode_that_does_not_exist_is_refused(options):
    with pytest.raises(InvalidWeights, match="yuma1 or yuma3"):
        yuma(rows([1.0]), [1], **options)


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=5),
    st.data(),
)
@settings(max_examples=50, deadline=None)
def test_incentives_and_dividends_sum_to_one_or_are_zero(weights, data):
    stakes = data.draw(st.lists(st.integers(0, 9), min_size=len(weights), max_size=len(weights)))
    mode = data.draw(st.sampled_from(["yuma1", "yuma3"]))
    result = yuma(rows(*weights), stakes, mode=mode)
    for vector in (result.incentive, result.dividends):
        assert vector.sum() == pytest.approx(1.0) or not vector.any()
    assert (result.clipped <= result.consensus).all()


# Stakes


@pytest.mark.parametrize("n", [20, 33, 64])
def test_many_validators_are_capped_at_five_percent(n):
    # one of them holds half of all stake
    capped = capped_stakes([n - 1] + [1] * (n - 1))
    assert capped.cap == Fraction(1, 20)
    assert sum(capped.shares) == 1
    assert max(capped.shares) == Fraction(1, 20)
    assert capped.shares[1] == Fraction(19, 20) / (n - 1)


def test_lifting_one_to_the_cap_passes_its_excess_on():
    # shares of 100: 40, 4 and 56 of 1. Level f with 5 + min(5, 4 f) + 56 f = 100 gives f = 90/56
    shares = capped_stakes([40, 4] + [1] * 56).shares
    assert shares[:2] == (Fraction(1, 20), Fraction(1, 20))
    assert shares[2] == Fraction(90, 5600)


def test_eight_equal_validators_keep_an_eighth_each():
    capped = capped_stakes([0.1] * 8)
    assert capped.cap == Fraction(1, 8)
    assert capped.shares == (Fraction(1, 8),) * 8


def test_dust_validators_do_not_grow_beyond_three_times_their_share():
    # ten of 100 and ten of 1 in 1010: dust goes to 3/1010 each, the cap is (1 - 30/1010) / 10
    capped = capped_stakes([100] * 10 + [1] * 10)
    assert capped.shares[-1] == Fraction(3, 1010)
    assert capped.cap == capped.shares[0] == Fraction(98, 1010)


def test_no_growth_allowed_means_no_cap():
    params = QUANTA.changed(consensus__max_stake_growth=Decimal(1))
    assert capped_stakes([3, 1], params).shares == (Fraction(3, 4), Fraction(1, 4))


def test_capping_keeps_unit_and_total():
    # 5 % of 40 is 2; the other 38 are shared by thirty
    capped = cap_stakes(np.array([10.0] + [1.0] * 30))
    assert capped.sum() == pytest.approx(40.0)
    assert capped[0] == 2.0
    assert capped[1] == pytest.approx(38 / 30)


def test_validators_without_stake_stay_without():
    assert capped_stakes([1, 0, 1]).shares == (HALF, 0, HALF)
    assert cap_stakes([0, 0]).tolist() == [0.0, 0.0]


@given(st.lists(st.integers(0, 10**18), min_size=1, max_size=30).filter(any))
@settings(max_examples=100, deadline=None)
def test_capping_is_feasible_and_fair(stakes):
    capped, total = capped_stakes(stakes), sum(stakes)
    raw = [Fraction(stake, total) for stake in stakes]
    assert sum(capped.shares) == 1
    assert max(capped.shares) <= capped.cap
    assert capped.cap >= Fraction(1, 20)
    assert all(after <= 3 * before for after, before in zip(capped.shares, raw, strict=True))
    if capped.cap > Fraction(1, 20):  # no smaller cap has room for all stake
        assert sum(min(capped.cap, 3 * share) for share in raw) == 1


def test_quorum_is_exact():
    # 0.1 + 0.2 is half of 0.6, which floats miss
    assert quorum([0.1, 0.2, 0.3], [True, True, False], HALF)
    assert not quorum([1, 2, 4], [True, True, False], Decimal("0.5"))
    assert not quorum([0, 0], [True, True], HALF)


# One vote


def test_weight_units_sum_to_a_billion_by_largest_remainder():
    # thirds of 10^9: 333333333.33 each, the one left over goes to the first
    third = 333_333_333
    assert weight_units(np.array([0.5, 0.5, 0.5])).tolist() == [third + 1, third, third]
    # 1/7 and 6/7: 142857142.86 and 857142857.14
    assert weight_units(np.array([0.1, 0.6])).tolist() == [142_857_143, 857_142_857]


def test_equal_scores_get_equal_units():
    # 1/4, 1/4, 1/3, 1/6 of 10^9: .00, .00, .33, .67 remain, one unit is left for the sixth
    assert weight_units(np.array([0.3, 0.3, 0.4, 0.2])).tolist() == [
        *[250_000_000, 250_000_000],
        *[333_333_333, 166_666_667],
    ]
    # of 8: 2/8.5 = 235294117.647 twice and 4.5/8.5 = 529411764.706: two are left. The single one
    # comes first, then one is left that the pair does not fit: it is split, which nothing avoids
    assert weight_units(np.array([0.2, 0.2, 0.45])).tolist() == [
        *[235_294_118, 235_294_117],
        529_411_765,
    ]
    # sevenths: 142857142.857 three times, 428571428.571 for the single one, and 142857142.857 in
    # all for the last: three are left, the triple takes them although four are as near
    assert weight_units(np.array([0.1, 0.3, 0.1, 0.1, 0.1])).tolist() == [
        *[142_857_143, 428_571_428],
        *[142_857_143] * 3,
    ]


def test_a_tie_of_two_is_not_split_where_a_single_one_can_take_the_unit():
    # over 2.504784: 211595091.633, 290401088.477 twice and 207602731.413; two are left. 0.53 takes
    # one, the pair does not fit the other, so 0.52 does
    given = np.array([0.53, 0.727392, 0.52, 0.727392])
    assert weight_units(given).tolist() == [211_595_092, 290_401_088, 207_602_732, 290_401_088]


def test_a_better_score_never_gets_less_than_a_worse_one():
    # 1400 scores of 1 and one of 0.999999 lie within a unit: 713775.875 and 713775.161. Of the
    # 1225 left the 1400 cannot all have one; the single worse score may still not pass them by
    units = weight_units(np.array([1.0] * 1400 + [0.999999]))
    assert int(units.sum()) == 10**9
    assert units.tolist() == [713_776] * 1225 + [713_775] * 176


FIELDS_OF_20 = st.lists(st.integers(0, 10**6), min_size=20, max_size=20)


@given(micro=FIELDS_OF_20, pairs=st.integers(0, 9), levels=st.sampled_from([10, 10**6]))
def test_whole_groups_of_equal_scores_are_served_while_they_fit(micro, pairs, levels):
    tied = [score % (levels + 1) for score in micro]
    tied[:pairs] = tied[pairs : 2 * pairs]
    if not any(tied):
        return
    units = weight_units(np.array(tied) / 10**6).tolist()
    assert sum(units) == 10**9
    extra = [unit - 10**9 * score // sum(tied) for unit, score in zip(units, tied, strict=True)]
    assert set(extra) <= {0, 1}  # never more than a unit from the exact share
    groups = {
        score: [more for more, own in zip(extra, tied, strict=True) if own == score]
        for score in tied
    }
    split = [score for score, given in groups.items() if len(set(given)) > 1]
    assert len(split) <= 1
    left = sum(groups[split[0]]) if split else 0
    # no group that went without could have had what was left: single ones least of all
    without = [score for score, given in groups.items() if not any(given) and score not in split]
    assert all(len(groups[score]) > left or 10**9 * score % sum(tied) == 0 for score in without)
    ordered = [unit for _, unit in sorted(zip(tied, units, strict=True))]
    assert ordered == sorted(ordered)


def test_in_random_fields_of_20_no_pair_is_split():
    # six pairs and eight single ones, which can take a unit that is one too few for a pair
    drawn = np.random.default_rng(20)
    for _ in range(300):
        scores = drawn.integers(1, 10**6, 14) / 10**6
        units = weight_units(np.concatenate([scores, scores[:6]]))
        assert units[:6].tolist() == units[14:].tolist()


def test_scores_of_zero_give_no_weights():
    assert weight_units(np.zeros(3)).tolist() == [0, 0, 0]
    assert weight_units(np.array([])).tolist() == []


@pytest.mark.parametrize("score", [-0.1, np.nan, np.inf])
def test_a_score_that_is_no_weight_is_refused(score):
    with pytest.raises(InvalidWeights, match="score"):
        weight_units(np.array([0.5, score]))


def test_chain_weights_round_half_up():
    # 65535 / 2 = 32767.5; 65535 * 0.1 / 0.3 = 21845; far below one unit rounds to 0
    assert u16_weights([2, 1, 0]).tolist() == [65535, 32768, 0]
    assert u16_weights(rows([0.3, 0.1, 1e-9])[0]).tolist() == [65535, 21845, 0]
    assert u16_weights([0, 0]).tolist() == [0, 0]


def test_divergence_sees_a_split_that_agreement_does_not():
    # C = (.6, .6) covers all of both rows: agreement 1. From (.5, .5) each is .1 away twice, half
    weights, consensus = rows([0.6, 0.4], [0.4, 0.6], [0.0, 0.0]), np.array([0.6, 0.6])
    assert agreement(weights, consensus)[:2] == pytest.approx([1.0, 1.0])
    assert divergence(weights, consensus)[:2] == pytest.approx([0.1, 0.1])
    assert np.isnan(agreement(weights, consensus)[2])
    assert np.isnan(divergence(weights, consensus)[2])


def test_agreement_is_measured_against_what_was_agreed():
    # C = (.4, .4) leaves .8: the row (.6, .4) is covered to .8 / .8, (1, 0) to .4 / .8
    found = agreement(rows([0.6, 0.4], [1.0, 0.0]), np.array([0.4, 0.4]))
    assert found == pytest.approx([1.0, 0.5])


def test_nothing_agreed_means_no_agreement():
    assert np.isnan(agreement(rows([1.0]), np.zeros(1))).all()
    assert np.isnan(divergence(rows([1.0]), np.zeros(1))).all()


def test_a_dispute_needs_two_thirds_near_the_consensus():
    # near .5 is .45 to .55, both included; 66 of 100 suffice, 65 do not
    weights = rows([0.55, 0.56], [0.45, 0.5], [0.2, 0.5])
    consensus = np.array([0.5, 0.5])
    present = [True, True, True]
    assert dispute_flagged(weights, consensus, [33, 33, 34], present).tolist() == [False, False]
    assert dispute_flagged(weights, consensus, [33, 32, 35], present).tolist() == [True, False]


def test_who_is_silent_supports_nothing_but_counts():
    weights, consensus = rows([0.5], [0.5]), np.array([0.5])
    assert dispute_flagged(weights, consensus, [6, 4], [True, True]).tolist() == [False]
    assert dispute_flagged(weights, consensus, [6, 4], [True, False]).tolist() == [True]


def test_tiny_weights_are_near_within_a_millionth():
    weights, consensus = rows([1e-6, 2e-6]), np.array([0.0, 0.0])
    assert dispute_flagged(weights, consensus, [1], [True]).tolist() == [False, True]


def test_lost_disputes_cost_a_hundredth_each():
    bonds = penalised_bonds(rows([100.0], [100.0], [100.0]), [1, 2, 500])
    assert bonds[:, 0] == pytest.approx([99.0, 98.0, 0.0])


# Tables

MINERS = ["5" + letter * 47 for letter in "ABCD"]
A, B, C, D = MINERS
V, W, X = ("5" + letter * 47 for letter in "VWX")
EPOCH = "2025-Q4-W48"
NOON = pd.Timestamp("2025-11-21 12:00", tz="UTC")


def scores_of(final, standing=None, composite=None):
    n = len(final)
    return pd.DataFrame(
        {
            "hotkey": MINERS[:n][::-1],  # the tables sort, whatever comes in
            "standing": (standing or ["ranked"] * n)[::-1],
            "composite": (composite or final)[::-1],
            "final_score": final[::-1],
            "committed_at": [NOON - pd.Timedelta(minutes=i) for i in range(n)][::-1],
        }
    )


def metrics_of(drawdowns, benchmark=0.02):
    """Drawdowns by miner and horizon."""
    return pd.DataFrame(
        [
            {
                "hotkey": hotkey,
                "horizon": horizon,
                "max_drawdown": depth,
                "benchmark_max_drawdown": benchmark,
            }
            for hotkey, depths in drawdowns.items()
            for horizon, depth in depths.items()
        ],
        columns=["hotkey", "horizon", "max_drawdown", "benchmark_max_drawdown"],
    )


def votes_of(votes, depth=0.01):
    """Units by validator and miner; the composite is ten times the share of the units."""
    return pd.DataFrame(
        [
            {
                "validator": validator,
                "hotkey": hotkey,
                "weight_units": units,
                "composite": units / 10**9,
                "max_drawdown_7d": depth,
                "max_drawdown_30d": depth,
                "max_drawdown_90d": np.nan,
            }
            for validator, row in votes.items()
            for hotkey, units in row.items()
        ]
    )


def agreed(votes, scores, *, stakes, benchmark=0.02, params=QUANTA):
    metrics = metrics_of({hotkey: {7: 0.01, 30: 0.01} for hotkey in MINERS}, benchmark)
    table = consensus_table(votes, scores, metrics, stakes=stakes, epoch_id=EPOCH, params=params)
    Consensus.validate(table)
    return table


def test_a_validators_row_holds_its_ranked_miners_in_order():
    scores = scores_of([0.6, 0.2, 0.9], ["ranked", "ranked", "provisional"])
    row = validator_row(scores, metrics_of({A: {7: 0.03, 30: 0.05}, C: {7: 0.1}}))
    assert row["hotkey"].tolist() == [A, B]
    assert row["weight_units"].tolist() == [750_000_000, 250_000_000]
    assert row["composite"].tolist() == [0.6, 0.2]
    assert row["max_drawdown_30d"].tolist()[0] == 0.05
    assert row[["max_drawdown_90d"]].isna().all(axis=None)
    assert row["weight_units"].dtype == np.int64


@pytest.mark.parametrize(
    "scores", [scores_of([0.0, 0.0]), scores_of([0.5], ["unranked"]), scores_of([])]
)
def test_nothing_scored_submits_no_weights(scores):
    row = validator_row(scores, metrics_of({}))
    assert row.empty
    assert row.dtypes.astype(str).tolist() == ["object", "int64", *["float64"] * 4]


def test_three_validators_agree():
    # stakes 40/35/25 are no more than three validators, so the cap that is feasible is 1/3 each
    votes = votes_of(
        {
            V: {A: 500_000_000, B: 300_000_000, C: 200_000_000},
            W: {A: 450_000_000, B: 350_000_000, C: 200_000_000},
            X: {A: 100_000_000, B: 0, C: 900_000_000},
        }
    )
    table = agreed(votes, scores_of([0.5, 0.3, 0.2]), stakes={V: 40, W: 35, X: 25})
    assert table["hotkey"].tolist() == [A, B, C]
    assert table["consensus_weight"].tolist() == [0.45, 0.3, 0.2]
    # clipped columns: A (.45, .45, .1), B (.3, .3, 0), C (.2, .2, .2): 1.0, 0.6, 0.6 thirds
    assert table["incentive"].tolist() == pytest.approx([10 / 22, 6 / 22, 6 / 22])
    assert table["trust"].tolist() == pytest.approx([1.0 / 1.05, 0.6 / 0.65, 0.6 / 1.3])
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["percentile"].tolist() == pytest.approx([1, 2 / 3, 1 / 3])
    # 100 * 0 < 15 * 3; 100 * 1 < 50 * 3; 100 * 2 < 70 * 3
    assert table["tier"].tolist() == ["top_tier", "profitable", "break_even"]
    # composites .45, .3, .2 have the median .3: only the first is above
    assert table["eligible"].tolist() == [True, False, False]
    assert "not above the median 0.3" in table["reason"][1]
    assert table["n_validators"].tolist() == [3, 3, 3]


def test_silent_validators_abstain():
    # V alone holds 60 of 100: a quorum, and its weights are the consensus
    votes = votes_of({V: {A: 700_000_000, B: 300_000_000}})
    table = agreed(votes, scores_of([0.7, 0.3]), stakes={V: 60, W: 40})
    assert table["consensus_weight"].tolist() == [0.7, 0.3]
    assert table["trust"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("stakes", [{V: 49, W: 51}, {W: 1}, {}, {V: 0}])
def test_too_little_stake_is_no_consensus(stakes):
    votes = votes_of({V: {A: 700_000_000, B: 300_000_000}})
    table = agreed(votes, scores_of([0.7, 0.3]), stakes=stakes)
    assert table.empty
    assert table.dtypes.astype(str).to_dict()["eligible"] == "bool"


def test_nobody_supported_is_no_consensus():
    # all three voted, each for another miner: a third of the stake ranks each, kappa is a half
    votes = votes_of({V: {A: 10**9}, W: {B: 10**9}, X: {C: 10**9}})
    assert agreed(votes, scores_of([0.5] * 3), stakes={V: 1, W: 1, X: 1}).empty


@pytest.mark.parametrize("own", ["ranked", "provisional", "unranked"])
def test_who_is_ranked_follows_from_the_votes_and_not_from_the_own_scores(own):
    # a boundary miner has 30 sessions on one platform and 29 on the next
    votes = votes_of({V: {A: 600_000_000, B: 400_000_000}})
    scores = scores_of([0.6, 0.4], ["ranked", own])
    table = agreed(votes, scores, stakes={V: 1})
    assert table["hotkey"].tolist() == [A, B]
    assert table["rank"].tolist() == [1, 2]
    # of two the first is top tier (0 < 0.3) and the second break-even (1 < 1.4)
    assert table["tier"].tolist() == ["top_tier", "break_even"]
    pd.testing.assert_frame_equal(table, agreed(votes, scores_of([0.6, 0.4]), stakes={V: 1}))


def test_a_miner_that_the_votes_leave_out_is_not_ranked_although_it_is_here():
    votes = votes_of({V: {A: 10**9}, W: {A: 10**9}, X: {A: 600_000_000, B: 400_000_000}})
    table = agreed(votes, scores_of([0.6, 0.4]), stakes={V: 1, W: 1, X: 1})
    assert table["hotkey"].tolist() == [A]


def test_half_of_the_present_stake_suffices_to_be_ranked():
    # V and W hold 1/2 each: B has exactly kappa, and its missing cell counts 0 below 0.4
    votes = votes_of({V: {A: 10**9}, W: {A: 600_000_000, B: 400_000_000}})
    table = agreed(votes, scores_of([0.6, 0.4]), stakes={V: 1, W: 1})
    assert table["hotkey"].tolist() == [A, B]
    assert table["consensus_weight"].tolist() == [1.0, 0.4]
    above = QUANTA.changed(consensus__kappa=Decimal("0.500001"))
    assert agreed(votes, scores_of([0.6, 0.4]), stakes={V: 1, W: 1}, params=above)[
        "hotkey"
    ].tolist() == [A]


def test_the_stake_that_ranks_is_the_capped_one():
    # raw 50, 25, 25: the smallest feasible cap is 1/3, so B's two small ones are 2/3 of the stake,
    # and C's large one is a third although it is half of what was staked
    votes = votes_of(
        {
            V: {A: 600_000_000, C: 400_000_000},
            W: {A: 600_000_000, B: 400_000_000},
            X: {A: 600_000_000, B: 400_000_000},
        }
    )
    table = agreed(votes, scores_of([0.6, 0.4, 0.4]), stakes={V: 50, W: 25, X: 25})
    assert table["hotkey"].tolist() == [A, B]


def test_stake_that_is_silent_or_zero_ranks_nobody():
    # W is silent, so V is all of the present stake; X voted with a stake of 0
    votes = votes_of({V: {A: 10**9}, X: {B: 10**9}})
    table = agreed(votes, scores_of([0.6, 0.4]), stakes={V: 60, W: 40, X: 0})
    assert table["hotkey"].tolist() == [A]


def test_who_did_not_reveal_here_is_left_out_whatever_the_votes_say():
    votes = votes_of({V: {A: 600_000_000, B: 400_000_000}})
    table = agreed(votes, scores_of([0.6, 0.4], ["ranked", "unrevealed"]), stakes={V: 1})
    assert table["hotkey"].tolist() == [A]


def test_a_reported_zero_is_ranked_in_the_penalty_band():
    votes = votes_of({V: {A: 10**9, B: 0}})
    table = agreed(votes, scores_of([0.6, 0.0]), stakes={V: 1})
    assert table["hotkey"].tolist() == [A, B]
    assert table["tier"].tolist() == ["top_tier", "penalty_band"]


def test_without_a_score_here_the_own_rank_is_the_last():
    params = QUANTA.changed(consensus__rank_by="own_score")
    votes = votes_of({V: {A: 700_000_000, B: 300_000_000}})
    scores = scores_of([np.nan, 0.8], ["provisional", "ranked"])
    table = agreed(votes, scores, stakes={V: 1}, params=params)
    assert table["rank"].tolist() == [2, 1]
    assert table["tier"].tolist() == ["penalty_band", "top_tier"]


def test_votes_of_strangers_and_on_strangers_do_not_count():
    votes = votes_of({V: {A: 600_000_000, D: 400_000_000}, X: {A: 10**9}})
    table = agreed(votes, scores_of([0.7]), stakes={V: 1})
    assert table["hotkey"].tolist() == [A]
    assert table["consensus_weight"].tolist() == [0.6]
    assert table["n_validators"].tolist() == [1]


def test_a_miner_with_too_little_support_is_in_the_penalty_band():
    # of four miners the third would be break-even, but one vote of three is no support
    votes = votes_of(
        {
            V: {A: 500_000_000, B: 500_000_000, C: 0, D: 0},
            W: {A: 500_000_000, B: 500_000_000, C: 0, D: 0},
            X: {A: 500_000_000, B: 100_000_000, C: 400_000_000, D: 0},
        }
    )
    table = agreed(votes, scores_of([0.5, 0.4, 0.4, 0.1]), stakes={V: 1, W: 1, X: 1})
    assert table["consensus_weight"].tolist() == [0.5, 0.5, 0.0, 0.0]
    assert table["rank"].tolist() == [1, 1, 3, 3]
    assert table["tier"].tolist() == ["top_tier", "top_tier", "penalty_band", "penalty_band"]


def test_a_drawdown_beyond_the_benchmarks_is_not_eligible():
    votes = votes_of({V: {A: 700_000_000, B: 300_000_000}}, depth=0.15)
    shallow = agreed(votes, scores_of([0.7, 0.3]), stakes={V: 1}, benchmark=0.12)
    assert "drawdown 0.1500 over 7 sessions" in shallow["reason"][0]
    deep = agreed(votes, scores_of([0.7, 0.3]), stakes={V: 1}, benchmark=0.2)
    assert deep["eligible"].tolist() == [True, False]


def test_ranks_may_come_from_the_own_score():
    params = QUANTA.changed(consensus__rank_by="own_score")
    votes = votes_of({V: {A: 700_000_000, B: 300_000_000}})
    table = agreed(votes, scores_of([0.2, 0.8]), stakes={V: 1}, params=params)
    assert table["rank"].tolist() == [2, 1]


def test_ties_may_be_ordered_by_arrival():
    # B committed a minute before A
    votes = votes_of({V: {A: 500_000_000, B: 500_000_000}})
    scores = scores_of([0.5, 0.5])
    assert agreed(votes, scores, stakes={V: 1})["rank"].tolist() == [1, 1]
    params = QUANTA.changed(scoring__tie_order="arrival")
    assert agreed(votes, scores, stakes={V: 1}, params=params)["rank"].tolist() == [2, 1]


def test_the_lower_median_is_a_switch():
    votes = votes_of({V: {A: 600_000_000, B: 400_000_000}, W: {A: 400_000_000, B: 600_000_000}})
    scores, stakes = scores_of([0.5, 0.5]), {V: 1, W: 1}
    assert agreed(votes, scores, stakes=stakes)["consensus_weight"].tolist() == [0.6, 0.6]
    params = QUANTA.changed(consensus__median="lower")
    lower = agreed(votes, scores, stakes=stakes, params=params)
    assert lower["consensus_weight"].tolist() == [0.4, 0.4]


def test_a_miner_that_nobody_reported_is_not_ranked():
    votes = votes_of({V: {A: 10**9}})
    scores = scores_of([0.5, 0.4])
    assert agreed(votes, scores, stakes={V: 1})["hotkey"].tolist() == [A]
    assert agreed(votes, scores[scores["hotkey"] == B], stakes={V: 1}).empty


def test_composites_that_nobody_knows_make_no_one_eligible():
    votes = votes_of({V: {A: 10**9}}).assign(composite=np.nan)
    table = agreed(votes, scores_of([0.5]), stakes={V: 1})
    assert table["eligible"].tolist() == [False]
    assert table["reason"].tolist() == ["there is no composite"]
