"""Windows that are counted in memory: what they allow, when they end, what they leave behind."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from quanta_pipelines.api import window_counts
from quanta_pipelines.api.window_counts import WindowCounts


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the counts; a test sets it."""
    now = [1_000_000.0]
    monkeypatch.setattr(window_counts.time, "time", lambda: now[0])
    return now


def test_a_window_ends_its_length_after_its_first_count(moment: list[float]) -> None:
    counts = WindowCounts()
    assert [counts.incr("a", 60) for _ in range(3)] == [1, 2, 3]
    assert counts.get_expiry("a") == moment[0] + 60
    moment[0] += 59.9
    assert (counts.get("a"), counts.incr("a", 60)) == (3, 4)
    moment[0] += 0.1
    assert counts.get("a") == 0
    assert counts.incr("a", 60) == 1
    assert counts.get_expiry("a") == moment[0] + 60


def test_windows_that_ended_are_forgotten(moment: list[float]) -> None:
    counts = WindowCounts()
    for number in range(10_000):
        counts.incr(f"address {number}", 60)
    moment[0] += 61
    counts.incr("new", 60)
    assert counts.reset() == 1


def test_threads_lose_no_count_and_none_is_started() -> None:
    counts = WindowCounts()
    before = set(threading.enumerate())
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: counts.incr("a", 600), range(20_000)))
    assert counts.get("a") == 20_000
    assert set(threading.enumerate()) <= before  # threads of other tests may end meanwhile


def test_it_allows_what_the_librarys_own_storage_allows() -> None:
    item = parse("5/minute")
    own, theirs = WindowCounts(), MemoryStorage()
    asked = [("a", 1), ("b", 2), ("a", 3), ("a", 1), ("b", 3), ("b", 1), ("a", 1), ("c", 6)]
    answers = [
        [FixedWindowRateLimiter(storage).hit(item, who, cost=cost) for who, cost in asked]
        for storage in (own, theirs)
    ]
    # a: 1, 4, 5, then 6; b: 2, 5, then 6; c: 6 at once
    assert answers[0] == answers[1] == [True, True, True, True, True, False, False, False]
    key = item.key_for("a")
    assert abs(own.get_expiry(key) - theirs.get_expiry(key)) < 1
    own.clear(key)
    assert own.get(key) == 0
    assert own.check()
    assert own.get_expiry("nobody") <= time.time()
    theirs.timer.cancel()
