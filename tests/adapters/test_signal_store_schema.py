"""Revisions of the signal store: up, down, with rows in it, newer and older than the code."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.exc import DBAPIError

from quanta_pipelines.adapters.signal_store import (
    NewerSchema,
    OlderSchema,
    SignalStore,
    database,
    schema,
)
from quanta_pipelines.adapters.signal_store.tables import METADATA
from tests.adapters.store_clients import COMMITS, EPOCH, commit, hotkey

ALICE, BOB = hotkey("alice"), hotkey("bob")
GROWING = sorted(set(METADATA.tables) - {"nonces"})


@pytest.fixture
def engine(new_url: str) -> Iterator[Engine]:
    engine = database.connect(new_url)
    yield engine
    engine.dispose()


def to(engine: Engine, revision: str, step: Callable[..., None] = command.upgrade) -> None:
    config = schema._config()
    with database.writing(engine, "schema") as connection:
        config.attributes["connection"] = connection
        step(config, revision)


def test_migrations_give_the_tables_that_the_code_expects(engine):
    assert schema.upgrade(engine).before is None
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_migrations_give_the_constraints_that_the_code_names(engine):
    schema.upgrade(engine)
    found = inspect(engine)
    for table in METADATA.tables.values():
        named = {constraint.name for constraint in table.constraints} | {
            index.name for index in table.indexes
        }
        there = [
            *found.get_unique_constraints(table.name),
            *found.get_check_constraints(table.name),
            *found.get_indexes(table.name),
        ]
        assert named - {None} <= {each["name"] for each in there}, table.name


def test_sqlite_is_durable_and_keeps_foreign_keys(tmp_path):
    engine = database.connect(f"sqlite:///{tmp_path}/signals.db", timeout_seconds=7)
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout")
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert found == ["wal", 2, 1, 1, 7000]  # 2 is FULL
    engine.dispose()


def test_postgresql_is_durable_and_bounds_its_waits(postgres_url):
    engine = database.connect(postgres_url, timeout_seconds=7)
    settings = ("synchronous_commit", "lock_timeout", "statement_timeout", "transaction_isolation")
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in settings]
    assert found == ["on", "7s", "14s", "read committed"]
    engine.dispose()


@pytest.mark.parametrize("table", GROWING)
def test_every_table_but_the_nonces_only_grows(engine, table):
    schema.upgrade(engine)
    kinds = {"sqlite": ("no_update", "no_delete"), "postgresql": ("only_grows", "not_truncated")}
    assert _triggers(engine, table) == {f"{table}_{kind}" for kind in kinds[engine.dialect.name]}


def _triggers(engine: Engine, table: str) -> set[str]:
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{}'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal "
        "AND tgrelid = '{}'::regclass",
    }[engine.dialect.name].format(table)
    with engine.connect() as connection:
        return set(connection.exec_driver_sql(query).scalars())


def test_postgresql_refuses_to_truncate(postgres_url):
    engine = create_engine(postgres_url)
    with pytest.raises(DBAPIError, match="only grows"), engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE commitments CASCADE")
    engine.dispose()


def test_replacing_a_row_in_sqlite_is_refused_too(tmp_path):
    store = SignalStore.open(f"sqlite:///{tmp_path}/signals.db")
    commit(store, ALICE, 1)
    with pytest.raises(DBAPIError, match="only grows"):  # noqa: SIM117
        with database.writing(store._engine, "any") as connection:
            connection.exec_driver_sql(
                "INSERT OR REPLACE INTO commitments SELECT id, hotkey, epoch_id, commitment, 1, "
                "received_at, ordinal FROM commitments"
            )
    store.close()


def test_what_was_committed_before_is_numbered_and_its_ante_posted(engine, new_url):
    to(engine, "0001")
    moment = (
        COMMITS.isoformat(sep=" ")
        if engine.dialect.name == "postgresql"
        else (COMMITS.strftime("%Y-%m-%d %H:%M:%S.%f"))
    )
    rows = [  # number, miner, ante in rao; Alice replaced hers, both at the same moment
        (1, ALICE, 50_000_000_000),
        (2, BOB, 20_000_000_000),
        (3, ALICE, 30_000_000_000),
    ]
    with engine.begin() as connection:
        for number, miner, rao in rows:
            connection.exec_driver_sql(
                "INSERT INTO commitments (id, hotkey, epoch_id, commitment, ante_rao, received_at) "
                f"VALUES ({number}, '{miner}', '{EPOCH.id}', '{number:064}', {rao}, '{moment}')"
            )
    change = schema.upgrade(engine)
    assert (change.before, change.after) == ("0001", schema.head())
    store = SignalStore.open(new_url)
    standing = store.commitments(EPOCH.id).set_index("hotkey")
    assert standing["n_replaced"].to_dict() == {ALICE: 1, BOB: 0}
    assert standing["received_at"].tolist() == [COMMITS, COMMITS]
    held = store.escrow(EPOCH.id).set_index("hotkey")["escrow_rao"].to_dict()
    assert held == {ALICE: 30_000_000_000, BOB: 20_000_000_000}
    moved = store.escrow_movements(EPOCH.id)
    assert moved["reason"].tolist() == ["ante_posted"] * 3 + ["ante_replaced"]
    assert store.problems() == ()
    if engine.dialect.name == "sqlite":  # PostgreSQL's sequence does not know the rows from above
        assert commit(store, ALICE, 4).replaced == 2
    store.close()


def test_the_revisions_go_down_again(engine):
    schema.upgrade(engine)
    with engine.connect() as connection:
        before = MigrationContext.configure(connection).get_current_revision()
    to(engine, "0001", command.downgrade)
    assert schema.upgrade(engine).before == "0001"
    to(engine, "base", command.downgrade)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert schema.upgrade(engine).after == before


def test_a_store_of_a_newer_version_is_refused(engine, new_url):
    SignalStore.open(new_url).close()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for migrate in (True, False):
        with pytest.raises(NewerSchema, match=f"schema 9999.* none after {schema.head()}"):
            SignalStore.open(new_url, migrate=migrate)


def test_an_older_store_is_migrated_or_refused_as_asked(engine, new_url):
    to(engine, "0001")
    with pytest.raises(OlderSchema, match="run quanta db upgrade"):
        SignalStore.open(new_url, migrate=False)
    assert schema.upgrade_at(new_url).before == "0001"
    SignalStore.open(new_url, migrate=False).close()


def test_clients_that_open_a_new_store_at_once_migrate_it_once(new_url):
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: SignalStore.open(new_url), range(8)))
    assert [commit(store, ALICE, number).replaced for number, store in enumerate(stores)] == list(
        range(8)
    )
    for store in stores:
        store.close()
