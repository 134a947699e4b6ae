"""Runs the commands of the README as they stand there, after ``make demo``.

``make demo`` and ``make test`` are left to ``run``, which calls them itself. Servers are started,
asked, and stopped. HOTKEY stands for the best miner of the epoch that the command names. The first
command that fails, or says nothing, ends it with 1 and what it said.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parent.parent
BY_OTHERS = ("make demo", "make test")
SERVERS = {"make ui": "http://127.0.0.1:3000", "make api": "http://127.0.0.1:8000"}
PATIENCE = 120  # seconds until a server answers
GRACE = 30  # seconds to stop in


def commands(readme: str) -> list[str]:
    """Commands of the fenced blocks that stand below the two commands, comments cut off."""
    chapter = readme.split("## Two commands")[1].split("\n## ")[0]
    lines = "\n".join(re.findall(r"^```\n(.*?)^```", chapter, flags=re.M | re.S))
    found: list[str] = []
    for line in lines.splitlines():
        if found and line.startswith(" "):  # goes on
            found[-1] += "\n" + line
        else:
            found.append(re.sub(r"\s+# .*", "", line))
    return [command for command in found if command]


def best_miner(epoch_id: str) -> str:
    """The first of an epoch's leaderboard."""
    board = pd.read_parquet(ROOT / "var" / "warehouse" / "leaderboard.parquet")
    return str(board[(board["epoch_id"] == epoch_id) & (board["rank"] == 1)]["hotkey"].iloc[0])


def run(command: str) -> None:
    """One command in a shell, from the checkout."""
    if "HOTKEY" in command:
        epoch_id = re.findall(r"\d{4}-Q\d-W\d\d", command)[0]
        command = command.replace("HOTKEY", best_miner(epoch_id))
    began = time.monotonic()
    done = subprocess.run(  # noqa: S602 - the README's own lines
        command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout.strip():
        sys.exit(f"$ {command}\n{done.stdout}{done.stderr}\nit left with {done.returncode}")
    say(began, command)


def answers(command: str, address: str) -> None:
    """Starts a server, waits until it answers, and stops it with all that it started."""
    began = time.monotonic()
    server = subprocess.Popen(  # noqa: S603 - the README's own lines
        shlex.split(command), cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 - errors raise
                break
            except OSError as problem:
                if server.poll() is not None or time.monotonic() - began > PATIENCE:
                    sys.exit(f"$ {command}\n{address} does not answer: {problem}")
                time.sleep(0.5)
    finally:
        stop(server)
    say(began, command)


def stop(server: "subprocess.Popen[bytes]") -> None:
    """Ends a server with all that it started.

    Whoever started this program may have told it to ignore SIGTERM, which a server inherits.
    """
    for signalled in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is None:
            os.killpg(server.pid, signalled)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=GRACE)
            return


def say(began: float, command: str) -> None:
    """A command's first line, and what it took."""
    sys.stdout.write(f"{time.monotonic() - began:6.1f} s  {command.splitlines()[0]}\n")
    sys.stdout.flush()


def main() -> None:
    """All of them, in the order of the page."""
    for command in commands((ROOT / "README.md").read_text()):
        if command in SERVERS:
            answers(command, SERVERS[command])
        elif command not in BY_OTHERS:
            run(command)


if __name__ == "__main__":
    main()
