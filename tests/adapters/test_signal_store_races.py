"""The signal store under many clients at once, and under clients that are killed."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, func, insert, select
from sqlalchemy.exc import IntegrityError

from quanta_pipelines.adapters.signal_store import (
    ContradictsRecord,
    ReplayedNonce,
    SignalStore,
)
from quanta_pipelines.adapters.signal_store.service_tables import (
    ADMIN_ACTIONS,
    DISPUTES,
    POOL_EVENTS,
)
from quanta_pipelines.adapters.signal_store.tables import COMMITMENTS, ESCROW_MOVEMENTS, REVEALS
from quanta_pipelines.protocol.commit_reveal import Verdict
from tests.adapters.store_clients import (
    COMMITS,
    EPOCH,
    MINERS,
    POSITIONS,
    ante,
    commit,
    hotkey,
    opening,
)
from tests.adapters.store_clients import (
    REVEALS as REVEALED,
)

CLIENTS = 50
DRIVER = Path(__file__).with_name("store_clients.py")
RACED = hotkey("raced")
RAO = 10**9


@pytest.fixture
def store(url: str) -> Iterator[SignalStore]:
    store = SignalStore.open(url)
    store.fix_universe(EPOCH, [ticker for ticker, _ in POSITIONS])
    yield store
    store.close()


def at_once(url: str, act: Callable[[SignalStore, int], Any]) -> list[Any]:
    """What fifty threads with connections of their own get; an error stands for itself."""
    start = Barrier(CLIENTS)

    def client(number: int) -> Any:
        own = SignalStore.open(url, timeout_seconds=60)
        start.wait()
        try:
            return act(own, number)
        except (ContradictsRecord, ReplayedNonce) as error:
            return error
        finally:
            own.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(client, range(CLIENTS)))


def standing(store: SignalStore) -> dict[str, Any]:
    (row,) = store.commitments(EPOCH.id).to_dict("records")
    return row


def check_one_state_after_fifty_commitments(store: SignalStore, replaced: list[int]) -> None:
    """Each was told another place; the last one stands, and only its ante is in escrow."""
    assert sorted(replaced) == list(range(CLIENTS))
    last = replaced.index(CLIENTS - 1)
    row = standing(store)
    assert row["commitment"] == opening(RACED, last).commitment
    assert row["ante_rao"] == ante(last) * RAO
    (held,) = store.escrow(EPOCH.id)["escrow_rao"]
    assert held == ante(last) * RAO
    moved = store.escrow_movements(EPOCH.id)["reason"].value_counts().to_dict()
    assert moved == {"ante_posted": CLIENTS, "ante_replaced": CLIENTS - 1}
    assert store.problems() == ()


def test_of_fifty_threads_that_commit_at_once_one_stands(store, url):
    receipts = at_once(url, lambda own, number: commit(own, RACED, number))
    check_one_state_after_fifty_commitments(store, [receipt.replaced for receipt in receipts])


def test_fifty_threads_with_one_commitment_get_one_receipt(store, url):
    receipts = at_once(url, lambda own, _: commit(own, RACED, 7))
    assert len(set(receipts)) == 1
    assert len(store.escrow_movements(EPOCH.id)) == 1


def test_of_fifty_threads_that_reveal_at_once_one_is_accepted(store, url):
    commit(store, RACED, 7)
    judged = at_once(url, lambda own, _: own.reveal(opening(RACED, 7), received_at=REVEALED))
    assert Counter(judgement.verdict for judgement in judged) == {
        Verdict.ACCEPTED: 1,
        Verdict.ALREADY_REVEALED: CLIENTS - 1,
    }
    assert len(store.reveals(EPOCH.id)) == CLIENTS  # every verdict is on record
    assert store.problems() == ()


def test_a_nonce_that_fifty_threads_use_at_once_is_used_once(store, url):
    told = at_once(url, lambda own, _: own.use_nonce(RACED, "the-nonce", COMMITS, COMMITS))
    assert Counter(type(answer) for answer in told) == {type(None): 1, ReplayedNonce: CLIENTS - 1}


def test_of_fifty_pools_that_take_a_member_at_once_one_has_it(store, url):
    told = at_once(
        url, lambda own, number: own.pools.join(RACED, hotkey(f"pool {number}"), at=COMMITS)
    )
    assert Counter(type(answer) for answer in told) == {
        type(None): 1,
        ContradictsRecord: CLIENTS - 1,
    }
    (row,) = store.pools.at(COMMITS).to_dict("records")
    assert row["operator"] == hotkey(f"pool {told.index(None)}")


def test_fifty_processes_that_open_a_new_store_and_use_it_at_once_leave_one_state(new_url):
    run = subprocess.run(
        [sys.executable, DRIVER, "race", new_url, str(CLIENTS)],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert run.stderr.decode() == ""
    told = json.loads(run.stdout)
    # Whoever commits last finds its own commitment standing, unless a reveal came before
    places = [answer["replaced"] for answer in told if answer["replaced"] is not None]
    assert sorted(places) == list(range(len(places)))
    (accepted,) = [number for number in range(CLIENTS) if told[number]["verdict"] == "accepted"]
    assert told[accepted]["replaced"] == len(places) - 1
    store = SignalStore.open(new_url)
    row = standing(store)
    assert row["commitment"] == opening(RACED, accepted).commitment
    (held,) = store.escrow(EPOCH.id)["escrow_rao"]
    assert held == row["ante_rao"] == ante(accepted) * RAO
    assert len(store.reveals(EPOCH.id)) == CLIENTS
    assert store.problems() == ()
    store.close()


@pytest.mark.parametrize(
    "row",
    [
        {"commitment": "b" * 64, "ordinal": 1},  # a second standing commitment
        {"commitment": "a" * 64, "ordinal": 2},  # the same one again
    ],
)
def test_the_database_itself_refuses_a_second_state(store, url, row):
    first = {
        "hotkey": RACED,
        "epoch_id": EPOCH.id,
        "commitment": "a" * 64,
        "ante_rao": 10 * RAO,
        "received_at": COMMITS,
        "ordinal": 1,
    }
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(insert(COMMITMENTS), first)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(COMMITMENTS), first | row)
    engine.dispose()


def test_the_database_itself_refuses_a_second_accepted_reveal(store, url):
    commit(store, RACED, 7)
    store.reveal(opening(RACED, 7), received_at=REVEALED)
    engine = create_engine(url)
    with engine.connect() as connection:
        accepted = dict(connection.execute(select(REVEALS)).mappings().one())
    del accepted["id"]
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(REVEALS), accepted)
    engine.dispose()


# Killed writers


def held_by(url: str) -> dict[str, set[str]]:
    """What of the writer's calls is in the store, by kind of call."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            "commitments": set(connection.scalars(select(COMMITMENTS.c.commitment))),
            "reveals": set(connection.scalars(select(REVEALS.c.secret))),
            "admin": set(connection.scalars(select(ADMIN_ACTIONS.c.action))),
            "pools": set(connection.scalars(select(POOL_EVENTS.c.member))),
            "disputes": set(connection.scalars(select(DISPUTES.c.reason))),
        }
        posted = connection.scalar(select(func.count()).select_from(ESCROW_MOVEMENTS))
        per_miner = select(func.count()).select_from(COMMITMENTS).group_by(COMMITMENTS.c.hotkey)
        miners = connection.scalars(per_miner).all()
    engine.dispose()
    # Every commitment posts its ante, and every one but its miner's last gives it back
    assert posted == sum(2 * n - 1 for n in miners)
    return found


def expected_after(calls: int) -> dict[str, set[str]]:
    """What the store holds after the first calls, by the rule that the writer follows."""
    numbers = range(calls)
    return {
        "commitments": {
            opening(hotkey(f"miner {n % MINERS}"), n).commitment for n in numbers if n % 8 < 4
        },
        "reveals": {opening(hotkey("nobody"), n).secret for n in numbers if n % 8 == 4},
        "admin": {f"call {n}" for n in numbers if n % 8 == 5},
        "pools": {hotkey(f"member {n}") for n in numbers if n % 8 == 6},
        "disputes": {f"call {n}" for n in numbers if n % 8 == 7},
    }


def kill_writers(url: str, store: SignalStore, rounds: int) -> None:
    """After every kill: all that was answered, at most one call more, and nothing half done."""
    rng = np.random.default_rng(20190304)
    with subprocess.Popen(
        [sys.executable, DRIVER, "write", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as driver:
        unanswered = 0
        for number in range(rounds):
            steps = int(rng.integers(1, 60)) if number % 2 else 0
            seconds = 30.0 if steps else float(rng.uniform(0, 0.15))
            driver.stdin.write(f"{unanswered} {steps} {seconds}\n")
            unanswered = int(driver.stdout.readline())
            held = held_by(url)
            assert held in (expected_after(unanswered), expected_after(unanswered + 1))
            assert store.problems() == ()
        driver.stdin.close()
        assert driver.wait(timeout=30) == 0
    assert unanswered > rounds  # the writers did get to work
    # Nothing was repaired in between: the interrupted call is simply made again
    final = SignalStore.open(url)
    commit(final, RACED, 1)
    assert final.signal_status(RACED, EPOCH, at=COMMITS).escrow_rao == ante(1) * RAO
    final.close()


def test_a_killed_writer_leaves_what_was_answered_and_nothing_half_done(store, url):
    kill_writers(url, store, rounds=12)


@pytest.mark.soak
def test_two_hundred_killed_writers_leave_what_was_answered(store, url):
    kill_writers(url, store, rounds=200)
