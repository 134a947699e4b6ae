"""A process that fetches from a replica until it is done or killed.

    python fetching.py NAME URL HOME [COUNT]

With COUNT it kills itself with SIGKILL right before the COUNT-th change to a file below HOME.
Prints the content hash of the rows, and how many tickers were lost.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from quanta_pipelines.adapters.table_format import content_hash
from tests.vendor_replicas.wired import FETCHED_AT, FIRST, LAST, TICKERS, vendor_at


def kill_at(number: int, home: str) -> None:
    """Arrange for the end of this process."""
    seen = 0

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = name == "os.rename" or (name == "open" and str(arguments[1])[:1] in ("w", "x"))
        if writes and isinstance(arguments[0], str | os.PathLike) and home in str(arguments[0]):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    vendor_name, address, folder, *count = sys.argv[1:]
    if count:
        kill_at(int(count[0]), folder)
    vendor = vendor_at(vendor_name, address, Path(folder))
    object.__setattr__(vendor, "workers", 1)
    outcome = vendor.ask(TICKERS, FIRST, LAST, since=FETCHED_AT)
    print(content_hash(outcome.rows), len(outcome.losses))  # noqa: T201
