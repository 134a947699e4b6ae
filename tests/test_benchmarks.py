"""The programs under benchmarks/ start, and do with a few miners what they do with many.

What they measure is asserted nowhere. But a program that stands still is found only by whoever
needs its figures, so each is started, and run small where that takes about a second. In those that
need a played home, every name is compared with those of today's tables and marts.
"""

import ast
import importlib
import json
import multiprocessing
import multiprocessing.pool
import os
import re
import runpy
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import duckdb
import pandas as pd
import pytest
import requests
import yaml

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.lake import Lake

PROJECT = Path(__file__).parents[1]
BENCHMARKS = PROJECT / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text())

# Arguments of a small run, and what each line of its answer looks like
SMALL = {
    "audit": (["--epochs", "6", "--miners", "3"], [r"6 epochs, 3 miners, \d+ movements: [\d.]+ s"]),
    "consensus": (
        ["--miners", "20"],
        [
            "64 validators, 20 miners, one core",
            r"median +[\d.]+ s +\d+ MiB above the inputs",
            r"consensus and Yuma 1 +[\d.]+ s +\d+ MiB above the inputs",
            r"consensus and Yuma 3 +[\d.]+ s +\d+ MiB above the inputs",
            r"median, loop by miner +[\d.]+ s  scaled from 1000 miners",
        ],
    ),
    "integrity_tables": (
        ["--size", "20"],
        [
            r"20 miners: view [\d.]+ s, similarity [\d.]+ s, flags [\d.]+ s, together [\d.]+ s; "
            r"\d+ pairs, \d+ flags; \d+ MiB above the inputs"
        ],
    ),
    "epoch_cost": (
        ["--epochs", "1"],
        [r'{"number": 1, "seconds": [\d.]+, "spent": {"between steps": .*"signals": [\d.]+}}'],
    ),
    "rewards": (
        ["--miners", "20"],
        [
            r"20 miners, one core; payouts differ by [0-2] rao at most",
            r"quanta +[\d.]+ s +\d+ MiB, to the last rao",
            r"decimal a miner +[\d.]+ s +\d+ MiB, [-+][\d.]+ rao",
            r"ratio +[\d.]+",
        ],
    ),
}
IN_THEIR_OWN_TESTS = {"api", "integrity", "market_data", "quotes", "scoring"}

# Of the programs that need a played home: their words that name no table, no mart and no column
OTHER_WORDS = {
    "backfill": {"backfill", "epochs", "lake", "marts_seconds", "miners", "quanta"}
    | {"load_before", "peak_mib", "processor_seconds", "runs", "seconds"},
    "marts": {"lake", "many", "marts", "prices", "raw_prices_of_the_last", "target", "var"}
    | {"warehouse", "zstd"},
}


@pytest.fixture(autouse=True)
def as_started(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As ``python benchmarks/…`` does, but in this process, where packages are imported once."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    with mock.patch.dict(os.environ):  # they limit the threads of numpy
        yield


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Gives the lines that a program prints; it publishes nothing but tables that there are."""
    publish = Lake.publish

    def named(lake: Lake, table: str, *arguments: Any, **options: Any) -> object:
        assert table in CONTRACTS
        return publish(lake, table, *arguments, **options)

    def run(program: ModuleType, *arguments: str) -> list[str]:
        monkeypatch.setattr(Lake, "publish", named)
        monkeypatch.setattr(sys, "argv", [str(program.__file__), *arguments])
        try:
            program.main()
        except SystemExit as end:
            if end.code:
                pytest.fail(f"{end.code} {capsys.readouterr().err}")
        return capsys.readouterr().out.splitlines()

    return run


@lru_cache(maxsize=1)
def models() -> dict[str, dict[str, str]]:
    """Marts, with the types of their columns."""
    folder = PROJECT / "dbt_project" / "models" / "marts"
    described = [
        model
        for path in folder.glob("*.yml")
        for model in yaml.safe_load(path.read_text()).get("models", [])
    ]
    assert {model["name"] for model in described} == {path.stem for path in folder.glob("*.sql")}
    return {
        model["name"]: {column["name"]: column["data_type"] for column in model["columns"]}
        for model in described
    }


def test_each_program_is_run_small_or_read() -> None:
    assert set(SCRIPTS) == SMALL.keys() | IN_THEIR_OWN_TESTS | OTHER_WORDS.keys()


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_starts_and_says_what_may_be_asked(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(BENCHMARKS / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(path, run_name="__main__")
    assert not end.value.code
    assert re.match(rf"usage: {name}\.py .*--help", capsys.readouterr().out, re.I | re.S)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_run_says_what_a_large_one_says(name: str, run: Callable[..., list[str]]) -> None:
    arguments, lines = SMALL[name]
    said = run(importlib.import_module(name), *arguments)
    assert len(said) == len(lines)
    for line, form in zip(said, lines, strict=True):
        assert re.fullmatch(form, line.strip())


def test_the_search_for_similar_miners_beside_tables_of_all_pairs(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "integrity.json"
    said = run(importlib.import_module("integrity"), "--size", "20", "--out", str(out))
    found = json.loads(out.read_text())
    pairs = {"pairs that move alike", "pairs with the same names"}
    own = [one["work"] for one in found["timings"] if one["by"] == "quanta"]
    assert sorted(own) == sorted({"active returns", *pairs})
    assert {one["portfolios"] for one in found["timings"]} == {20}
    assert {one["work"] for one in found["ratios"]} == pairs
    assert all(one["seconds"] > 0 and one["memory"] > 0 for one in found["ratios"])
    assert sum(line.startswith("pairs") for line in said) == 4 + 2  # timings, then ratios


def test_scoring_beside_its_peers(
    run: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scoring, peers, whole_epoch = map(importlib.import_module, ("scoring", "peers", "whole_epoch"))
    monkeypatch.setattr(peers, "RESAMPLES", 10)
    # Their sizes are defaults that no option changes
    for one_by_one in ("quantstats_metrics", "ffn_metrics", "scipy_intervals"):
        monkeypatch.setattr(getattr(peers, one_by_one), "__defaults__", (2,))
    monkeypatch.setattr(whole_epoch.epoch_timing, "__defaults__", (20,))
    out = tmp_path / "scoring.json"
    said = run(scoring, "--size", "20", "--out", str(out))
    found = json.loads(out.read_text())
    own = {one["work"]: one["portfolios"] for one in found["timings"] if one["by"] == "quanta"}
    horizons, last, intervals = (
        "metrics of 3 horizons",
        "metrics of 90 sessions",
        "composite intervals",
    )
    assert own == dict.fromkeys((horizons, last, intervals, "a whole epoch, to Parquet"), 20)
    peers_of = {one["by"] for one in found["ratios"] if one["work"] == intervals}
    assert {"scipy.stats.bootstrap, vectorized", "the specification's bootstrap"} <= peers_of
    assert all(one["times"] > 0 for one in found["ratios"])
    assert any(
        one["what"] == "scipy.stats.bootstrap, vectorized / engine, 20 portfolios"
        for one in found["targets"]
    )
    assert len([line for line in said if line.startswith(intervals)]) == 2 * len(peers_of) + 1


def test_prices_of_a_few_sessions_are_settled_and_merged(
    run: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    market_data = importlib.import_module("market_data")
    days = pd.bdate_range("2014-03-03", periods=4).date
    prices = pd.MultiIndex.from_product([["A", "B", "C"], days], names=["ticker", "date"])
    rows = prices.to_frame(index=False).assign(open=9.5, high=11.0, low=9.0, close=10.0, volume=500)
    adjusted = rows.assign(adj_close=10.0, dividend=0.0, split=1.0)
    adjusted.to_parquet(tmp_path / market_data.FIRST)
    rows.to_parquet(tmp_path / market_data.SECOND)
    monkeypatch.setenv("QUANTA_REFERENCE_DATA", str(tmp_path))
    out = tmp_path / "figures.json"
    run(market_data, "--tickers", "2", "--repeat", "1", "--out", str(out))
    found = json.loads(out.read_text())["throughput"]
    works = ["read as observations", "settle", "merge, median, return"]
    assert [one["work"] for one in found] == works
    assert {one["rows"] for one in found} == {2 * 4 * 3}  # tickers, sessions, vendors
    assert all(one["rows_per_second"] > 0 for one in found)


def test_a_round_of_live_prices(
    run: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The simulated vendors answer from threads: processes would import everything again.

    The folder stays: yfinance keeps its database open in it for as long as the process lives.
    """
    quotes = importlib.import_module("quotes")
    threads = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=threading.Thread)
    monkeypatch.setattr(quotes, "mp", SimpleNamespace(get_context=lambda _: threads))
    kept = SimpleNamespace(TemporaryDirectory=lambda: nullcontext(str(tmp_path)))
    monkeypatch.setattr(quotes, "tempfile", kept)
    found = json.loads("\n".join(run(quotes, "--rounds", "1", "--tickers", "2", "--json")))
    assert found["milliseconds"].keys() == {"wall", "processor"}
    for parts in found["milliseconds"].values():
        assert list(parts) == list(quotes.PARTS)
        assert all(part["p50"] == part["p95"] == part["max"] > 0 for part in parts.values())
    (whole,) = found["rounds_ms"]
    assert whole == pytest.approx(found["milliseconds"]["wall"]["all"]["p50"], abs=0.11)


def test_the_service_answers_from_the_made_up_marts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """All but wrk and the bare route, with one server for both; the client is a thread."""
    api = importlib.import_module("api")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(api, "TARGET", api.TARGET.replace(api.URL, address))
    monkeypatch.setattr(api, "URL", address)
    monkeypatch.setattr(api, "PORT", port)
    pool = SimpleNamespace(Pool=multiprocessing.pool.ThreadPool)
    monkeypatch.setattr(api, "multiprocessing", SimpleNamespace(get_context=lambda _: pool))
    api.publish(tmp_path)
    with duckdb.connect(str(tmp_path / "warehouse" / "quanta.duckdb"), read_only=True) as marts:
        for name, columns in models().items():
            found = marts.execute(
                "select column_name from duckdb_columns() where table_name = ?", [name]
            )
            assert {column for (column,) in found.fetchall()} <= columns.keys()
        tables = {
            name for (name,) in marts.execute("select table_name from duckdb_tables()").fetchall()
        }
        assert tables <= models().keys()
    with api.service(tmp_path, 1) as server:
        answer = requests.get(api.TARGET, timeout=10)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["entries"]) == api.ROWS
        monkeypatch.setattr(api, "service", lambda *_: nullcontext(server))
        api.commitments(tmp_path, 1, 2)
    said = json.loads(capsys.readouterr().out)
    assert (said["what"], said["clients"], said["commitments"]) == ("commitments", 1, 2)
    assert said["p95_ms"] >= said["p50_ms"] > 0


def words_of(program: str) -> set[str]:
    """Each string that could be a name, and what SQL takes rows from."""
    nodes = ast.walk(ast.parse(program))
    texts = [node.value for node in nodes if isinstance(node, ast.Constant)]
    texts = [text for text in texts if isinstance(text, str)]
    sources = [
        source
        for text in texts
        if re.match(r"(select|from) ", text)
        for source in re.findall(r"\b(?:from|join) ([a-z_]+)", text)
    ]
    return {text for text in texts if re.fullmatch(r"[a-z][a-z0-9_]*", text)} | {*sources}


@pytest.mark.parametrize("name", OTHER_WORDS)
def test_what_is_not_run_names_tables_marts_and_columns_that_there_are(name: str) -> None:
    words = words_of((BENCHMARKS / f"{name}.py").read_text())
    assert OTHER_WORDS[name] <= words
    columns = {column for table in CONTRACTS.values() for column in table.to_schema().columns}
    columns |= {column for mart in models().values() for column in mart}
    strange = words - OTHER_WORDS[name] - CONTRACTS.keys() - models().keys() - columns
    assert not strange, f"no table, mart or column has these names: {sorted(strange)}"


def test_the_question_to_the_leaderboard_fits_its_columns() -> None:
    marts = importlib.import_module("marts")
    board = ", ".join(f'"{name}" {kind}' for name, kind in models()["leaderboard"].items())
    with duckdb.connect() as connection:
        connection.execute(f"create table leaderboard ({board})")
        found = connection.execute(marts.QUERY.format("leaderboard"), ["2025-Q4-W48"])
        assert found.fetchall() == []
