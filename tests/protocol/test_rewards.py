import time
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol.apportion import largest_remainder
from quanta_pipelines.protocol.errors import InvalidEntries, ProtocolError
from quanta_pipelines.protocol.params import QUANTA, SPEC
from quanta_pipelines.protocol.power_law import position_weights, winner_weights
from quanta_pipelines.protocol.rewards import (
    RewardEntry,
    expected_reward,
    settle,
    split_emission,
)

TOKEN = 10**9
ANTE = 50 * TOKEN


def entry(name, score, ante=ANTE, **more):
    return RewardEntry(name, Decimal(str(score)), ante, **more)


def field(n, ante=ANTE):
    """Miners m000, m001, ... from best to worst, all with scores of their own."""
    return [entry(f"m{i:03}", n - i, ante) for i in range(n)]


def by_name(settlement):
    return {each.hotkey: each for each in settlement.allocations}


def gap(settlement, antes):
    """Income less spending; ``antes`` are those of everyone who takes part."""
    income = settlement.emission_rao + antes + settlement.external_rao + settlement.carry_in_rao
    paid = sum(each.payout_rao for each in settlement.allocations)
    burned = sum(each.ante_burned_rao for each in settlement.allocations)
    fees = settlement.fee_burned_rao + settlement.fee_treasury_rao
    return income - settlement.rake_rao - paid - burned - fees - settlement.carry_out_rao


# The worked example: 100 miners, ante 50 each, T = 1000


def test_the_worked_example_to_the_last_rao():
    # E = .41 * 1000 = 410, A = 100 * 50 = 5000, P = 5410, rake .08 * 5410 = 432.8
    # winners 50, break-even 20, penalty band 30: B = 1000, A_w = 2500, burn .5 * 1500 = 750
    # available 5410 - 1000 - 750 - 2500 = 1160, W = 1160 - 432.8 = 727.2
    settlement = settle(field(100), emission_rao=1000 * TOKEN)
    assert settlement.emission_rao == 410 * TOKEN
    assert settlement.rake_rao == 432_800_000_000
    assert settlement.winner_pool_rao == 727_200_000_000
    # fees: .02 * 727.2 = 14.544, less 25 rao of rounding down; a quarter of them is burned
    rewards = sum(each.gross_rao - each.fee_rao for each in settlement.allocations)
    assert rewards == 712_656_000_025
    assert settlement.fee_burned_rao == 3_635_999_993  # floor(14_543_999_975 / 4)
    assert settlement.fee_treasury_rao == 10_907_999_982
    burned = sum(each.ante_burned_rao for each in settlement.allocations)
    assert burned + settlement.fee_burned_rao == 753_635_999_993
    assert settlement.carry_out_rao == 0


def test_the_worked_example_by_rank():
    # rank 1 has 1 / sum p^-1.5 = .429011512 of 727.2 = 311.977171832, less 2 %, plus 50
    settlement = settle(field(100), emission_rao=1000 * TOKEN)
    first, last = settlement.allocations[0], settlement.allocations[49]
    assert first.gross_rao == 311_977_171_832
    assert first.payout_rao == 355_737_628_396
    assert last.payout_rao == 50_864_756_602
    assert first.weight == pytest.approx(1 / sum(p**-1.5 for p in range(1, 51)))
    tiers = [each.tier for each in settlement.allocations]
    assert [tiers.count(tier) for tier in dict.fromkeys(tiers)] == [15, 35, 20, 30]


def test_the_worked_example_by_tier():
    rows = settle(field(100), emission_rao=1000 * TOKEN).allocations
    assert (rows[50].payout_rao, rows[50].ante_returned_rao) == (ANTE, ANTE)
    assert (rows[99].payout_rao, rows[99].ante_burned_rao) == (0, ANTE // 2)
    assert [each.rank for each in rows] == list(range(1, 101))


# Small fields


def test_nobody_is_settled_and_everything_is_carried():
    # E = floor(.41 * 17) = 6
    settlement = settle([], emission_rao=17, external_rao=5, carry_in_rao=9)
    assert settlement.rake_rao == 0
    assert settlement.carry_out_rao == 6 + 5 + 9


@pytest.mark.parametrize(("n", "gross"), [(1, [16]), (2, [16, 0]), (3, [12, 4, 0])])
def test_seventeen_rao_are_not_lost(n, gross):
    # 17 rao come in from outside, antes are 0, rake floor(.08 * 17) = 1, so W = 16
    # n = 3 has the winners 1 and 2 (100 * 1 < 50 * 3): 16 / (1 + 2^-1.5) = 11.8 and 4.2
    # n = 2: 100 * 1 < 50 * 2 does not hold, so one winner; fees floor(.02 * 16) = 0
    params = QUANTA.changed(tokenomics__minimum_ante=Decimal(0))
    settlement = settle(field(n, ante=0), emission_rao=0, external_rao=17, params=params)
    assert settlement.rake_rao == 1
    assert [each.gross_rao for each in settlement.allocations] == gross


def test_one_rao_left_over_goes_to_the_better_hotkey():
    # W = 17 - 1 = 16 of three winners who tie: 5, 5, 5 and one more by hotkey
    params = QUANTA.changed(tokenomics__minimum_ante=Decimal(0))
    tied = [entry(name, 1, 0) for name in "cab"]
    settlement = settle(tied, emission_rao=0, external_rao=17, params=params)
    assert {each.hotkey: each.gross_rao for each in settlement.allocations} == {
        "a": 6,
        "b": 5,
        "c": 5,
    }


def test_nothing_can_be_shared_among_nobody():
    with pytest.raises(ProtocolError, match="17 cannot be shared among 2 weights of 0"):
        largest_remainder(17, [0, 0])


# Ties


def test_tied_winners_share_the_mean_of_their_positions():
    # ranks 1, 2, 2 of six: positions 2 and 3 share (2^-1.5 + 3^-1.5) / 2
    miners = [entry("a", 9), entry("b", 8), entry("c", 8), *(entry(n, 1) for n in "xyz")]
    rows = by_name(settle(miners, emission_rao=1000 * TOKEN))
    mean = (2**-1.5 + 3**-1.5) / 2
    assert 0 <= rows["b"].gross_rao - rows["c"].gross_rao <= 1
    assert rows["b"].weight == rows["c"].weight == pytest.approx(mean / (1 + 2 * mean))
    assert [rows[name].rank for name in "abcxyz"] == [1, 2, 2, 4, 4, 4]


def test_a_tie_across_the_winners_line_wins_as_a_whole():
    # four miners: rank 2 wins (100 * 1 < 50 * 4), and two hold it
    miners = [entry("a", 3), entry("b", 2), entry("c", 2), entry("d", 1)]
    rows = by_name(settle(miners, emission_rao=TOKEN))
    assert [rows[name].tier for name in "abcd"] == [
        "top_tier",
        "profitable",
        "profitable",
        "penalty_band",
    ]
    assert rows["b"].gross_rao > 0


def test_all_tied_means_all_first_and_equal():
    rows = settle([entry(f"m{i}", "0.5") for i in range(4)], emission_rao=1000 * TOKEN).allocations
    assert {each.rank for each in rows} == {1}
    assert max(each.gross_rao for each in rows) - min(each.gross_rao for each in rows) <= 1


def test_a_weight_of_zero_is_in_the_penalty_band():
    # rank 2 of three would be a winner
    rows = by_name(settle([entry("a", 1), entry("b", 0), entry("c", 0)], emission_rao=0))
    assert [rows[name].tier for name in "abc"] == ["top_tier", "penalty_band", "penalty_band"]


def test_scores_are_compared_in_every_digit():
    close = [entry("a", "0.5" + "0" * 30 + "1"), entry("b", "0.5" + "0" * 30 + "2")]
    with localcontext(prec=3):
        rows = by_name(settle(close, emission_rao=0))
    assert (rows["b"].rank, rows["a"].rank) == (1, 2)


# Antes


@pytest.mark.parametrize("ante", [10 * TOKEN - 1, 200_000 * TOKEN, 0])
@pytest.mark.parametrize("standing", ["ranked", "unrevealed", "forfeited"])
def test_an_ante_outside_the_limits_is_refused(ante, standing):
    miners = [*field(3), entry("late", 99, ante, standing=standing)]
    settlement = settle(miners, emission_rao=1000 * TOKEN)
    assert settlement.refused == ("late",)
    assert settlement == replace(settle(field(3), emission_rao=1000 * TOKEN), refused=("late",))


@pytest.mark.parametrize("ante", [10 * TOKEN, 10_000 * TOKEN])
def test_the_limits_themselves_are_accepted(ante):
    assert settle([entry("a", 1, ante)], emission_rao=0).refused == ()


@pytest.mark.parametrize("standing", ["provisional", "unranked"])
def test_an_ante_that_is_not_at_stake_comes_back_whole(standing):
    miners = [*field(3), entry("new", 99, 3, standing=standing)]
    settlement = settle(miners, emission_rao=1000 * TOKEN)
    new = by_name(settlement)["new"]
    assert (new.payout_rao, new.ante_returned_rao, new.rank, new.tier) == (3, 3, None, None)
    assert not new.eligible
    assert settlement.rake_rao == settle(field(3), emission_rao=1000 * TOKEN).rake_rao


@pytest.mark.parametrize("standing", ["unrevealed", "forfeited"])
def test_a_forfeited_ante_is_half_burned_and_half_redistributed(standing):
    # 51 comes in: 25.5 burned, 8 % more rake, the rest is the winners'
    before = settle(field(100), emission_rao=0)
    after = settle([*field(100), entry("gone", 0, 51 * TOKEN, standing=standing)], emission_rao=0)
    gone = by_name(after)["gone"]
    assert (gone.payout_rao, gone.ante_burned_rao, gone.rank) == (0, 25_500_000_000, None)
    more_rake = after.rake_rao - before.rake_rao
    assert more_rake == 4_080_000_000
    assert after.winner_pool_rao - before.winner_pool_rao == 25_500_000_000 - more_rake


def test_pooled_antes_are_shared_by_the_power_law():
    # E = 410, P = 5410; 5410 - 1000 - 750 = 3660, less the rake of 432.8: W = 3227.2
    params = QUANTA.changed(tokenomics__ante_mode="pooled")
    settlement = settle(field(100), emission_rao=1000 * TOKEN, params=params)
    assert settlement.winner_pool_rao == 3_227_200_000_000
    last = settlement.allocations[49]
    assert last.ante_returned_rao == 0
    assert last.payout_rao == last.gross_rao - last.fee_rao < ANTE


def test_a_larger_ante_earns_more_only_with_theta():
    miners = [entry("a", 9, 40 * TOKEN), entry("b", 9, 10 * TOKEN), *field(2)]
    rows = by_name(settle(miners, emission_rao=10**15))
    assert rows["a"].gross_rao == rows["b"].gross_rao
    params = QUANTA.changed(tokenomics__ante_theta=Decimal("0.5"))
    rows = by_name(settle(miners, emission_rao=10**15, params=params))
    # the same position, sqrt(40 / 10) = 2 times the weight
    assert rows["a"].weight == pytest.approx(2 * rows["b"].weight)


def test_antes_of_zero_are_all_equal_under_theta():
    params = QUANTA.changed(tokenomics__ante_theta=Decimal(1), tokenomics__minimum_ante=Decimal(0))
    rows = settle(field(3, ante=0), emission_rao=10**12, params=params).allocations
    assert rows[1].weight == pytest.approx(2**-1.5 / (1 + 2**-1.5))


# Eligibility, carry, switches


def test_a_winner_that_is_not_eligible_gets_its_ante_and_no_reward():
    miners = field(4)
    miners[0] = replace(miners[0], eligible=False)
    rows = by_name(settle(miners, emission_rao=1000 * TOKEN))
    first = rows["m000"]
    assert (first.tier, first.final_tier, first.payout_rao) == ("top_tier", "break_even", ANTE)
    assert rows["m001"].weight == 1.0


def test_without_an_eligible_winner_the_pool_is_carried():
    # E 410, A 200; rank 3 breaks even, rank 4 burns 25: 610 + 10 - 150 - 25 = 445, rake 48.8
    miners = [replace(each, eligible=False) for each in field(4)]
    settlement = settle(miners, emission_rao=1000 * TOKEN, carry_in_rao=40 * TOKEN)
    assert settlement.rake_rao == 48_800_000_000
    assert settlement.winner_pool_rao == 445 * TOKEN - settlement.rake_rao
    assert settlement.carry_out_rao == 30 * TOKEN + settlement.winner_pool_rao


def test_a_quarter_of_the_carry_enters_and_is_not_raked():
    # floor(7 / 4) = 1 rao enters
    without = settle(field(100), emission_rao=0)
    settlement = settle(field(100), emission_rao=0, carry_in_rao=7)
    assert settlement.winner_pool_rao == without.winner_pool_rao + 1
    assert settlement.rake_rao == without.rake_rao
    assert settlement.carry_out_rao == 6


def test_unrevealed_alone_burn_and_carry():
    settlement = settle([entry("a", 0, standing="unrevealed")], emission_rao=0)
    assert (settlement.rake_rao, settlement.carry_out_rao) == (0, ANTE // 2)


def test_the_rake_never_takes_what_must_go_back():
    # a lone winner without emission: available is 0, so the 8 % of 50 are not taken
    settlement = settle([entry("a", 1)], emission_rao=0)
    assert settlement.rake_rao == settlement.winner_pool_rao == 0
    assert settlement.allocations[0].payout_rao == ANTE


def test_the_chain_may_pay_the_emission():
    params = QUANTA.changed(tokenomics__emission_mode="chain")
    settlement = settle(field(3), emission_rao=1000 * TOKEN, params=params)
    assert settlement.emission_rao == settlement.owner_emission_rao == 0


def test_the_owner_takes_what_rounding_leaves():
    # floor(.41 * 99) = 40 twice
    split = split_emission(99)
    assert (split.miners_rao, split.validators_rao, split.owner_rao) == (40, 40, 19)


def test_the_fee_burn_is_a_switch():
    params = QUANTA.changed(tokenomics__fee_burned=False)
    settlement = settle(field(100), emission_rao=1000 * TOKEN, params=params)
    assert (settlement.fee_burned_rao, settlement.fee_treasury_rao) == (0, 14_543_999_975)


def test_winners_may_be_divided_anew():
    # 50 winners: the specification's 15 % of the winners are 7.5, so eight are top tier
    params = QUANTA.changed(tokenomics__winners_keep_tier=False)
    rows = settle(field(100), emission_rao=0, params=params).allocations
    assert sum(each.tier == "top_tier" for each in rows) == 15
    assert sum(each.final_tier == "top_tier" for each in rows) == 8
    assert sum(each.final_tier == "profitable" for each in rows) == 42


def test_the_specification_ranks_ties_by_arrival_and_ignores_eligibility():
    miners = [entry("b", 1, eligible=False), entry("a", 1), entry("c", 1), entry("d", 0.5)]
    rows = by_name(settle(miners, emission_rao=TOKEN, params=SPEC))
    assert [rows[name].rank for name in "bacd"] == [1, 2, 3, 4]
    assert rows["b"].gross_rao > rows["a"].gross_rao > 0


# Projection and power law


def test_a_projection_is_what_the_rank_is_paid():
    settlement = settle(field(100), emission_rao=1000 * TOKEN)
    for rank in (1, 2, 50):
        expected = expected_reward(rank, 50, settlement.winner_pool_rao)
        assert expected == settlement.allocations[rank - 1].gross_rao


@pytest.mark.parametrize("rank", [0, -1, 51])
def test_nothing_is_projected_beyond_the_winners(rank):
    assert expected_reward(rank, 50, 10**12) == 0


def test_position_weights_are_rounded_correctly():
    # p^-1.5 = sqrt(1 / p^3), by an integer root one bit finer
    weights = position_weights(3000, Decimal("1.5"))
    exact = [(isqrt(4 * 10**60 // p**3) + 1) // 2 for p in range(1, 3001)]
    assert list(weights) == exact


@pytest.mark.parametrize("gamma", [1, 2])
def test_whole_exponents_are_fractions(gamma):
    weights = position_weights(1000, Decimal(gamma))
    assert list(weights) == [round(Fraction(10**30, p**gamma)) for p in range(1, 1001)]


def test_any_exponent_between_is_close_to_its_float():
    weights = position_weights(200, Decimal("1.37"))
    assert [w / 1e30 for w in weights] == pytest.approx([p**-1.37 for p in range(1, 201)])


def test_no_position_has_no_weight():
    assert position_weights(0, Decimal("1.5")) == ()
    assert winner_weights([], []) == []


def test_tied_weights_are_the_exact_mean():
    single = position_weights(4, Decimal("1.5"))
    weights = winner_weights([1, 2, 2, 2], [1, 1, 1, 1])
    assert Fraction(weights[1], weights[0]) == Fraction(sum(single[1:]), 3 * single[0])


def test_50_000_miners_are_settled_quickly():
    miners = [entry(f"m{i:05}", 100_000 - i) for i in range(50_000)]
    start = time.process_time()  # other processes do not count
    settlement = settle(miners, emission_rao=10**15)
    assert time.process_time() - start < 4.0  # 0.3 s; quadratic work would take minutes
    assert settlement.allocations[24_999].gross_rao > 0


# What is refused


@pytest.mark.parametrize(
    ("miners", "income"),
    [
        ([entry("a", 1), entry("a", 2)], {}),
        ([entry("a", 1, -1)], {}),
        ([entry("a", 1, 50.0)], {}),
        ([entry("a", -1)], {}),
        ([entry("a", "NaN")], {}),
        ([entry("a", 1, standing="retired")], {}),
        ([], {"external_rao": -1}),
        ([], {"carry_in_rao": -1}),
        ([], {"emission_rao": -1}),
    ],
)
def test_what_cannot_be_settled_is_refused(miners, income):
    with pytest.raises(InvalidEntries):
        settle(miners, **({"emission_rao": 0} | income))


@pytest.mark.parametrize(
    ("miners", "income", "words"),
    [
        ([entry("a", 1), entry("a", 2)], {}, "a has 2 entries, a hotkey has one"),
        ([entry("a", 1, 50.0)], {}, r"a: ante_rao is a whole number of rao, not 50\.0"),
        ([entry("a", 1, True)], {}, "a: ante_rao is a whole number of rao, not True"),
        ([entry("a", 1, -1)], {}, "a: ante_rao is at least 0 rao, not -1"),
        ([entry("a", -1)], {}, "a: a ranked score is finite and at least 0, not -1"),
        ([RewardEntry("a", 0.5, ANTE)], {}, r"a: a score is a Decimal or a whole.*, not 0\.5"),
        ([RewardEntry("a", np.float64(0.5), ANTE)], {}, "a: a score is a Decimal"),
        ([RewardEntry("a", "0.5", ANTE)], {}, "a: a score is a Decimal or a whole.*, not '0.5'"),
        ([RewardEntry("a", True, ANTE)], {}, "a: a score is a Decimal or a whole.*, not True"),
        ([entry("a", 1, standing="gone")], {}, "a: a standing is one of ranked, .*, not 'gone'"),
        ([], {"external_rao": -1}, "external_rao is at least 0 rao, not -1"),
        ([], {"carry_in_rao": 1.5}, r"carry_in_rao is a whole number of rao, not 1\.5"),
        ([], {"emission_rao": "7"}, "emission_rao is a whole number of rao, not '7'"),
    ],
)
def test_a_refusal_names_the_miner_the_value_and_what_is_wanted(miners, income, words):
    with pytest.raises(InvalidEntries, match=words):
        settle(miners, **({"emission_rao": 0} | income))


def test_whole_numbers_of_numpy_are_whole_numbers():
    # 10^18 times a numerator of the shares does not fit an int64
    plain = settle(field(3), emission_rao=10**18, carry_in_rao=8)
    numpys = [
        RewardEntry(f"m{i:03}", np.int64(3 - i), np.int64(ANTE), eligible=True) for i in range(3)
    ]
    found = settle(numpys, emission_rao=np.int64(10**18), carry_in_rao=np.uint8(8))
    assert found == plain
    assert {type(each.payout_rao) for each in found.allocations} == {int}


def test_a_settlement_that_makes_a_rao_cannot_be_constructed():
    settlement = settle(field(3), emission_rao=TOKEN)
    with pytest.raises(ProtocolError, match="pays what it has"):
        replace(settlement, rake_rao=settlement.rake_rao + 1)


# Any field

SETS = [
    QUANTA,
    SPEC,
    QUANTA.changed(tokenomics__ante_mode="pooled", tokenomics__power_law_gamma=Decimal("1.2")),
    QUANTA.changed(tokenomics__ante_theta=Decimal("0.7")),
    QUANTA.changed(tokenomics__emission_mode="chain", tokenomics__rake=Decimal(1)),
]
MONEY = st.one_of(st.integers(0, 100), st.integers(0, 10**18))
MINER = st.tuples(
    st.integers(0, 6),
    st.one_of(st.integers(0, 10**13), st.sampled_from([0, 10**10 - 1, 10**10, 5 * 10**10])),
    st.booleans(),
    st.sampled_from(["ranked"] * 5 + ["provisional", "unranked", "unrevealed", "forfeited"]),
)
FIELD = st.lists(MINER, max_size=25).map(
    lambda rows: [
        RewardEntry(f"m{i:02}", Decimal(score) / 8, ante, eligible, standing)
        for i, (score, ante, eligible, standing) in enumerate(rows)
    ]
)


@given(FIELD, MONEY, MONEY, MONEY, st.sampled_from(SETS))
@settings(max_examples=200, deadline=None)
def test_no_rao_is_lost_and_nobody_pays(miners, emission, external, carry, params):
    settlement = settle(
        miners,
        emission_rao=emission,
        external_rao=external,
        carry_in_rao=carry,
        params=params,
    )
    antes = sum(each.ante_rao for each in miners if each.hotkey not in settlement.refused)
    assert gap(settlement, antes) == 0
    assert len(settlement.allocations) + len(settlement.refused) == len(miners)
    for each in settlement.allocations:
        assert each.payout_rao == each.gross_rao - each.fee_rao + each.ante_returned_rao
        assert min(each.payout_rao, each.ante_burned_rao, each.fee_rao, each.gross_rao) >= 0
    gross = sum(each.gross_rao for each in settlement.allocations)
    assert gross in (0, settlement.winner_pool_rao)
    assert min(settlement.rake_rao, settlement.winner_pool_rao, settlement.carry_out_rao) >= 0


@given(FIELD, MONEY, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_entries_does_not_matter(miners, emission, rng):
    shuffled = list(miners)
    rng.shuffle(shuffled)
    assert settle(shuffled, emission_rao=emission) == settle(miners, emission_rao=emission)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), MONEY, st.sampled_from(SETS[:3]))
@settings(max_examples=80, deadline=None)
def test_a_better_rank_never_earns_less_at_equal_ante(scores, external, params):
    miners = [entry(f"m{i:02}", score) for i, score in enumerate(scores)]
    rows = settle(miners, emission_rao=0, external_rao=external, params=params).allocations
    for better, worse in pairwise(rows):
        assert better.rank <= worse.rank
        assert better.gross_rao >= worse.gross_rao


def test_an_ante_that_was_never_at_stake_burns_nothing():
    waiting = RewardEntry("p", Decimal(1), 20 * 10**9, standing="provisional")
    (found,) = settle([waiting], emission_rao=0).allocations
    assert (found.ante_returned_rao, found.ante_burned_rao) == (20 * 10**9, 0)
