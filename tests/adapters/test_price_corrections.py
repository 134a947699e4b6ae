"""Corrections of prices in the signal store: refusals, order, append-only, migration."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from data_contracts.market_data import PriceCorrections as Contract
from quanta_pipelines.adapters.signal_store import ContradictsRecord, SignalStore, database
from quanta_pipelines.protocol.corrections import PriceCorrection
from quanta_pipelines.protocol.errors import InvalidCorrection, InvalidPortfolio, ProtocolError

MOMENT = dt.datetime(2019, 8, 5, 12, tzinfo=dt.UTC)
FIRST = PriceCorrection(
    ticker="AAPL",
    session=dt.date(2019, 7, 17),
    field="close",
    old_value=None,
    new_value=203.35,
    author="operator \x00 of the week",  # what no database column of text would hold
    reason="a bad print",
    evidence="auction report",
    recorded_at=MOMENT,
)
SECOND = replace(FIRST, old_value=203.35, new_value=203.25, recorded_at=MOMENT + dt.timedelta(1))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/signals.db"


@pytest.fixture
def store(url: str) -> Iterator[SignalStore]:
    store = SignalStore.open(url)
    yield store
    store.close()


def standing(store: SignalStore, first: str = "2019-01-01", last: str = "2019-12-31") -> Any:
    return store.corrections.standing(dt.date.fromisoformat(first), dt.date.fromisoformat(last))


def test_the_newest_correction_of_a_cell_stands(store: SignalStore) -> None:
    assert store.corrections.record(FIRST) == 1
    assert store.corrections.record(SECOND) == 2
    assert store.corrections.record(replace(FIRST, field="dividend", new_value=0.0)) == 3
    table = standing(store)
    columns = ["field", "old_value", "new_value", "correction_id", "n_replaced"]
    assert table[columns].iloc[0].tolist() == ["close", 203.35, 203.25, 2, 1]
    assert table["field"].tolist() == ["close", "dividend"]
    assert table["author"].iloc[0] == FIRST.author
    Contract.validate(table.assign(epoch_id="2019-Q3-W29")[list(Contract.to_schema().columns)])


def test_only_sessions_between_the_days_are_given(store: SignalStore) -> None:
    store.corrections.record(FIRST)
    assert len(standing(store, "2019-07-17", "2019-07-17")) == 1
    assert standing(store, "2019-07-18").empty
    assert standing(store, last="2019-07-16").empty


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"author": ""}, InvalidCorrection, "its author; that of the close of AAPL on 2019-07-17"),
        ({"reason": " "}, InvalidCorrection, "its reason"),
        ({"evidence": ""}, InvalidCorrection, "its evidence"),
        ({"new_value": 0.0}, InvalidCorrection, "above zero"),
        ({"new_value": float("nan")}, InvalidCorrection, "not nan"),
        ({"new_value": 1e10}, InvalidCorrection, "at most 1e\\+09, not 10000000000.0"),
        ({"field": "split", "new_value": 2e6}, InvalidCorrection, "at most 1e\\+06"),
        ({"field": "dividend", "new_value": -0.1}, InvalidCorrection, "at least zero"),
        ({"field": "volume"}, InvalidCorrection, "can be corrected, not 'volume'"),
        ({"session": dt.date(2019, 7, 20)}, InvalidCorrection, "2019-07-20 is no session"),
        ({"session": dt.date(1900, 1, 2)}, ProtocolError, "leaves the table of sessions"),
        ({"ticker": "aapl"}, InvalidCorrection, "no ticker as the exchange writes it"),
        ({"ticker": "TOO LONG"}, InvalidPortfolio, "a ticker looks like AAPL"),
        ({"recorded_at": MOMENT.replace(tzinfo=None)}, InvalidCorrection, "has no time zone"),
        ({"old_value": 203.35}, ContradictsRecord, "is 203.35 already"),
    ],
)
def test_what_lacks_something_is_refused_and_leaves_no_row(
    wrong: dict[str, Any], error: type[Exception], message: str, store: SignalStore
) -> None:
    with pytest.raises(error, match=message):
        store.corrections.record(replace(FIRST, **wrong))
    assert standing(store).empty


def test_a_correction_of_what_was_corrected_meanwhile_is_refused(store: SignalStore) -> None:
    store.corrections.record(FIRST)
    with pytest.raises(ContradictsRecord, match=r"is 203\.35 since correction 1 by operator"):
        store.corrections.record(replace(FIRST, new_value=204.0))
    assert len(standing(store)) == 1


def test_the_table_only_grows(store: SignalStore, url: str) -> None:
    store.corrections.record(FIRST)
    engine = database.connect(url)
    for change in ("UPDATE price_corrections SET new_value = 1", "DELETE FROM price_corrections"):
        with (
            pytest.raises(IntegrityError, match="price_corrections only grows"),
            database.writing(engine, "test") as connection,
        ):
            connection.execute(text(change))
    engine.dispose()
