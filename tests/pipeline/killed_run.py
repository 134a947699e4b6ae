"""Runs the real ``quanta`` command and kills it before one of its writes, renames or commits.

    python killed_run.py EVENTS [KIND:NUMBER] -- ARGUMENTS

Events below ``QUANTA_HOME`` are counted: what Python's audit hooks tell of files, and every commit
that passes through SQLAlchemy, which are those of the signal store and of Dagster's own records.
Without a point the events are listed in the file EVENTS. With one, the process sends itself
SIGKILL right before that event is carried out.
"""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

HOME = os.path.realpath(os.environ["QUANTA_HOME"])
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
KIND_OF = {
    "open": "write",
    "os.mkdir": "write",
    "os.rename": "rename",
    "os.remove": "rename",
    "os.rmdir": "rename",
}
AT_FOLDER = {"os.mkdir": 2, "os.rename": 2, "os.remove": 1, "os.rmdir": 1}


def below_home(path: Any, folder: int = -1) -> str | None:
    """The path relative to the home, nothing when it lies elsewhere."""
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    place = os.fsdecode(path)
    if folder >= 0:
        place = str(Path(f"/proc/self/fd/{folder}").readlink() / place)
    place = os.path.abspath(place)  # noqa: PTH100 - a link must not be followed
    return os.path.relpath(place, HOME) if place.startswith(HOME + os.sep) else None


def file_events(count: Callable[[str, str], None]) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that reports what changes a file below the home."""

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name not in KIND_OF:
            return
        if name == "open":
            _, mode, flags = arguments
            if not (set(mode) & set("wax+") if mode else (flags or 0) & WRITING):
                return
        folder = arguments[AT_FOLDER[name]] if name in AT_FOLDER else -1
        place = below_home(arguments[0], folder)
        if place is not None:
            count(KIND_OF[name], place)

    return hook


def main(target: Path, point: str | None, arguments: list[str]) -> None:
    seen: list[tuple[str, str]] = []
    numbers: Counter[str] = Counter()

    def count(kind: str, place: str) -> None:
        numbers[kind] += 1
        if point == f"{kind}:{numbers[kind]}":
            os.kill(os.getpid(), signal.SIGKILL)
        seen.append((kind, place))

    sys.addaudithook(file_events(count))
    event.listen(Engine, "commit", lambda connection: count("commit", str(connection.engine.url)))
    try:
        from quanta_pipelines.cli import main as quanta

        quanta(arguments)
    finally:
        if point is None:
            target.write_text(json.dumps(list(seen)))


if __name__ == "__main__":
    at = sys.argv.index("--")
    main(Path(sys.argv[1]), sys.argv[2] if at == 3 else None, sys.argv[at + 1 :])
