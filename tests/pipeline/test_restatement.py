"""An operator corrects a close: the impact says what a new run changes, and the run changes it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import MissingTable
from quanta_pipelines.adapters.signal_store import ContradictsRecord, SignalStore
from quanta_pipelines.epoch_state import epoch_states
from quanta_pipelines.price_correction import Cell, Recorded, correct_price, recorded_lines
from quanta_pipelines.price_impact import OUTCOMES, EpochImpact, impact_lines, price_impact
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import InvalidCorrection
from quanta_pipelines.rescore import rescore
from quanta_pipelines.resources import Platform

from .conftest import PLAYED

EPOCH, NEXT = PLAYED[-3], PLAYED[-2]  # the last two settled ones
SESSION = EPOCH.sessions[2]
CELL = Cell("AAPL", SESSION, "close")
SAID = {
    "author": "operator of the week",
    "reason": "a bad print at the only vendor",
    "evidence": "exchange's closing auction report of that day",
    "recorded_at": datetime(2019, 8, 5, tzinfo=UTC),
}

Tables = Mapping[tuple[str, str], pd.DataFrame]


def close_of(platform: Platform, cell: Cell = CELL) -> float:
    epoch = Epoch.containing(cell.session)
    prices = platform.lake.read("validated_prices", epoch.id).set_index(["ticker", "session"])
    return float(prices["close"][(cell.ticker, pd.Timestamp(cell.session))])


def correct(platform: Platform, factor: float = 1.03) -> Recorded:
    return correct_price(platform, EPOCH, CELL, value=close_of(platform) * factor, **SAID)


def published(platform: Platform) -> Tables:
    """The current tables of both epochs."""
    return {
        (name, epoch.id): platform.lake.read(name, epoch.id)
        for name in CONTRACTS
        for epoch in (EPOCH, NEXT)
    }


def files(platform: Platform) -> dict[str, bytes]:
    root = Path(platform.lake.root)
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def outcomes(tables: Tables, epoch: Epoch) -> dict[str, dict[str, str | None]]:
    """Composite, rank, tier and payout by miner as text, row by row from the published tables."""
    found: dict[str, dict[str, str | None]] = {}
    for table, columns in (("scores", ["composite"]), ("rewards", ["rank", "tier", "payout_rao"])):
        for row in tables[table, epoch.id].itertuples():
            texts = {name: getattr(row, name) for name in columns}
            known = {n: None if pd.isna(value) else str(value) for n, value in texts.items()}
            found.setdefault(row.hotkey, dict.fromkeys(OUTCOMES, None)).update(known)
    return found


def agrees(impact: EpochImpact, before: Tables, after: Tables) -> bool:
    """Whether an impact says exactly what differs between the tables before and after a run."""
    epoch = Epoch.parse(impact.epoch_id)
    changed = {name for name, one in before if one == epoch.id} - {
        name for name in CONTRACTS if before[name, epoch.id].equals(after[name, epoch.id])
    }
    old, new = outcomes(before, epoch), outcomes(after, epoch)
    miners = {
        hotkey: (old[hotkey], new[hotkey], _rao(new[hotkey]) - _rao(old[hotkey]))
        for hotkey in old
        if old[hotkey] != new[hotkey]
    }
    assert old.keys() == new.keys()
    assert set(impact.tables) == changed
    said = {m.hotkey: (dict(m.before), dict(m.after), m.difference_rao) for m in impact.miners}
    assert said == miners
    return bool(miners)


def _rao(outcome: Mapping[str, str | None]) -> int:
    return int(outcome["payout_rao"] or 0)


@pytest.fixture
def corrected(platform: Platform) -> Recorded:
    return correct(platform)


def test_the_impact_is_exactly_what_running_again_changes(
    platform: Platform, run_epoch: Callable[..., dg.ExecuteInProcessResult], corrected: Recorded
) -> None:
    before, bytes_before = published(platform), files(platform)
    impacts = price_impact(platform, EPOCH)
    assert files(platform) == bytes_before  # nothing was written
    assert [impact.epoch_id for impact in impacts] == [EPOCH.id, NEXT.id]
    assert corrected.epochs == (EPOCH.id, NEXT.id)

    assert run_epoch(EPOCH, restate="a corrected close").success
    waiting = epoch_states(platform)[-1]
    assert (waiting.epoch_id, waiting.settled) == (NEXT.id, False)  # rests on what was replaced
    assert run_epoch(NEXT, restate="a corrected close").success
    assert epoch_states(platform)[-1].settled
    after = published(platform)

    for impact in impacts:
        assert agrees(impact, before, after)  # and some composites change


def test_the_impact_says_which_rao_move(
    platform: Platform,
    run_epoch: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One validator alone: consensus is its own row. Beside the votes of others, cast on their own
    # prices, a correction of one validator moves scores and no money.
    honest = SignalStore.snapshot

    def alone(store: SignalStore, epoch_id: str) -> Any:
        return replace(honest(store, epoch_id), stakes={platform.own_validator: 10**15})

    monkeypatch.setattr(SignalStore, "snapshot", alone)
    votes = SignalStore.validator_weights
    monkeypatch.setattr(SignalStore, "validator_weights", lambda *a: votes(*a).head(0))
    assert run_epoch(NEXT, restate="one validator alone").success
    before = published(platform)
    cell = Cell("AAPL", NEXT.sessions[2], "close")
    correct_price(platform, NEXT, cell, value=close_of(platform, cell) * 1.1, **SAID)
    (impact,) = price_impact(platform, NEXT)
    assert run_epoch(NEXT, restate="a corrected close").success
    assert agrees(impact, before, published(platform))
    assert impact.moved_rao > 0
    assert any(miner.before["rank"] != miner.after["rank"] for miner in impact.miners)


def test_the_corrected_cells_are_named_with_both_values(
    platform: Platform, corrected: Recorded
) -> None:
    now = close_of(platform)
    first, second = price_impact(platform, EPOCH)
    cells = {(cell.session, cell.column): (cell.before, cell.after) for cell in first.cells}
    assert {cell.ticker for cell in first.cells} == {"AAPL"}
    # the close of the day, and the returns into and out of it
    following = EPOCH.sessions[3]
    assert set(cells) == {
        (f"{SESSION}", "close"),
        (f"{SESSION}", "total_return"),
        (f"{following}", "total_return"),
    }
    assert cells[f"{SESSION}", "close"] == (str(now), str(now * 1.03))
    assert second.cells == ()  # the next epoch only looks back at it
    lines = impact_lines([first, second])
    assert lines[0].startswith(f"{EPOCH}  3 cells of prices, {len(first.miners)} miners, ")
    assert f"  AAPL {SESSION} close: {now} -> {now * 1.03}" in lines
    machine = json.loads(json.dumps([asdict(first), asdict(second)]))
    assert machine[0]["miners"][0]["after"].keys() == OUTCOMES.keys()


def test_a_restatement_keeps_the_old_version_and_shows_the_correction(
    platform: Platform, run_epoch: Callable[..., dg.ExecuteInProcessResult], corrected: Recorded
) -> None:
    old = platform.lake.version("validated_prices", EPOCH.id)
    was = close_of(platform)
    scored = platform.lake.version("scores", EPOCH.id)
    assert run_epoch(EPOCH, restate="a corrected close").success
    versions = platform.lake.versions("validated_prices", EPOCH.id)
    assert len(versions) == 2
    kept = platform.lake.read_version("validated_prices", EPOCH.id, old.content_hash)
    cell = (kept["ticker"] == "AAPL") & (kept["session"] == pd.Timestamp(SESSION))
    assert kept.loc[cell, "close"].item() == was
    row = platform.lake.read("validated_prices", EPOCH.id)[cell].iloc[0]
    assert (row["close"], row["sources"], row["anomaly"]) == (was * 1.03, "correction", True)
    assert platform.lake.version("scores", EPOCH.id).content_hash != scored.content_hash
    table = platform.lake.read("price_corrections", EPOCH.id)
    assert table[["ticker", "field", "author"]].to_numpy().tolist() == [
        ["AAPL", "close", SAID["author"]]
    ]
    assert all(found.identical for found in rescore(platform, EPOCH))


def test_other_observations_can_be_tried_before_they_are_stored(platform: Platform) -> None:
    def reparsed(epoch: Epoch) -> pd.DataFrame | None:
        if epoch != NEXT:
            return None
        raw = platform.lake.read("raw_prices", epoch.id)
        there = (raw["ticker"] == "MSFT") & (raw["session"] == pd.Timestamp(epoch.sessions[-1]))
        assert there.sum() == 1
        return raw.assign(close=raw["close"].where(~there, raw["close"] * 0.99))

    first, second = price_impact(platform, EPOCH, reparsed)
    assert (first.tables, first.cells, first.miners) == ((), (), ())
    assert impact_lines([first]) == [f"{EPOCH}  unchanged"]
    assert {cell.ticker for cell in second.cells} == {"MSFT"}
    assert second.tables[0] == "raw_prices"
    assert second.miners


def test_an_epoch_that_would_stop_at_its_gate_ends_the_impact(platform: Platform) -> None:
    correct_price(platform, EPOCH, CELL, value=close_of(platform) * 1000, **SAID)
    impacts = price_impact(platform, EPOCH)
    assert len(impacts) == 1
    # a return of 99 900 % is beyond what the contract allows
    assert "validated_prices 2019-Q3-W29 would break its contract" in impacts[0].problem
    assert impact_lines(impacts)[-1].endswith("less_than_or_equal_to(10)")
    assert not impacts[0].miners


def test_recording_alone_changes_nothing_that_is_published(platform: Platform) -> None:
    before = files(platform)
    correct(platform)
    assert files(platform) == before
    assert all(state.settled for state in epoch_states(platform)[:-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"author": " "}, "a correction has its author; that of the close of AAPL"),
        ({"reason": ""}, "a correction has its reason"),
        ({"evidence": ""}, "a correction has its evidence"),
        ({"value": 0.0}, "is finite, above zero and at most 1e\\+09, not 0.0"),
        ({"value": float("nan")}, "not nan"),
        ({"value": float("inf")}, "not inf"),
        ({"cell": Cell("AAPL", date(2019, 7, 4), "close")}, "2019-07-04 is no session"),
        ({"cell": Cell("AAPL", date(2019, 7, 29), "close")}, "W29 looks at .* not at 2019-07-29"),
        ({"cell": Cell("SPY", SESSION, "close")}, "no vendor reports SPY from"),
        ({"cell": Cell("aapl", SESSION, "close")}, "'aapl' is no ticker as the exchange writes it"),
        ({"old": "soon"}, "an old value is a number or none, not 'soon'"),
    ],
)
def test_a_correction_is_refused_with_its_reason(
    change: dict[str, object], message: str, platform: Platform
) -> None:
    request = {"cell": CELL, "value": 51.0, **SAID, **change}
    with pytest.raises(InvalidCorrection, match=message):
        correct_price(platform, EPOCH, request.pop("cell"), **request)  # type: ignore[arg-type]
    assert platform.corrections(EPOCH).empty


def test_an_old_value_that_is_not_settled_now_is_refused(platform: Platform) -> None:
    now = close_of(platform)
    with pytest.raises(ContradictsRecord, match=f"on {SESSION} is settled at {now:.12g}, not 1"):
        correct_price(platform, EPOCH, CELL, value=51.0, old="1", **SAID)
    with pytest.raises(ContradictsRecord, match="not none"):
        correct_price(platform, EPOCH, CELL, value=51.0, old="none", **SAID)
    found = correct_price(platform, EPOCH, CELL, value=51.0, old=str(now), **SAID)
    assert found.correction.old_value == now
    assert recorded_lines(found)[0].startswith(
        "correction 1: the close of AAPL on 2019-07-17 is 51"
    )
    # the next one rests on the first, and the newest stands
    second = correct_price(platform, EPOCH, CELL, value=52.0, old="51", **SAID)
    assert second.correction.old_value == 51.0
    standing = platform.corrections(EPOCH)
    assert standing[["new_value", "n_replaced", "correction_id"]].to_numpy().tolist() == [
        [52, 1, 2]
    ]


def test_an_epoch_that_never_ran_has_no_impact_and_takes_no_correction(platform: Platform) -> None:
    missing = PLAYED[-1]
    with pytest.raises(MissingTable, match="not published as a whole"):
        price_impact(platform, missing)
    cell = Cell("AAPL", missing.sessions[0], "close")
    with pytest.raises(MissingTable, match="raw_prices"):
        correct_price(platform, missing, cell, value=51.0, **SAID)
