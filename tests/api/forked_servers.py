"""Starts the service in forks of one process that has imported it: each a server of its own.

    python forked_servers.py

Reads a line ``PORT`` and answers with the number of the new server. Reads ``wait NUMBER`` and
answers with how that server ended. Settings come from the environment. Importing takes seconds,
which a test that kills hundreds of servers does not have.
"""

import os
import sys

from quanta_pipelines.api import __main__ as service
from quanta_pipelines.settings import current_settings


def started(port: str) -> int:
    child = os.fork()
    if child == 0:
        try:
            os.environ["QUANTA_API_PORT"] = port
            current_settings.cache_clear()
            service.main()
        finally:
            os._exit(1)
    return child


def main() -> None:
    for line in sys.stdin:
        first, *rest = line.split()
        if first == "wait":
            _, status = os.waitpid(int(rest[0]), 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = started(first)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
