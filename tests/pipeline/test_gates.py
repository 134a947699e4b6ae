"""Poison in each table once: nothing bad is visible, nothing after it runs, nothing is paid."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.assets import market_data
from quanta_pipelines.audit import audit
from quanta_pipelines.backfill import QUIET
from quanta_pipelines.definitions import build_defs
from quanta_pipelines.epoch_state import epoch_states
from quanta_pipelines.protocol import (
    ballots,
    consensus,
    horizons,
    integrity,
    intervals,
    oracle,
    participants,
    portfolio,
    returns,
    scoring,
    settlement,
    validator_collusion,
    validator_results,
)
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.resources import Platform
from quanta_pipelines.simulation.keys import simulated_key

from .conftest import GENESIS, PLAYED

EPOCH = PLAYED[-1]
DOWNSTREAM = {
    "raw_prices": ["validated_prices"],
    "price_corrections": ["validated_prices"],
    "validated_prices": ["portfolio_returns"],
    "commitments": ["portfolios", "committed_portfolios"],
    "reveals": ["portfolios", "committed_portfolios"],
    "portfolios": ["portfolio_returns"],
    "committed_portfolios": ["portfolio_returns"],
    "portfolio_returns": ["horizon_metrics"],
    "horizon_metrics": ["scores"],
    "portfolio_similarity": ["integrity_cases"],
    "integrity_flags": ["scores"],
    "integrity_cases": ["scores"],
    "scores": ["validator_weights"],
    "validator_weights": ["consensus"],
    "consensus": ["rewards", "ledger_entries", "pool_payouts"],
    "validator_bonds": ["validator_results"],
    "validator_results": ["rewards", "ledger_entries", "pool_payouts"],
}
# Of two tables that are published or refused together: the one that is read next
PUBLISHED_WITH = {"committed_portfolios": "portfolios"}

MINER, OTHER = (simulated_key(name).hotkey for name in ("miner 00", "miner 01"))
SHARED, FOUNDED = "pairs_hold_what_they_share", "flags_follow_their_numbers"
BONDS, DIVIDENDS, TRUST = (
    "bonds_follow_their_mode",
    "dividends_sum_to_one",
    "trust_is_what_was_left",
)

Spoil = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Poison:
    """One way to spoil one table: where it is made, how it is spoiled, which gate must see it."""

    table: str
    owner: Any
    function: str
    spoil: Spoil
    gate: str

    def __str__(self) -> str:
        return f"{self.table}-{self.gate}-{self.spoil.__name__}"


def nan_price(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(close=frame["close"].mask(frame.index == 7))


def nan_return(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(portfolio_return=frame["portfolio_return"].mask(frame.index == 7))


def infinite_ratio(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(sortino_ratio=frame["sortino_ratio"].mask(frame.index == 7, np.inf))


def duplicate_key(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame.iloc[:1], frame], ignore_index=True)


def heavy_position(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(weight=frame["weight"].mask(frame.index == 0, 0.9))


def missing_session(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame.index != 3].reset_index(drop=True)


def another_portfolio(frame: pd.DataFrame) -> pd.DataFrame:
    first = frame["hotkey"] == frame["hotkey"].iloc[0]
    other = frame["submitted_weight"].where(~first, frame["submitted_weight"] / 2)
    return frame.assign(submitted_weight=other)


def better_horizon(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(horizon_score=frame["horizon_score"].mask(frame.index == 0, 0.123456))


def swapped_ranks(frame: pd.DataFrame) -> pd.DataFrame:
    ranked = frame.index[frame["score_rank"].notna()][:2]
    spoiled = frame.copy()
    spoiled.loc[ranked, "score_rank"] = frame.loc[ranked[::-1], "score_rank"].to_numpy()
    return spoiled


def swapped_ends(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"lower": "upper", "upper": "lower"})[list(frame.columns)]


def alike_with_itself(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(other_hotkey=frame["hotkey"])


def more_shared_weight(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(shared_weight=frame["shared_weight"].mask(frame.index == 0, 0.123456))


def nameless_accusation(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(originality=0.5, earlier_hotkey=None)


def lowered_factor(frame: pd.DataFrame) -> pd.DataFrame:
    unlike = frame.index[frame["originality"] == 1.0][0]
    known = frame["variance_factor"].mask(frame.index == unlike, 0.25)
    return frame.assign(variance_factor=known)


def a_case(frame: pd.DataFrame, **changes: object) -> pd.DataFrame:
    """The table with one open case of this epoch in it."""
    opened = pd.Timestamp(EPOCH.settles_at)
    said = dict.fromkeys(frame.columns) | {
        **{"epoch_id": EPOCH.id, "case_id": f"plagiarism-{EPOCH}-0123456789"},
        **{"kind": "plagiarism", "hotkey": MINER, "other_hotkey": OTHER, "state": "open"},
        **{"opened_epoch": EPOCH.id, "opened_at": opened, "evidence": "{}"},
        **{"decide_by": opened + pd.Timedelta(days=14), "author": "quanta", "reason": "alike"},
    }
    row = pd.DataFrame([said | changes], dtype=object).astype(frame.dtypes.to_dict())
    return pd.concat([frame, row], ignore_index=True)


def decided_by_nobody(frame: pd.DataFrame) -> pd.DataFrame:
    return a_case(frame, author="")


def case_from_nowhere(frame: pd.DataFrame) -> pd.DataFrame:
    return a_case(frame, opened_epoch=EPOCH.previous().id)


def unknown_tier(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(tier="platinum")


def lost_weight(frame: pd.DataFrame) -> pd.DataFrame:
    units = frame["weight_units"] - (frame.index == 0)
    return frame.assign(weight_units=units)


def negative_weight(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(weight_units=frame["weight_units"].mask(frame.index == 0, -1))


def invented_weight(frame: pd.DataFrame) -> pd.DataFrame:
    weight = frame["consensus_weight"].mask(frame.index == 0, 0.5)
    return frame.assign(consensus_weight=weight)


def negative_bond(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(bond=frame["bond"].mask(frame.index == 0, -0.01))


def lost_bond(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame.index != 0].reset_index(drop=True)


def silent_stake(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(voted=False)


def lost_dividend(frame: pd.DataFrame) -> pd.DataFrame:
    most = frame["dividend_units"].idxmax()
    return frame.assign(dividend_units=frame["dividend_units"] - (frame.index == most))


def more_trust(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(validator_trust=frame["validator_trust"].mask(frame.index == 0, 1.0))


def negative_ante(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(ante_rao=frame["ante_rao"].mask(frame.index == 0, -1))


def nobody_says_so(frame: pd.DataFrame) -> pd.DataFrame:
    said = {
        **{"epoch_id": EPOCH.id, "ticker": "AAPL", "session": pd.Timestamp(EPOCH.sessions[0])},
        **{"field": "close", "old_value": 50.0, "new_value": 51.0, "author": "", "reason": "typo"},
        **{"evidence": "none", "recorded_at": pd.Timestamp("2019-08-03", tz="UTC")},
        **{"correction_id": 1, "n_replaced": 0},
    }
    return pd.DataFrame([said]).astype(frame.dtypes.to_dict())


def no_reason(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(verdict="perhaps")


POISONS = (
    Poison("raw_prices", market_data, "raw_rows", nan_price, "contract"),
    Poison("raw_prices", market_data, "raw_rows", duplicate_key, "contract"),
    Poison("price_corrections", Platform, "corrections", nobody_says_so, "contract"),
    Poison("validated_prices", oracle, "epoch_prices", nan_price, "contract"),
    Poison("validated_prices", oracle, "epoch_prices", missing_session, "no_session_missing"),
    Poison("commitments", SignalStore, "commitments", negative_ante, "contract"),
    Poison("reveals", SignalStore, "reveals", no_reason, "contract"),
    Poison("portfolios", portfolio, "standing_portfolios", heavy_position, "contract"),
    Poison(
        "portfolios",
        portfolio,
        "standing_portfolios",
        another_portfolio,
        "every_portfolio_was_committed",
    ),
    Poison("committed_portfolios", integrity, "committed_table", duplicate_key, "contract"),
    Poison("portfolio_returns", returns, "epoch_returns", nan_return, "contract"),
    Poison(
        "portfolio_returns", returns, "epoch_returns", missing_session, "returns_cover_the_epoch"
    ),
    Poison("horizon_metrics", horizons, "horizon_table", infinite_ratio, "contract"),
    Poison(
        "horizon_metrics", horizons, "horizon_table", better_horizon, "metrics_agree_with_returns"
    ),
    Poison("portfolio_similarity", integrity, "similarity_table", alike_with_itself, "contract"),
    Poison("portfolio_similarity", integrity, "similarity_table", more_shared_weight, SHARED),
    Poison("integrity_flags", integrity, "flags_table", nameless_accusation, "contract"),
    Poison("integrity_flags", integrity, "flags_table", lowered_factor, FOUNDED),
    Poison("integrity_cases", integrity, "case_table", decided_by_nobody, "contract"),
    Poison("integrity_cases", integrity, "case_table", case_from_nowhere, "cases_only_go_forward"),
    Poison("scores", scoring, "score_table", unknown_tier, "contract"),
    Poison("scores", scoring, "score_table", swapped_ranks, "ranks_follow_scores"),
    Poison("validator_weights", ballots, "ballots", negative_weight, "contract"),
    Poison("validator_weights", ballots, "ballots", lost_weight, "validators_rows_sum_to_one"),
    Poison("consensus", consensus, "consensus_table", unknown_tier, "contract"),
    Poison("consensus", consensus, "consensus_table", invented_weight, "consensus_within_votes"),
    Poison("validator_bonds", validator_results, "bonds_table", negative_bond, "contract"),
    Poison("validator_bonds", validator_results, "bonds_table", lost_bond, BONDS),
    Poison("validator_results", validator_results, "results_table", silent_stake, "contract"),
    Poison("validator_results", validator_results, "results_table", lost_dividend, DIVIDENDS),
    Poison("validator_results", validator_results, "results_table", more_trust, TRUST),
)


def poison(patch: pytest.MonkeyPatch, case: Poison) -> None:
    """Spoil what the owner's function returns, from now until the patch is undone."""
    honest = getattr(case.owner, case.function)

    def poisoned(*arguments: Any, **keywords: Any) -> pd.DataFrame:
        return case.spoil(honest(*arguments, **keywords))

    patch.setattr(case.owner, case.function, poisoned)


def failed_check(instance: dg.DagsterInstance, table: str, gate: str) -> dg.AssetCheckEvaluation:
    """The failed evaluation of a gate, recorded on the epoch's partition."""
    key = dg.AssetCheckKey(dg.AssetKey(table), gate)
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    evaluations = [
        record.event.dagster_event.event_specific_data
        for record in records
        if record.event is not None and record.event.dagster_event is not None
    ]
    found = [evaluation for evaluation in evaluations if not evaluation.passed]
    assert found, f"no failed {gate} on {table}"
    assert found[0].partition == EPOCH.id
    return found[0]


def offending_rows(evaluation: dg.AssetCheckEvaluation) -> list[dict[str, Any]]:
    """The rows that a failed check shows."""
    return [dict(record.data) for record in evaluation.metadata["worst rows"].records]


@pytest.mark.parametrize("case", POISONS, ids=str)
def test_poison_stops_at_its_gate(
    case: Poison,
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        poison(patch, case)
        assert not run_epoch(EPOCH).success
    evaluation = failed_check(instance, case.table, case.gate)
    assert offending_rows(evaluation)
    # a bad table is invisible; a table that breaks an invariant is published and goes no further
    assert platform.lake.exists(case.table, EPOCH.id) == (case.gate != "contract")
    reached = [name for name in DOWNSTREAM[case.table] if platform.lake.exists(name, EPOCH.id)]
    assert not reached
    assert not platform.lake.exists("rewards", EPOCH.id)

    later = run_epoch(EPOCH, *DOWNSTREAM[case.table])
    assert not later.success
    assert not platform.lake.exists("rewards", EPOCH.id)
    assert not any(platform.lake.exists(name, EPOCH.id) for name in DOWNSTREAM[case.table])
    refusals = str([e.step_failure_data.error for e in later.all_events if e.is_step_failure])
    # the gate itself, or one that could not be evaluated because of it
    named = PUBLISHED_WITH.get(case.table, case.table)
    assert named in refusals or "was never evaluated" in refusals


def lose_a_rao(tables: Any) -> Any:
    """The first reward is one rao short in the ledger, and nowhere else."""
    ledger = tables.ledger_entries.copy()
    first = ledger.index[ledger["reason"] == "reward"][0]
    ledger.loc[first, "amount_rao"] -= 1
    return replace(tables, ledger_entries=ledger)


def short_dividend(tables: Any) -> Any:
    """A validator is two rao short, and the next one has them."""
    ledger = tables.ledger_entries.copy()
    first, second = ledger.index[ledger["reason"] == "dividend"][:2]
    ledger.loc[[first, second], "amount_rao"] += [-2, 2]
    return replace(tables, ledger_entries=ledger)


def underpay(tables: Any) -> Any:
    """A payout is one rao short of its parts."""
    paid = tables.rewards.copy()
    paid.loc[0, "payout_rao"] -= 1
    return replace(tables, rewards=paid)


def another_movement(ledger: pd.DataFrame, **said: Any) -> pd.DataFrame:
    """The ledger with one movement more."""
    row = ledger.iloc[[-1]].assign(entry=len(ledger) + 1, **said)
    return pd.concat([ledger, row], ignore_index=True)


def pass_on_a_rao_more(tables: Any) -> Any:
    """The operator passes on a rao that the table does not know."""
    first = tables.pool_payouts.iloc[0]
    accounts = {"from_account": f"miner:{first.operator}", "to_account": f"miner:{first.member}"}
    ledger = another_movement(tables.ledger_entries, **accounts, amount_rao=1, reason="pool_payout")
    return replace(tables, ledger_entries=ledger)


def keep_a_members_rao_in_the_table(tables: Any) -> Any:
    paid = tables.pool_payouts.copy()
    paid.loc[paid["payout_rao"].idxmax(), "payout_rao"] -= 1
    return replace(tables, pool_payouts=paid)


def burn_a_stake_without_a_case(tables: Any) -> Any:
    accounts = {"from_account": f"stake:{MINER}", "to_account": "burn"}
    ledger = another_movement(tables.ledger_entries, **accounts, amount_rao=5, reason="slashed")
    return replace(tables, ledger_entries=ledger)


def high_flyer(frame: pd.DataFrame) -> pd.DataFrame:
    """A signal generator is to be a solo miner at once."""
    first = frame.index[frame["role"] == "signal_generator"][0]
    return frame.assign(next_role=frame["next_role"].mask(frame.index == first, "solo_miner"))


def one_uid_for_all(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(uid=frame["uid"].mask(frame["uid"].notna(), 7))


POOLS = "pool_payouts_match_the_ledger"
LATE_GATES = (
    ("pool_payouts", POOLS, pass_on_a_rao_more, 1),
    ("pool_payouts", "contract", keep_a_members_rao_in_the_table, 3),
    ("ledger_entries", "slashes_match_the_cases", burn_a_stake_without_a_case, 1),
)


@pytest.mark.parametrize(("table", "gate", "spoil", "rows"), LATE_GATES)
def test_pools_and_slashes_are_what_their_tables_say(
    table: str,
    gate: str,
    spoil: Callable[[Any], Any],
    rows: int,
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = settlement.settlement_tables
    with monkeypatch.context() as patch:
        patch.setattr(settlement, "settlement_tables", lambda *a, **k: spoil(honest(*a, **k)))
        assert not run_epoch(EPOCH).success
    assert len(offending_rows(failed_check(instance, table, gate))) == rows
    assert platform.lake.exists(table, EPOCH.id) == (gate != "contract")
    assert not epoch_states(platform)[-1].settled


REGISTRY = (
    Poison("participants", participants, "participants_table", one_uid_for_all, "contract"),
    Poison(
        "participants", participants, "participants_table", high_flyer, "roles_follow_their_records"
    ),
)


@pytest.mark.parametrize("case", REGISTRY, ids=str)
def test_a_wrong_registry_stops_no_payment_and_leaves_the_epoch_open(
    case: Poison,
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        poison(patch, case)
        assert not run_epoch(EPOCH).success
    assert offending_rows(failed_check(instance, case.table, case.gate))
    assert platform.lake.exists("rewards", EPOCH.id)
    assert not epoch_states(platform)[-1].settled


def test_a_bad_interval_is_invisible_and_leaves_the_epoch_open(
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        poison(
            patch, Poison("score_intervals", intervals, "interval_table", swapped_ends, "contract")
        )
        assert not run_epoch(EPOCH).success
    assert offending_rows(failed_check(instance, "score_intervals", "contract"))
    assert not platform.lake.exists("score_intervals", EPOCH.id)
    # money does not depend on intervals, but the marts wait for them
    state = epoch_states(platform)[-1]
    assert (state.epoch_id, state.settled) == (EPOCH.id, False)
    assert "score_intervals" in state.waiting_for


def one_pair(frame: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    """A pair that agrees in this epoch alone, and no more."""
    said = {
        **{"epoch_id": EPOCH.id, "validator": "5" + "A" * 47, "other": "5" + "B" * 47},
        **{"voted_in": EPOCH.id, "miners": 20, "correlation": 0.97, "threshold": 0.95},
        **{"deviation": 0.2, "other_deviation": 0.2, "deviation_threshold": 0.01},
        **{"agreeing_epochs": 1, "flagged": False},
    }
    return pd.DataFrame([said | changes]).astype(frame.dtypes.to_dict())


def uncorrelated_pair(frame: pd.DataFrame) -> pd.DataFrame:
    return one_pair(frame, correlation=0.5)


def pair_flagged_for_one_epoch(frame: pd.DataFrame) -> pd.DataFrame:
    return one_pair(frame, flagged=True)


COLLUSION = (
    Poison(
        "validator_collusion",
        validator_collusion,
        "collusion_table",
        uncorrelated_pair,
        "contract",
    ),
    Poison(
        "validator_collusion",
        validator_collusion,
        "collusion_table",
        pair_flagged_for_one_epoch,
        "collusion_is_counted",
    ),
)


@pytest.mark.parametrize("case", COLLUSION, ids=str)
def test_wrong_evidence_of_collusion_stops_no_payment_and_leaves_the_epoch_open(
    case: Poison,
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        poison(patch, case)
        assert not run_epoch(EPOCH).success
    assert len(offending_rows(failed_check(instance, case.table, case.gate))) == 1
    assert platform.lake.exists(case.table, EPOCH.id) == (case.gate != "contract")
    # it accuses, and nobody is paid less by it
    assert platform.lake.exists("rewards", EPOCH.id)
    state = epoch_states(platform)[-1]
    assert (state.epoch_id, state.settled) == (EPOCH.id, False)
    assert case.table in state.waiting_for


def test_a_lost_rao_is_seen_on_both_tables(
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = settlement.settlement_tables
    with monkeypatch.context() as patch:
        patch.setattr(settlement, "settlement_tables", lambda *a, **k: lose_a_rao(honest(*a, **k)))
        assert not run_epoch(EPOCH).success
    assert offending_rows(failed_check(instance, "ledger_entries", "ledger_closes")) == [
        {"account": "pool", "balance_rao": "1"}
    ]
    short = offending_rows(failed_check(instance, "rewards", "payouts_match_the_ledger"))
    assert len(short) == 1
    assert int(short[0]["payout_rao"]) - int(short[0]["moved_rao"]) == 1


def test_a_dividend_that_is_not_paid_in_full_is_seen(
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = settlement.settlement_tables
    with monkeypatch.context() as patch:
        patch.setattr(
            settlement, "settlement_tables", lambda *a, **k: short_dividend(honest(*a, **k))
        )
        assert not run_epoch(EPOCH).success
    wrong = offending_rows(failed_check(instance, "ledger_entries", "dividends_match_the_ledger"))
    assert len(wrong) == 2


def test_a_settlement_that_breaks_its_contract_publishes_neither_table(
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = settlement.settlement_tables
    with monkeypatch.context() as patch:
        patch.setattr(settlement, "settlement_tables", lambda *a, **k: underpay(honest(*a, **k)))
        assert not run_epoch(EPOCH).success
    assert len(offending_rows(failed_check(instance, "rewards", "contract"))) == 1
    assert not platform.lake.exists("rewards", EPOCH.id)
    assert not platform.lake.exists("ledger_entries", EPOCH.id)


def test_a_refused_restatement_stops_downstream_although_the_old_table_stands(
    platform: Platform,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run_epoch(EPOCH).success
    before = platform.lake.version("validated_prices", EPOCH.id)
    with monkeypatch.context() as patch:
        poison(patch, Poison("validated_prices", oracle, "epoch_prices", nan_price, "contract"))
        assert not run_epoch(EPOCH, "validated_prices", restate="prices").success
    assert platform.lake.version("validated_prices", EPOCH.id) == before
    assert not run_epoch(EPOCH, "portfolio_returns").success


def other_epoch(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(epoch_id=EPOCH.previous().id)


def category_of_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(sources=frame["sources"].astype("category"))


@pytest.mark.parametrize("spoil", [other_epoch, category_of_text])
def test_a_table_of_another_epoch_or_type_is_refused(
    spoil: Spoil,
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        poison(patch, Poison("validated_prices", oracle, "epoch_prices", spoil, "contract"))
        assert not run_epoch(EPOCH, "raw_prices", "price_corrections", "validated_prices").success
    assert not platform.lake.exists("validated_prices", EPOCH.id)
    assert offending_rows(failed_check(instance, "validated_prices", "contract"))


def one_basis_point_more(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(total_return=frame["total_return"] + 0.0001)


def test_a_restated_table_stops_what_rests_on_the_old_one(
    platform: Platform,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run_epoch(EPOCH).success
    assert epoch_states(platform)[-1].settled
    with monkeypatch.context() as patch:
        restated = Poison("validated_prices", oracle, "epoch_prices", one_basis_point_more, "")
        poison(patch, restated)
        assert run_epoch(EPOCH, "validated_prices", restate="prices").success
        state = epoch_states(platform)[-1]
        assert not state.settled
        assert "rests on another version of validated_prices" in state.waiting_for
        assert not run_epoch(EPOCH, "horizon_metrics", restate="prices").success
        assert run_epoch(EPOCH, restate="prices").success
    assert epoch_states(platform)[-1].settled
    # the old version is still there, beside the new one
    assert len(platform.lake.versions("validated_prices", EPOCH.id)) == 2


def test_what_was_committed_long_ago_cannot_change_unseen(
    platform: Platform, run_epoch: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    """The last table of a quarter stands for all of it, and rests on each table of it."""
    table, oldest = "committed_portfolios", PLAYED[0]
    held = platform.lake.read(table, oldest.id)
    other = held.assign(committed_at=held["committed_at"] - pd.Timedelta(minutes=1))
    made = platform.lake.publish(table, oldest.id, other, **platform.stamp())
    platform.lake.record_verdict(
        table, oldest.id, "contract", passed=True, content_hash=made.content_hash, detail=""
    )
    done = run_epoch(EPOCH)
    assert not done.success
    refusals = str([e.step_failure_data.error for e in done.all_events if e.is_step_failure])
    assert f"rests on another version of {table} {oldest}" in refusals
    ends = [epoch for epoch in PLAYED if epoch.quarter == oldest.quarter]
    assert f"{table} {ends[-1]}: check contract" in refusals


def test_a_restated_epoch_closes_the_ones_after_it(
    platform: Platform,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = EPOCH.previous()
    assert epoch_states(platform)[-1].settled
    with monkeypatch.context() as patch:
        restated = Poison("validated_prices", oracle, "epoch_prices", one_basis_point_more, "")
        poison(patch, restated)
        assert run_epoch(last.previous(), restate="prices").success
    state = epoch_states(platform)[-1]
    assert (state.epoch_id, state.settled) == (last.id, False)
    assert f"rests on another version of portfolio_returns {last.previous()}" in state.waiting_for
    assert run_epoch(last, restate="prices of the week before").success
    assert epoch_states(platform)[-1].settled


def ledger_of(platform: Platform, epoch: Epoch) -> pd.DataFrame:
    return platform.lake.read("ledger_entries", epoch.id)


def test_money_does_not_appear_where_a_carry_changes(
    platform: Platform,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # one more token of revenue in an earlier epoch changes what it hands over
    honest = SignalStore.snapshot

    def richer(store: SignalStore, epoch_id: str) -> Any:
        found = honest(store, epoch_id)
        return replace(found, external_rao=found.external_rao + 4 * 10**9)

    last = EPOCH.previous()
    with monkeypatch.context() as patch:
        patch.setattr(SignalStore, "snapshot", richer)
        assert run_epoch(GENESIS, restate="revenue that was forgotten").success
        ledger = platform.lake.read("ledger_entries", GENESIS.id)
        assert all(state.settled for state in epoch_states(platform))  # no later epoch is touched
        # nobody was ranked in the first epoch: all four tokens are carried, by the last settled one
        added = ledger[ledger["reason"] == "restated_carry"]
        assert added[["to_account", "amount_rao", "booked_in"]].to_numpy().tolist() == [
            ["carry", 4 * 10**9, last.id]
        ]
        assert audit(platform.lake).problems == ()
        before = ledger_of(platform, last)
        assert run_epoch(EPOCH).success
        after = ledger_of(platform, EPOCH)
        carried = before.loc[before["reason"] == "carry_out", "amount_rao"].sum()
        taken = after.loc[after["reason"] == "carry_in", "amount_rao"].sum()
        assert taken == carried + 4 * 10**9
        assert audit(platform.lake).problems == ()


def test_the_first_epoch_cannot_be_moved_behind_published_ones(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    later = replace(platform, genesis=EPOCH)
    job = build_defs(platform=later).resolve_job_def("epoch")
    result = job.execute_in_process(
        instance=instance, partition_key=EPOCH.id, raise_on_error=False, run_config=QUIET
    )
    assert not result.success
    problems = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert f"{EPOCH} is configured as the first epoch, but portfolios of" in problems


def test_every_gate_is_poisoned_here() -> None:
    declared = {(table, gate) for table, contract in CONTRACTS.items() for gate in contract.gates()}
    poisoned = {(case.table, case.gate) for case in (*POISONS, *COLLUSION, *REGISTRY)}
    poisoned |= {(table, gate) for table, gate, _, _ in LATE_GATES}
    elsewhere = {
        ("score_intervals", "contract"),
        ("rewards", "contract"),
        ("rewards", "payouts_match_the_ledger"),
        ("ledger_entries", "ledger_closes"),
        ("ledger_entries", "dividends_match_the_ledger"),
        ("ledger_entries", "restatements_compensate"),  # in test_restated_ledgers.py
        # these two need several vendors and stand in test_disputes.py
        ("validated_prices", "benchmark_is_settled"),
        ("portfolios", "held_tickers_are_priced"),
        # published or refused together with rewards
        ("ledger_entries", "contract"),
    }
    assert declared == poisoned | elsewhere
