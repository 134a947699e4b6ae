"""Every contract accepts a small table made by hand, and refuses each way to spoil it."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.errors
import pytest

from data_contracts.contract import EpochTable
from data_contracts.tables import PROVISIONAL, TABLES

EPOCH, OTHER_EPOCH = "2025-Q4-W48", "2025-Q4-W47"
MINERS = ["5" + letter * 47 for letter in "ABCDE"]
TICKERS = ["AAPL", "AMZN", "BRK.B", "MSFT", "NVDA"]
SESSIONS = list(pd.date_range("2025-11-24", periods=5).as_unit("ns"))
MOMENT = pd.Timestamp("2025-11-21 12:00", tz="UTC").as_unit("ns")
HEX64 = "0123456789abcdef" * 4

# What the last column of a key runs through; the other columns of a key stay the same.
SERIES: dict[str, list[Any]] = {
    "hotkey": MINERS,
    "validator": MINERS,
    "ticker": TICKERS,
    "session": SESSIONS,
    "horizon": [7, 30, 90],
    "reveal_id": [1, 2, 3],
    "entry": [1, 2, 3],
    "field": ["close", "dividend", "split"],
    "lag": [0, 1, 4],
    "case_id": [f"plagiarism-2025-Q4-W48-{digit * 10}" for digit in "0af"],
    "member": MINERS,
    "voted_in": ["2025-Q3-W38", "2025-Q3-W39", "2025-Q4-W40"],
}

# One value per column name that every table may hold, where nothing below says otherwise.
VALUES: dict[str, Any] = {
    "epoch_id": EPOCH,
    "hotkey": MINERS[0],
    "validator": MINERS[1],
    "vendor": "tiingo",
    "ticker": "AAPL",
    "session": SESSIONS[0],
    "as_of": SESSIONS[0],
    "basis": "as_traded",
    "status": "settled",
    "sources": "tiingo",
    "split": 1.0,
    "standing": "ranked",
    "reason": "",
    "tier": "profitable",
    "final_tier": "profitable",
    "portfolio_tier": "low",
    "eligible": True,
    "voted": True,
    "final": True,
    "verdict": "expired",
    "positions": "AAPL:0.200000",
    "secret": "a secret",
    "source_epoch": EPOCH,
    "booked_in": EPOCH,
    "posting": 0,
    "reverses": None,
    "note": "",
    "history_epoch": OTHER_EPOCH,
    "weight": 0.2,
    "submitted_weight": 0.2,
    "from_account": "pool",
    "to_account": "miner:" + MINERS[0],
    "carried_sessions": 0,
    "gross_rao": 100,
    "fee_rao": 2,
    "ante_returned_rao": 50,
    "payout_rao": 148,  # 100 - 2 + 50
}
# What one table alone needs.
OWN_VALUES: dict[str, dict[str, Any]] = {
    "price_corrections": {"reason": "a bad print"},
    "validator_collusion": {"validator": MINERS[0], "other": MINERS[1]},
}
OWN_VALUES |= {
    "committed_portfolios": {"held_epoch": EPOCH},
    "portfolio_similarity": {
        "other_hotkey": MINERS[1],
        "measure": "returns",
        "held_epoch": EPOCH,
        "log10_chance": -7.0,
        "log10_chance_threshold": -6.0,
        "since_epoch": EPOCH,
        "other_since_epoch": OTHER_EPOCH,
        "earlier_hotkey": MINERS[1],
        "first_session": SESSIONS[0],
        "last_session": SESSIONS[-1],
    },
    "integrity_flags": {
        "earlier_hotkey": MINERS[1],
        "earlier_since_epoch": OTHER_EPOCH,
        "own_since_epoch": EPOCH,
        "active_reason": "",
        "cluster_id": MINERS[0],
        "cluster_link": "",
        "cluster_other": MINERS[2],
        "suspected_of": None,
        "first_session": SESSIONS[0],
        "last_session": SESSIONS[-1],
        "cluster_last_session": SESSIONS[0],
    },
    "pool_payouts": {
        "earned_epoch": EPOCH,
        "operator": MINERS[0],
        "state": "paid",
        "pool_reward_rao": 100,
        "operator_fee_rao": 15,
        "payout_rao": 17,  # five members: 15 + 5 * 17 = 100
    },
    "participants": {
        "role": "pool_operator",
        "next_role": "solo_miner",
        "uid": None,
        "first_epoch": OTHER_EPOCH,
        "epochs_due": 2,
        "record": "0.500000000 - .",
    },
    "integrity_cases": {
        "kind": "plagiarism",
        "other_hotkey": MINERS[1],
        "state": "confirmed",
        "opened_epoch": OTHER_EPOCH,
        "closed_epoch": EPOCH,
        "evidence": "{}",
        "author": "operator",
        "reason": "the same names for three weeks",
    },
}
BY_TYPE: dict[str, Any] = {
    "str": HEX64,
    "float64": 0.5,
    "int64": 1,
    "Int64": 1,
    "bool": False,
    "datetime64[ns, UTC]": MOMENT,
}

# A type that looks like the right one and is not; text is replaced by numbers.
WRONG: dict[str, Any] = {
    "float64": "float32",
    "int64": "float64",
    "Int64": "float64",
    "bool": "int64",
    "datetime64[ns]": "int64",
    "datetime64[ns, UTC]": "datetime64[s, UTC]",
}

# The rules refuse infinity there, when they read the table: ``protocol.observations``.
WITHOUT_AN_UPPER_LIMIT = {"volume", "dividend", "split"}

# One row that is wrong in itself, for each promise that a contract makes about a row or a group.
BROKEN_PROMISES: list[tuple[str, str, dict[str, Any]]] = [
    ("validated_prices", "settled_has_a_close", {"carried_sessions": 1}),
    ("price_corrections", "only_a_dividend_is_nothing", {"new_value": 0.0}),
    ("price_corrections", "says_who_and_why", {"author": " "}),
    ("reveals", "at_most_one_is_accepted", {"verdict": "accepted"}),
    ("portfolios", "weights_sum_to_one", {"weight": 0.3}),
    ("portfolios", "number_of_positions", {}),  # four of the five tickers
    ("committed_portfolios", "of_the_quarter_so_far", {"held_epoch": "2025-Q4-W49"}),
    ("committed_portfolios", "of_the_quarter_so_far", {"held_epoch": "2025-Q3-W39"}),
    ("score_intervals", "ends_in_order", {"lower": 0.6}),
    ("scores", "ranked_have_a_score", {"standing": "provisional"}),
    ("scores", "isin([True])", {"final": False}),
    ("provisional_scores", "ranked_have_a_score", {"standing": "provisional"}),
    ("provisional_scores", "isin([False])", {"final": True}),
    ("consensus", "eligibility_has_a_reason", {"eligible": False}),
    ("validator_collusion", "a_pair_is_two", {"other": MINERS[0]}),
    ("validator_collusion", "only_agreements", {"correlation": 0.4}),
    ("validator_collusion", "only_agreements", {"other_deviation": 0.4}),
    ("validator_collusion", "not_of_later_epochs", {"voted_in": "2025-Q4-W49"}),
    ("portfolio_similarity", "a_pair_is_two", {"other_hotkey": MINERS[0]}),
    ("portfolio_similarity", "a_pair_is_two", {"earlier_hotkey": MINERS[4]}),
    ("portfolio_similarity", "a_row_is_over_its_threshold", {"correlation": 0.4}),
    ("portfolio_similarity", "a_row_is_over_its_threshold", {"correlation_threshold": -0.5}),
    (
        "portfolio_similarity",
        "a_row_is_over_its_threshold",
        {"measure": "holdings", "log10_chance": -5.0},
    ),
    ("integrity_flags", "an_accusation_names_its_evidence", {"earlier_hotkey": None}),
    ("integrity_flags", "an_accusation_names_its_evidence", {"plagiarism_suspected": True}),
    ("integrity_flags", "an_accusation_names_its_evidence", {"cluster_size": 2}),
    ("integrity_cases", "closed_says_when", {"state": "open"}),
    ("integrity_cases", "closed_says_when", {"closed_epoch": None}),
    ("integrity_cases", "closed_says_when", {"reason": " "}),
    ("integrity_cases", "closed_says_when", {"state": "dismissed"}),
    ("validator_results", "only_voters_count", {"voted": False}),
    ("rewards", "unranked_have_a_reason", {"standing": "provisional"}),
    ("rewards", "payout_adds_up", {"payout_rao": 149}),
    ("pool_payouts", "pools_are_divided_whole", {"payout_rao": 16}),
    ("pool_payouts", "pools_are_divided_whole", {"state": ["paid"] * 4 + ["held"]}),
    ("pool_payouts", "only_closed_cases_pay_late", {"earned_epoch": OTHER_EPOCH}),
    ("pool_payouts", "only_closed_cases_pay_late", {"state": "released"}),
    ("participants", "a_role_has_a_beginning", {"role": None}),
    ("participants", "a_role_has_a_beginning", {"since": pd.NaT}),
    ("participants", "a_uid_is_held_once", {"uid": range(5)}),  # of pool operators
    ("participants", "a_uid_is_held_once", {"role": "solo_miner", "uid": 3}),
    ("participants", "reveals_were_due", {"reveals_accepted": 3}),
    ("participants", "reveals_were_due", {"epochs_due": 0}),
    ("ledger_entries", "accounts_differ", {"to_account": "pool"}),
    ("ledger_entries", "restatements_say_why", {"note": "a corrected close"}),
    ("ledger_entries", "restatements_say_why", {"posting": 1}),
    ("ledger_entries", "restatements_say_why", {"reverses": 1}),
]

every_table = pytest.mark.parametrize("table", TABLES)


def valid(table: str) -> pd.DataFrame:
    """The table by hand: one row per value of the key's last column, equal in all other columns."""
    contract = TABLES[table]
    varying = contract.key()[-1]
    kinds = {name: str(column.dtype) for name, column in contract.to_schema().columns.items()}
    values = VALUES | OWN_VALUES.get(table, {})
    rows = {
        name: values.get(name, BY_TYPE.get(kind)) for name, kind in kinds.items() if name != varying
    }
    if table in PROVISIONAL:
        rows["final"] = False
    frame = pd.DataFrame(rows | {varying: SERIES[varying]})[list(kinds)]
    return frame.astype({name: kind for name, kind in kinds.items() if kind != "str"})


def broken(contract: type[EpochTable], frame: pd.DataFrame) -> set[str]:
    """What a table breaks, in the contract's words; nothing where it keeps it."""
    try:
        contract.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        return {str(check) for check in errors.failure_cases["check"]}
    return set()


def columns(*kinds: str) -> list[tuple[str, str]]:
    """Every table's columns of some types that may not be empty."""
    return [
        (table, name)
        for table, contract in TABLES.items()
        for name, column in contract.to_schema().columns.items()
        if str(column.dtype) in kinds and not column.nullable
    ]


@every_table
def test_a_good_table_is_accepted(table: str) -> None:
    assert broken(TABLES[table], valid(table)) == set()


@every_table
def test_an_empty_table_with_the_right_types_is_accepted(table: str) -> None:
    assert broken(TABLES[table], valid(table).head(0)) == set()


@every_table
def test_a_duplicate_key_is_refused(table: str) -> None:
    frame = valid(table)
    twice = pd.concat([frame.head(1), frame], ignore_index=True)
    assert "one_row_per_key" in broken(TABLES[table], twice)


@every_table
def test_rows_in_another_order_are_refused(table: str) -> None:
    backwards = valid(table).iloc[::-1].reset_index(drop=True)
    assert broken(TABLES[table], backwards) == {"in_key_order"}


@every_table
def test_a_row_of_another_epoch_is_refused(table: str) -> None:
    frame = valid(table)
    foreign = frame.assign(epoch_id=frame["epoch_id"].mask(frame.index == 1, OTHER_EPOCH))
    assert broken(TABLES[table], foreign) == {"one_epoch"}


@every_table
@pytest.mark.parametrize("epoch_id", ["2025-Q4-W54", "2025-Q4-W8", "2025-Q4-W48\n", "2025-W48"])
def test_an_epoch_that_is_no_epoch_is_refused(table: str, epoch_id: str) -> None:
    found = broken(TABLES[table], valid(table).assign(epoch_id=epoch_id))
    assert any(check.startswith("str_matches") for check in found)


@every_table
def test_each_missing_column_is_refused(table: str) -> None:
    frame = valid(table)
    for name in frame.columns:
        assert "column_in_dataframe" in broken(TABLES[table], frame.drop(columns=name)), name


@every_table
def test_an_extra_column_is_refused(table: str) -> None:
    found = broken(TABLES[table], valid(table).assign(comment="no one asked"))
    assert found == {"column_in_schema"}


@every_table
def test_columns_in_another_order_are_refused(table: str) -> None:
    frame = valid(table)
    assert "column_ordered" in broken(TABLES[table], frame[frame.columns[::-1]])


@pytest.mark.parametrize(
    ("table", "name"), columns("str", "float64", "datetime64[ns]", "datetime64[ns, UTC]")
)
def test_an_empty_cell_is_refused_where_none_may_be(table: str, name: str) -> None:
    frame = valid(table)
    with_hole = frame.assign(**{name: frame[name].mask(frame.index == 0)})
    assert "not_nullable" in broken(TABLES[table], with_hole)


@every_table
def test_each_wrong_type_is_refused(table: str) -> None:
    frame = valid(table)
    for name, column in TABLES[table].to_schema().columns.items():
        kind = str(column.dtype)
        wrong = frame.assign(**{name: 7}) if kind == "str" else frame.astype({name: WRONG[kind]})
        found = broken(TABLES[table], wrong)
        assert any(check.startswith("dtype") for check in found), name


@every_table
def test_infinity_is_no_number(table: str) -> None:
    frame = valid(table)
    for name in frame.columns[frame.dtypes == "float64"]:
        assert broken(TABLES[table], frame.assign(**{name: -np.inf})), name
        if name not in WITHOUT_AN_UPPER_LIMIT:
            assert broken(TABLES[table], frame.assign(**{name: np.inf})), name


@pytest.mark.parametrize(("table", "promise", "changes"), BROKEN_PROMISES)
def test_a_broken_promise_is_refused(table: str, promise: str, changes: dict[str, Any]) -> None:
    frame = valid(table).assign(**changes)
    if promise == "number_of_positions":
        frame = frame.head(4)
    assert promise in broken(TABLES[table], frame)


def test_every_promise_is_broken_here() -> None:
    shared = {check.name for check in EpochTable.to_schema().checks}
    declared = {
        (table, check.name)
        for table, contract in TABLES.items()
        for check in contract.to_schema().checks
        if check.name not in shared
    }
    broken_here = {(table, promise) for table, promise, _ in BROKEN_PROMISES}
    assert declared == {pair for pair in broken_here if not pair[1].startswith("isin")}
