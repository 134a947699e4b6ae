"""Tables of the intake. Rows are only ever added: triggers refuse updates and deletions.

Those of participants, pools, disputes and nonces are in ``service_tables``, on the same metadata.
Every change of a table here needs a revision in ``migrations``; a test compares the two.
"""

import datetime as dt
import json
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


class Instant(TypeDecorator[dt.datetime]):
    """A moment with its zone, read back in UTC; SQLite keeps no zone, so UTC is what it gets."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: Dialect) -> dt.datetime:
        """To UTC; the store has refused a moment without a zone."""
        return cast(dt.datetime, value.astimezone(dt.UTC))

    def process_result_value(self, value: Any, _dialect: Dialect) -> dt.datetime:
        """Aware, in UTC."""
        return cast(dt.datetime, value.replace(tzinfo=value.tzinfo or dt.UTC).astimezone(dt.UTC))


class Submitted(TypeDecorator[Any]):
    """What an outsider sent, as JSON text: PostgreSQL holds no NUL, and no text lone surrogates."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: Dialect) -> str | None:
        """To ASCII; nothing stays nothing."""
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: Any, _dialect: Dialect) -> Any:
        """Back to text and lists."""
        return None if value is None else json.loads(value)


METADATA = MetaData()

ROW_ID = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER numbers itself in SQLite
HOTKEY, EPOCH_ID, HEX64 = String(48), String(11), String(64)

COMMITMENTS = Table(
    "commitments",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("hotkey", HOTKEY, nullable=False),
    Column("epoch_id", EPOCH_ID, nullable=False),
    Column("commitment", HEX64, nullable=False),
    Column("ante_rao", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("ordinal", Integer, nullable=False),  # 1 is the miner's first; the highest stands
    UniqueConstraint("epoch_id", "hotkey", "commitment", name="one_row_per_commitment"),
    UniqueConstraint("epoch_id", "hotkey", "ordinal", name="one_commitment_at_a_time"),
)

ESCROW_MOVEMENTS = Table(
    "escrow_movements",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("commitment_id", ROW_ID, ForeignKey("commitments.id"), nullable=False),
    Column("from_account", String(64), nullable=False),
    Column("to_account", String(64), nullable=False),
    Column("amount_rao", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("moved_at", Instant, nullable=False),
    UniqueConstraint("commitment_id", "reason", name="an_ante_moves_once_each_way"),
    CheckConstraint("amount_rao > 0", name="a_movement_moves_something"),
)

REVEALS = Table(
    "reveals",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("hotkey", HOTKEY, nullable=False),
    Column("epoch_id", EPOCH_ID, nullable=False),
    Column("commitment", HEX64, nullable=False),
    Column("positions", Submitted, nullable=False),
    Column("secret", Submitted, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("verdict", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("portfolio_hash", String(64), nullable=False),
    Index("reveals_of_an_epoch", "epoch_id", "hotkey"),
    Index(
        "one_accepted_reveal",
        "epoch_id",
        "hotkey",
        unique=True,
        sqlite_where=text("verdict = 'accepted'"),
        postgresql_where=text("verdict = 'accepted'"),
    ),
)

UNIVERSES = Table(
    "universes",
    METADATA,
    Column("epoch_id", EPOCH_ID, primary_key=True),
    Column("ticker", String(8), primary_key=True),
)

SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    Column("epoch_id", EPOCH_ID, primary_key=True),
    Column("emission_rao", BigInteger, nullable=False),
    Column("external_rao", BigInteger, nullable=False),
    Column("source", String(9), nullable=False),  # 'chain', 'file' or 'simulated'
)

SNAPSHOT_STAKES = Table(
    "snapshot_stakes",
    METADATA,
    Column("epoch_id", EPOCH_ID, ForeignKey("snapshots.epoch_id"), primary_key=True),
    Column("validator", HOTKEY, primary_key=True),
    Column("stake_rao", BigInteger, nullable=False),
)

SNAPSHOT_BONDS = Table(
    "snapshot_bonds",
    METADATA,
    Column("epoch_id", EPOCH_ID, ForeignKey("snapshots.epoch_id"), primary_key=True),
    Column("hotkey", HOTKEY, primary_key=True),  # a miner
    Column("bond_rao", BigInteger, nullable=False),
)

SNAPSHOT_CONVERSIONS = Table(
    "snapshot_conversions",
    METADATA,
    Column("epoch_id", EPOCH_ID, ForeignKey("snapshots.epoch_id"), primary_key=True),
    Column("purpose", String(8), primary_key=True),
    Column("unit", String(12), nullable=False),
    Column("amount", String(64), nullable=False),  # decimals as text: they are exact
    Column("rate", String(64), nullable=False),  # ALPHA for one of the unit
    Column("source", Submitted, nullable=False),
    Column("quoted_at", Instant, nullable=False),
    CheckConstraint("purpose IN ('emission', 'external')", name="what_is_converted"),
)

WEIGHT_SUBMISSIONS = Table(
    "weight_submissions",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("validator", HOTKEY, nullable=False),
    Column("epoch_id", EPOCH_ID, ForeignKey("snapshots.epoch_id"), nullable=False),
    Column("data_hash", HEX64, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("price_sources", Submitted),  # names of vendors; empty where the vote named none
    UniqueConstraint("epoch_id", "validator", name="one_vote_per_validator"),
)

SUBMITTED_WEIGHTS = Table(
    "submitted_weights",
    METADATA,
    Column("submission_id", ROW_ID, ForeignKey("weight_submissions.id"), primary_key=True),
    Column("hotkey", HOTKEY, primary_key=True),
    Column("weight_units", BigInteger, nullable=False),
    Column("composite", Double, nullable=False),
    Column("max_drawdown_7d", Double),
    Column("max_drawdown_30d", Double),
    Column("max_drawdown_90d", Double),
)

PRICE_CORRECTIONS = Table(
    "price_corrections",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("ticker", String(8), nullable=False),
    Column("session", Date, nullable=False),
    Column("field", String(8), nullable=False),  # 'close', 'dividend' or 'split'
    Column("old_value", Double),  # empty where nothing was settled
    Column("new_value", Double, nullable=False),
    Column("author", Submitted, nullable=False),
    Column("reason", Submitted, nullable=False),
    Column("evidence", Submitted, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Index("corrections_of_a_cell", "ticker", "session", "field"),
)
