"""Revisions of the store's tables: what a database has, what the code needs, and the way there."""

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from quanta_pipelines.adapters.signal_store.database import connect, reading, writing
from quanta_pipelines.adapters.signal_store.errors import NewerSchema, OlderSchema

_ALEMBIC = Lock()  # its context is global to the process


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Revision before and after; None is an empty database."""

    address: str  # without its password
    before: str | None
    after: str | None


@lru_cache(maxsize=1)
def revisions() -> tuple[str, ...]:
    """The revisions that this code knows, the one that it needs first."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return tuple(script.revision for script in scripts)


def head() -> str:
    """The revision that this code needs."""
    return revisions()[0]


def revision(connection: Connection) -> str | None:
    """The revision that a database has."""
    return MigrationContext.configure(connection).get_current_revision()


def check(engine: Engine) -> bool:
    """Whether the store is at head; ``NewerSchema`` where this code does not know its revision."""
    with reading(engine) as connection:
        found = revision(connection)
    if found is not None and found not in revisions():
        raise NewerSchema(
            f"the signal store at {_address(engine)} has schema {found}, "
            f"this code knows none after {head()}: run the version that migrated it"
        )
    return found == head()


def require(engine: Engine) -> None:
    """Refuses a store that is not at head."""
    if not check(engine):
        raise OlderSchema(
            f"the signal store at {_address(engine)} is older than schema {head()}: "
            "run quanta db upgrade"
        )


def upgrade(engine: Engine) -> Upgrade:
    """Migrates to head in one transaction; several processes may do so at once."""
    if check(engine):  # without a lock: the usual case
        return Upgrade(_address(engine), head(), head())
    config = _config()
    with _ALEMBIC, writing(engine, "schema") as connection:
        if connection.dialect.name == "postgresql":  # filling a new column may take its time
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        before = revision(connection)
        if before != head():  # another process may have done it while this one waited
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return Upgrade(_address(engine), before, revision(connection))


def upgrade_at(url: str) -> Upgrade:
    """Migrates the store at an SQLAlchemy URL to head."""
    engine = connect(url)
    try:
        return upgrade(engine)
    finally:
        engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", f"{__package__}:migrations")
    return config


def _address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)
