"""A settled epoch computed again: identical, or the first cell that differs and why."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from data_contracts.tables import CONTRACTS, PROVISIONAL
from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
from quanta_pipelines.adapters.lake import Lake, MissingTable
from quanta_pipelines.adapters.table_format import to_parquet
from quanta_pipelines.contract_type import STEPS
from quanta_pipelines.protocol import scoring
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.params import QUANTA, params_version
from quanta_pipelines.rescore import (
    CellDifference,
    TableComparison,
    comparison_lines,
    first_difference,
    rescore,
)
from quanta_pipelines.resources import Platform
from quanta_pipelines.steps import steps_in_order

from .conftest import PLAYED

EPOCH = PLAYED[-2]  # the last settled one
INPUTS = {"raw_prices", "price_corrections", "commitments", "reveals"}


def by_table(comparisons: list[TableComparison]) -> dict[str, TableComparison]:
    return {found.table: found for found in comparisons}


def files(platform: Platform) -> dict[str, tuple[int, bytes]]:
    """Every file of the lake with its modification time."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in Path(platform.lake.root).rglob("*")
        if path.is_file()
    }


def restate(platform: Platform, table: str, frame: pd.DataFrame, **stamp: str) -> None:
    """Publish another table in its place, with all its gates passed."""
    lake = platform.lake
    version = lake.publish(table, EPOCH.id, frame, **{**platform.stamp(), **stamp})
    for gate in CONTRACTS[table].gates():
        lake.record_verdict(
            table, EPOCH.id, gate, passed=True, content_hash=version.content_hash, detail=""
        )


@pytest.mark.parametrize("epoch", [PLAYED[0], EPOCH], ids=str)
def test_every_computed_table_of_a_settled_epoch_is_identical(
    platform: Platform, epoch: Epoch
) -> None:
    before = files(platform)
    found = rescore(platform, epoch)
    assert {one.table for one in found} == set(CONTRACTS) - INPUTS
    assert all(one.identical and one.difference is None and not one.reason for one in found)
    assert all(one.stored_hash == one.recomputed_hash for one in found)
    assert files(platform) == before  # nothing was published


def test_every_table_has_a_step_and_steps_follow_their_inputs() -> None:
    made: set[str] = set()
    for step in steps_in_order():
        assert set(step.inputs) <= made, step.name
        made |= set(step.tables)
    assert made == set(CONTRACTS)
    assert {table for step in STEPS.values() if not step.inputs for table in step.tables} == (
        INPUTS | set(PROVISIONAL)
    )


def test_a_changed_cell_is_named_with_its_row_its_column_and_both_values(
    platform: Platform,
) -> None:
    scores = platform.lake.read("scores", EPOCH.id)
    at = int(np.flatnonzero(scores["composite"].notna())[3])
    honest = scores.loc[at, "composite"]
    scores.loc[at, "composite"] = honest + 1e-6
    restate(platform, "scores", scores)
    found = by_table(rescore(platform, EPOCH))
    assert found["scores"].difference == CellDifference(
        key={"hotkey": scores.loc[at, "hotkey"]},
        column="composite",
        stored=str(honest + 1e-6),
        recomputed=str(honest),
    )
    # what follows is computed from the recomputed scores and not from the stored ones
    assert [name for name, one in found.items() if not one.identical] == ["scores"]


def test_a_changed_input_shows_in_the_tables_that_follows_from_it(platform: Platform) -> None:
    raw = platform.lake.read("raw_prices", EPOCH.id)
    at = raw.index[(raw["session"] == pd.Timestamp(EPOCH.sessions[-1])) & (raw["ticker"] == "AAPL")]
    raw.loc[at, "close"] *= 1.01
    restate(platform, "raw_prices", raw)
    found = by_table(rescore(platform, EPOCH))
    cell = found["validated_prices"].difference
    assert cell is not None
    assert cell.key == {"ticker": "AAPL", "session": f"{EPOCH.sessions[-1]} 00:00:00"}
    assert cell.column == "close"
    assert found["portfolios"].identical  # does not depend on prices
    assert not any(found[name].identical for name in ("portfolio_returns", "scores", "consensus"))


def test_the_votes_of_others_are_those_of_the_table(platform: Platform) -> None:
    votes = platform.lake.read("validator_weights", EPOCH.id)
    others = votes["validator"] != platform.own_validator
    assert others.any()
    assert (~others).any()
    first = votes.index[others][0]
    votes.loc[first, "composite"] /= 2
    restate(platform, "validator_weights", votes)
    assert by_table(rescore(platform, EPOCH))["validator_weights"].identical


def test_other_parameters_are_given_as_the_reason(platform: Platform) -> None:
    changed = QUANTA.changed(scoring__sortino_weight=0.34, scoring__calmar_weight=0.26)
    found = by_table(rescore(replace(platform, params=changed), EPOCH))
    assert found["portfolio_returns"].identical
    metrics = found["horizon_metrics"]
    assert metrics.difference is not None
    assert metrics.difference.column == "horizon_score"
    before, now = params_version(QUANTA)[:12], params_version(changed)[:12]
    assert metrics.reason == f"stored under params_version {before}, recomputed under {now}"


def test_other_code_is_given_as_the_reason(platform: Platform) -> None:
    scores = platform.lake.read("scores", EPOCH.id)
    restate(platform, "scores", scores.assign(percentile=0.5), code_version="f" * 64)
    reason = by_table(rescore(platform, EPOCH))["scores"].reason
    assert reason.startswith("stored under code_version ffffffffffff, recomputed under ")


def test_a_file_that_does_not_hold_what_it_says_is_not_identical(platform: Platform) -> None:
    lake = platform.lake
    scores, version = lake.read("scores", EPOCH.id), lake.version("scores", EPOCH.id)
    forged = scores.assign(originality=scores["originality"] / 2)
    stamps = {"epoch_id": EPOCH.id, "content_hash": version.content_hash, **platform.stamp()}
    Path(version.path).write_bytes(to_parquet(forged, "scores", stamps))
    found = by_table(rescore(platform, EPOCH))["scores"]
    assert not found.identical
    assert found.difference is not None
    assert found.difference.column == "originality"
    assert f"says that it holds {version.content_hash[:12]}" in found.reason


def test_a_table_that_was_never_published_is_not_identical(platform: Platform) -> None:
    Path(platform.lake.version("scores", EPOCH.id).path).unlink()
    found = by_table(rescore(platform, EPOCH))["scores"]
    assert (found.identical, found.stored_hash, found.difference) == (False, None, None)
    assert found.reason.startswith(f"scores {EPOCH.id}: no file")


def test_an_epoch_without_inputs_or_without_its_predecessor_is_refused(platform: Platform) -> None:
    with pytest.raises(MissingTable, match=f"validator_weights {PLAYED[-1].id}"):
        rescore(platform, PLAYED[-1])
    Path(platform.lake.version("portfolios", EPOCH.previous().id).path).unlink()
    with pytest.raises(MissingTable, match=f"run epoch {EPOCH.previous().id} first"):
        rescore(platform, EPOCH)


def test_an_input_that_failed_its_gate_is_refused(platform: Platform) -> None:
    platform.lake.record_verdict(
        "reveals", EPOCH.id, "contract", passed=False, content_hash=None, detail="no"
    )
    with pytest.raises(GateNotPassed, match="reveals"):
        rescore(platform, EPOCH)


def test_the_steps_are_the_assets_own(
    platform: Platform,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # whatever an asset calls, computing again calls too: a change of the rules shows on both sides
    honest = scoring.score_table
    monkeypatch.setattr(
        scoring, "score_table", lambda *a, **k: honest(*a, **k).assign(portfolio_tier="low")
    )
    assert not by_table(rescore(platform, EPOCH))["scores"].identical
    assert run_epoch(EPOCH, "scores", restate="another portfolio tier").success
    assert by_table(rescore(platform, EPOCH))["scores"].identical


ROWS = pd.DataFrame({"hotkey": ["a", "b"], "value": [0.1, np.nan], "n": [1, 2]})


@pytest.mark.parametrize(
    ("recomputed", "expected"),
    [
        (ROWS, None),
        (ROWS.iloc[::-1], None),
        (ROWS.assign(value=[0.1, 0.0]), CellDifference({"hotkey": "b"}, "value", None, "0.0")),
        (
            ROWS.assign(value=[np.nextafter(0.1, 1), np.nan]),
            CellDifference({"hotkey": "a"}, "value", "0.1", "0.10000000000000002"),
        ),
        (ROWS.iloc[:1], CellDifference({"hotkey": "b"}, "row", "present", "absent")),
        (
            pd.concat([ROWS, pd.DataFrame({"hotkey": ["c"], "value": [1.0], "n": [3]})]),
            CellDifference({"hotkey": "c"}, "row", "absent", "present"),
        ),
        (
            ROWS.assign(more="x"),
            CellDifference({"hotkey": "a"}, "more", "no such column", "x"),
        ),
    ],
)
def test_first_difference(recomputed: pd.DataFrame, expected: CellDifference | None) -> None:
    assert first_difference(ROWS, recomputed, ("hotkey",)) == expected


def test_a_table_in_another_order_is_not_identical(platform: Platform) -> None:
    scores = platform.lake.read("scores", EPOCH.id)
    restate(platform, "scores", scores.iloc[::-1].reset_index(drop=True))
    found = by_table(rescore(platform, EPOCH))["scores"]
    assert not found.identical
    assert found.reason == "the same cells in another order, of another type, or more than once"


def test_comparisons_read_as_lines_and_as_json() -> None:
    same = TableComparison("scores", EPOCH.id, 3, "ab" * 32, "ab" * 32, identical=True)
    cell = CellDifference({"validator": "5V", "hotkey": "5H"}, "composite", None, "0.5")
    other = TableComparison("consensus", EPOCH.id, 3, "ab" * 32, "cd" * 32, difference=cell)
    absent = TableComparison("rewards", EPOCH.id, 3, "ab" * 32, reason="no file")
    assert comparison_lines([same, other, absent]) == [
        "scores     identical  3 rows  abababababab",
        "consensus  differs  validator 5V, hotkey 5H: composite is empty stored, 0.5 recomputed",
        "rewards    differs  (no file)",
    ]
    assert comparison_lines([]) == []
    assert json.loads(json.dumps(asdict(other)))["difference"]["column"] == "composite"


def test_the_platform_of_another_lake_is_not_touched(platform: Platform, tmp_path: Path) -> None:
    elsewhere = replace(platform, lake=Lake(str(tmp_path / "empty")))
    with pytest.raises(MissingTable):
        rescore(elsewhere, EPOCH)
    assert not (tmp_path / "empty").exists()
