"""Runs raw_prices of an epoch over HTTP, and is killed before one of its writes or renames.

    python raw_prices_run.py EPOCH URLS(json) TICKERS(json) [KIND:NUMBER]

Files below ``QUANTA_HOME`` are counted as ``killed_run`` does. The clock stands in the evening of
the epoch, so that ``fetched_at`` is the same in every run. Prints how many events of each kind
there were.
"""

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from quanta_pipelines.protocol.epoch import Epoch
from tests.pipeline.killed_run import HOME, file_events
from tests.pipeline.replica_platform import Evenings, platform_over, run_job


def main(epoch: Epoch, urls: dict[str, str], tickers: list[str], point: str | None) -> None:
    evenings = Evenings()
    evenings.move_to(epoch)
    platform = platform_over(Path(HOME), urls, tickers, epoch, clock=evenings)
    numbers: Counter[str] = Counter()

    def count(kind: str, place: str) -> None:
        if not place.startswith("lake"):
            return
        numbers[kind] += 1
        if point == f"{kind}:{numbers[kind]}":
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(file_events(count))
    result = run_job(platform, epoch, "epoch", "raw_prices")
    print(json.dumps({"succeeded": result.success, **numbers}))  # noqa: T201


if __name__ == "__main__":
    name, addresses, watched, *where = sys.argv[1:]
    main(
        Epoch.parse(name),
        json.loads(addresses),
        json.loads(watched),
        where[0] if where else None,
    )
