"""The network cut in a fetch, the process killed in a write: the next run gives the same bytes."""

import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from shutil import copytree

import pytest

from quanta_pipelines.protocol.epoch import Epoch
from tests.pipeline.market_faults import BASIS
from tests.vendor_replicas.server import Fault, Server
from tests.vendor_replicas.tables import Tables, table_servers
from tests.vendor_replicas.truth import truth_table

from .replica_platform import Evenings, platform_over, play, run_epochs, run_job

EPOCH = Epoch.parse("2019-Q2-W23")
DRIVER = Path(__file__).with_name("raw_prices_run.py")
TICKERS = ("AAPL", "BRK.B", "KO", "MSFT", "PEP", "XOM")
TRUTH = truth_table(TICKERS, EPOCH.previous().sessions[0].replace(year=2018), EPOCH.sessions[-1])
TABLES: Tables = dict.fromkeys(BASIS, TRUTH)


def run_apart(home: Path, servers: dict[str, Server], point: str | None) -> tuple[int, str]:
    """raw_prices in a process of its own, killed at a point; exit code and what it printed."""
    urls = json.dumps({name: server.url for name, server in servers.items()})
    done = subprocess.run(
        [sys.executable, DRIVER, EPOCH.id, urls, json.dumps(TICKERS), *([point] if point else [])],
        env=os.environ | {"QUANTA_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout or done.stderr


def tables_of(home: Path) -> dict[str, str]:
    """SHA-256 of every published table of the epoch."""
    files = (home / "lake").glob(f"*/{EPOCH.id}.parquet")
    return {file.parent.name: sha256(file.read_bytes()).hexdigest() for file in files}


def whole_run(home: Path, servers: dict[str, Server]) -> dict[str, str]:
    """Every stage of the epoch, undisturbed; its tables."""
    evenings = Evenings()
    urls = {name: server.url for name, server in servers.items()}
    platform = platform_over(home, urls, TICKERS, EPOCH, clock=evenings)
    (outcome,) = run_epochs(platform, evenings, [EPOCH])
    platform.store.close()
    assert outcome.succeeded, outcome.problems
    return tables_of(home)


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the signals of one epoch and no table."""
    home = tmp_path_factory.mktemp("season") / "home"
    home.mkdir()
    platform = platform_over(home, {}, TICKERS, EPOCH, clock=Evenings())
    play(platform, TABLES, [EPOCH])
    platform.store.close()
    return home


def test_a_cut_network_and_a_killed_process_leave_the_same_bytes(
    season: Path, tmp_path: Path
) -> None:
    with table_servers(TABLES) as servers:
        honest = whole_run(Path(copytree(season, tmp_path / "undisturbed")), servers)
        everything = {name: server.asked() for name, server in servers.items()}
        home = Path(copytree(season, tmp_path / "home"))
        evenings = Evenings()
        evenings.move_to(EPOCH)

        cut = {"tiingo": Fault("(KO|MSFT|PEP)", cut=200), "polygon": Fault("(KO|MSFT)", reset=True)}
        for name, fault in cut.items():
            servers[name].faults.append(fault)
        urls = {name: server.url for name, server in servers.items()}
        platform = platform_over(home, urls, TICKERS, EPOCH, clock=evenings)
        assert run_job(platform, EPOCH, "epoch", "raw_prices").success
        partial = platform.lake.read("raw_prices", EPOCH.id).groupby("vendor")["ticker"].nunique()
        platform.store.close()
        assert 0 < partial["tiingo"] < len(TICKERS)  # what came before the cut
        assert tables_of(home)["raw_prices"] != honest["raw_prices"]

        for server in servers.values():
            server.faults.clear()
            server.log.clear()
        code, said = run_apart(home, servers, "rename:3")  # in the middle of keeping replies
        assert code == -signal.SIGKILL, said
        assert sum(server.asked() for server in servers.values()) > 0
        assert tables_of(home)["raw_prices"] != honest["raw_prices"]

        again = whole_run(home, servers)
        assert len(honest) > 10
        assert again == honest
        asked = {name: server.asked() for name, server in servers.items()}
        assert asked["yahoo"] < everything["yahoo"]  # kept replies were not asked for again


@pytest.mark.soak
@pytest.mark.parametrize("point", ["write:1", "write:9", "rename:1", "rename:9", "rename:20"])
def test_killed_anywhere_in_raw_prices(point: str, season: Path, tmp_path: Path) -> None:
    with table_servers(TABLES) as servers:
        honest = whole_run(Path(copytree(season, tmp_path / "undisturbed")), servers)
        home = Path(copytree(season, tmp_path / "home"))
        code, said = run_apart(home, servers, point)
        assert code == -signal.SIGKILL, said
        assert whole_run(home, servers) == honest
