"""A PostgreSQL server of the tests' own, from the system's binaries, in a temporary folder."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import pytest

MISSING = "no PostgreSQL server found (initdb, pg_ctl): apt-get install postgresql"
PASSWORD = "kept-out-of-messages"
# The tests kill clients and stop the server in order; none cuts its power, so it need not sync
FAST = "-c fsync=off -c full_page_writes=off -c shared_buffers=16MB -c max_connections=150"


def binaries() -> Path:
    """Folder of ``initdb`` and ``pg_ctl``, the newest version first; a missing one fails the test.

    Debian keeps them out of the path; ``pg_config`` may belong to the client's library alone.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    if shutil.which("pg_config"):
        said = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        folders.insert(0, Path(said.stdout.strip()))
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    pytest.fail(MISSING, pytrace=False)


def _version(folder: Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdigit() else 0


class PostgresServer:
    """A server on a free port of the loopback address, run by an unprivileged user."""

    def __init__(self) -> None:
        self._bin = binaries()
        self._user = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="quanta-postgres-"))
        if self._user:
            shutil.chown(self.folder, self._user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self.run(
            "initdb",
            f"--pgdata={self._data}",
            "--username=quanta",
            "--auth=scram-sha-256",
            f"--pwfile={password}",
            "--encoding=UTF8",
            "--no-sync",
        )
        self.start()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of the server's programs; its failure fails the test with the server's log."""
        try:
            subprocess.run(
                [self._bin / program, *arguments],
                check=True,
                cwd=self.folder,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # a pipe would stay open as long as the server runs
                stderr=subprocess.DEVNULL,
                timeout=60,
            )
        except subprocess.CalledProcessError:
            log = self.folder / "log"
            pytest.fail(f"{program} failed: {log.read_text() if log.exists() else 'no log'}")

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        listen = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder}"
        log = self.folder / "log"
        options = f"--options={listen} {FAST}"
        self.run("pg_ctl", "start", "--wait", f"--pgdata={self._data}", f"--log={log}", options)

    def stop(self) -> None:
        """Ends all sessions and the server, in order."""
        self.run("pg_ctl", "stop", "--wait", "--mode=fast", f"--pgdata={self._data}")

    def remove(self) -> None:
        """Stops the server and removes its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str) -> str:
        """SQLAlchemy address of a database."""
        return f"postgresql://quanta:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Makes an empty database anew and returns its address."""
        connection = psycopg2.connect(self.url("postgres"))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            cursor.execute(f'CREATE DATABASE "{database}"')
        connection.close()
        return self.url(database)


def _unprivileged() -> str | None:
    """User to run the server as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
