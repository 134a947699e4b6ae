"""How fast the service answers, beside a bare FastAPI route that returns the same bytes.

    .venv/bin/python benchmarks/api.py [--seconds 10] [--workers 2]

Leaderboard: 500 made-up rows in a published mart, asked for by wrk over 64 connections; the service
with its log, counters, limits and ETag on, then the bare route, in turn. Commitments: clients in
processes of their own, each with real keys and signatures, durable writes into SQLite. Nothing is
asserted. The load average stands beside the figures, and ``processor_us``, the server's processor
time per request, which depends less on who else uses the machine.
"""

import hashlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import click
import duckdb
import numpy as np
import pandas as pd
import requests

from quanta_pipelines.adapters.hotkey_file import HotkeyPair
from quanta_pipelines.client import QuantaClient
from quanta_pipelines.protocol.epoch import Epoch

ROWS = 500
EPOCH = Epoch.parse("2025-Q4-W48")
PORT = 8931
URL = f"http://127.0.0.1:{PORT}"
TARGET = f"{URL}/v1/leaderboard?limit={ROWS}"
TIERS = ("top_tier", "profitable", "break_even", "penalty_band")
FRACTIONS = (
    "composite",
    "composite_lower",
    "composite_upper",
    "percentile",
    "consensus_weight",
    "final_score",
    "return_7d",
    "return_30d",
    "sharpe_30d",
    "max_drawdown_30d",
    "average_percentile",
)
REPORT = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %f %f %f %d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000,
    errors.status + errors.connect + errors.read + errors.timeout))
end
"""
BARE = """
from pathlib import Path
from fastapi import FastAPI, Response

app = FastAPI()
body = (Path(__file__).parent / "body.json").read_bytes()

@app.get("/v1/leaderboard")
async def leaderboard():
    return Response(body, media_type="application/json")
"""


def pair(name: str) -> HotkeyPair:
    """A key pair that follows from a name."""
    return HotkeyPair.from_seed(hashlib.sha256(f"benchmark/{name}".encode()).digest())


def publish(folder: Path) -> None:
    """A mart of made-up miners, with the columns of the real one that the service reads."""
    rng = np.random.default_rng(7)
    rank = np.arange(1, ROWS + 1)
    tier = np.select([rank <= 75, rank <= 250, rank <= 350], TIERS[:3], TIERS[3])
    board = pd.DataFrame({name: rng.random(ROWS).round(6) for name in FRACTIONS}).assign(
        epoch_id=EPOCH.id,
        rank=rank,
        hotkey=[pair(f"miner {number}").hotkey for number in rank],
        tier=tier,
        final_tier=tier,
        eligible=rank <= 250,
        portfolio_tier="medium",
        epochs_participated=12,
        ante_rao=50 * 10**9,
        gross_rao=10**9,
        payout_rao=51 * 10**9,
    )
    epochs = pd.DataFrame({"epoch_id": [EPOCH.id], "median_composite": [0.5]})
    network = pd.DataFrame(
        {
            "epoch_id": [EPOCH.id],
            "n_miners": [ROWS],
            "mean_return_7d": [0.5],
            "first_return_30d": [0.5],
        }
    )
    integrity = board[["epoch_id", "hotkey"]]  # read with the others, and not asked for here
    marts = {
        "leaderboard": board,
        "epochs": epochs,
        "network_by_epoch": network,
        "integrity_report": integrity,
    }
    (folder / "warehouse").mkdir()
    with duckdb.connect(str(folder / "warehouse" / "quanta.duckdb")) as connection:
        for name, frame in marts.items():
            connection.register("made", frame)
            connection.execute(f"create table {name} as from made")


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[int]:
    """A server in a process of its own, until the block ends; gives its number."""
    server = subprocess.Popen(  # noqa: S603 - our own program
        command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            try:
                requests.get(URL, timeout=1)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield server.pid
    finally:
        server.terminate()
        server.wait()


def service(home: Path, workers: int) -> AbstractContextManager[int]:
    """The service over a home, with limits that are counted and never reached."""
    environment = {
        "QUANTA_HOME": str(home),
        "QUANTA_API_PORT": str(PORT),
        "QUANTA_API_WORKERS": str(workers),
        "QUANTA_RATE_PER_ADDRESS": "100000000/minute",
        "QUANTA_RATE_PER_HOTKEY": "100000000/minute",
    }
    return serving([sys.executable, "-m", "quanta_pipelines.api"], environment)


def bare(folder: Path, workers: int) -> AbstractContextManager[int]:
    """A route that returns ``body.json`` and does nothing else."""
    (folder / "bare.py").write_text(BARE)
    place = ["--app-dir", str(folder), "--port", str(PORT), "--workers", str(workers)]
    quiet = ["--no-access-log", "--log-level", "warning"]
    return serving([sys.executable, "-m", "uvicorn", "bare:app", *place, *quiet], {})


def processor_seconds(server: int) -> float:
    """Processor time so far of a server and its workers, as Linux counts it."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it ended meanwhile
            continue
        if server in (int(place.parent.name), int(fields[1])):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def wrk(folder: Path, seconds: int, server: int) -> dict[str, float]:
    """What wrk measures on the leaderboard, and the server's processor time for it."""
    script = folder / "report.lua"
    script.write_text(REPORT)
    command = ["wrk", "-t2", "-c64", f"-d{seconds}s", "-s", str(script), TARGET]
    subprocess.run(["wrk", "-c64", "-d1s", TARGET], check=True, stdout=subprocess.DEVNULL)  # noqa: S603, S607
    before = processor_seconds(server)
    out = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found = re.search(r"RESULT (.*)", out.stdout)
    assert found is not None, out.stdout
    rate, middle, high, errors = map(float, found[1].split())
    return {
        "requests_per_s": round(rate),
        "p50_ms": round(middle, 2),
        "p95_ms": round(high, 2),
        "errors": int(errors),
        "processor_us": round((processor_seconds(server) - before) / (rate * seconds) * 1e6),
    }


def leaderboard(folder: Path, seconds: int, workers: int) -> None:
    """Service and bare route in turn, twice."""
    for _ in range(2):
        with service(folder, workers) as server:
            answer = requests.get(TARGET, timeout=10)
            answer.raise_for_status()
            (folder / "body.json").write_bytes(answer.content)
            say("service", wrk(folder, seconds, server) | {"bytes": len(answer.content)})
        with bare(folder, workers) as server:
            assert requests.get(TARGET, timeout=10).content == answer.content
            say("bare route", wrk(folder, seconds, server))


def committed(process: int, count: int) -> list[float]:
    """Seconds of each commitment of one client, every one by another hotkey."""
    took = []
    with QuantaClient(URL) as client:
        for number in range(count):
            client.key = pair(f"{process}/{number}")
            claim = hashlib.sha256(f"{process}/{number}".encode()).hexdigest()
            started = time.perf_counter()
            client.commit(EPOCH.id, claim, "50")
            took.append(time.perf_counter() - started)
    return took


def commitments(folder: Path, clients: int, count: int) -> None:
    """All clients at once, against one worker whose clock stands in the commit window."""
    with service(folder, 1):
        now = (EPOCH.opens_at - timedelta(hours=2)).isoformat()
        requests.post(f"{URL}/v1/dev/clock", json={"now": now}, timeout=10).raise_for_status()
        with multiprocessing.get_context("spawn").Pool(clients) as pool:
            started = time.perf_counter()
            took = pool.starmap(committed, [(process, count) for process in range(clients)])
            elapsed = time.perf_counter() - started
    milliseconds = np.concatenate(took) * 1000
    say(
        "commitments",
        {
            "clients": clients,
            "commitments": len(milliseconds),
            "per_s": round(len(milliseconds) / elapsed),
            "p50_ms": round(float(np.percentile(milliseconds, 50)), 2),
            "p95_ms": round(float(np.percentile(milliseconds, 95)), 2),
        },
    )


def say(what: str, found: Mapping[str, float]) -> None:
    """One line of JSON, with the load at its end."""
    print(json.dumps({"what": what, **found, "load_average": round(os.getloadavg()[0], 2)}))


@click.command()
@click.option("--seconds", default=10, show_default=True, help="Of each run of wrk.")
@click.option("--workers", default=2, show_default=True, help="Processes of each server.")
@click.option("--clients", default=4, show_default=True, help="Processes that commit.")
@click.option("--count", default=250, show_default=True, help="Commitments of each.")
def main(seconds: int, workers: int, clients: int, count: int) -> None:
    """Measure the leaderboard and commitments."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        publish(folder)
        leaderboard(folder, seconds, workers)
        commitments(folder, clients, count)


if __name__ == "__main__":
    main()
