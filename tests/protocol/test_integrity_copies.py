"""Who was first, originality, suspicion of plagiarism, and contribution."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity import (
    active_returns,
    committed_first,
    committed_positions,
    contribution,
    earlier_matrix,
    holdings_of,
    originality,
    originality_table,
    overlap_log10_chance,
    plagiarism_evidence,
    precedence,
    shared_units,
)
from quanta_pipelines.protocol.params import QUANTA

from .test_integrity_similarity import ONE, THREE, TWO

ALICE, BOB, CAROL, DAVE = "alice", "bob", "carol", "dave"
WEEKS = [f"2025-Q4-W{week}" for week in range(41, 49)]
NOON = pd.Timestamp("2025-10-03 12:00", tz="UTC").as_unit("ns")
seeds = st.integers(0, 2**32 - 1)


def committed(plan, *, minutes=None, filled=()):
    """Rows of ``Portfolios``: ``plan[hotkey]`` is one dict of weights (or None) per week."""
    late = minutes or {}
    rows = [
        {
            "epoch_id": WEEKS[week],
            "hotkey": hotkey,
            "ticker": ticker,
            "weight": weight,
            "filled_epochs": int((hotkey, week) in filled),
            "committed_at": NOON
            + pd.Timedelta(days=7 * week)
            + pd.Timedelta(minutes=late.get(hotkey, 0)),
        }
        for hotkey, weeks in plan.items()
        for week, held in enumerate(weeks)
        for ticker, weight in (held or {}).items()
    ]
    return committed_positions(pd.DataFrame(rows))


def held_by(plan, **options):
    weeks = max(len(weeks) for weeks in plan.values())
    return holdings_of(committed(plan, **options), list(plan), WEEKS[:weeks])


def equal(names):
    return dict.fromkeys(names, 1.0 / len(names))


TECH = {"AAPL": 0.2, "MSFT": 0.2, "NVDA": 0.2, "META": 0.2, "AMZN": 0.2}
OIL = {"XOM": 0.2, "CVX": 0.2, "COP": 0.2, "SLB": 0.2, "EOG": 0.2}
HALF = {"AAPL": 0.2, "MSFT": 0.2, "NVDA": 0.1, "XOM": 0.2, "CVX": 0.2, "COP": 0.1}
UNDER = HALF | {"NVDA": 0.099999, "COP": 0.100001}  # 0.499999 of TECH
PAIR = np.array([0]), np.array([1])


# Holdings


def test_a_shared_weight_is_an_exact_number_of_units():
    # min: 0.2 + 0.2 + 0.1 of AAPL, MSFT, NVDA
    holdings = held_by({ALICE: [TECH], BOB: [HALF], CAROL: [UNDER], DAVE: [OIL]})
    units = holdings.units[0]
    others = np.array([1, 2, 3, 0])
    found = shared_units(units, units, np.zeros(4, dtype=int), others)
    assert found.tolist() == [500_000_000, 499_999_000, 0, 1_000_000_000]


def test_a_portfolio_that_fills_an_epoch_was_not_committed_in_it():
    holdings = held_by({ALICE: [TECH, TECH], BOB: [OIL, OIL]}, filled={(ALICE, 1)})
    assert np.diff(holdings.units[1].indptr).tolist() == [0, 5]
    assert holdings.held(0).toarray().sum(axis=1).tolist() == [5, 5]


def test_a_ticker_counts_as_held_from_one_percent():
    dust = TECH | {"AMZN": 0.190001, "IBM": 0.009999}
    assert held_by({ALICE: [dust], BOB: [dust]}).held(0).sum() == 2 * 5
    dust = TECH | {"AMZN": 0.19, "IBM": 0.01}
    assert held_by({ALICE: [dust], BOB: [dust]}).held(0).sum() == 2 * 6


def test_rows_of_holdings_are_the_miners_that_were_asked_for():
    rows = committed({ALICE: [TECH], BOB: [OIL]})
    holdings = holdings_of(rows, [CAROL, BOB], WEEKS[:1])
    assert np.diff(holdings.units[0].indptr).tolist() == [0, 5]
    assert list(holdings.tickers) == sorted(OIL)


def test_holdings_are_refused_that_are_none():
    rows = committed({ALICE: [TECH]})
    with pytest.raises(InvalidIntegrityInput, match="ticker twice"):
        holdings_of(pd.concat([rows, rows]), [ALICE], WEEKS[:1])
    with pytest.raises(InvalidIntegrityInput, match="oldest first"):
        holdings_of(rows, [ALICE], WEEKS[1::-1])


# Precedence


@pytest.mark.parametrize(
    ("alice", "bob", "earlier"),
    [
        ([TECH, TECH], [OIL, TECH], 1),  # what Bob holds now, Alice held before
        ([OIL, TECH], [TECH, TECH], -1),
        ([TECH, TECH], [TECH, TECH], 0),  # both in the same epoch
        ([TECH, TECH], [OIL, OIL], 0),  # neither ever
        ([TECH, OIL], [OIL, TECH], 0),  # each holds what the other held
        ([TECH, OIL], [None, TECH], 1),  # Alice moved on; Bob never held what she holds now
        ([None, TECH], [None, HALF], 0),  # alike since the last epoch only
        ([TECH, TECH], [OIL, HALF], 1),  # half is enough
        ([TECH, TECH], [OIL, UNDER], 0),  # less is not
    ],
)
def test_who_first_committed_what_the_other_holds_now(alice, bob, earlier):
    holdings = held_by({ALICE: alice, BOB: bob})
    assert precedence(holdings, *PAIR).tolist() == [earlier]
    assert precedence(holdings, *PAIR[::-1]).tolist() == [-earlier]


def test_an_original_that_comes_back_is_no_copy_of_its_copier():
    # Bob holds what Alice held the week before. Alice's first week is like her last one and unlike
    # Bob's last one, which she first held in her third: he first held the like of hers in the
    # second week, 3 of 5 names, but so had she, in the first
    alice = [equal("ABCDE"), equal("FGHIJ"), equal("KLMNO"), equal("ABCKL")]
    bob = [None, *alice[:-1]]
    assert precedence(held_by({ALICE: alice, BOB: bob}), *PAIR).tolist() == [1]


def test_an_own_past_that_is_less_alike_is_no_excuse():
    # 2 of 5 names are Bob's own, 3 are what Alice held in the second week
    alice = [equal("VWXYZ"), equal("FGHIJ"), equal("FGHIJ")]
    bob = [equal("ABCDE"), equal("ABCDE"), equal("FGHAB")]
    assert precedence(held_by({ALICE: alice, BOB: bob}), *PAIR).tolist() == [1]


def test_a_copier_of_two_in_turn_makes_no_suspect_of_either():
    # Carol, an hour later, sends Alice's portfolio in one week and Bob's in the next. In the last
    # one she holds Bob's, which Alice never held; what she held of Alice's, Alice had sent before
    def drifting(letters):
        return [equal(letters[week : week + 20]) for week in range(8)]

    names = [f"{kind}{number:02d}" for kind in "ab" for number in range(28)]
    alice, bob = drifting(names[:28]), drifting(names[28:])
    carol = [(alice, bob)[week % 2][week] for week in range(8)]
    holdings = held_by({ALICE: alice, BOB: bob, CAROL: carol}, minutes={CAROL: 60})
    assert plagiarism_evidence(holdings)["hotkey"].isin([ALICE, BOB]).sum() == 0
    to_alice = np.array([2]), np.array([0])
    assert committed_first(holdings, *to_alice).tolist() == [0]


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 4), st.integers(1, 7))
def test_whoever_is_copied_later_is_never_the_later_one(seed, lag, since):
    rng, names = np.random.default_rng(seed), np.array(list("ABCDEFGHIJ"))
    own, alice = equal("VWXYZ"), []
    for week in range(8):
        again = week and rng.random() < 0.3
        drawn = equal(rng.choice(names, rng.integers(5, 9), replace=False))
        alice.append(alice[rng.integers(week)] if again else drawn)
    bob = [alice[week - lag] if week >= max(since, lag) else own for week in range(8)]
    found = precedence(held_by({ALICE: alice, BOB: bob}), *PAIR)
    assert found.tolist() == [1 if bob[-1] is not own else 0]


def test_only_a_commitment_time_tells_two_of_the_same_epoch_apart():
    plan = {ALICE: [TECH], BOB: [TECH]}
    assert precedence(held_by(plan, minutes={BOB: 1}), *PAIR).tolist() == [0]
    assert committed_first(held_by(plan, minutes={BOB: 1}), *PAIR).tolist() == [1]
    assert committed_first(held_by(plan, minutes={BOB: -1}), *PAIR).tolist() == [-1]
    assert committed_first(held_by(plan), *PAIR).tolist() == [0]
    assert committed_first(held_by({ALICE: [TECH], BOB: [OIL]}), *PAIR).tolist() == [0]


def random_plan(rng, miners=8, weeks=4):
    """Portfolios of five names out of ten, often another's or one's own last one."""
    names = np.array([f"T{letter}" for letter in "ABCDEFGHIJ"])
    plan = {f"m{at}": [] for at in range(miners)}
    for week in range(weeks):
        for held in plan.values():
            others = [one[week - 1] for one in plan.values() if week and one[week - 1]]
            kind = rng.integers(4)
            if kind == 0 and others:
                held.append(others[rng.integers(len(others))])
            elif kind == 1 and week:
                held.append(held[-1])
            else:
                chosen = rng.choice(names, rng.integers(5, 8), replace=False)
                held.append(equal(chosen) if rng.random() < 0.9 else None)
    return plan


def shared(one, other):
    return sum(
        min(weight, (other or {}).get(ticker, 0.0)) for ticker, weight in (one or {}).items()
    )


def first_alike(weeks, others):
    """First week like the others' last one, unless that was as like it before."""
    for week, held in enumerate(weeks):
        like = shared(held, others[-1])
        if like >= 0.5 - 1e-8:
            own = (shared(before, others[-1]) for before in others[:week])
            return math.inf if any(one >= like - 1e-8 for one in own) else week
    return math.inf


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_precedence_is_that_of_a_loop_over_all(seed):
    plan = random_plan(np.random.default_rng(seed))
    expected = [
        [
            one is not other and first_alike(other, one) < first_alike(one, other)
            for other in plan.values()
        ]
        for one in plan.values()
    ]
    assert earlier_matrix(held_by(plan)).tolist() == expected


# Originality


def correlated(rho):
    return rho * ONE + math.sqrt(1.0 - rho**2) * TWO


@pytest.mark.parametrize(
    ("rho", "factor"),
    [(1.0, 0.0), (0.85, 0.5), (0.76, 0.8), (0.70, 1.0), (0.69, 1.0), (0.0, 1.0), (-1.0, 1.0)],
)
def test_originality_falls_from_a_correlation_of_seventy_percent_on(rho, factor):
    # (1 - 0.85) / 0.30 = 0.5, (1 - 0.76) / 0.30 = 0.8
    later = np.array([[False, False], [True, False]])
    assert originality(np.array([ONE, correlated(rho)]), later).tolist() == [1.0, factor]


def test_only_the_later_one_pays():
    pair = np.array([ONE, ONE])
    nobody = np.zeros((2, 2), dtype=bool)
    assert originality(pair, nobody).tolist() == [1.0, 1.0]
    assert originality(pair, np.array([[False, True], [False, False]])).tolist() == [0.0, 1.0]


def test_the_most_alike_of_the_earlier_ones_counts():
    rows = np.array([ONE, correlated(0.85), correlated(0.76), TWO])
    earlier = np.zeros((4, 4), dtype=bool)
    earlier[0, [1, 2, 3]] = True
    assert originality(rows, earlier).tolist() == [0.5, 1.0, 1.0, 1.0]
    earlier[0, 1] = False
    assert originality(rows, earlier).tolist() == [0.8, 1.0, 1.0, 1.0]


def test_no_variation_is_nobodys_copy_and_a_short_history_has_no_originality():
    rows = np.array([np.zeros(16), np.full(16, 0.001), np.full(16, np.nan), ONE])
    rows[3, :7] = np.nan  # 9 sessions
    found = originality(rows, np.ones((4, 4), dtype=bool))
    np.testing.assert_array_equal(found, [1.0, 1.0, np.nan, np.nan])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InvalidIntegrityInput, match=r"not \(2, 16\) and \(3, 3\)"):
        originality(np.array([ONE, TWO]), np.zeros((3, 3), dtype=bool))


def alike_population(rng, miners=30):
    themes = rng.normal(0.0, 0.01, (5, 30))
    active = themes[rng.integers(5, size=miners)] + rng.normal(0.0, 0.006, (miners, 30))
    order = rng.permutation(miners)
    return active, order[:, None] > order[None, :]


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(1e-3, 1e3))
def test_originality_moves_with_the_miners_and_not_with_the_scale(seed, scale):
    rng = np.random.default_rng(seed)
    active, earlier = alike_population(rng)
    found = originality(active, earlier)
    assert (found < 1.0).any()
    moved = rng.permutation(len(active))
    permuted = originality(active[moved], earlier[np.ix_(moved, moved)])
    np.testing.assert_array_equal(permuted, found[moved])
    np.testing.assert_allclose(originality(scale * active, earlier), found, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_originality_is_that_of_a_loop_over_all(seed):
    active, earlier = alike_population(np.random.default_rng(seed))
    rho = np.where(earlier, np.corrcoef(active), -np.inf).max(axis=1)
    expected = np.clip((1.0 - rho) / 0.3, 0.0, 1.0)
    np.testing.assert_allclose(originality(active, earlier), expected, atol=1e-8)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_copiers_do_not_change_a_row_of_who_was_there(seed):
    rng = np.random.default_rng(seed)
    active, earlier = alike_population(rng, 20)
    copied = rng.integers(20, size=50)
    together = np.concatenate([active, active[copied]])
    wider = np.zeros((70, 70), dtype=bool)
    wider[:20, :20], wider[20:, :20] = earlier, True
    found = originality(together, wider)
    np.testing.assert_array_equal(found[:20], originality(active, earlier))
    assert (found[20:] == 0.0).all()


def test_the_table_names_the_earlier_miner_and_the_sessions():
    sessions = pd.DatetimeIndex(pd.bdate_range("2025-10-06", periods=16)).as_unit("ns")
    plan = {ALICE: [TECH, TECH], BOB: [OIL, TECH], CAROL: [OIL, OIL], DAVE: [None, OIL]}
    returns = np.array([ONE, correlated(0.85), TWO, THREE])
    returns[3, :7] = np.nan
    nothing = np.zeros(16)  # the market stood still
    active = active_returns(returns, nothing, nothing)
    found = originality_table(active, held_by(plan), sessions).set_index("hotkey")
    assert found["originality"].tolist()[:3] == [1.0, 0.5, 1.0]
    assert found.loc[BOB, ["correlation", "threshold", "earlier_hotkey"]].tolist() == [
        0.85,
        0.70,
        ALICE,
    ]
    assert found.loc[BOB, "sessions"] == 16
    assert found.loc[BOB, ["first_session", "last_session"]].tolist() == [sessions[0], sessions[-1]]
    assert found.loc[ALICE, "earlier_hotkey"] is None
    assert found.loc[DAVE].isna()[["originality", "correlation", "first_session"]].all()
    assert found.loc[DAVE, "reason"] == "9 common sessions, active returns need 10"


def test_where_nobody_has_enough_sessions_the_table_says_so():
    sessions = pd.DatetimeIndex(pd.bdate_range("2025-10-06", periods=9)).as_unit("ns")
    active = active_returns(np.ones((2, 9)), np.zeros(9), np.zeros(9))
    found = originality_table(active, held_by({ALICE: [TECH], BOB: [TECH]}), sessions)
    assert found[["originality", "first_session", "last_session"]].isna().all(axis=None)
    assert set(found["reason"]) == {"9 common sessions, active returns need 10"}


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_the_table_has_the_factors_of_the_matrix(seed):
    rng = np.random.default_rng(seed)
    holdings = held_by(random_plan(rng))
    themes = rng.normal(0.0, 0.01, (2, 30))
    returns = themes[rng.integers(2, size=8)] + rng.normal(0.0, 0.003, (8, 30))
    active = active_returns(returns, rng.normal(0.0, 0.01, 30), rng.normal(0.0, 0.01, 30))
    sessions = pd.DatetimeIndex(pd.bdate_range("2025-10-06", periods=30)).as_unit("ns")
    table = originality_table(active, holdings, sessions)
    expected = originality(active.values, earlier_matrix(holdings))
    np.testing.assert_array_equal(table["originality"], expected)


# Plagiarism

NAMES = [f"{a}{b}" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJ"]


def crowd(weeks, seed=0):
    """Ten honest others, who put all of a hundred tickers into use every week."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(NAMES).reshape(10, 10) for _ in range(weeks)]
    return {f"honest{at}": [equal(names[at]) for names in drawn] for at in range(10)}


def changing(weeks, seed=99):
    rng = np.random.default_rng(seed)
    return [equal(rng.choice(NAMES, 10, replace=False)) for _ in range(weeks)]


def suspects(plan, params=QUANTA, **options):
    return plagiarism_evidence(held_by(plan, **options), params)


def test_the_chance_of_an_overlap_is_hypergeometric():
    # all 5 of 5 names among 100: 1 / C(100, 5)
    exact = Fraction(1, math.comb(100, 5))
    found = overlap_log10_chance(*(np.array([n]) for n in (100, 5, 5, 5)))
    assert found == pytest.approx([math.log10(exact)], abs=1e-9)
    # 9 or 10 of 10 names of a portfolio of 12, among 60
    ways = math.comb(12, 9) * math.comb(48, 1) + math.comb(12, 10)
    found = overlap_log10_chance(*(np.array([n]) for n in (60, 12, 10, 9)))
    assert found == pytest.approx([math.log10(Fraction(ways, math.comb(60, 10)))], abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 3000), st.integers(5, 30), st.integers(5, 30), st.data())
def test_the_chance_agrees_with_exact_fractions(tickers, first, second, data):
    first, second = min(first, tickers), min(second, tickers)
    count = data.draw(st.integers(max(0, first + second - tickers), min(first, second)))
    ways = sum(
        math.comb(first, n) * math.comb(tickers - first, second - n)
        for n in range(count, min(first, second) + 1)
    )
    exact = Fraction(ways, math.comb(tickers, second))
    logarithm = math.log10(exact.numerator) - math.log10(exact.denominator)
    found = overlap_log10_chance(*(np.array([n]) for n in (tickers, first, second, count)))
    assert found == pytest.approx([logarithm], rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("lag", range(5))
def test_a_copy_is_found_at_every_lag_up_to_four(lag):
    original = changing(8)
    copy = [original[week - lag] if week >= lag else None for week in range(8)]
    found = suspects(crowd(8) | {ALICE: original, BOB: copy}, minutes={BOB: 30})
    assert set(found["hotkey"]) == {BOB}
    assert set(found["earlier_hotkey"]) == {ALICE}
    assert found["epoch_id"].tolist() == WEEKS[4:]
    assert found["earlier_epoch_id"].tolist() == WEEKS[4 - lag : 8 - lag]
    assert set(found["lag"]) == {lag}
    assert set(found["suspect_epochs"]) == {4}
    assert (found["overlap"] == 1.0).all()
    assert (found["shared_weight"] == 1.0).all()
    # 10 of 10 among a hundred tickers: 1 / C(100, 10)
    assert found["tickers_in_use"].tolist() == [100] * 4
    expected = [-math.log10(math.comb(100, 10))] * 4
    assert found["log10_chance"].tolist() == pytest.approx(expected, abs=1e-8)
    thresholds = found.filter(like="threshold").drop_duplicates().to_numpy().tolist()
    assert thresholds == [[0.9, 0.8, -6.0]]


def test_a_lag_of_five_is_not_looked_at():
    original = changing(8)
    copy = [None] * 5 + original[:3]
    assert suspects(crowd(8) | {ALICE: original, BOB: copy}).empty
    wider = QUANTA.changed(security__plagiarism_max_lag=5)
    assert len(suspects(crowd(8) | {ALICE: original, BOB: copy}, wider)) == 3


@pytest.mark.parametrize(("copied", "found"), [((4, 5, 7), 3), ((5, 7), 0), ((1, 2, 3, 6, 7), 0)])
def test_three_of_the_last_four_epochs_are_needed(copied, found):
    original, own = changing(8), changing(8, seed=5)
    copy = [original[week] if week in copied else own[week] for week in range(8)]
    plan = crowd(8) | {ALICE: original, BOB: copy}
    assert len(suspects(plan, minutes={BOB: 30})) == found


def weighted(shares):
    return [dict(zip(NAMES, shares, strict=False)) for _ in range(4)]


@pytest.mark.parametrize(
    ("copy", "suspicious"),
    [
        ([0.1] * 10, True),
        ([0.1] * 9 + [0.0, 0.1], True),  # 9 of 10 names, 0.90 of the weight
        ([0.1] * 8 + [0.0, 0.0, 0.1, 0.1], False),  # 8 of 10 names
        ([0.2] * 2 + [0.075] * 8, True),  # all names, 0.2 + 0.6 = 0.80 of the weight
        ([0.2] * 2 + [0.074] * 7 + [0.082], False),  # 0.2 + 0.518 + 0.082 = 0.80, less a hair
    ],
)
def test_names_and_weights_must_both_be_the_others(copy, suspicious):
    copy = [{ticker: w for ticker, w in held.items() if w} for held in weighted(copy)]
    if not suspicious and len(copy[0]) == 10 and copy[0][NAMES[0]] == 0.2:
        copy = [held | {NAMES[9]: 0.081999} for held in copy]
    plan = crowd(4) | {ALICE: weighted([0.1] * 10), BOB: copy}
    assert suspects(plan, minutes={BOB: 30}).empty != suspicious


def test_nothing_is_plagiarism_in_a_universe_of_twenty_tickers():
    # 10 of 20 is the least likely: 1 / C(20, 10) = 5.4e-6
    names = NAMES[:20]
    for size in range(5, 21):
        held = [equal(names[:size])] * 4
        others = {DAVE: [equal(names)] * 4}
        assert suspects({ALICE: held, BOB: held} | others, minutes={BOB: 30}).empty


def test_the_copied_one_is_never_the_suspect():
    # Alice turns over slowly, so that her last portfolio looks like Bob's of the week before too
    slow = [equal(NAMES[week : week + 20]) for week in range(8)]
    copy = [None, *slow[:-1]]
    found = suspects(crowd(8) | {ALICE: slow, BOB: copy})
    assert set(found["hotkey"]) == {BOB}
    assert set(found["lag"]) == {0, 1, 2, 3}  # 19, 20, 19 and 18 of 20 names


def test_who_committed_first_in_the_same_epoch_is_no_suspect():
    original = changing(4)
    plan = crowd(4) | {ALICE: original, BOB: original}
    assert set(suspects(plan, minutes={BOB: 30})["hotkey"]) == {BOB}
    assert set(suspects(plan, minutes={ALICE: 30})["hotkey"]) == {ALICE}
    assert suspects(plan).empty  # nobody was first


def test_every_one_of_many_copies_is_named_and_compared_with_the_first_few():
    original = changing(4)
    copies = {f"copy{at:02d}": original for at in range(30)}
    late = {hotkey: 30 + at for at, hotkey in enumerate(copies)}
    found = suspects(crowd(4) | {ALICE: original} | copies, minutes=late)
    assert set(found["hotkey"]) == set(copies)
    assert set(found["earlier_hotkey"]) == {ALICE} | {f"copy{at:02d}" for at in range(7)}
    assert set(found.loc[found["hotkey"] == "copy29", "earlier_hotkey"]) >= {ALICE, "copy00"}
    one = QUANTA.changed(security__plagiarism_originals=1)
    found = suspects(crowd(4) | {ALICE: original} | copies, one, minutes=late)
    assert set(found["hotkey"]) == set(copies)
    assert set(found["earlier_hotkey"]) == {ALICE}


def test_one_epoch_and_no_miner_are_no_suspicion():
    assert suspects({ALICE: [TECH], BOB: [TECH]}).empty
    nobody = holdings_of(committed({ALICE: [TECH]}), [], WEEKS[:1])
    assert plagiarism_evidence(nobody).empty


# Contribution


def test_contribution_is_paid_for_what_the_others_do_not_hold():
    # M of Alice is Bob's (0, 1): w.M / M.M = 0.5, w~ = (0.5, 0); R - mean = (0.01, -0.01)
    # mmc = 0.5 x 0.01. Of Bob M = (0.5, 0.5): w.M / M.M = 1, w~ = (-0.5, 0.5), mmc = -0.01
    weights, returns = np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0.03, 0.01])
    found = contribution(weights, np.array([1.0, 2.0]), returns)
    assert found.tolist() == [0.005, -0.01]


def test_the_others_mean_adds_nothing():
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.125, 0.5, 0.375]])
    stakes = np.array([1.0, 3.0, 2.0])  # (1 x first + 3 x second) / 4 is the third
    found = contribution(weights, stakes, np.array([0.05, -0.02, 0.01]))
    assert found[2] == 0.0
    assert (found[:2] != 0.0).all()


def test_a_small_stake_beside_a_whale_is_not_lost():
    weights = np.array([[1.0, 0.0], [0.5, 0.5]])
    found = contribution(weights, np.array([1e18, 1.0]), np.array([0.02, 0.0]))
    # M of the whale is (0.5, 0.5): w~ = (1, 0) - (0.5, 0.5) x 0.5 / 0.5
    assert found[0] == 0.01


def test_without_stake_of_others_there_is_no_contribution():
    weights = np.array([[1.0, 0.0], [0.5, 0.5]])
    found = contribution(weights, np.array([5.0, 0.0]), np.array([0.02, 0.0]))
    assert np.isnan(found).tolist() == [True, False]
    assert np.isnan(contribution(weights[:1], np.array([5.0]), np.array([0.02, 0.0]))).all()
    assert contribution(np.zeros((0, 2)), np.zeros(0), np.zeros(2)).size == 0


@settings(deadline=None)
@given(seeds)
def test_contribution_is_the_formula_row_by_row(seed):
    rng = np.random.default_rng(seed)
    weights, stakes = rng.dirichlet(np.ones(12), 9), rng.random(9)
    returns = rng.normal(0.0, 0.03, 12)
    found = contribution(weights, stakes, returns)
    for row in range(9):
        rest = np.arange(9) != row
        meta = np.average(weights[rest], axis=0, weights=stakes[rest])
        left = weights[row] - meta * (weights[row] @ meta) / (meta @ meta)
        assert found[row] == pytest.approx(left @ (returns - returns.mean()), abs=1e-9)
    moved = rng.permutation(9)
    np.testing.assert_allclose(
        contribution(weights[moved], stakes[moved], returns), found[moved], atol=1e-9
    )


@pytest.mark.parametrize(
    ("weights", "stakes", "returns", "words"),
    [
        (np.zeros((2, 3)), np.ones(3), np.zeros(3), r"not \(2, 3\), \(3,\) and \(3,\)"),
        (np.full((2, 3), np.nan), np.ones(2), np.zeros(3), "weight or a return is not finite"),
        (np.zeros((2, 3)), np.ones(2), np.array([0.0, np.inf, 0.0]), "not finite"),
        (np.zeros((2, 3)), np.array([1.0, -1.0]), np.zeros(3), "stake is negative"),
    ],
)
def test_what_cannot_contribute_is_refused(weights, stakes, returns, words):
    with pytest.raises(InvalidIntegrityInput, match=words):
        contribution(weights, stakes, returns)
