"""Claims laid over a table give the other's table back, and what is no cell is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from quanta_pipelines.claimed_cells import (
    PORTFOLIOS,
    PRICES,
    Claim,
    InvalidEvidence,
    as_json,
    claimed_table,
    claims_of,
    differences,
    own_value,
    read_claims,
    united,
)
from quanta_pipelines.protocol.oracle import data_hash
from tests.conftest import SETTLED, platform_at

EPOCH = SETTLED[-1]
DAYS = [f"{day}" for day in EPOCH.sessions]
KEY = ["ticker", "session"]


@pytest.fixture(scope="module")
def tables(settled_home):
    lake = platform_at(settled_home).lake
    return {name: lake.read(name, EPOCH.id) for name in (PRICES, PORTFOLIOS)}


def at(prices, ticker, day):
    return (prices["ticker"] == ticker) & (prices["session"] == pd.Timestamp(day))


def test_claims_of_every_difference_give_the_others_prices(tables):
    own = tables[PRICES]
    rng = np.random.default_rng(4)
    other = own.assign(
        close=own["close"] * np.where(rng.random(len(own)) < 0.2, 1.01, 1.0),
        total_return=own["total_return"] + np.where(rng.random(len(own)) < 0.1, 0.001, 0.0),
    )
    other = other[~at(other, "KO", DAYS[0])].reset_index(drop=True)
    lost = at(other, "AMD", DAYS[1])
    other.loc[lost, ["close", "total_return"]] = np.nan
    other.loc[lost, "status"] = "disputed"
    other.loc[lost, "carried_sessions"] = 1
    claims = claims_of(json.loads(json.dumps(as_json(differences(own, other, PRICES)))), PRICES)
    made = claimed_table(own, claims, PRICES, EPOCH.id)
    assert data_hash(made) == data_hash(other)
    columns = [*KEY, "close", "total_return", "status", "carried_sessions", "in_universe"]
    pd.testing.assert_frame_equal(made[columns], other[columns])
    assert differences(own, own, PRICES) == ()
    # and a row that only the other one has comes back too
    back = claimed_table(made, differences(made, own, PRICES), PRICES, EPOCH.id)
    pd.testing.assert_frame_equal(back[columns], own[columns])


def test_returns_follow_a_claimed_close_that_names_none(tables):
    # 4 % higher: (1 + r) 1.04 - 1 into it, (1 + r) / 1.04 - 1 out of it, nothing after
    own = tables[PRICES]
    close = own.loc[at(own, "AAPL", DAYS[1]), "close"].item() * 1.04
    made = claimed_table(own, [Claim("AAPL", DAYS[1], "close", close)], PRICES, EPOCH.id)
    for day, factor in ((DAYS[0], 1.0), (DAYS[1], 1.04), (DAYS[2], 1 / 1.04), (DAYS[3], 1.0)):
        before = own.loc[at(own, "AAPL", day), "total_return"].item()
        after = made.loc[at(made, "AAPL", day), "total_return"].item()
        assert after == pytest.approx((1 + before) * factor - 1, abs=1e-15)
    assert made[~at(made, "AAPL", DAYS[1])]["close"].equals(own[~at(own, "AAPL", DAYS[1])]["close"])


def test_another_basis_changes_closes_and_no_return(tables):
    own = tables[PRICES]
    halved = own.assign(close=own["close"].mask(own["ticker"] == "AAPL", own["close"] / 2))
    made = claimed_table(own, differences(own, halved, PRICES), PRICES, EPOCH.id)
    assert made["close"].equals(halved["close"])
    assert made["total_return"].equals(own["total_return"])


def test_claims_of_every_difference_give_the_others_portfolios(tables):
    own = tables[PORTFOLIOS]
    hotkey = own["hotkey"].iloc[0]
    held = own[own["hotkey"] == hotkey]
    moved = (held["weight"].iloc[0] + held["weight"].iloc[1]) / 2
    first = own.index.isin(held.index[:2])
    other = own.assign(weight=own["weight"].mask(first, moved))
    claims = differences(own, other, PORTFOLIOS)
    assert {claim.where for claim in claims} == {hotkey}
    made = claimed_table(own, claims, PORTFOLIOS, EPOCH.id)
    pd.testing.assert_series_equal(made["weight"], other["weight"])
    assert own_value(own, claims[0], PORTFOLIOS) == own.loc[held.index[0], "weight"]


GOOD = {"ticker": "AAPL", "where": DAYS[0], "column": "close", "value": 50.0}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "a list of cells"),
        ([GOOD, 7], "cell 2 has ticker, where, column and value"),
        ([{**GOOD, "more": 1}], "cell 1 has ticker"),
        ([{**GOOD, "ticker": 3}], "cell 1: ticker, where and column are texts"),
        ([{**GOOD, "column": "sources"}], "'sources' is no column of validated_prices"),
        ([{**GOOD, "value": float("nan")}], "nan is no value"),
        ([GOOD, {**GOOD, "value": 51.0}], "is claimed to be 50.0 and 51.0"),
    ],
)
def test_what_is_no_claim_is_refused(document, says):
    with pytest.raises(InvalidEvidence, match=says):
        claims_of(document, PRICES)


def test_evidence_is_read_from_text():
    assert read_claims(json.dumps([GOOD, GOOD]), PRICES) == (Claim(**GOOD),)
    with pytest.raises(InvalidEvidence, match="evidence is JSON"):
        read_claims("[", PRICES)
    with pytest.raises(InvalidEvidence, match="not 'scores'"):
        read_claims("[]", "scores")


@pytest.mark.parametrize(
    ("table", "claim", "says"),
    [
        (PRICES, Claim("AAPL", "2019-01-01", "close", 5.0), "no session of the epoch"),
        (PRICES, Claim("AAPL", DAYS[0], "status", "disputed"), "settled_has_a_close"),
        (PORTFOLIOS, Claim("AAPL", "5" + "A" * 47, "weight", 0.1), "has no portfolio"),
    ],
)
def test_claims_that_break_the_table_are_refused(tables, table, claim, says):
    with pytest.raises(InvalidEvidence, match=says):
        claimed_table(tables[table], [claim], table, EPOCH.id)


def test_claims_stand_in_the_order_of_their_cells():
    one, other = Claim("B", "x", "close", 1.0), Claim("A", "y", "close", 2.0)
    assert united([one, other, one]) == (other, one)
