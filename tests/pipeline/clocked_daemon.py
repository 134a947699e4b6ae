"""Dagster's daemon with a scheduler whose clock a file moves.

    python clocked_daemon.py FILE ARGUMENTS

FILE holds seconds that are added to the time that schedules tick by, and may change while the
daemon runs. Everything else of the daemon, and every process that it starts, has the real time.
"""

import sys
from datetime import datetime, timedelta
from pathlib import Path

from dagster._daemon.cli import main
from dagster._scheduler import scheduler
from dagster._time import get_current_datetime


def run(file: Path, arguments: list[str]) -> None:
    def now(_tz: str = "UTC") -> datetime:
        return get_current_datetime() + timedelta(seconds=float(file.read_text()))

    scheduler.get_current_datetime = now
    scheduler.get_current_timestamp = lambda: now().timestamp()
    sys.argv = ["dagster-daemon", *arguments]
    main()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
