"""The price table of an epoch: every session has its row, and the universe is fixed at entry."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.protocol.errors import InvalidPrices
from quanta_pipelines.protocol.oracle import (
    DENIED,
    benchmark_returns,
    data_hash,
    differing_cells,
    epoch_prices,
    settle_closes,
    universe,
)
from quanta_pipelines.protocol.params import QUANTA, ProtocolParams

DAYS = pd.bdate_range(end="2025-11-21", periods=61).append(pd.bdate_range("2025-11-24", periods=5))
ENTRY, SESSIONS = date(2025, 11, 21), [day.date() for day in DAYS[-5:]]


def seen(
    ticker: str, close: float = 100.0, vendor: str = "tiingo", **columns: object
) -> pd.DataFrame:
    """A ticker's rows over lookback and epoch; columns may be lists or one value."""
    rows = {
        "vendor": vendor,
        "ticker": ticker,
        "session": DAYS,
        "close": close,
        "volume": 1e6,
        "dividend": 0.0,
        "split": 1.0,
        "basis": "as_traded",
        "fetched_at": pd.Timestamp("2025-11-29", tz="UTC"),
    }
    return pd.DataFrame(rows | columns)


def without(frame: pd.DataFrame, *days: str) -> pd.DataFrame:
    return frame[~frame["session"].isin(pd.DatetimeIndex(list(days)))]


def table(*frames: pd.DataFrame, params: ProtocolParams = QUANTA) -> pd.DataFrame:
    return epoch_prices(
        pd.concat(frames),
        epoch_id="2025-Q4-W48",
        sessions=SESSIONS,
        entry_session=ENTRY,
        params=params,
    )


def held(*frames: pd.DataFrame) -> tuple[str, ...]:
    observed = pd.concat(frames)
    return universe(observed, settle_closes(observed), ENTRY)


def test_there_is_a_row_for_every_ticker_and_session() -> None:
    prices = table(seen("MSFT"), without(seen("AAPL"), "2025-11-25", "2025-11-26"))
    assert list(prices.columns) == [
        *("epoch_id", "ticker", "session", "close", "total_return", "n_vendors", "sources"),
        *("status", "anomaly", "stale", "low_volume", "flat_line", "adjustment_mismatch"),
        *("carried_sessions", "in_universe"),
    ]
    assert list(prices["ticker"]) == ["AAPL"] * 5 + ["MSFT"] * 5
    missing = prices[prices["status"] == "missing"]
    assert list(missing["session"].dt.day) == [25, 26]
    assert missing[["close", "total_return"]].isna().all(axis=None)
    assert missing["stale"].all()
    assert set(prices["epoch_id"]) == {"2025-Q4-W48"}


def test_types_do_not_depend_on_what_is_missing() -> None:
    whole, holey = table(seen("AAPL")), table(without(seen("AAPL"), "2025-11-25"))
    pd.testing.assert_series_equal(whole.dtypes, holey.dtypes)
    assert whole.dtypes.astype(str).to_dict() == {
        **dict.fromkeys(["epoch_id", "ticker", "sources", "status"], "object"),
        **dict.fromkeys(["close", "total_return"], "float64"),
        **dict.fromkeys(["anomaly", "stale", "low_volume", "flat_line"], "bool"),
        **dict.fromkeys(["adjustment_mismatch", "in_universe"], "bool"),
        **dict.fromkeys(["n_vendors", "carried_sessions"], "int64"),
        "session": "datetime64[ns]",
    }


def test_the_first_return_is_against_the_entry_close() -> None:
    closes = [100.0] * 61 + [101.0, 101.0, 101.0, 101.0, 99.0]
    returns = table(seen("AAPL").assign(close=closes))["total_return"]
    np.testing.assert_allclose(returns, [0.01, 0.0, 0.0, 0.0, 99 / 101 - 1])


def test_carried_sessions_count_from_the_lookback_on() -> None:
    days = ("2025-11-20", "2025-11-21", "2025-11-24", "2025-11-27")
    prices = table(seen("MSFT"), without(seen("AAPL"), *days))
    carried = prices.set_index(["ticker", "session"])["carried_sessions"]
    assert list(carried["AAPL"]) == [3, 0, 0, 1, 0]
    assert not carried["MSFT"].any()


def test_a_disputed_close_is_carried_like_a_missing_one() -> None:
    apart = seen("AAPL", vendor="yahoo").assign(close=[100.0] * 64 + [50.0, 50.0])
    prices = table(seen("AAPL"), apart)
    assert list(prices["status"]) == ["settled"] * 3 + ["disputed"] * 2
    assert list(prices["carried_sessions"]) == [0, 0, 0, 1, 2]
    assert not prices["stale"].any()


def test_the_universe_needs_five_dollars_at_entry() -> None:
    later = seen("LATE").assign(close=[4.99] * 61 + [6.0] * 5)
    assert held(seen("FIVE", 5.0), seen("LOW", 4.99), later) == ("FIVE",)


def test_the_universe_needs_five_million_dollars_where_volume_is_known() -> None:
    # 100 dollars: 50 000 shares are 5 m; 30 sessions, so half of them decide with their neighbour
    half = seen("HALF").assign(volume=[0.0] * 46 + [50_000.0] * 20)
    old = seen("OLD").assign(volume=[1e9] * 31 + [49_999.0] * 35)
    rows = [seen("EDGE", volume=50_000.0), seen("THIN", volume=49_999.0), half, old]
    assert held(*rows, seen("DARK", volume=np.nan)) == ("DARK", "EDGE")


def test_the_universe_needs_two_vendors_where_two_are_configured() -> None:
    params = QUANTA.changed(market_data__required_vendors=1)
    both = [seen("TWO"), seen("TWO", vendor="yahoo"), seen("ONE")]
    prices = table(*both, params=params)
    assert set(prices.loc[prices["in_universe"], "ticker"]) == {"TWO"}
    assert held(seen("ONE")) == ("ONE",)


def test_a_ticker_without_a_close_at_entry_is_out() -> None:
    assert held(seen("AAPL"), without(seen("GONE"), "2025-11-21")) == ("AAPL",)


def test_denied_funds_are_out_each_with_its_reason() -> None:
    assert held(seen("AAPL"), seen("SQQQ"), seen("TQQQ"), seen("BIL"), seen("AGG")) == ("AAPL",)
    assert (DENIED["SQQQ"], DENIED["TQQQ"]) == ("inverse fund", "leveraged fund")
    assert (DENIED["BIL"], DENIED["AGG"]) == ("cash-like fund", "bond or preferred fund")
    assert not {"SPY", "QQQ", "IWM", "EEM", "AAPL", "MSFT"} & set(DENIED)
    assert all(DENIED.values())


def moving(ticker: str, daily: float) -> pd.DataFrame:
    return seen(ticker).assign(close=[100.0] * 61 + [100 * (1 + daily) ** n for n in range(1, 6)])


def test_the_benchmark_is_the_index_where_it_is_priced() -> None:
    returns = benchmark_returns(table(moving("SPY", 0.01), moving("AAPL", 0.05)))
    np.testing.assert_allclose(returns, [0.01] * 5)
    assert list(returns.index) == list(DAYS[-5:])


def test_without_the_index_in_every_session_it_is_the_universe_throughout() -> None:
    # the mean of 1 % and 3 %; BIL is no member, SPY lacks a session but counts as a member in four
    spy = without(moving("SPY", 0.02), "2025-11-26")
    rows = [moving("AAPL", 0.01), moving("MSFT", 0.03), moving("BIL", 0.5)]
    np.testing.assert_allclose(benchmark_returns(table(*rows)), [0.02] * 5)
    with_spy = benchmark_returns(table(*rows, spy))
    # SPY after its gap: 1.02^2 - 1 over two sessions
    gap = (0.01 + 0.03 + 1.02**2 - 1) / 3
    np.testing.assert_allclose(with_spy, [0.02, 0.02, 0.02, gap, 0.02])


def test_a_session_without_any_return_has_no_benchmark() -> None:
    rows = without(seen("AAPL"), "2025-11-25")
    with pytest.raises(InvalidPrices, match=r"neither SPY nor .* on 2025-11-25"):
        benchmark_returns(table(rows))


def test_the_data_hash_sees_closes_to_six_decimals_and_no_order() -> None:
    prices = table(seen("AAPL"), without(seen("MSFT"), "2025-11-25"))
    nudged = prices.assign(close=prices["close"] + 1e-8)
    moved = prices.assign(close=prices["close"] + 1e-6)
    assert data_hash(prices) == data_hash(prices.iloc[::-1]) == data_hash(nudged)
    assert data_hash(prices) != data_hash(moved)
    assert data_hash(prices) != data_hash(prices.assign(status="disputed"))


def test_validators_that_differ_get_the_cells() -> None:
    left = table(seen("AAPL"), seen("MSFT"))
    right = left.iloc[:-1].copy()
    right.loc[1, "close"] = np.nan
    right.loc[1, "status"] = "missing"
    assert differing_cells(left, right).to_numpy().tolist() == [
        ["AAPL", "2025-11-25", "close", "100.000000", ""],
        ["AAPL", "2025-11-25", "status", "settled", "missing"],
        ["MSFT", "2025-11-28", "close", "100.000000", "absent"],
        ["MSFT", "2025-11-28", "status", "settled", "absent"],
    ]
    assert differing_cells(left, left.iloc[::-1]).empty


def test_no_tickers_at_all_is_an_empty_table_with_its_types() -> None:
    pd.testing.assert_series_equal(table(seen("AAPL").iloc[:0]).dtypes, table(seen("AAPL")).dtypes)
