"""The trailing backtest: labelled hindsight, measured as if held, refused without prices."""

import datetime as dt
import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.adapters.price_vendors import RecordedVendor, recorded_closes
from quanta_pipelines.backtest import Backtest, backtest
from quanta_pipelines.protocol.errors import InvalidPortfolio, InvalidPrices, UnknownSessions
from quanta_pipelines.protocol.metrics import max_drawdown, sharpe_ratio, total_return

AS_OF = dt.date(2019, 12, 27)
EQUAL = dict.fromkeys(("AAPL", "JPM", "KO", "MSFT", "XOM"), "0.2")


def recorded(positions: dict[str, str] = EQUAL, as_of: dt.date = AS_OF) -> Backtest:
    return backtest(positions, as_of=as_of, vendors=(RecordedVendor(),))


def without(ticker: str, sessions: slice) -> RecordedVendor:
    """The recording without some closes of one ticker."""
    prices = recorded_closes().copy()
    prices.loc[sessions, ticker] = np.nan
    return RecordedVendor(prices=prices)


def test_it_is_labelled_as_hindsight() -> None:
    assert recorded().label == "hindsight: weights of today on past prices; never ranks anyone"


def test_it_measures_the_mean_return_of_equal_weights() -> None:
    # a fifth in each of five stocks: the mean of their returns, session by session
    closes = recorded_closes().loc[: str(AS_OF), list(EQUAL)]
    mean = closes.pct_change().mean(axis=1)
    for found in recorded().horizons:
        recent = mean.iloc[-found.horizon :]
        assert found.first_session == f"{recent.index[0]:%Y-%m-%d}"
        for name, measure in (
            ("total_return", total_return),
            ("max_drawdown", max_drawdown),
            ("sharpe_ratio", sharpe_ratio),
        ):
            assert found.metrics[name] == pytest.approx(float(measure(recent.to_numpy())))


def test_its_horizons_are_those_of_the_score_and_nothing_is_traded() -> None:
    found = recorded()
    assert [one.horizon for one in found.horizons] == [7, 30, 90]
    assert [one.metrics["turnover_score"] for one in found.horizons] == [1.0, 1.0, 1.0]


def test_later_prices_change_nothing() -> None:
    later = slice("2019-12-30", None)
    cut = RecordedVendor(prices=recorded_closes().loc[: str(AS_OF)])
    assert len(recorded_closes().loc[later]) > 0
    assert backtest(EQUAL, as_of=AS_OF, vendors=(cut,)) == recorded()


def test_it_is_one_json_document() -> None:
    document = json.loads(json.dumps(asdict(recorded()), allow_nan=False))
    assert document["as_of"] == "2019-12-27"
    assert len(document["portfolio_hash"]) == 64
    assert "horizon_score" in document["horizons"][0]["metrics"]


def test_a_ratio_that_does_not_exist_is_none_and_not_nan() -> None:
    flat = recorded_closes().copy()
    flat[:] = 100.0
    found = backtest(EQUAL, as_of=AS_OF, vendors=(RecordedVendor(prices=flat),))
    assert found.horizons[0].metrics["sharpe_ratio"] is None
    assert found.horizons[0].metrics["total_return"] == 0.0


def test_a_portfolio_outside_the_limits_is_refused() -> None:
    with pytest.raises(InvalidPortfolio, match="weight"):
        recorded({"AAPL": "1.0"})


def test_a_ticker_without_prices_is_refused() -> None:
    unknown = {**EQUAL, "ZZZZ": "0.1", "KO": "0.1"}
    with pytest.raises(InvalidPrices, match="no vendor has prices of ZZZZ up to 2019-12-27"):
        recorded(unknown)


def test_a_ticker_that_was_not_listed_yet_is_refused() -> None:
    vendor = without("KO", slice(None, "2019-10-01"))
    with pytest.raises(InvalidPrices, match="KO has no return on 2019-08-21"):
        backtest(EQUAL, as_of=AS_OF, vendors=(vendor,))


def test_a_gap_is_carried_for_five_sessions_and_no_longer() -> None:
    # 2019-11-11 to 15 are five sessions, the 18th is the sixth
    carried = without("KO", slice("2019-11-11", "2019-11-15"))
    assert backtest(EQUAL, as_of=AS_OF, vendors=(carried,)).horizons[2].metrics
    broken = without("KO", slice("2019-11-11", "2019-11-18"))
    with pytest.raises(InvalidPrices, match="KO has no return on 2019-11-18"):
        backtest(EQUAL, as_of=AS_OF, vendors=(broken,))


def test_a_day_without_a_session_is_refused() -> None:
    with pytest.raises(InvalidPrices, match="2019-12-25 is no session"):
        recorded(as_of=dt.date(2019, 12, 25))


def test_a_day_outside_the_calendar_is_refused() -> None:
    with pytest.raises(UnknownSessions):
        recorded(as_of=dt.date(1999, 12, 27))


def test_a_recording_that_starts_too_late_is_refused() -> None:
    # 90 sessions before 2018-02-01 lie in 2017, which is not recorded
    with pytest.raises(InvalidPrices, match="has no return on 2017"):
        recorded(as_of=dt.date(2018, 2, 1))
    assert pd.Timestamp("2018-01-02") == recorded_closes().index[0]
