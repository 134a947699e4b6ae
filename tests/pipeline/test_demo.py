"""``quanta demo``: no network, no key; a second time it changes nothing."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from data_contracts.tables import CONTRACTS
from quanta_pipelines.protocol.epoch import Epoch

QUANTA = Path(sys.executable).with_name("quanta")
FIRST, LAST = "2019-Q2-W23", "2019-Q3-W31"
PATIENCE = 300  # seconds; a run takes twenty to thirty

# Stands in where no namespace without a network can be made: Python looks for this module by itself
NO_SOCKETS = """
import socket, sys

def refuse(name, arguments):
    if name in {"socket.connect", "socket.sendto", "socket.getaddrinfo"} and (
        name == "socket.getaddrinfo" or arguments[0].family != socket.AF_UNIX
    ):
        raise ConnectionRefusedError("this test has no network")

sys.addaudithook(refuse)
"""


@dataclass(frozen=True)
class Demo:
    """Two runs of the demo under one home, and the files it had published after each."""

    home: Path
    first: "subprocess.CompletedProcess[str]"
    second: "subprocess.CompletedProcess[str]"
    tables: tuple[dict[str, str], dict[str, str]]


def without_network(folder: Path) -> tuple[list[str], dict[str, str]]:
    """What to put before a command, and into its environment, so that it has no network."""
    prefix = ["unshare", "--net", "--map-root-user"]
    if (
        shutil.which("unshare")
        and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    ):
        return prefix, {}
    (folder / "sitecustomize.py").write_text(NO_SOCKETS)
    places = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return [], {"PYTHONPATH": os.pathsep.join(places)}


def run_demo(home: Path) -> "subprocess.CompletedProcess[str]":
    prefix, variables = without_network(home.parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUANTA_")}
    return subprocess.run(
        [*prefix, QUANTA, "demo", "--first", FIRST, "--last", LAST],
        env=kept | variables | {"QUANTA_HOME": str(home)},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def published(home: Path) -> dict[str, str]:
    """SHA-256 of every file of the lake and of every mart."""
    files = [path for path in (home / "lake").rglob("*") if path.is_file()]
    files += (home / "warehouse").glob("*.parquet")
    return {str(file.relative_to(home)): sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("demo") / "home"
    first = run_demo(home)
    before = published(home)
    second = run_demo(home)
    return Demo(home, first, second, (before, published(home)))


@pytest.mark.slow
def test_the_demo_runs_without_a_network(demo: Demo) -> None:
    assert demo.first.returncode == 0, demo.first.stderr
    assert demo.second.returncode == 0, demo.second.stderr


@pytest.mark.slow
def test_a_second_demo_changes_no_byte(demo: Demo) -> None:
    before, after = demo.tables
    for epoch in Epoch.range(FIRST, LAST):
        assert {f"lake/{table}/{epoch}.parquet" for table in CONTRACTS} <= set(before)
    assert {name for name in before if name.startswith("warehouse")} == {
        "warehouse/epochs.parquet",
        "warehouse/integrity_report.parquet",
        "warehouse/leaderboard.parquet",
        "warehouse/ledger_balances.parquet",
        "warehouse/miners.parquet",
        "warehouse/network_by_epoch.parquet",
        "warehouse/pools.parquet",
        "warehouse/price_quality.parquet",
        "warehouse/rewards_history.parquet",
        "warehouse/validators.parquet",
    }
    assert after == before


@pytest.mark.slow
def test_every_epoch_that_ranks_somebody_rewards_somebody_eligible(demo: Demo) -> None:
    # with twenty tickers a third of the honest miners are alike: enough others must be left
    board = pd.read_parquet(demo.home / "warehouse" / "leaderboard.parquet")
    report = pd.read_parquet(demo.home / "warehouse" / "integrity_report.parquet")
    ranking = sorted(board["epoch_id"].unique())
    assert ranking
    for epoch_id in ranking:
        rows = board[board["epoch_id"] == epoch_id]
        assert (rows["eligible"] & (rows["gross_rao"] > 0)).sum() >= 10, epoch_id
        flags = report[report["epoch_id"] == epoch_id]
        assert (flags["originality"] == 1).sum() > len(flags) / 2, epoch_id
    assert not report[["plagiarism_suspected", "below_least_stake"]].any(axis=None)
    assert report["case_id"].isna().all()


@pytest.mark.slow
def test_the_demo_shows_its_winners_and_where_they_lie(demo: Demo) -> None:
    assert f"Leaderboard of {LAST}" in demo.first.stdout
    assert "ALPHA" in demo.first.stdout
    assert "simulated" in demo.first.stdout
    pages = demo.home / "warehouse" / "reports" / "index.html"
    for place in (demo.home / "warehouse" / "quanta.duckdb", demo.home / "lake", pages):
        assert place.exists()
        assert str(place) in demo.first.stdout
