"""The ``quanta`` command: what it prints, how it refuses, with which exit code."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.signal_store.schema import head
from quanta_pipelines.cli import main
from quanta_pipelines.protocol import oracle
from quanta_pipelines.settings import current_settings
from tests.conftest import GENESIS, PLAYED, SETTLED

Quanta = Callable[..., Result]


@pytest.fixture
def quanta_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home that the command's settings point to."""
    home = tmp_path / "home"
    monkeypatch.setenv("QUANTA_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", "")  # the command sets it; this puts it back
    current_settings.cache_clear()
    yield home
    current_settings.cache_clear()


@pytest.fixture
def settled(quanta_home: Path, settled_home: Path) -> Path:
    """The same with eight settled epochs, and the signals of one more."""
    return Path(shutil.copytree(settled_home, quanta_home))


@pytest.fixture
def quanta() -> Quanta:
    """The command, called with arguments."""
    return lambda *arguments: CliRunner().invoke(main, arguments)


# db upgrade


def test_the_store_is_upgraded_once(quanta_home: Path, quanta: Quanta) -> None:
    address = f"sqlite:///{quanta_home}/signals.db"
    found = [quanta("db", "upgrade") for _ in range(2)]
    assert [result.exit_code for result in found] == [0, 0]
    assert [result.output for result in found] == [
        f"{address}: empty -> {head()}\n",
        f"{address}: is at {head()}\n",
    ]
    said = json.loads(quanta("db", "upgrade", "--json").output)
    assert said == {"address": address, "before": head(), "after": head()}


def test_a_store_of_a_newer_version_is_not_downgraded(quanta_home: Path, quanta: Quanta) -> None:
    quanta("db", "upgrade")
    with sqlite3.connect(quanta_home / "signals.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    result = quanta("db", "upgrade")
    assert result.exit_code == 1
    assert "has schema 9999" in result.output


def test_an_upgrade_without_a_server_says_so_without_the_password(
    quanta_home: Path, quanta: Quanta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTA_DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/signals")
    result = quanta("db", "upgrade")
    assert result.exit_code == 1
    assert "postgresql://me:***@127.0.0.1:1/signals" in result.output
    assert "hunter2" not in result.output


# epoch status


def test_status_of_an_empty_home(quanta_home: Path, quanta: Quanta) -> None:
    assert quanta("epoch", "status").output == "no epoch has been run yet\n"
    assert json.loads(quanta("epoch", "status", "--json").output) == []


def test_status_lists_epochs_oldest_first(settled: Path, quanta: Quanta) -> None:
    result = quanta("epoch", "status")
    n = len(CONTRACTS)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"{epoch.id}  {n} of {n} tables  settled" for epoch in SETTLED
    ]


def test_status_says_what_an_open_epoch_waits_for(settled: Path, quanta: Quanta) -> None:
    last = SETTLED[-1].id
    (settled / "lake" / "rewards" / f"{last}.parquet").unlink()
    *others, state = json.loads(quanta("epoch", "status", "--json").output)
    assert {other["waiting_for"] for other in others} == {""}
    assert state["epoch_id"] == last
    assert (state["tables"], state["expected"]) == (len(CONTRACTS) - 1, len(CONTRACTS))
    assert state["waiting_for"].startswith(f"rewards {last}: no file ")
    line = quanta("epoch", "status").output.splitlines()[-1]
    assert f"{state['tables']} of {state['expected']} tables  open: rewards {last}" in line


# Usage


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("epoch", "run", "yesterday"), "an epoch's id looks like 2025-Q4-W48, not 'yesterday'"),
        (("epoch", "run", "2025-Q3-W48"), "the Thursday of that week lies in Q4"),
        (("epoch", "run", "2025-Q4-W54"), "2025 has weeks 1 to 52, not 54"),
        (("epoch", "run"), "Missing argument 'EPOCH'"),
        (("backfill", "2019-Q4-W50"), "a range looks like 2019-Q4-W50..2019-Q4-W52"),
        (("backfill", "2019-Q4-W52..2019-Q4-W50"), "a range of epochs runs forward"),
        (("backfill", "2019-Q4-W50.."), "an epoch's id looks like 2025-Q4-W48, not ''"),
        (("demo", "--first", "2019"), "an epoch's id looks like 2025-Q4-W48, not '2019'"),
        (("demo", "--first", "2019-Q2-W24", "--last", "2019-Q2-W23"), "runs forward"),
        (("epoch", "run", "2018-Q1-W05"), "2018-Q1-W05 is not among the configured epochs"),
        (("epoch", "run", "2095-Q1-W05"), "2095-Q1-W05 is not among the configured epochs"),
        (("backfill", "2019-Q2-W22..2019-Q2-W23"), "2019-Q2-W22 is not among the configured"),
        (("settle",), "No such command 'settle'"),
    ],
)
def test_a_command_that_is_not_understood_says_what_is_wanted(
    arguments: tuple[str, ...], wanted: str, quanta_home: Path, quanta: Quanta
) -> None:
    result = quanta(*arguments)
    assert wanted in result.output
    assert result.exit_code == 2
    assert not (quanta_home / "lake").exists()


# Refusals


@pytest.mark.slow
def test_an_epoch_without_its_predecessor_names_the_one_to_run(
    quanta_home: Path, quanta: Quanta
) -> None:
    early = GENESIS.next()
    result = quanta("epoch", "run", early.id)
    assert result.exit_code == 1
    assert f"run epoch {GENESIS.id} first" in result.stderr
    assert not (quanta_home / "warehouse").exists()


@pytest.mark.slow
def test_an_epoch_that_is_not_over_is_refused_with_its_time(
    quanta_home: Path, quanta: Quanta
) -> None:
    from quanta_pipelines.partitions import EPOCHS
    from quanta_pipelines.protocol.epoch import Epoch

    future = Epoch.parse(EPOCHS.get_partition_keys()[-1])
    result = quanta("epoch", "run", future.id)
    assert result.exit_code == 1
    assert f"{future.id} settles at {future.settles_at:%Y-%m-%d %H:%M} UTC" in result.stderr
    assert not (quanta_home / "lake").exists()


@pytest.mark.slow
def test_a_demo_starts_where_its_season_does(quanta_home: Path, quanta: Quanta) -> None:
    result = quanta("demo", "--first", PLAYED[1].id, "--last", PLAYED[1].id)
    assert result.exit_code == 1
    assert f"{PLAYED[1]} cannot be played" in result.stderr
    assert f"the season starts with {GENESIS}" in result.stderr


def spoil_prices_of(epoch_id: str, patch: pytest.MonkeyPatch) -> None:
    """One close of this epoch is no number."""
    honest = oracle.epoch_prices

    def poisoned(*arguments: Any, **keywords: Any) -> pd.DataFrame:
        prices = honest(*arguments, **keywords)
        bad = (prices.index == 0) & (keywords["epoch_id"] == epoch_id)
        return prices.assign(close=prices["close"].mask(bad))

    patch.setattr(oracle, "epoch_prices", poisoned)


@pytest.mark.slow
def test_a_backfill_stops_at_the_first_failed_gate(
    settled: Path, quanta: Quanta, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, bad, after = PLAYED[-3:]
    lake = settled / "lake"
    for table in CONTRACTS:
        (lake / table / f"{bad.id}.parquet").unlink()
    spoil_prices_of(bad.id, monkeypatch)
    result = quanta("backfill", f"{before}..{after}", "--json")
    assert result.exit_code == 1
    outcomes = json.loads(result.stdout)
    # no epoch after it, no marts
    assert [(run["job"], run["epoch_id"], run["succeeded"]) for run in outcomes] == [
        ("epoch", before.id, True),
        ("epoch", bad.id, False),
    ]
    assert f"{bad.id}: validated_prices: contract" in result.stderr
    assert not (lake / "validated_prices" / f"{bad.id}.parquet").exists()
    assert not (lake / "raw_prices" / f"{after.id}.parquet").exists()
    assert not (settled / "warehouse").exists()
