from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.scoring import HorizonMetrics, Scores
from quanta_pipelines.protocol import metrics
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidIntegrityInput, InvalidReturns, ProtocolError
from quanta_pipelines.protocol.params import QUANTA, SPEC
from quanta_pipelines.protocol.scoring import (
    INTEGRITY_COLUMNS,
    PerformanceTier,
    composite,
    drawdown_limits,
    eligible,
    horizon_table,
    ineligibility,
    order,
    percentile,
    portfolio_tier,
    rank,
    score,
    score_table,
    tiers,
)

TOP, PROFITABLE, BREAK_EVEN, PENALTY = PerformanceTier
EPOCHS = [epoch.id for epoch in Epoch.range("2025-Q3-W30", "2025-Q4-W48")]
EPOCH = EPOCHS[-1]
SESSIONS = {epoch: pd.DatetimeIndex(Epoch.parse(epoch).sessions).as_unit("ns") for epoch in EPOCHS}
HOTKEYS = ["5" + letter * 47 for letter in "ABCDEFGHJKLMNPQR"]
ALICE, BOB, CAROL, DAVE, ERIN, FRANK, GRACE = HOTKEYS[:7]
COMMITTED = pd.Timestamp("2025-11-21 12:00", tz="UTC").as_unit("ns")

# Composite


def sample():
    """The specification's own example: 90 returns, no turnover."""
    return np.random.RandomState(42).normal(0.001, 0.02, (1, 90)), np.zeros(1)


def test_the_specifications_sample_scores_as_its_code_does():
    assert score(*sample(), SPEC).composite == [0.467297]


def test_the_first_session_and_the_clip_change_the_specifications_sample():
    rules = SPEC.changed(scoring__drawdown_start="before_first", scoring__ratio_clip="both_sides")
    assert score(*sample(), rules).composite == [0.464506]


def test_a_composite_weighs_its_horizons():
    # 0.30 x 0.2 + 0.45 x 0.4 + 0.25 x 0.8 = 0.44
    assert composite(np.array([[0.2, 0.4, 0.8]])) == pytest.approx([0.44])


def test_a_horizon_that_does_not_exist_hands_its_weight_to_the_others():
    # (0.30 x 0.2 + 0.45 x 0.4) / 0.75 = 0.32
    assert composite(np.array([[0.2, 0.4, np.nan]])) == pytest.approx([0.32])


def test_a_composite_has_six_decimals():
    # 0.3 x 0.123456789 / 0.3
    assert composite(np.array([[0.123456789, np.nan, np.nan]])) == [0.123457]


def test_without_a_horizon_there_is_no_composite():
    nothing = np.full((1, 3), np.nan)
    assert np.isnan(composite(nothing)).all()
    assert composite(nothing, SPEC) == [0.5]


def test_a_horizon_without_weight_is_no_composite():
    rules = QUANTA.changed(scoring__horizon_7d_weight=0.0, scoring__horizon_30d_weight=0.75)
    assert np.isnan(composite(np.array([[0.9, np.nan, np.nan]]), rules)).all()


@pytest.mark.parametrize(
    ("sessions", "horizons"), [(0, 0), (6, 0), (7, 1), (29, 1), (30, 2), (89, 2), (90, 3)]
)
def test_a_horizon_exists_when_that_many_returns_do(sessions, horizons):
    returns = np.full((1, 95), np.nan)
    returns[0, 95 - sessions :] = 0.001
    found = score(returns, np.zeros(1))
    assert np.count_nonzero(~np.isnan(found.horizon_scores)) == horizons
    assert np.isnan(found.composite[0]) == (horizons == 0)


def test_a_horizon_is_scored_over_its_last_sessions():
    returns = np.random.default_rng(3).normal(0.0, 0.02, (4, 40))
    turnover = np.array([0.0, 0.2, 0.5, 1.0])
    found = score(returns, turnover).horizon_scores
    for column, horizon in enumerate((7, 30)):
        expected = metrics.measure(returns[:, -horizon:], turnover).horizon_score
        np.testing.assert_array_equal(found[:, column], expected)


@given(st.integers(0, 2**32 - 1))
def test_another_miner_changes_nobodys_score(seed):
    rng = np.random.default_rng(seed)
    returns, turnover = rng.normal(0.0, 0.02, (6, 90)), rng.random(6)
    returns[2, :70], returns[4, :85] = np.nan, np.nan
    together = score(returns, turnover)
    moved = rng.permutation(6)
    np.testing.assert_array_equal(
        score(returns[moved], turnover[moved]).composite, together.composite[moved]
    )
    np.testing.assert_array_equal(
        score(returns[:1], turnover[:1]).composite, together.composite[:1]
    )


@given(st.integers(0, 89), st.sampled_from([np.nan, np.inf, -np.inf, -1.5]))
def test_only_a_history_that_has_not_begun_is_absent(place, bad):
    returns = np.zeros((3, 90))
    returns[1, :2] = np.nan  # allowed
    returns[2, place] = bad
    if place == 0 and np.isnan(bad):
        score(returns, np.zeros(3))
        return
    with pytest.raises(InvalidReturns, match=rf"returns\[2, {place}\] is"):
        score(returns, np.zeros(3))


@pytest.mark.parametrize(
    ("returns", "turnover", "shapes"),
    [
        (np.zeros(7), 0.25, r"\(7,\) and \(\)"),
        (np.zeros(7), [0.25], r"\(7,\) and \(1,\)"),
        (np.zeros((2, 7)), 0.25, r"\(2, 7\) and \(\)"),
        (np.zeros((2, 7)), np.zeros(3), r"\(2, 7\) and \(3,\)"),
        (np.zeros((2, 7)), np.zeros((2, 1)), r"\(2, 7\) and \(2, 1\)"),
    ],
)
def test_another_shape_is_refused_with_the_one_that_is_wanted(returns, turnover, shapes):
    wanted = r"\(portfolios, sessions\) and turnover \(portfolios,\).*not "
    with pytest.raises(InvalidReturns, match=wanted + shapes):
        score(returns, turnover)


def test_lists_are_scored_like_arrays():
    rows = [[0.01, -0.01] * 5, [0.02, -0.01] * 5]
    expected = score(np.array(rows), np.array([0.25, 0.5])).composite
    assert score(rows, [0.25, 0.5]).composite.tolist() == expected.tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_turnover_is_a_number(bad):
    with pytest.raises(InvalidReturns, match=r"turnover\[1\] is"):
        score(np.zeros((2, 7)), np.array([0.0, bad]))


# Ranks, ties, tiers


def test_equal_scores_share_a_rank():
    np.testing.assert_array_equal(rank(np.array([0.5, 0.9, 0.5, 0.1])), [2, 1, 2, 4])


def test_a_tie_break_parts_what_it_tells_apart():
    # three in a tie: the second key parts only who is equal in the first
    scores, first, second = np.full(3, 0.5), [1, 0, 1], ["b", "a", "b"]
    np.testing.assert_array_equal(rank(scores, [first, second]), [2, 1, 2])
    np.testing.assert_array_equal(rank(scores, [first, ["b", "a", "a"]]), [3, 1, 2])


@given(st.lists(st.integers(0, 20), max_size=60))
def test_a_rank_is_one_more_than_the_number_of_better_scores(raw):
    scores = np.array(raw, dtype=float) / 20
    better = [sum(other > own for other in scores) for own in scores]
    np.testing.assert_array_equal(rank(scores), np.array(better, dtype=np.int64) + 1)


def test_a_score_that_is_no_number_has_no_rank():
    with pytest.raises(ProtocolError, match=r"final_score\[1\] is nan"):
        rank(np.array([0.5, np.nan]))


def test_ties_are_ordered_by_drawdown_then_commitment_then_hotkey():
    found = order(
        final_score=np.array([0.5, 0.5, 0.5, 0.5, 0.9, 0.5]),
        drawdown=np.array([0.2, 0.1, 0.1, 0.1, 0.3, np.nan]),
        committed_at=pd.to_datetime(["2025-01-01", "2025-01-03", *["2025-01-02"] * 4], utc=True),
        hotkeys=["a", "b", "d", "c", "e", "f"],
    )
    # best score; drawdown 0.1 by commitment and hotkey; 0.2; no drawdown known
    np.testing.assert_array_equal(found, [4, 3, 2, 1, 0, 5])


def test_ties_of_the_specification_are_ordered_by_arrival():
    found = order(
        np.full(3, 0.5), np.array([0.1, 0.2, 0.3]), np.array([3, 2, 1]), ["a", "b", "c"], SPEC
    )
    np.testing.assert_array_equal(found, [2, 1, 0])


def test_percentiles_run_from_one_to_one_nth():
    np.testing.assert_allclose(percentile(np.arange(1, 5), 4), [1.0, 0.75, 0.5, 0.25])
    assert percentile(np.array([], dtype=np.int64), 0).size == 0


@pytest.mark.parametrize("bad", [0, 5])
def test_a_rank_lies_among_the_ranked(bad):
    with pytest.raises(ProtocolError, match="ranks among 4"):
        tiers(np.array([bad]), 4)


def sizes(found):
    return [found.count(tier) for tier in PerformanceTier]


def test_a_hundred_miners_fall_into_15_35_20_30():
    assert sizes(tiers(np.arange(1, 101), 100)) == [15, 35, 20, 30]


def test_the_specification_counts_16_35_20_29():
    assert sizes(tiers(np.arange(1, 101), 100, SPEC)) == [16, 35, 20, 29]


def test_tiers_are_cut_in_exact_integers():
    for n in range(1001):
        expected = [
            TOP
            if 100 * (place - 1) < 15 * n
            else PROFITABLE
            if 100 * (place - 1) < 50 * n
            else BREAK_EVEN
            if 100 * (place - 1) < 70 * n
            else PENALTY
            for place in range(1, n + 1)
        ]
        assert tiers(np.arange(1, n + 1), n) == expected


def test_a_tier_is_never_better_than_that_of_a_better_rank():
    names = list(PerformanceTier)
    for rules in (QUANTA, SPEC):
        found = [names.index(tier) for tier in tiers(np.arange(1, 778), 777, rules)]
        assert all(one <= other for one, other in pairwise(found))


def test_a_portfolio_is_classed_by_its_volatility():
    found = portfolio_tier(np.array([0.0, 0.1499, 0.15, 0.2499, 0.25, np.nan]))
    assert found == ["low", "low", "medium", "medium", "high", None]


# Eligibility


def test_a_drawdown_may_be_as_deep_as_the_benchmarks():
    benchmark = np.array([0.05, 0.12, np.nan])
    np.testing.assert_array_equal(drawdown_limits(benchmark), [0.10, 0.12, 0.10])


def test_the_specifications_gate_is_absolute():
    np.testing.assert_array_equal(drawdown_limits(np.array([0.05, 0.12]), SPEC), [0.10, 0.10])


@pytest.mark.parametrize(
    ("composite_", "drawdowns", "reason"),
    [
        (0.51, [0.05, 0.11, 0.09], ""),
        (0.51, [0.05, np.nan, np.nan], ""),
        (0.50, [0.05, 0.11, 0.09], "composite 0.500000 is not above the median 0.500000"),
        (0.51, [0.10, 0.11, 0.09], "drawdown 0.1000 over 7 sessions is not below 0.1000"),
        (0.51, [0.05, 0.13, 0.09], "drawdown 0.1300 over 30 sessions is not below 0.1200"),
        (np.nan, [np.nan] * 3, "there is no composite"),
        (
            0.1,
            [0.05, 0.11, 0.2],
            "composite 0.100000 is not above the median 0.500000; "
            "drawdown 0.2000 over 90 sessions is not below 0.1000",
        ),
    ],
)
def test_eligible_is_above_the_median_and_under_every_limit(composite_, drawdowns, reason):
    arguments = np.array([composite_]), 0.5, np.array([drawdowns]), np.array([0.05, 0.12, 0.02])
    assert ineligibility(*arguments) == [reason]
    np.testing.assert_array_equal(eligible(*arguments), [reason == ""])


def test_eligibility_may_be_turned_off():
    arguments = np.array([0.1]), 0.5, np.array([[0.9] * 3]), np.zeros(3), SPEC
    assert eligible(*arguments).all()
    assert ineligibility(*arguments) == [""]


# Tables


def history(spreads, epochs=EPOCHS, *, began=None, seed=5):
    """``PortfolioReturns`` of miners that differ in the spread of their returns."""
    sessions = [(epoch, session) for epoch in epochs for session in SESSIONS[epoch]]
    rng = np.random.default_rng(seed)
    market = rng.normal(0.0005, 0.01, len(sessions))
    tables = [
        pd.DataFrame(sessions, columns=["epoch_id", "session"]).assign(
            hotkey=hotkey,
            portfolio_return=rng.normal(0.0005, spread, len(sessions)),
            benchmark_return=market,
            unpriced_weight=0.0,
            turnover=0.1,
            filled_epochs=0,
            history_epoch=began or epochs[0],
        )
        for hotkey, spread in spreads.items()
    ]
    return pd.concat(tables, ignore_index=True)


def portfolios(hotkeys, filled=0, began=EPOCHS[0]):
    return pd.DataFrame(
        {
            "hotkey": hotkeys,
            "filled_epochs": np.full(len(hotkeys), filled),
            "history_epoch": began,
            "committed_at": COMMITTED,
        }
    )


def commitments(hotkeys, received_at=COMMITTED):
    return pd.DataFrame({"hotkey": list(hotkeys), "received_at": received_at})


def scores(returns, held=None, posted=None, params=QUANTA, integrity=None):
    """The table for an epoch in which everyone committed and revealed, unless said otherwise."""
    miners = returns["hotkey"].unique()
    found = score_table(
        horizon_table(returns, epoch_id=EPOCH, params=params),
        portfolios(miners) if held is None else held,
        returns[returns["epoch_id"] == EPOCH],
        commitments(miners) if posted is None else posted,
        epoch_id=EPOCH,
        integrity=integrity,
        params=params,
    )
    Scores.validate(found)
    return found.set_index("hotkey")


def test_horizons_of_a_long_history_exist():
    returns = history({ALICE: 0.02, BOB: 0.01})
    found = horizon_table(returns.sample(frac=1.0, random_state=1), epoch_id=EPOCH)
    HorizonMetrics.validate(found)
    assert list(found["horizon"]) == [7, 30, 90] * 2
    assert set(found["history_sessions"]) == {90}  # of 93: no rule asks for more


def test_the_table_holds_what_metrics_measure():
    returns = history({ALICE: 0.02})
    found = horizon_table(returns, epoch_id=EPOCH).set_index("horizon")
    month = returns.sort_values("session").tail(30)
    expected = metrics.measure(month[["portfolio_return"]].to_numpy().T, np.array([0.1]))
    assert found.loc[30, "sortino_ratio"] == round(expected.sortino_ratio[0], 9)
    assert found.loc[30, "horizon_score"] == round(expected.horizon_score[0], 9)
    benchmark = month["benchmark_return"].to_numpy()
    assert found.loc[30, "benchmark_volatility"] == round(metrics.volatility(benchmark), 9)
    assert found.loc[30, "benchmark_max_drawdown"] == round(metrics.max_drawdown(benchmark), 9)


def test_the_benchmark_is_measured_where_every_session_knows_it():
    returns = history({ALICE: 0.02})
    last = returns["session"].drop_duplicates().sort_values().to_numpy()
    returns.loc[returns["session"] == last[-20], "benchmark_return"] = np.nan
    found = horizon_table(returns, epoch_id=EPOCH).set_index("horizon")
    known = found["benchmark_volatility"].notna() & found["benchmark_max_drawdown"].notna()
    assert known.to_dict() == {7: True, 30: False, 90: False}


def test_a_history_counts_from_the_epoch_in_which_it_began():
    # two epochs of 5 and 4 sessions
    returns = history({ALICE: 0.02})
    began = returns.assign(history_epoch=EPOCHS[-2])
    found = horizon_table(began, epoch_id=EPOCH)
    assert list(found["horizon"]) == [7]
    assert list(found["history_sessions"]) == [9]


def test_only_miners_of_the_epoch_have_rows():
    gone = history({BOB: 0.02}, EPOCHS[:-1])
    found = horizon_table(pd.concat([history({ALICE: 0.02}), gone]), epoch_id=EPOCH)
    assert set(found["hotkey"]) == {ALICE}


def test_later_epochs_do_not_count():
    returns = history({ALICE: 0.02})
    earlier = returns[returns["epoch_id"] < EPOCH]
    pd.testing.assert_frame_equal(
        horizon_table(returns, epoch_id=EPOCHS[-2]), horizon_table(earlier, epoch_id=EPOCHS[-2])
    )


def test_a_hole_in_a_history_is_refused():
    returns = history({ALICE: 0.02, BOB: 0.02})
    hole = (returns["hotkey"] == BOB) & (returns["session"] == "2025-11-19")
    with pytest.raises(InvalidReturns, match=f"{BOB} has no return on 2025-11-19"):
        horizon_table(returns[~hole], epoch_id=EPOCH)


def test_a_session_has_one_return():
    returns = history({ALICE: 0.02})
    with pytest.raises(InvalidReturns, match="two returns"):
        horizon_table(pd.concat([returns, returns.tail(1)]), epoch_id=EPOCH)


def test_trailing_returns_are_those_of_the_epoch_alone():
    # today's weights over 93 sessions, all computed in this epoch
    trailing = history({ALICE: 0.02}).assign(epoch_id=EPOCH, history_epoch=EPOCH)
    rules = QUANTA.changed(scoring__return_basis="trailing")
    found = horizon_table(trailing, epoch_id=EPOCH, params=rules)
    assert list(found["horizon"]) == [7, 30, 90]


def test_trailing_returns_ignore_what_was_held():
    rules = QUANTA.changed(scoring__return_basis="trailing")
    assert horizon_table(history({ALICE: 0.02}), epoch_id=EPOCH, params=rules).empty  # 4 sessions


def test_ninety_calendar_days_never_hold_ninety_sessions():
    rules = QUANTA.changed(scoring__horizon_unit="calendar_days")
    found = horizon_table(history({ALICE: 0.02}), epoch_id=EPOCH, params=rules)
    assert list(found["horizon"]) == [7, 30]


def test_no_history_is_an_empty_table():
    found = horizon_table(history({ALICE: 0.02}).head(0), epoch_id=EPOCH)
    HorizonMetrics.validate(found)
    assert found.empty


def test_the_ranked_are_scored_as_by_the_function():
    returns = history(dict.fromkeys(HOTKEYS, 0.02))
    found = scores(returns)
    panel = returns.pivot(index="hotkey", columns="session", values="portfolio_return").to_numpy()
    expected = score(panel, np.full(len(HOTKEYS), 0.1)).composite
    np.testing.assert_array_equal(found["composite"], expected)
    np.testing.assert_array_equal(found["final_score"], expected)
    np.testing.assert_array_equal(found["score_rank"], rank(expected))
    assert set(found["standing"]) == {"ranked"}
    assert set(found["reason"]) == {""}


def test_half_of_the_ranked_are_above_the_median():
    calm = history(dict.fromkeys(HOTKEYS, 0.008))
    found = scores(calm)
    above = found["composite"] > found["composite"].median()
    assert above.sum() == len(HOTKEYS) / 2
    assert not found.loc[~above, "eligible"].any()
    assert found.loc[above, "eligible"].any()


def alone(found, hotkey):
    return tuple(found.loc[hotkey, ["standing", "reason"]])


def test_a_commitment_without_a_reveal_is_unrevealed():
    # Bob's last portfolio stands in; Carol never had one
    returns = history({ALICE: 0.02, BOB: 0.02})
    held = pd.concat([portfolios([ALICE]), portfolios([BOB], filled=1)])
    late = COMMITTED + pd.Timedelta(hours=2)
    found = scores(returns, held, commitments([ALICE, BOB, CAROL], late))
    assert alone(found, ALICE) == ("ranked", "")
    assert alone(found, BOB) == ("unrevealed", "the commitment was not revealed")
    assert alone(found, CAROL) == ("unrevealed", "the commitment was not revealed")
    assert found.loc[BOB, "composite"] > 0  # the record goes on
    assert found.loc[CAROL, "history_sessions"] == 0
    assert np.isnan(found.loc[CAROL, "composite"])
    assert list(found["committed_at"]) == [COMMITTED, COMMITTED, late]


def test_a_filled_epoch_is_unranked():
    returns = history({ALICE: 0.02, BOB: 0.02})
    held = pd.concat([portfolios([ALICE]), portfolios([BOB], filled=2)])
    found = scores(returns, held, commitments([ALICE]))
    reason = "epochs in a row without a portfolio of its own: 2"
    assert alone(found, BOB) == ("unranked", reason)
    assert found.loc[BOB, "composite"] > 0
    assert pd.isna(found.loc[BOB, ["score_rank", "percentile", "tier"]]).all()
    assert found.loc[ALICE, "score_rank"] == 1


def test_too_much_unpriced_weight_is_unscored():
    returns = history({ALICE: 0.02, BOB: 0.02})
    one = returns["session"] == SESSIONS[EPOCH][1]
    returns.loc[one & (returns["hotkey"] == ALICE), "unpriced_weight"] = 0.20
    returns.loc[one & (returns["hotkey"] == BOB), "unpriced_weight"] = 0.25
    found = scores(returns)
    assert alone(found, ALICE) == ("ranked", "")
    assert alone(found, BOB) == ("unranked", "unpriced weight 0.250000, the limit is 0.2")
    assert found.loc[BOB, ["composite", "originality", "final_score"]].isna().all()


def test_a_newcomer_without_a_horizon_is_provisional_without_a_score():
    newcomer = history({BOB: 0.02}, [EPOCH])
    held = pd.concat([portfolios([ALICE]), portfolios([BOB], began=EPOCH)])
    found = scores(pd.concat([history({ALICE: 0.02}), newcomer]), held)
    reason = "4 sessions, the shortest horizon needs 7"
    assert alone(found, BOB) == ("provisional", reason)
    assert found.loc[BOB, "history_sessions"] == 4
    assert np.isnan(found.loc[BOB, "composite"])
    assert found.loc[BOB, "portfolio_tier"] is None


def test_the_specification_scores_a_newcomer_one_half_and_ranks_it():
    newcomer = history({BOB: 0.02}, [EPOCH])
    held = pd.concat([portfolios([ALICE]), portfolios([BOB], began=EPOCH)])
    rules = SPEC.changed(scoring__return_basis="held")
    found = scores(pd.concat([history({ALICE: 0.02}), newcomer]), held, params=rules)
    assert alone(found, BOB) == ("ranked", "")
    assert found.loc[BOB, "composite"] == 0.5


def test_a_short_history_is_provisional_with_a_score():
    # from W43: five weeks of 5 and one of 4 sessions
    newcomer = history({BOB: 0.02}, EPOCHS[-6:])
    returns = pd.concat([history({ALICE: 0.02}), newcomer])
    found = scores(returns)
    assert alone(found, BOB) == ("provisional", "29 sessions, a rank needs 30")
    assert found.loc[BOB, "final_score"] > 0
    assert not found.loc[BOB, "eligible"]
    assert found.loc[ALICE, "percentile"] == 1.0
    ranked = scores(returns, params=QUANTA.changed(scoring__provisional_applied=False))
    assert alone(ranked, BOB) == ("ranked", "")


def test_a_portfolio_like_cash_is_unranked():
    # the benchmark's volatility is near 16 %: half of it is the limit
    found = scores(history({ALICE: 0.02, BOB: 0.001}))
    assert found.loc[BOB, "standing"] == "unranked"
    assert found.loc[BOB, "reason"].startswith("annualised volatility 0.01")
    assert found.loc[BOB, "portfolio_tier"] == "low"


def test_a_portfolio_is_measured_against_a_floor_where_the_benchmark_is_unknown():
    returns = history({ALICE: 0.005, BOB: 0.001}).assign(benchmark_return=np.nan)
    found = scores(returns)
    assert alone(found, ALICE) == ("ranked", "")
    assert found.loc[BOB, "reason"].endswith("a signal has at least 0.0500")


def test_the_order_of_standing_is_unrevealed_filled_unpriced():
    returns = history({ALICE: 0.02, BOB: 0.02}).assign(unpriced_weight=0.9)
    held = portfolios([ALICE, BOB], filled=1)
    found = scores(returns, held, commitments([ALICE]))
    assert list(found["standing"]) == ["unrevealed", "unranked"]
    assert found.loc[BOB, "reason"].startswith("epochs in a row")
    assert found["composite"].isna().all()


def test_equal_scores_share_a_rank_in_the_table():
    twins = pd.concat([history({ALICE: 0.02}), history({BOB: 0.02})])
    assert list(scores(twins)["score_rank"]) == [1, 1]


def test_the_specification_ranks_equal_scores_by_arrival():
    twins = pd.concat([history({ALICE: 0.02}), history({BOB: 0.02})])
    held = portfolios([ALICE, BOB]).assign(
        committed_at=[COMMITTED, COMMITTED - pd.Timedelta(hours=1)]
    )
    rules = QUANTA.changed(scoring__tie_order="arrival")
    assert list(scores(twins, held, params=rules)["score_rank"]) == [2, 1]


def test_without_a_drawdown_gate_the_median_decides():
    wild = history(dict.fromkeys(HOTKEYS, 0.06))
    assert not scores(wild)["eligible"].any()
    off = scores(wild, params=QUANTA.changed(scoring__eligibility_applied=False))
    assert off["eligible"].all()


def test_another_miner_changes_nobodys_row_but_its_place():
    returns = history(dict.fromkeys(HOTKEYS[:4], 0.02))
    more = pd.concat([returns, history(dict.fromkeys(HOTKEYS[4:], 0.03), seed=9)])
    own = ["composite", "final_score", "portfolio_tier", "max_drawdown_30d", "history_sessions"]
    pd.testing.assert_frame_equal(scores(returns)[own], scores(more)[own].loc[HOTKEYS[:4]])


def test_nobody_is_an_empty_table():
    returns = history({ALICE: 0.02})
    empty = score_table(
        horizon_table(returns.head(0), epoch_id=EPOCH),
        portfolios([ALICE]).head(0),
        returns.head(0),
        commitments([ALICE]).head(0),
        epoch_id=EPOCH,
    )
    Scores.validate(empty)
    assert empty.empty


# Integrity

FIVE = dict.fromkeys(HOTKEYS[:5], 0.01)


def integrity_of(returns, **changes):
    """The table of integrity of all miners; ``column={hotkey: value}`` changes it."""
    table = pd.DataFrame(INTEGRITY_COLUMNS, index=returns["hotkey"].unique())
    for column, values in changes.items():
        for hotkey, value in values.items():
            table.loc[hotkey, column] = value
    return table.rename_axis("hotkey").reset_index()


def test_integrity_that_says_nothing_changes_nothing():
    returns = history(FIVE)
    plain = scores(returns)
    pd.testing.assert_frame_equal(scores(returns, integrity=integrity_of(returns)), plain)
    extra = integrity_of(history(FIVE | {FRANK: 0.01}), originality={FRANK: 0.1})
    pd.testing.assert_frame_equal(scores(returns, integrity=extra), plain)


def test_the_final_score_is_the_composite_times_both_factors():
    returns = history(FIVE)
    factors = {"originality": {ALICE: 0.5}, "variance_factor": {ALICE: 0.75, BOB: 0.3}}
    found = scores(returns, integrity=integrity_of(returns, **factors))
    plain = scores(returns)
    pd.testing.assert_series_equal(found["composite"], plain["composite"])
    composite = plain["composite"]
    assert found.loc[ALICE, "final_score"] == round(composite[ALICE] * 0.375, 6)
    assert found.loc[BOB, "final_score"] == round(composite[BOB] * 0.3, 6)
    assert found.loc[CAROL, "final_score"] == composite[CAROL]
    assert found.loc[ALICE, ["originality", "variance_factor"]].tolist() == [0.5, 0.75]
    best_first = found["final_score"].sort_values(ascending=False).index
    assert found.loc[best_first, "score_rank"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("switch", "factor"),
    [("scoring__originality_applied", 0.5), ("scoring__variance_applied", 0.8)],
)
def test_a_factor_that_is_not_applied_is_one(switch, factor):
    returns = history(FIVE)
    factors = {"originality": {ALICE: 0.8}, "variance_factor": {ALICE: 0.5}}
    rules = QUANTA.changed(**{switch: False})
    found = scores(returns, params=rules, integrity=integrity_of(returns, **factors)).loc[ALICE]
    assert found["final_score"] == round(found["composite"] * factor, 6)
    assert sorted(found[["originality", "variance_factor"]]) == [factor, 1.0]


def test_a_factor_that_is_not_known_lowers_nothing():
    returns = history(FIVE)
    unknown = integrity_of(returns, originality={ALICE: np.nan}, variance_factor={BOB: np.nan})
    pd.testing.assert_frame_equal(scores(returns, integrity=unknown), scores(returns))


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("cluster_member", "another member of its cluster holds the rank position"),
        ("below_least_stake", "the stake at opens_at lies below S_min"),
    ],
)
def test_who_is_one_of_many_or_staked_too_little_is_not_ranked(column, reason):
    returns = history(FIVE)
    found = scores(returns, integrity=integrity_of(returns, **{column: {ALICE: True}}))
    assert found.loc[ALICE, ["standing", "reason"]].tolist() == ["unranked", reason]
    assert found.loc[ALICE, ["score_rank", "tier"]].isna().all()
    assert found.loc[ALICE, "final_score"] == found.loc[ALICE, "composite"]
    others = found.drop(ALICE)
    assert sorted(others["score_rank"]) == [1, 2, 3, 4]  # outside n
    assert others["percentile"].min() == 0.25


def test_a_commitment_that_was_not_revealed_comes_before_a_cluster():
    returns = history(FIVE)
    held = portfolios([BOB, CAROL, DAVE, ERIN])
    integrity = integrity_of(returns, cluster_member={ALICE: True})
    posted = commitments(HOTKEYS[:5])
    found = scores(returns, held=held, posted=posted, integrity=integrity)
    assert found.loc[ALICE, "standing"] == "unrevealed"
    without = integrity[integrity["hotkey"] != ALICE]  # she has no composite, so no row is needed
    found = scores(returns, held=held, posted=posted, integrity=without)
    assert found.loc[ALICE, "standing"] == "unrevealed"


def test_confirmed_plagiarism_is_not_eligible_and_keeps_its_rank():
    returns = history(FIVE)
    plain = scores(returns)
    winner = plain.index[plain["eligible"]][0]
    found = scores(returns, integrity=integrity_of(returns, plagiarism={winner: True}))
    assert not found.loc[winner, "eligible"]
    pd.testing.assert_frame_equal(found.drop(columns="eligible"), plain.drop(columns="eligible"))
    rules = QUANTA.changed(scoring__eligibility_applied=False)
    table = integrity_of(returns, plagiarism={winner: True})
    assert scores(returns, params=rules, integrity=table).loc[winner, "eligible"]


def test_a_table_of_integrity_has_one_row_per_miner_and_factors_within_one():
    returns = history(FIVE)
    table = integrity_of(returns)
    with pytest.raises(InvalidIntegrityInput, match=f"has no row for {CAROL}"):
        scores(returns, integrity=table[table["hotkey"] != CAROL])
    with pytest.raises(InvalidIntegrityInput, match="has a miner twice"):
        scores(returns, integrity=pd.concat([table, table.head(1)]))
    for bad in (-0.1, 1.1):
        spoiled = integrity_of(returns, variance_factor={BOB: bad})
        with pytest.raises(InvalidIntegrityInput, match=f"variance_factor of {BOB} is {bad}"):
            scores(returns, integrity=spoiled)
