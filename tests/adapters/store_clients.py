"""Clients of a signal store as processes of their own: racing ones, and one that is killed.

    python store_clients.py race URL COUNT     COUNT processes do the same at the same moment
    python store_clients.py write URL          killed writers, one for each line of the input

The heavy imports are done once; the processes are forks, each with a connection of its own. What
is done is a function of the number of the call, so a test can say what the store must hold.
"""

import datetime as dt
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

from sqlalchemy import event

from quanta_pipelines.adapters.signal_store import ContradictsRecord, SignalStore, schema
from quanta_pipelines.protocol.commit_reveal import (
    Reveal,
    commitment,
    hotkey_from_public_key,
)
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.portfolio import portfolio_hash

EPOCH = Epoch.parse("2019-Q1-W10")
COMMITS = EPOCH.opens_at - dt.timedelta(hours=2)
REVEALS = EPOCH.opens_at + dt.timedelta(hours=20)
POSITIONS = tuple((ticker, "0.2") for ticker in ("AAPL", "BRK.B", "GE", "JPM", "WMT"))
MINERS = 5


def hotkey(name: str) -> str:
    """The hotkey that belongs to a name."""
    return hotkey_from_public_key(hashlib.sha256(name.encode()).digest())


def opening(miner: str, number: int) -> Reveal:
    """Reveal of a miner's commitment with a number."""
    secret = hashlib.sha256(f"secret {number}".encode()).hexdigest()
    text = commitment(portfolio_hash(POSITIONS), secret, miner, EPOCH.id)
    return Reveal(miner, EPOCH.id, text, POSITIONS, secret)


def ante(number: int) -> int:
    """Ante of a commitment with a number, in whole tokens."""
    return 10 + number % 90


def commit(store: SignalStore, miner: str, number: int) -> Any:
    """Sends the commitment with a number."""
    text = opening(miner, number).commitment
    return store.commit(miner, EPOCH, text, str(ante(number)), received_at=COMMITS)


def call(store: SignalStore, number: int) -> None:
    """The call with a number: mostly commitments, in turn with everything else that writes."""
    miner = hotkey(f"miner {number % MINERS}")
    kind = number % 8
    if kind < 4:
        commit(store, miner, number)
    elif kind == 4:
        store.reveal(opening(hotkey("nobody"), number), received_at=REVEALS)
    elif kind == 5:
        store.admin_log.record("operator", f"call {number}", {}, at=REVEALS)
    elif kind == 6:
        store.pools.join(hotkey(f"member {number}"), miner, at=REVEALS)
    else:
        store.disputes.open(miner, EPOCH, f"call {number}", {"n": number}, at=REVEALS)


def race(url: str, clients: int) -> list[dict[str, Any]]:
    """All commit for one miner, and each reveals what it committed; what each was told."""
    miner, go = hotkey("raced"), os.pipe()
    told = []
    for number in range(clients):
        out = os.pipe()
        if os.fork() == 0:
            os.close(go[1])
            _racer(url, miner, number, go[0], out[1])
        os.close(out[1])
        told.append(out[0])
    os.close(go[0])
    ready = [os.read(pipe, 1) for pipe in told]
    if ready != [b"."] * clients:
        raise RuntimeError("a client died before the start")
    os.close(go[1])  # the end of the pipe is the starting shot
    answers = [json.loads(b"".join(_chunks(pipe))) for pipe in told]
    for _ in told:
        os.wait()
    return answers


def _racer(url: str, miner: str, number: int, go: int, out: int) -> None:
    try:
        store = SignalStore.open(url, timeout_seconds=60)
        store.fix_universe(EPOCH, [ticker for ticker, _ in POSITIONS])
        os.write(out, b".")
        os.read(go, 1)
        try:
            told: dict[str, Any] = {"replaced": commit(store, miner, number).replaced}
        except ContradictsRecord:  # somebody's reveal was accepted before
            told = {"replaced": None}
        judgement = store.reveal(opening(miner, number), received_at=REVEALS)
        told["verdict"] = judgement.verdict.value
        os.write(out, json.dumps(told).encode())
    finally:
        os._exit(0)  # what is missing in the pipe says that it failed


def _chunks(pipe: int) -> Iterator[bytes]:
    while chunk := os.read(pipe, 65536):
        yield chunk


def killed(url: str, first: int, steps: int, seconds: float) -> int:
    """A writer from call ``first`` on, killed after some steps in the database, or some time.

    Returns the first call that was not answered.
    """
    out = os.pipe()
    child = os.fork()
    if child == 0:
        _writer(url, first, steps, out[1])
    os.close(out[1])
    answered = os.read(out[0], 4)
    timer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
    timer.start()
    answered += b"".join(_chunks(out[0]))
    timer.cancel()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise RuntimeError(f"the writer was not killed: {status}")
    return first + len(answered) // 4


def _writer(url: str, first: int, steps: int, out: int) -> None:
    store = SignalStore.open(url, timeout_seconds=60)
    if steps:
        left = count(steps - 1, -1)

        def step(*_: object) -> None:
            if next(left) <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(store._engine, name, step)
    for number in count(first):
        call(store, number)
        os.write(out, number.to_bytes(4, "big"))


def main() -> None:
    """Runs what the arguments name."""
    kind, url, *rest = sys.argv[1:]
    schema.head()  # read once, before the forks
    if kind == "race":
        sys.stdout.write(json.dumps(race(url, int(rest[0]))))
        return
    for line in sys.stdin:
        first, steps, seconds = line.split()
        sys.stdout.write(f"{killed(url, int(first), int(steps), float(seconds))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
