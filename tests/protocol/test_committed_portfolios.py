"""What was ever committed is kept by quarters, and who was first in it is found as by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidIntegrityInput
from quanta_pipelines.protocol.integrity import (
    all_positions,
    committed_positions,
    committed_table,
    ends_of_quarters,
    first_epochs,
    holdings_of,
    starts_quarter,
)
from quanta_pipelines.protocol.integrity import holdings as holdings_module

TICKERS = ("AAPL", "KO", "XOM")
MINERS = ("alice", "bob", "carol")
NOON = pd.Timestamp("2020-11-02 12:00", tz="UTC")


def portfolios(epoch_id: str, held: dict[str, dict[str, float]], filled: int = 0) -> pd.DataFrame:
    """Rows of ``Portfolios``, as far as they are read."""
    rows = [
        (epoch_id, hotkey, ticker, weight, filled, NOON)
        for hotkey, weights in held.items()
        for ticker, weight in weights.items()
    ]
    names = ["epoch_id", "hotkey", "ticker", "weight", "filled_epochs", "committed_at"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.astype({"weight": "float64", "committed_at": "datetime64[ns, UTC]"})


def weeks(first: str, count: int) -> list[Epoch]:
    found = [Epoch.parse(first)]
    while len(found) < count:
        found.append(found[-1].next())
    return found


def test_the_last_epoch_of_each_quarter_before_an_epoch() -> None:
    # 2020 has a week 53: its fourth quarter ends with it
    first, epoch = Epoch.parse("2020-Q3-W39"), Epoch.parse("2021-Q2-W15")
    assert [each.id for each in ends_of_quarters(first, epoch)] == [
        "2020-Q3-W39",  # the Thursday of week 40 is 1 October
        "2020-Q4-W53",
        "2021-Q1-W12",  # the Thursday of week 13 is 1 April
        "2021-Q2-W14",
    ]


def test_nothing_was_committed_before_the_first_epoch() -> None:
    first = Epoch.parse("2020-Q4-W45")
    assert ends_of_quarters(first, first) == ()
    assert ends_of_quarters(first, first.next()) == (first,)


def test_tables_of_three_quarters_hold_everything_once() -> None:
    every, tables = [], {}
    before = None
    for number, epoch in enumerate(weeks("2020-Q3-W36", 25)):
        held = {"alice": {"AAPL": 0.5, "KO": 0.5}}
        if number % 3 == 0:
            held["bob"] = {"XOM": 1.0}
        own = portfolios(epoch.id, held)
        if number % 4 == 1:
            own = pd.concat([own, portfolios(epoch.id, {"carol": {"KO": 1.0}}, filled=2)])
        before = committed_table(own, before, epoch_id=epoch.id)
        tables[epoch.id] = before
        every.append(committed_positions(own))
        ends = ends_of_quarters(weeks("2020-Q3-W36", 1)[0], epoch.next())
        kept = pd.concat([tables[end.id] for end in ends]).drop(columns="epoch_id")
        pd.testing.assert_frame_equal(
            kept.reset_index(drop=True), pd.concat(every).reset_index(drop=True)
        )
    assert "carol" not in set(kept["hotkey"])
    assert len(ends) == 3


def test_a_quarter_starts_without_the_one_before() -> None:
    last, first = Epoch.parse("2020-Q4-W53"), Epoch.parse("2021-Q1-W01")
    assert starts_quarter(first)
    assert not starts_quarter(last)
    before = committed_table(portfolios(last.id, {"bob": {"KO": 1.0}}), None, epoch_id=last.id)
    own = portfolios(first.id, {"alice": {"KO": 1.0}})
    assert committed_table(own, before, epoch_id=first.id)["hotkey"].tolist() == ["alice"]


def test_a_portfolio_of_a_later_epoch_is_refused() -> None:
    rows = portfolios("2020-Q4-W47", {"alice": {"KO": 1.0}})
    with pytest.raises(InvalidIntegrityInput, match="2020-Q4-W47 was not committed by 2020-Q4-W46"):
        committed_table(rows, None, epoch_id="2020-Q4-W46")


def test_categories_and_texts_make_the_same_holdings() -> None:
    ids = [each.id for each in weeks("2020-Q4-W50", 6)]
    rows = pd.concat(
        committed_positions(portfolios(name, {"bob": {"KO": 0.4, "XOM": 0.6}, "ali": {"KO": 1.0}}))
        for name in ids
    ).reset_index(drop=True)
    joined = all_positions(rows[rows["held_epoch"] < ids[-1]], rows[rows["held_epoch"] == ids[-1]])
    assert isinstance(joined["hotkey"].dtype, pd.CategoricalDtype)
    one, other = (holdings_of(each, ["ali", "bob", "eve"], ids) for each in (rows, joined))
    for epoch in range(len(ids)):
        assert (one.units[epoch].toarray() == other.units[epoch].toarray()).all()
    assert (one.committed_at == other.committed_at).all()
    assert one.units[-1].toarray().tolist() == [
        [10**9, 0],
        [400_000_000, 600_000_000],
        [0, 0],
    ]


_TENTHS = st.integers(0, 10)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, dict[str, float]]]:
    """Weeks of portfolios in tenths; some miners hold nothing in some weeks."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        held = {}
        for miner in MINERS:
            first, second = sorted((draw(_TENTHS), draw(_TENTHS)))
            parts = (first, second - first, 10 - second)
            if draw(st.booleans()):
                held[miner] = {t: w / 10 for t, w in zip(TICKERS, parts, strict=True) if w}
        found.append(held)
    return found


def by_hand(history: list[dict[str, dict[str, float]]], i: str, j: str, *, by_time: bool) -> int:
    """PROTOCOL, section 7, one portfolio after the other; names commit in their order."""
    now = history[-1].get(j, {})

    def shared(week: int, who: str) -> float:
        held = history[week].get(who, {})
        return round(sum(min(held.get(t, 0.0), now.get(t, 0.0)) for t in TICKERS), 9)

    first = next((week for week in range(len(history)) if shared(week, i) >= 0.5), None)
    if first is None:
        return len(history)
    before = list(range(first))
    if by_time and j in history[first] and j < i:
        before.append(first)
    void = any(shared(week, j) >= shared(first, i) for week in before)
    return len(history) if void else first


@settings(max_examples=150, deadline=None)
@given(histories(), st.booleans(), st.integers(1, 40))
def test_who_was_first_is_found_as_by_hand(
    history: list[dict[str, dict[str, float]]], by_time: bool, cells: int
) -> None:
    ids = [each.id for each in weeks("2020-Q4-W51", len(history))]
    rows = pd.concat(
        committed_positions(portfolios(name, held)) for name, held in zip(ids, history, strict=True)
    )
    order = rows["hotkey"].map({miner: at for at, miner in enumerate(MINERS)})
    rows["committed_at"] = rows["committed_at"] + pd.to_timedelta(order.fillna(0), unit="min")
    holdings = holdings_of(rows, MINERS, ids)
    pairs = [pair for pair in product(range(3), range(3)) if pair[0] != pair[1]]
    i, j = (np.array(side) for side in zip(*pairs, strict=True))
    with pytest.MonkeyPatch.context() as patch:  # in parts of any size it is the same
        patch.setattr(holdings_module, "CELLS_AT_A_TIME", cells)
        found = first_epochs(holdings, i, j, by_time=by_time)
    assert found.tolist() == [
        by_hand(history, MINERS[one], MINERS[other], by_time=by_time) for one, other in pairs
    ]
