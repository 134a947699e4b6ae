"""Yuma over several epochs by hand, and over random networks beside a brute force in fractions."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from quanta_pipelines.protocol.consensus import (
    capped_stakes,
    quorum,
    stake_weighted_median,
    yuma,
    yuma_by,
)
from quanta_pipelines.protocol.params import QUANTA

UNIT = 1 / 65_535  # what the chain can tell apart
MODES = ("yuma1", "yuma3", "yuma3_liquid")
KAPPAS = (Fraction(1, 2), Fraction(32_768, 65_535), Fraction(1, 3), Fraction(4, 5), Fraction(1))


# Eight epochs by hand


def test_yuma_1_over_eight_epochs_by_hand():
    # Two validators, stakes 3/4 and 1/4, weights (.6, .4) and (.4, .6), kappa 1/2.
    # C = (.6, .4): 3/4 of the stake support them. Second row clipped to (.4, .4).
    # S * W = (.45, .30), (.10, .10); columns over .55 and .40.
    # bought = (9/11, 3/4), (2/11, 1/4), and bonds are that from the first epoch on, since
    # colnorm(.1 x + .9 x) = x.
    # rank = (.55, .40), incentive = (11/19, 8/19)
    # D1 = 9/11 * 11/19 + 3/4 * 8/19 = 9/19 + 6/19 = 15/19, D2 = 4/19
    weights, bonds = np.array([[0.6, 0.4], [0.4, 0.6]]), None
    for _ in range(8):
        found = yuma(weights, [3, 1], bonds=bonds)
        bonds = found.bonds
        assert found.consensus.tolist() == [0.6, 0.4]
        assert found.validator_trust == pytest.approx([1.0, 0.8], abs=UNIT)
        assert found.incentive == pytest.approx([11 / 19, 8 / 19], abs=UNIT)
        assert found.bonds == pytest.approx(np.array([[9 / 11, 3 / 4], [2 / 11, 1 / 4]]), abs=UNIT)
        assert found.dividends == pytest.approx([15 / 19, 4 / 19], abs=UNIT)


def test_a_validator_that_changes_its_mind_moves_a_tenth_an_epoch_under_yuma_1():
    # One miner, equal stakes. In epoch 0 only the first voted for it: bonds (1, 0).
    # From then on both do, each buys 1/2: b -> .1 * .5 + .9 b, so b - 1/2 shrinks by .9 an epoch.
    # After t epochs b = 1/2 + 1/2 * .9^t; the only incentive is 1, so D = B.
    bonds = np.array([[1.0], [0.0]])
    for epoch in range(1, 9):
        found = yuma(np.array([[1.0], [1.0]]), [1, 1], bonds=bonds)
        bonds = found.bonds
        held = 0.5 + 0.5 * 0.9**epoch
        assert found.bonds[:, 0] == pytest.approx([held, 1 - held], abs=UNIT)
        assert found.dividends == pytest.approx([held, 1 - held], abs=UNIT)
        assert (found.trust[0], found.incentive[0]) == (1.0, 1.0)


def test_yuma_3_over_eight_epochs_by_hand():
    # Weights of the first test. Bonds after t epochs: Wb (1 - .9^t), Wb = (.6, .4), (.4, .4).
    # The common factor leaves columns (.6, .4) and (.5, .5):
    # B I = .6 * 11/19 + .5 * 8/19 = 10.6/19 and .4 * 11/19 + .5 * 8/19 = 8.4/19
    # D = (3 * 10.6, 8.4) / (31.8 + 8.4) = (31.8, 8.4) / 40.2
    weights, bonds = np.array([[0.6, 0.4], [0.4, 0.6]]), None
    for epoch in range(1, 9):
        found = yuma(weights, [3, 1], bonds=bonds, mode="yuma3")
        bonds = found.bonds
        grown = 1 - 0.9**epoch
        expected = np.array([[0.6, 0.4], [0.4, 0.4]]) * grown
        assert found.bonds == pytest.approx(expected, abs=UNIT)
        assert found.dividends == pytest.approx([31.8 / 40.2, 8.4 / 40.2], abs=UNIT)
        assert found.validator_trust == pytest.approx([1.0, 0.8], abs=UNIT)


def test_liquid_alpha_over_eight_epochs_by_hand():
    # A lone validator with weights (.5, .5): C = Wb = .5. The first cell starts at 0 and buys at
    # consensus, d = 0. The second starts at 1: it sells d = b - .5 as long as b is above .5.
    # a(d) = .7 + .2 / (1 + e^(-10 (d - .5)))
    def alpha(distance):
        return 0.7 + 0.2 / (1 + np.exp(-10 * (distance - 0.5)))

    first, second, bonds = 0.0, 1.0, np.array([[0.0, 1.0]])
    for _ in range(8):
        found = yuma_by(
            QUANTA.changed(consensus__bond_mode="yuma3_liquid"),
            np.array([[0.5, 0.5]]),
            [1],
            bonds=bonds,
        )
        bonds = found.bonds
        first += alpha(0.0) * (0.5 - first)
        second += alpha(max(second - 0.5, 0.0)) * (0.5 - second)
        assert bonds[0] == pytest.approx([first, second], abs=UNIT)


def test_the_defaults_are_those_of_the_rule_set():
    weights, bonds = np.array([[0.6, 0.4], [0.1, 0.9]]), np.array([[0.2, 0.9], [0.8, 0.1]])
    plain, by_rules = (
        yuma(weights, [3, 2], bonds=bonds),
        yuma_by(QUANTA, weights, [3, 2], bonds=bonds),
    )
    assert plain.bonds.tolist() == by_rules.bonds.tolist()
    slower = QUANTA.changed(consensus__bond_ema_alpha=0.0, consensus__kappa=Decimal("0.7"))
    changed = yuma_by(slower, weights, [3, 2], bonds=bonds)
    assert changed.bonds == pytest.approx(bonds)
    assert changed.consensus.tolist() == [0.1, 0.4]


def test_who_is_silent_keeps_what_its_bonds_earn_and_buys_nothing():
    # bonds half each; only the first votes: bought (1, 0), B = .1 * 1 + .9 * .5 = .55
    found = yuma(np.array([[1.0], [0.0]]), [1, 0], bonds=np.array([[0.5], [0.5]]))
    assert found.bonds[:, 0] == pytest.approx([0.55, 0.45])
    assert found.dividends == pytest.approx([0.55, 0.45])


def test_absent_stake_abstains_and_does_not_zero_the_consensus():
    # 60 of 100 are absent: among the 40 that are here, (.7, .3) is unanimous. Had the absent
    # counted as rows of zeros, 60 would support nothing but 0.
    here = np.array([[0.7, 0.3], [0.7, 0.3]])
    assert stake_weighted_median(here, [25, 15]).tolist() == [0.7, 0.3]
    as_zeros = np.vstack([here, [[0.0, 0.0]]])
    assert stake_weighted_median(as_zeros, [25, 15, 60]).tolist() == [0.0, 0.0]
    assert stake_weighted_median(as_zeros, [25, 15, 0]).tolist() == [0.7, 0.3]
    # whether 40 of 100 may settle an epoch is another question
    assert not quorum([25, 15, 60], [True, True, False], Fraction(1, 2))
    assert quorum([25, 15, 60], [True, True, False], Fraction(2, 5))


# Brute force in exact fractions


def column_sums(matrix):
    return [sum(column) for column in zip(*matrix, strict=True)]


def exactly_normalised(vector):
    total = sum(vector)
    return [part / total if total else Fraction(0) for part in vector]


def columns_normalised(matrix):
    sums = column_sums(matrix)
    return [
        [cell / total if total else Fraction(0) for cell, total in zip(row, sums, strict=True)]
        for row in matrix
    ]


def brute_force(weights, stakes, kappa, old, mode):
    """Section 8 as it is written, cell by cell, in fractions."""
    total = sum(stakes)
    share = [stake / total if total else Fraction(0) for stake in stakes]
    rows = [exactly_normalised(row) for row in weights]
    validators, miners = range(len(rows)), range(len(rows[0]))

    def supported(j, w):
        return sum(share[i] for i in validators if rows[i][j] >= w) >= kappa

    consensus = [
        max((rows[i][j] for i in validators if stakes[i] and supported(j, rows[i][j])), default=0)
        for j in miners
    ]
    clipped = [[min(rows[i][j], consensus[j]) for j in miners] for i in validators]
    rank = [sum(share[i] * clipped[i][j] for i in validators) for j in miners]
    given = [sum(share[i] * rows[i][j] for i in validators) for j in miners]
    incentive, tenth = exactly_normalised(rank), Fraction(1, 10)
    if mode == "yuma1":
        bought = columns_normalised(
            [[share[i] * clipped[i][j] for j in miners] for i in validators]
        )
        before = columns_normalised(old)
        bonds = columns_normalised(
            [
                [tenth * bought[i][j] + (1 - tenth) * before[i][j] for j in miners]
                for i in validators
            ]
        )
        earned = [sum(bonds[i][j] * incentive[j] for j in miners) for i in validators]
    else:
        bonds = [
            [min(Fraction(1), (1 - tenth) * old[i][j] + tenth * clipped[i][j]) for j in miners]
            for i in validators
        ]
        parts = columns_normalised(bonds)
        earned = [share[i] * sum(parts[i][j] * incentive[j] for j in miners) for i in validators]
    return {
        "consensus": consensus,
        "rank": rank,
        "incentive": incentive,
        "trust": [r / g if g else np.nan for r, g in zip(rank, given, strict=True)],
        "validator_trust": [sum(row) for row in clipped],
        "bonds": bonds,
        "dividends": exactly_normalised(earned),
    }


def random_network(rng):
    """A small network with ties, stakes of zero, empty rows and empty columns."""
    validators, miners = int(rng.integers(1, 7)), int(rng.integers(1, 6))
    weights = rng.integers(0, 4, (validators, miners)) * rng.integers(0, 2, (validators, 1))
    weights[:, rng.random(miners) < 0.2] = 0
    stakes = rng.integers(0, 4, validators).tolist()
    old = rng.integers(0, 5, (validators, miners)) * (rng.random((validators, miners)) < 0.7)
    return weights.tolist(), stakes, old.tolist()


def as_floats(found):
    return np.array(found, dtype=object).astype(np.float64)


def check_networks(seed, count):
    rng = np.random.default_rng(seed)
    for at in range(count):
        weights, stakes, old = random_network(rng)
        kappa, mode = KAPPAS[at % len(KAPPAS)], ("yuma1", "yuma3")[at % 2]
        quarters = [[Fraction(cell, 4) for cell in row] for row in old]
        exact = brute_force(
            [[Fraction(cell) for cell in row] for row in weights],
            [Fraction(stake) for stake in stakes],
            kappa,
            quarters,
            mode,
        )
        found = yuma(
            np.array(weights, dtype=np.float64),
            stakes,
            kappa=kappa,
            bonds=as_floats(quarters),
            mode=mode,
        )
        for name, expected in exact.items():
            np.testing.assert_allclose(
                getattr(found, name),
                as_floats(expected),
                atol=1e-12,
                rtol=0,
                err_msg=f"{name} {at}",
            )


def test_random_networks_agree_with_a_brute_force_in_fractions():
    check_networks(seed=8, count=300)


@pytest.mark.soak
def test_many_random_networks_agree_with_a_brute_force_in_fractions():
    check_networks(seed=9, count=5_000)


# What must not matter, and what must


@pytest.fixture(params=range(6))
def network(request):
    rng = np.random.default_rng(request.param)
    weights = rng.random((7, 9)) * (rng.random((7, 9)) < 0.8)
    return weights, rng.integers(1, 100, 7).tolist(), rng.random((7, 9))


def everything(result):
    return {
        name: getattr(result, name)
        for name in (
            *("consensus", "clipped", "rank", "trust", "incentive"),
            *("validator_trust", "bonds", "dividends"),
        )
    }


@pytest.mark.parametrize("mode", MODES)
def test_scaling_all_stakes_changes_nothing(network, mode):
    weights, stakes, bonds = network
    params = QUANTA.changed(consensus__bond_mode=mode)
    before = everything(yuma_by(params, weights, stakes, bonds=bonds))
    after = everything(yuma_by(params, weights, [10**9 * stake for stake in stakes], bonds=bonds))
    for name, expected in before.items():
        assert after[name].tolist() == expected.tolist(), name


@pytest.mark.parametrize("mode", MODES)
def test_permuting_validators_and_miners_permutes(network, mode):
    weights, stakes, bonds = network
    params, rng = QUANTA.changed(consensus__bond_mode=mode), np.random.default_rng(1)
    rows, columns = rng.permutation(7), rng.permutation(9)
    before = yuma_by(params, weights, stakes, bonds=bonds)
    after = yuma_by(
        params,
        weights[np.ix_(rows, columns)],
        [stakes[row] for row in rows],
        bonds=bonds[np.ix_(rows, columns)],
    )
    assert after.consensus == pytest.approx(before.consensus[columns], abs=1e-12)
    assert after.incentive == pytest.approx(before.incentive[columns], abs=1e-12)
    assert after.bonds == pytest.approx(before.bonds[np.ix_(rows, columns)], abs=1e-12)
    assert after.dividends == pytest.approx(before.dividends[rows], abs=1e-12)


def test_a_minority_cannot_raise_any_miners_consensus(network):
    # 49 of 100 against an honest 51, whatever the minority writes into its rows
    honest, _, _ = network
    rng = np.random.default_rng(3)
    agreed = stake_weighted_median(honest[:3], [17, 17, 17], Fraction(1, 51))
    for _ in range(20):
        attack = rng.random((2, 9)) * 10
        together = stake_weighted_median(np.vstack([honest[:3], attack]), [17, 17, 17, 25, 24])
        assert (together <= agreed).all()  # never above the highest honest weight
    unanimous = np.vstack([[honest[0]] * 3, rng.random((2, 9)) * 10])
    assert stake_weighted_median(unanimous, [17, 17, 17, 25, 24]).tolist() == honest[0].tolist()


@pytest.mark.parametrize("mode", ["yuma1", "yuma3"])
def test_splitting_a_validator_in_two_equal_ones_changes_nothing(network, mode):
    weights, stakes, bonds = network
    params = QUANTA.changed(consensus__bond_mode=mode)
    old = bonds / bonds.sum(axis=0)
    whole = yuma_by(params, weights, [2 * stake for stake in stakes], bonds=old)
    # under Yuma 1 bonds are shares and split with the stake; under Yuma 3 each has its own
    part = 0.5 if mode == "yuma1" else 1.0
    split = yuma_by(
        params,
        np.vstack([weights, weights[:1]]),
        [stakes[0], *(2 * stake for stake in stakes[1:]), stakes[0]],
        bonds=np.vstack([old[:1] * part, old[1:], old[:1] * part]),
    )
    assert split.consensus.tolist() == whole.consensus.tolist()
    assert split.incentive == pytest.approx(whole.incentive, abs=1e-12)
    assert split.trust == pytest.approx(whole.trust, abs=1e-12)
    if mode == "yuma1":  # columns of Yuma 3 are normalised before the stake counts
        joined = split.dividends[0] + split.dividends[-1]
        assert joined == pytest.approx(whole.dividends[0], abs=1e-12)
        assert split.dividends[1:-1] == pytest.approx(whole.dividends[1:], abs=1e-12)


def test_splitting_a_capped_validator_does_change_something():
    # 30 % in one hand is cut to what is feasible, in two hands of 15 % it is not cut as far
    assert capped_stakes([30, *[1] * 70]).shares[0] == Fraction(1, 20)
    split = capped_stakes([15, 15, *[1] * 70]).shares
    assert split[0] + split[1] == Fraction(1, 10)
