"""When Dagster's daemon last gave a sign of life, read from its storage without Dagster.

Its schedules close and settle epochs; where nothing beats, nothing is settled by itself.
"""

import datetime as dt
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

_NEWEST = text("select max(timestamp) as beat from daemon_heartbeats")


class NotReachable(LookupError):
    """Storage that is not there, cannot be read or holds no heartbeat."""


def last_heartbeat(dagster_home: Path, postgres_url: str = "") -> dt.datetime:
    """The newest heartbeat of any daemon; from PostgreSQL where an address is given."""
    records = dagster_home / "history" / "runs.db"
    if not postgres_url and not records.is_file():
        raise NotReachable("there are no records of Dagster")
    address = postgres_url or f"sqlite:///file:{records}?mode=ro&uri=true"
    limits = {"connect_timeout": 2} if postgres_url else {"timeout": 2}
    engine = create_engine(address, poolclass=NullPool, connect_args=limits)
    try:
        with engine.connect() as connection:
            beat = connection.execute(_NEWEST).scalar_one()
    except SQLAlchemyError as error:
        # not its text: an address may hold a password
        raise NotReachable(f"Dagster's records cannot be read: {type(error).__name__}") from error
    if beat is None:
        raise NotReachable("no daemon of Dagster has run yet")
    return _moment(beat)


def _moment(beat: object) -> dt.datetime:
    """Dagster writes UTC without a zone; SQLite gives it back as text."""
    found = beat if isinstance(beat, dt.datetime) else dt.datetime.fromisoformat(str(beat))
    return found.replace(tzinfo=dt.UTC)
