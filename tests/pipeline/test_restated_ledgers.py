"""A settled epoch with other inputs: refused, or restated by an operator; never paid by itself."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from click.testing import CliRunner

from data_contracts.rewards import LedgerEntries
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.adapters.signal_store import SignalStore
from quanta_pipelines.audit import audit
from quanta_pipelines.backfill import _problems
from quanta_pipelines.books import is_settled
from quanta_pipelines.cli import main
from quanta_pipelines.epoch_state import epoch_states
from quanta_pipelines.protocol import restatement
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.ledger import standing
from quanta_pipelines.rescore import rescore
from quanta_pipelines.resources import Platform

from .conftest import PLAYED
from .test_gates import failed_check, offending_rows

LAST, OPEN = PLAYED[-2], PLAYED[-1]
MONEY = ("rewards", "ledger_entries", "pool_payouts")
TOKEN = 10**9

Run = Callable[..., dg.ExecuteInProcessResult]


def files(lake: Lake) -> Mapping[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(lake.root).rglob("*") if path.is_file()}


def ledger_of(platform: Platform, epoch: Epoch) -> pd.DataFrame:
    return platform.lake.read("ledger_entries", epoch.id)


@pytest.fixture
def revenue(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """External revenue by epoch, in rao, that the snapshots say from now on."""
    said: dict[str, int] = {}
    honest = SignalStore.snapshot

    def richer(store: SignalStore, epoch_id: str) -> Any:
        return replace(honest(store, epoch_id), external_rao=said.get(epoch_id, 0))

    monkeypatch.setattr(SignalStore, "snapshot", richer)
    return said


def test_a_settled_epoch_whose_inputs_changed_stays_as_it_is(
    platform: Platform, run_epoch: Run, revenue: dict[str, int]
) -> None:
    assert run_epoch(LAST, *MONEY).success  # the same again changes nothing
    before = files(platform.lake)
    revenue[LAST.id] = 5 * TOKEN
    refused = run_epoch(LAST, *MONEY)
    assert not refused.success
    (problem,) = _problems(refused)
    assert f"{LAST} is settled, and its ledger would change" in problem
    assert f"quanta epoch run {LAST} --restate REASON" in problem
    assert files(platform.lake) == before
    assert epoch_states(platform)[-1].settled


def test_the_first_table_that_would_change_is_named_with_its_cell(
    platform: Platform, run_epoch: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    votes = SignalStore.validator_weights
    someone = votes(platform.store, LAST.id)["validator"].iloc[0]
    monkeypatch.setattr(
        SignalStore,
        "validator_weights",
        lambda *a: votes(*a)[lambda rows: rows["validator"] != someone].reset_index(drop=True),
    )
    before = files(platform.lake)
    (problem,) = _problems(run_epoch(LAST, "validator_weights"))
    said = f"{LAST} is settled, and validator_weights would change: validator {someone}, hotkey"
    assert said in problem
    assert "row is present stored, absent recomputed" in problem
    assert files(platform.lake) == before


def test_a_restated_epoch_is_compensated_audited_and_computed_again_bit_for_bit(
    platform: Platform, run_epoch: Run, revenue: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ledger_of(platform, LAST)
    revenue[LAST.id] = 5 * TOKEN
    assert run_epoch(LAST, *MONEY, restate="revenue that came late").success
    second = ledger_of(platform, LAST)
    pd.testing.assert_frame_equal(second.head(len(first)), first)
    back = second[second["reverses"].notna()]
    assert back["reverses"].tolist() == list(range(len(first), 0, -1))
    assert set(second["version"]) == {1, 2}
    assert set(second["note"]) == {"", "revenue that came late"}
    counting = standing(second)
    assert counting.loc[counting["reason"] == "external", "amount_rao"].tolist() == [5 * TOKEN]
    assert epoch_states(platform)[-1].settled
    assert audit(platform.lake).problems == ()
    assert audit(platform.lake, LAST.id).problems == ()
    assert audit(platform.lake, LAST.previous().id).problems == ()
    assert all(found.identical for found in rescore(platform, LAST))

    # the same again changes nothing, with a reason or without
    before = files(platform.lake)
    assert run_epoch(LAST, *MONEY, restate="once more").success
    assert run_epoch(LAST, *MONEY).success
    assert files(platform.lake) == before

    # a restatement whose gates never passed was none: the next one takes its place
    revenue[LAST.id] = 7 * TOKEN
    honest = restatement.restated
    with monkeypatch.context() as patch:
        patch.setattr(
            "quanta_pipelines.books.restated", lambda *a: keep_one_reversal_less(honest(*a))
        )
        assert not run_epoch(LAST, *MONEY, restate="an error of the program").success
    assert not is_settled(platform.lake, LAST.id)
    assert run_epoch(LAST, *MONEY, restate="revenue, counted again").success
    third = ledger_of(platform, LAST)
    pd.testing.assert_frame_equal(third.head(len(second)), second)
    assert third["version"].max() == 3
    assert audit(platform.lake).problems == ()
    assert all(found.identical for found in rescore(platform, LAST))

    # versions stand in the order in which they came
    hashes = [v.content_hash for v in platform.lake.versions("ledger_entries", LAST.id)]
    assert len(hashes) == 4
    assert hashes[-1] == platform.lake.version("ledger_entries", LAST.id).content_hash
    kept = [platform.lake.read_version("ledger_entries", LAST.id, each) for each in hashes]
    assert [int(each["version"].max()) for each in kept] == [1, 2, 3, 3]


def keep_one_reversal_less(ledger: pd.DataFrame) -> pd.DataFrame:
    """One reversal moves what it should, and does not say what it takes back."""
    at = ledger.index[ledger["reverses"].notna()][-1]
    return ledger.assign(reverses=ledger["reverses"].mask(ledger.index == at))


def test_a_reversal_that_is_none_stops_at_its_gate(
    platform: Platform,
    instance: dg.DagsterInstance,
    run_epoch: Run,
    revenue: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run_epoch(OPEN).success
    revenue[OPEN.id] = 5 * TOKEN
    honest = restatement.restated
    monkeypatch.setattr(
        "quanta_pipelines.books.restated", lambda *a: keep_one_reversal_less(honest(*a))
    )
    assert not run_epoch(OPEN, *MONEY, restate="revenue that came late").success
    failed = failed_check(instance, "ledger_entries", "restatements_compensate")
    assert offending_rows(failed)
    refusal = platform.lake.refusal("ledger_entries", OPEN.id, LedgerEntries.gates())
    assert "restatements_compensate failed" in str(refusal)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201])
def test_a_restatement_without_a_reason_is_not_understood(reason: str) -> None:
    result = CliRunner().invoke(main, ["epoch", "run", LAST.id, "--restate", reason])
    assert result.exit_code == 2
    assert "say why, in 1 to 200 characters" in result.output
