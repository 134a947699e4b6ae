import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.scoring import PortfolioReturns
from quanta_pipelines.protocol.errors import InvalidPortfolio, InvalidPrices
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.protocol.returns import (
    epoch_returns,
    held_returns,
    trailing_returns,
    turnover,
)

DRIFT = QUANTA.changed(scoring__drift=True)
EARLIER, EPOCH = "2025-Q4-W47", "2025-Q4-W48"
SESSIONS = pd.DatetimeIndex(["2025-11-24", "2025-11-25", "2025-11-26", "2025-11-28"])
ALICE, BOB, CAROL = ("5" + letter * 47 for letter in "ABC")
FIVE = {"AAPL": 0.2, "AMZN": 0.2, "GOOGL": 0.2, "MSFT": 0.2, "NVDA": 0.2}
MARKET = pd.Series([0.01, 0.02, np.nan, -0.01], index=SESSIONS)


def portfolios(positions, *, epoch_id=EPOCH, filled=0, history=EARLIER):
    rows = [(hotkey, *held) for hotkey, book in positions.items() for held in book.items()]
    table = pd.DataFrame(rows, columns=["hotkey", "ticker", "weight"])
    return table.assign(
        epoch_id=epoch_id,
        submitted_weight=table["weight"],
        source_epoch=epoch_id,
        filled_epochs=filled,
        history_epoch=history,
        committed_at=pd.Timestamp("2025-11-21 12:00", tz="UTC"),
    )


def prices(returns, carried=None):
    """What the rule reads of ``ValidatedPrices``; four returns for each ticker."""
    table = pd.DataFrame(returns, index=SESSIONS).rename_axis("session").reset_index()
    long = table.melt("session", var_name="ticker", value_name="total_return")
    age = pd.DataFrame(carried or {}, index=SESSIONS).reindex(columns=list(returns)).fillna(0)
    return long.assign(carried_sessions=age.astype("int64").to_numpy().T.ravel())


FLAT = prices({ticker: [0.01, 0.0, 0.0, 0.0] for ticker in FIVE})


def test_a_session_earns_the_weighted_return():
    # 0.6 x 1 % + 0.4 x 2 % and 0.6 x (-1 %) + 0.4 x 3 %
    held = held_returns(
        np.array([[0.6, 0.4]]), np.array([[0.01, 0.02], [-0.01, 0.03]]), np.zeros((2, 2))
    )
    assert held.portfolio == pytest.approx(np.array([[0.014, 0.006]]), rel=1e-12)


def test_weights_stay_constant_inside_an_epoch():
    # 0.5 x 100 % in both sessions, whatever the first did to the weights
    held = held_returns(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]] * 2), np.zeros((2, 2)))
    assert held.portfolio == pytest.approx(np.array([[0.5, 0.5]]))


def test_weights_may_drift_inside_an_epoch():
    # values 1, then 1.0 + 0.5 = 1.5, then 2.0 + 0.5 = 2.5: 50 % and two thirds
    held = held_returns(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]] * 2), np.zeros((2, 2)), DRIFT)
    assert held.portfolio == pytest.approx(np.array([[0.5, 2 / 3]]), rel=1e-12)


def test_nothing_moves_after_a_total_loss_that_drifts():
    held = held_returns(np.array([[1.0]]), np.array([[-1.0], [0.5]]), np.zeros((2, 1)), DRIFT)
    np.testing.assert_array_equal(held.portfolio, [[-1.0, 0.0]])


def test_rounded_weights_cannot_lose_more_than_everything():
    weights = np.array([[0.5, 0.5 + 1e-9]])
    held = held_returns(weights, np.full((1, 2), -1.0), np.full((1, 2), 9.0))
    assert held.portfolio[0, 0] == -1.0
    assert held.unpriced_weight[0, 0] == 1.0


def test_a_price_is_carried_for_five_sessions_and_then_unpriced():
    returns, carried = np.array([[np.nan, 0.02]] * 2), np.array([[5.0, 0.0], [6.0, 0.0]])
    held = held_returns(np.array([[0.3, 0.7]]), returns, carried)
    assert held.portfolio == pytest.approx(np.array([[0.014, 0.014]]))  # 0.7 x 2 %
    np.testing.assert_array_equal(held.unpriced_weight, [[0.0, 0.3]])


def test_a_limit_that_is_met_exactly_is_not_missed_by_rounding():
    # 0.04 + 0.07 + 0.05 + 0.04 is more than 0.2 in floats
    weights = np.array([[0.04, 0.07, 0.05, 0.04, 0.8]])
    held = held_returns(weights, np.zeros((1, 5)), np.array([[9.0, 9.0, 9.0, 9.0, 0.0]]))
    assert held.unpriced_weight[0, 0] == QUANTA.market_data.max_unpriced_weight


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_a_weight_is_a_number(weight):
    with pytest.raises(InvalidPrices, match="finite"):
        held_returns(np.array([[weight]]), np.zeros((1, 1)), np.zeros((1, 1)))


def test_a_return_may_be_absent_but_not_infinite():
    with pytest.raises(InvalidPrices, match="finite"):
        held_returns(np.ones((1, 1)), np.array([[np.inf]]), np.zeros((1, 1)))


@given(st.integers(0, 2**32 - 1), st.sampled_from([QUANTA, DRIFT]))
def test_other_miners_and_their_tickers_change_no_bit(seed, rules):
    rng = np.random.default_rng(seed)
    weights, returns = rng.dirichlet(np.ones(4), size=3), rng.normal(0.0, 0.02, (5, 9))
    wide = np.zeros((3, 9))
    wide[:, [0, 3, 4, 8]] = weights
    carried = np.zeros((5, 9))
    alone = held_returns(weights[:1], returns[:, [0, 3, 4, 8]], carried[:, :4], rules)
    together = held_returns(wide, returns, carried, rules)
    np.testing.assert_array_equal(alone.portfolio, together.portfolio[:1])


def test_turnover_is_one_way():
    # a fifth is sold and bought
    now, before = np.array([[0.5, 0.3, 0.2]]), np.array([[0.5, 0.5, 0.0]])
    assert turnover(now, before) == pytest.approx([0.2])


def test_a_first_portfolio_has_no_turnover():
    np.testing.assert_array_equal(turnover(np.ones((2, 3)), None), [0.0, 0.0])


def test_every_miner_has_a_row_in_every_session():
    held = portfolios({BOB: FIVE, ALICE: FIVE})
    found = epoch_returns(held, None, FLAT, MARKET, epoch_id=EPOCH)
    PortfolioReturns.validate(found)
    assert list(found["hotkey"]) == [ALICE] * 4 + [BOB] * 4
    assert list(found["session"]) == list(SESSIONS) * 2
    assert list(found["portfolio_return"]) == pytest.approx([0.01, 0.0, 0.0, 0.0] * 2)
    assert set(found["history_epoch"]) == {EARLIER}


def test_the_benchmark_stands_beside_each_return_where_it_is_known():
    found = epoch_returns(
        portfolios({ALICE: FIVE}), None, FLAT, MARKET.iloc[::-1].iloc[:3], epoch_id=EPOCH
    )
    np.testing.assert_array_equal(found["benchmark_return"], [np.nan, 0.02, np.nan, -0.01])


def test_turnover_compares_with_the_previous_epoch():
    # GOOGL becomes TSLA: 20 % out, 20 % in
    swapped = {"TSLA" if ticker == "GOOGL" else ticker: w for ticker, w in FIVE.items()}
    before = portfolios({ALICE: swapped, CAROL: swapped}, epoch_id=EARLIER)
    found = epoch_returns(
        portfolios({ALICE: FIVE, BOB: FIVE}), before, FLAT, MARKET, epoch_id=EPOCH
    )
    by_miner = found.groupby("hotkey")["turnover"].agg(["min", "max"])
    assert list(by_miner.loc[ALICE]) == pytest.approx([0.2, 0.2])
    assert list(by_miner.loc[BOB]) == [0.0, 0.0]  # was not there before


def test_a_history_that_starts_here_has_no_turnover():
    before = portfolios({ALICE: dict.fromkeys("ABCDE", 0.2)}, epoch_id=EARLIER)
    now = portfolios({ALICE: FIVE}, history=EPOCH)
    found = epoch_returns(now, before, FLAT, MARKET, epoch_id=EPOCH)
    assert set(found["turnover"]) == {0.0}


def test_turnover_of_everything_is_one():
    thirds = {f"T{letter}": 1 / 9 for letter in "ABCDEFGHI"}  # sums to more than 1 in floats
    before = portfolios({ALICE: dict.fromkeys("ABCDE", 0.2)}, epoch_id=EARLIER)
    found = epoch_returns(portfolios({ALICE: thirds}), before, FLAT, MARKET, epoch_id=EPOCH)
    assert set(found["turnover"]) == {1.0}


def test_a_held_ticker_that_prices_do_not_know_is_unpriced():
    known = prices({ticker: [0.01] * 4 for ticker in FIVE if ticker != "NVDA"})
    found = epoch_returns(portfolios({ALICE: FIVE}), None, known, MARKET, epoch_id=EPOCH)
    assert list(found["unpriced_weight"]) == [0.2] * 4
    assert list(found["portfolio_return"]) == pytest.approx([0.008] * 4)  # 0.8 x 1 %


def test_a_cell_that_prices_do_not_know_is_unpriced():
    known = FLAT.drop(FLAT.index[(FLAT["ticker"] == "NVDA") & (FLAT["session"] == SESSIONS[2])])
    found = epoch_returns(portfolios({ALICE: FIVE}), None, known, MARKET, epoch_id=EPOCH)
    assert list(found["unpriced_weight"]) == [0.0, 0.0, 0.2, 0.0]


def test_a_halted_ticker_is_carried_and_then_unpriced():
    returns = {ticker: [0.01] * 4 for ticker in FIVE} | {"NVDA": [np.nan] * 4}
    halted = prices(returns, carried={"NVDA": [4, 5, 6, 7]})
    found = epoch_returns(portfolios({ALICE: FIVE}), None, halted, MARKET, epoch_id=EPOCH)
    assert list(found["unpriced_weight"]) == [0.0, 0.0, 0.2, 0.2]


def test_an_epoch_without_portfolios_is_an_empty_table():
    found = epoch_returns(portfolios({ALICE: FIVE}).head(0), None, FLAT, MARKET, epoch_id=EPOCH)
    PortfolioReturns.validate(found)
    assert found.empty


def test_the_order_of_rows_does_not_matter():
    held, before = portfolios({ALICE: FIVE, BOB: FIVE}), portfolios({BOB: FIVE}, epoch_id=EARLIER)
    expected = epoch_returns(held, before, FLAT, MARKET, epoch_id=EPOCH)
    found = epoch_returns(
        held.iloc[::-1], before.iloc[::-1], FLAT.iloc[::-1], MARKET.iloc[::-1], epoch_id=EPOCH
    )
    pd.testing.assert_frame_equal(found, expected)


def test_a_ticker_is_held_once():
    doubled = pd.concat([portfolios({ALICE: FIVE})] * 2)
    with pytest.raises(InvalidPortfolio, match="twice"):
        epoch_returns(doubled, None, FLAT, MARKET, epoch_id=EPOCH)


def test_a_session_has_one_price():
    with pytest.raises(InvalidPrices, match="two prices"):
        epoch_returns(
            portfolios({ALICE: FIVE}), None, pd.concat([FLAT, FLAT]), MARKET, epoch_id=EPOCH
        )


def test_hindsight_uses_todays_weights_in_every_session():
    found = trailing_returns({"NVDA": 0.5, "AAPL": 0.5}, FLAT)
    expected = pd.Series([0.01, 0.0, 0.0, 0.0], index=SESSIONS, name="trailing_return")
    pd.testing.assert_series_equal(found, expected, check_names=True, check_index_type=False)
