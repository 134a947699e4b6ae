"""Replies are kept and used again: killed runs, networks that go, caches that are down, limits."""

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from redis import Redis, RedisError

from quanta_pipelines.adapters.price_vendors import (
    Loss,
    NoObservations,
    Outcome,
    RecordedVendor,
    ask_vendors,
    loss_report,
    raw_rows,
)
from quanta_pipelines.adapters.price_vendors.cache import ReplyCache, StoredCache
from quanta_pipelines.adapters.price_vendors.errors import VendorClosed
from quanta_pipelines.adapters.price_vendors.http import RateLimit
from quanta_pipelines.adapters.price_vendors.replies import Reply, ReplyArchive, Request
from quanta_pipelines.adapters.table_format import content_hash
from quanta_pipelines.protocol.epoch import Epoch, settles_at
from quanta_pipelines.protocol.params import QUANTA
from tests.vendor_replicas.formats import Response, reply
from tests.vendor_replicas.server import Fault, Server, serving
from tests.vendor_replicas.truth import truth_table
from tests.vendor_replicas.wired import (
    FETCHED_AT,
    FIRST,
    LAST,
    NAMES,
    QUICK,
    TICKERS,
    TRUTH,
    replica_of,
    require_true,
    vendor_at,
)

LATER = FETCHED_AT + timedelta(hours=30)
EPOCH = Epoch.parse("2019-Q3-W31")
DRIVER = Path(__file__).parents[1] / "vendor_replicas" / "fetching.py"


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(name: str) -> Iterator[Server]:
    with serving(replica_of(name)) as running:
        yield running


def some_reply(body: bytes, at: datetime, status: int = 200) -> Reply:
    return Reply(Request("tiingo", "/a", {"b": "c"}), status, {"date": "x"}, body, at)


# The archive


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff\x00\xfe", '{"é": 1}'.encode()])
@pytest.mark.parametrize("root", ["folder", "memory"])
def test_a_reply_comes_back_as_it_was(body: bytes, root: str, tmp_path: Path) -> None:
    archive = ReplyArchive(str(tmp_path) if root == "folder" else f"memory://{tmp_path}")
    kept = some_reply(body, FETCHED_AT)
    archive.add(kept)
    archive.add(kept)
    assert list(archive.newest(kept.request, FETCHED_AT)) == [kept]


def test_replies_add_up_newest_first_and_none_is_replaced(tmp_path: Path) -> None:
    archive = ReplyArchive(str(tmp_path))
    old, new = some_reply(b"1", FETCHED_AT), some_reply(b"2", LATER, status=500)
    for kept in (new, old):
        archive.add(kept)
    assert list(archive.newest(old.request, FETCHED_AT)) == [new, old]
    assert list(archive.newest(old.request, FETCHED_AT + timedelta(microseconds=1))) == [new]
    assert list(archive.newest(Request("tiingo", "/a"), FETCHED_AT)) == []
    assert len(list(tmp_path.rglob("*.json.gz"))) == 2


def test_the_same_reply_is_the_same_file_on_every_run(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        ReplyArchive(str(tmp_path / folder)).add(some_reply(b"[]", FETCHED_AT))
    one, two = (next((tmp_path / folder).rglob("*.gz")) for folder in ("one", "two"))
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()


def test_a_damaged_file_is_reported_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = ReplyArchive(str(tmp_path))
    for kept in (some_reply(b"1", FETCHED_AT), some_reply(b"2", LATER)):
        archive.add(kept)
    newest = max(tmp_path.rglob("*.json.gz"), key=lambda file: file.name)
    for damage in (b"", b"no gzip", newest.read_bytes()[:-20], gzip.compress(b"[]")):
        newest.write_bytes(damage)
        caplog.clear()
        assert [one.body for one in archive.newest(some_reply(b"", LATER).request, FETCHED_AT)] == [
            b"1"
        ]
        assert newest.name in caplog.text


# Used again


def test_what_was_fetched_after_the_settlement_is_not_asked_again(
    name: str, server: Server, tmp_path: Path
) -> None:
    vendor = vendor_at(name, server.url, tmp_path)
    first = vendor.ask(TICKERS, FIRST, LAST, since=FETCHED_AT)
    asked = server.asked()
    again = vendor_at(name, server.url, tmp_path, clock=lambda: LATER)
    second = again.ask(TICKERS, FIRST, LAST, since=FETCHED_AT)
    assert server.asked() == asked
    assert content_hash(second.rows) == content_hash(first.rows)
    third = again.ask(TICKERS, FIRST, LAST, since=FETCHED_AT + timedelta(seconds=1))
    assert server.asked() > asked
    assert set(third.rows["fetched_at"]) == {pd.Timestamp(LATER)}


def test_an_explicit_refetch_asks_again_and_keeps_both(tmp_path: Path) -> None:
    with serving(replica_of("tiingo")) as running:
        vendor_at("tiingo", running.url, tmp_path).ask(["KO"], FIRST, LAST, since=FETCHED_AT)
        corrected = TRUTH.assign(close=TRUTH["close"] + 0.01)
        with serving(replica_of("tiingo", truth=corrected)) as restated:
            vendor = vendor_at("tiingo", restated.url, tmp_path, clock=lambda: LATER)
            new = vendor.ask(["KO"], FIRST, LAST, since=FETCHED_AT, refetch=True)
            kept = vendor.ask(["KO"], FIRST, LAST, since=FETCHED_AT)
            assert restated.asked() == 1
    old = TRUTH[TRUTH["ticker"] == "KO"]["close"].to_numpy()
    assert (new.rows["close"].to_numpy() == old + 0.01).all()
    assert content_hash(kept.rows) == content_hash(new.rows)  # the newest reply counts
    assert len(list((tmp_path / "lake" / "replies" / "tiingo").rglob("*.gz"))) == 2


def test_a_kept_error_does_not_stand_in_the_way(name: str, server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault("KO", lambda _: reply(403, {})))
    vendor = vendor_at(name, server.url, tmp_path)
    assert [loss.ticker for loss in vendor.ask(TICKERS, FIRST, LAST, since=FETCHED_AT).losses] == [
        "KO"
    ]
    server.faults.clear()
    server.log.clear()
    outcome = vendor.ask(TICKERS, FIRST, LAST, since=FETCHED_AT)
    assert outcome.losses == ()
    assert server.asked("AAPL|BRK|XOM") == 0  # only what was missing
    require_true(name, outcome.rows)


def test_a_network_that_goes_in_the_middle_leaves_what_came_before(
    name: str, server: Server, tmp_path: Path
) -> None:
    with serving(replica_of(name)) as whole:
        undisturbed = vendor_at(name, whole.url, tmp_path / "whole").ask(
            TICKERS, FIRST, LAST, since=FETCHED_AT
        )
    server.faults.append(Fault("KO|XOM", reset=True))
    patience = replace(QUICK, retries=0)
    vendor = vendor_at(name, server.url, tmp_path / "cut", patience=patience)
    cut = vendor.ask(TICKERS, FIRST, LAST, since=FETCHED_AT)
    assert sorted(loss.ticker for loss in cut.losses) == ["KO", "XOM"]
    server.faults.clear()
    healed = vendor.ask(TICKERS, FIRST, LAST, since=FETCHED_AT)
    assert content_hash(healed.rows) == content_hash(undisturbed.rows)


def fetch_in_process(name: str, url: str, home: Path, *point: str) -> "subprocess.CompletedProcess":
    return subprocess.run(
        [sys.executable, str(DRIVER), name, url, str(home), *point],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("point", ["3", "4"], ids=["before a write", "before a rename"])
def test_a_killed_fetch_run_again_gives_the_same_bytes(point: str, tmp_path: Path) -> None:
    with serving(replica_of("tiingo")) as running:
        reference = vendor_at("tiingo", running.url, tmp_path / "reference")
        rows = reference.ask(TICKERS, FIRST, LAST, since=FETCHED_AT).rows
        home = tmp_path / "killed"
        killed = fetch_in_process("tiingo", running.url, home, point)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        before = running.asked()
        again = vendor_at("tiingo", running.url, home)
        assert content_hash(again.ask(TICKERS, FIRST, LAST, since=FETCHED_AT).rows) == content_hash(
            rows
        )
        assert running.asked() == before + 3  # the first ticker's reply was kept
    questions = {file.parent.name for file in (tmp_path / "reference").rglob("*.gz")}
    assert {file.parent.name for file in home.rglob("*.gz")} == questions
    assert len(list(home.rglob("*.gz"))) == len(questions) == len(TICKERS)


@pytest.mark.soak
@pytest.mark.parametrize("point", range(1, 9))
def test_every_write_may_be_the_last(name: str, point: int, tmp_path: Path) -> None:
    with serving(replica_of(name)) as running:
        whole = fetch_in_process(name, running.url, tmp_path / "whole")
        assert whole.stdout.endswith(" 0\n"), whole.stderr
        killed = fetch_in_process(name, running.url, tmp_path / "killed", str(point))
        assert killed.returncode == -signal.SIGKILL
        again = fetch_in_process(name, running.url, tmp_path / "killed")
    assert again.stdout == whole.stdout


# The cache


def requests_of_two_questions(
    cache: ReplyCache, home: Path, *, apart: timedelta = timedelta(seconds=10)
) -> tuple[int, Outcome]:
    """How many requests two equal questions cost, and the second answer."""
    with serving(replica_of("tiingo")) as running:
        vendor_at("tiingo", running.url, home, cache=cache).ask(["KO"], FIRST, LAST)
        late = vendor_at("tiingo", running.url, home, cache=cache, clock=lambda: FETCHED_AT + apart)
        outcome = late.ask(["KO"], FIRST, LAST)
        return running.asked(), outcome


def test_a_cached_reply_has_its_true_age(tmp_path: Path) -> None:
    cache = StoredCache.on_disk(tmp_path / "cache")
    cost, outcome = requests_of_two_questions(cache, tmp_path)
    assert cost == 1
    assert set(outcome.rows["fetched_at"]) == {pd.Timestamp(FETCHED_AT)}
    require_true("tiingo", outcome.rows)
    (file,) = (tmp_path / "cache").glob("*.json")
    json.loads(file.read_text())  # JSON, and never a pickle


@pytest.mark.parametrize(("lifetime", "cost"), [(14, 1), (12, 2)])
def test_the_rules_say_how_long_a_kept_reply_is_fresh(
    lifetime: int, cost: int, tmp_path: Path
) -> None:
    rules = replace(QUANTA.market_data, historical_cache_ttl_seconds=lifetime * 3600)
    cache = StoredCache.on_disk(tmp_path / "cache")
    with serving(replica_of("tiingo")) as running:
        for hours in (0, 13):
            at = FETCHED_AT + timedelta(hours=hours)
            vendor = vendor_at("tiingo", running.url, tmp_path, cache=cache, clock=lambda at=at: at)
            replace(vendor, rules=rules).ask(["KO"], FIRST, LAST)
        assert running.asked() == cost


@pytest.mark.parametrize(("hours", "cost"), [(23, 1), (25, 2)])
def test_history_is_cached_for_a_day(hours: int, cost: int, tmp_path: Path) -> None:
    cache = StoredCache.on_disk(tmp_path / "cache")
    apart = timedelta(hours=hours)
    assert requests_of_two_questions(cache, tmp_path, apart=apart)[0] == cost


@pytest.mark.parametrize(("seconds", "cost"), [(299, 1), (300, 2)])
def test_live_prices_are_cached_for_five_minutes(seconds: int, cost: int, tmp_path: Path) -> None:
    cache = StoredCache.on_disk(tmp_path / "cache")
    with serving(replica_of("polygon")) as running:
        vendor_at("polygon", running.url, tmp_path, cache=cache).quotes(TICKERS)
        moment = FETCHED_AT + timedelta(seconds=seconds)
        late = vendor_at("polygon", running.url, tmp_path, cache=cache, clock=lambda: moment)
        seen = late.quotes(TICKERS)
        assert running.asked() == cost
    at = FETCHED_AT if cost == 1 else moment
    assert set(seen["fetched_at"]) == {pd.Timestamp(at)}


def test_a_cached_reply_from_before_the_settlement_does_not_settle(tmp_path: Path) -> None:
    cache = StoredCache.on_disk(tmp_path / "cache")
    with serving(replica_of("tiingo")) as running:
        vendor_at("tiingo", running.url, tmp_path, cache=cache).ask(["KO"], FIRST, LAST)
        soon = FETCHED_AT + timedelta(minutes=1)
        late = vendor_at("tiingo", running.url, tmp_path, cache=cache, clock=lambda: soon)
        late.ask(["KO"], FIRST, LAST, since=soon)
        assert running.asked() == 2


@pytest.mark.parametrize(
    "bad",
    [reply(404, {}), Response(200, b'"You have run over your 500 symbol look up"')],
    ids=["error", "error text"],
)
def test_an_error_is_never_cached(bad: Response, tmp_path: Path) -> None:
    cache = StoredCache.on_disk(tmp_path / "cache")
    with serving(replica_of("tiingo")) as running:
        running.faults.append(Fault("", lambda _: bad, times=1))
        vendor = vendor_at("tiingo", running.url, tmp_path, cache=cache)
        assert vendor.ask(["KO"], FIRST, LAST).losses
        assert not list((tmp_path / "cache").glob("*.json"))
        assert vendor.ask(["KO"], FIRST, LAST).losses == ()


def test_a_cache_that_is_down_costs_requests_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = StoredCache.in_redis("redis://:a-password@127.0.0.1:9/0")
    cost, outcome = requests_of_two_questions(cache, tmp_path)
    assert cost == 2
    require_true("tiingo", outcome.rows)
    assert caplog.text.count("reply cache is left out") == 1
    assert "a-password" not in caplog.text


def test_a_damaged_or_impossible_cache_costs_requests_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    requests_of_two_questions(StoredCache.on_disk(folder), tmp_path)
    (file,) = folder.glob("*.json")
    for damage in (b"", b"\x80\x04", b"{}", b"[1]", file.read_bytes()[:-40]):
        file.write_bytes(damage)
        cost, outcome = requests_of_two_questions(StoredCache.on_disk(folder), tmp_path)
        assert cost in (1, 2)
        require_true("tiingo", outcome.rows)
    blocked = tmp_path / "a file"
    blocked.write_text("no folder")
    assert requests_of_two_questions(StoredCache.on_disk(blocked / "cache"), tmp_path)[0] == 2


def test_a_cache_that_cannot_be_written_costs_requests_and_nothing_else(tmp_path: Path) -> None:
    cache = StoredCache.on_disk(tmp_path / "cache")
    question = some_reply(b"[]", FETCHED_AT).request
    assert cache.get(question, FETCHED_AT, timedelta(days=1)) is None
    shutil.rmtree(tmp_path / "cache")
    cost, outcome = requests_of_two_questions(cache, tmp_path)
    assert cost == 2
    require_true("tiingo", outcome.rows)


def test_files_that_nobody_may_use_any_more_leave_the_cache(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    requests_of_two_questions(StoredCache.on_disk(folder), tmp_path)
    (file,) = folder.glob("*.json")
    old = time.time() - 9 * 86_400
    os.utime(file, (old, old))
    assert requests_of_two_questions(StoredCache.on_disk(folder), tmp_path)[0] == 1
    assert file.stat().st_mtime > old


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", f"{port}", "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL) as process:
        url = f"redis://127.0.0.1:{port}/0"
        with Redis.from_url(url) as client:
            for _ in range(200):
                try:
                    client.ping()
                    break
                except RedisError:
                    time.sleep(0.02)
        yield url
        process.terminate()


def test_a_real_redis_serves_and_may_go_away(redis_url: str, tmp_path: Path) -> None:
    cost, outcome = requests_of_two_questions(StoredCache.in_redis(redis_url), tmp_path / "one")
    assert cost == 1
    require_true("tiingo", outcome.rows)
    with Redis.from_url(redis_url) as client:
        (key,) = client.keys("quanta:replies:*")
        held = client.get(key)
        assert isinstance(held, bytes)
        json.loads(held)
        # another process finds it
        assert requests_of_two_questions(StoredCache.in_redis(redis_url), tmp_path / "two")[0] == 0
        client.shutdown(nosave=True)
    gone = StoredCache.in_redis(redis_url)
    assert requests_of_two_questions(gone, tmp_path / "three")[0] == 2


# Limits


def test_the_rate_limit_limits(tmp_path: Path) -> None:
    with serving(replica_of("tiingo")) as running:
        vendor = vendor_at("tiingo", running.url, tmp_path, rate="2 per second")
        vendor.ask(TICKERS, FIRST, LAST)
        times = [moment for moment, _ in running.log]
    assert len(times) == 4
    # no three within a second
    assert min(late - early for early, late in zip(times, times[2:], strict=False)) >= 0.9


def test_a_limit_that_is_used_up_for_long_loses_the_rest_and_a_later_run_goes_on(
    tmp_path: Path,
) -> None:
    with serving(replica_of("tiingo")) as running:
        vendor = vendor_at("tiingo", running.url, tmp_path, rate="3 per hour")
        outcome = vendor.ask(TICKERS, FIRST, LAST, since=FETCHED_AT)
        assert running.asked() == 3
        (lost,) = outcome.losses
        assert lost.reason.startswith("own limit of 3 per hour is used up for ")
        rest = vendor_at("tiingo", running.url, tmp_path, rate="3 per hour")
        assert rest.ask(TICKERS, FIRST, LAST, since=FETCHED_AT).losses == ()
        assert running.asked() == 4


def test_several_limits_hold_at_once() -> None:
    limit = RateLimit("100 per second; 2 per hour", longest_wait=1.0)
    limit.wait()
    limit.wait()
    with pytest.raises(VendorClosed, match="100 per second; 2 per hour is used up"):
        limit.wait()


# An epoch


class Broken:
    """A vendor whose code fails."""

    name = "broken"

    def tickers(self) -> tuple[str, ...]:
        return ("AAPL", "KO")

    def observe(self, *_: object) -> pd.DataFrame:
        raise ZeroDivisionError("a bug")


def test_one_vendors_failure_takes_no_other_down(tmp_path: Path) -> None:
    first = pd.Timestamp("2019-04-01").date()
    truth = truth_table(TICKERS, first, LAST)
    with serving(replica_of("tiingo", truth=truth)) as up:
        tiingo = vendor_at("tiingo", up.url, tmp_path, clock=lambda: settles_at(EPOCH))
        polygon = vendor_at(
            "polygon", "http://127.0.0.1:9", tmp_path, patience=replace(QUICK, retries=0)
        )
        vendors = (RecordedVendor(), Broken(), polygon, tiingo)
        outcomes = ask_vendors(vendors, EPOCH)
        rows = raw_rows(outcomes, EPOCH)
        asked = up.asked()
        again = ask_vendors(vendors, EPOCH)
        assert up.asked() == asked
        assert content_hash(raw_rows(again, EPOCH)) == content_hash(rows)
        ask_vendors(vendors, EPOCH, refetch=True)
        assert up.asked() == 2 * asked
    assert [one.vendor for one in outcomes] == ["recorded", "broken", "polygon", "tiingo"]
    assert set(rows["vendor"]) == {"recorded", "tiingo"}
    report = loss_report(outcomes)
    assert report["broken"] == {"rows": 0, "lost": {"ZeroDivisionError: a bug": ["AAPL", "KO"]}}
    assert report["tiingo"] == {"rows": 66 * len(TICKERS), "lost": {}}
    assert len(report["polygon"]["lost"]) > 0


def test_an_epoch_without_any_answer_says_why() -> None:
    empty = RecordedVendor().observe([], FIRST, LAST)
    lost = Outcome("tiingo", empty, (Loss("KO", "HTTP 401: no"),))
    with pytest.raises(NoObservations, match=r"2019-Q3-W31: no vendor .*: tiingo: HTTP 401: no"):
        raw_rows([lost, Outcome("yahoo", empty)], EPOCH)
    assert raw_rows([Outcome("yahoo", empty)], EPOCH).empty
