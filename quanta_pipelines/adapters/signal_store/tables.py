"""Tables of the signal store. Rows are only ever added: triggers refuse updates and deletions.

Every change of a table here needs a revision in ``migrations``; a test compares the two.
"""

import datetime as dt
import json
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Column,
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

    def process_bind_param(self, value: Any, _dialect: Dialect) -> str:
        """To ASCII."""
        return json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: Any, _dialect: Dialect) -> Any:
        """Back to text and lists."""
        return json.loads(value)


METADATA = MetaData()

_ROW_ID = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER numbers itself in SQLite
_HOTKEY, _EPOCH_ID, _HEX64 = String(48), String(11), String(64)

COMMITMENTS = Table(
    "commitments",
    METADATA,
    Column("id", _ROW_ID, primary_key=True),
    Column("hotkey", _HOTKEY, nullable=False),
    Column("epoch_id", _EPOCH_ID, nullable=False),
    Column("commitment", _HEX64, nullable=False),
    Column("ante_rao", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False),
    UniqueConstraint("epoch_id", "hotkey", "commitment", name="one_row_per_commitment"),
)

NEWEST_FIRST = (COMMITMENTS.c.received_at.desc(), COMMITMENTS.c.id.desc())

REVEALS = Table(
    "reveals",
    METADATA,
    Column("id", _ROW_ID, primary_key=True),
    Column("hotkey", _HOTKEY, nullable=False),
    Column("epoch_id", _EPOCH_ID, nullable=False),
    Column("commitment", _HEX64, nullable=False),
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
    Column("epoch_id", _EPOCH_ID, primary_key=True),
    Column("ticker", String(8), primary_key=True),
)

SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    Column("epoch_id", _EPOCH_ID, primary_key=True),
    Column("emission_rao", BigInteger, nullable=False),
    Column("external_rao", BigInteger, nullable=False),
    Column("source", String(9), nullable=False),  # 'chain' or 'simulated'
)

SNAPSHOT_STAKES = Table(
    "snapshot_stakes",
    METADATA,
    Column("epoch_id", _EPOCH_ID, ForeignKey("snapshots.epoch_id"), primary_key=True),
    Column("validator", _HOTKEY, primary_key=True),
    Column("stake_rao", BigInteger, nullable=False),
)

WEIGHT_SUBMISSIONS = Table(
    "weight_submissions",
    METADATA,
    Column("id", _ROW_ID, primary_key=True),
    Column("validator", _HOTKEY, nullable=False),
    Column("epoch_id", _EPOCH_ID, ForeignKey("snapshots.epoch_id"), nullable=False),
    Column("data_hash", _HEX64, nullable=False),
    Column("received_at", Instant, nullable=False),
    UniqueConstraint("epoch_id", "validator", name="one_vote_per_validator"),
)

SUBMITTED_WEIGHTS = Table(
    "submitted_weights",
    METADATA,
    Column("submission_id", _ROW_ID, ForeignKey("weight_submissions.id"), primary_key=True),
    Column("hotkey", _HOTKEY, primary_key=True),
    Column("weight_units", BigInteger, nullable=False),
    Column("composite", Double, nullable=False),
    Column("max_drawdown_7d", Double),
    Column("max_drawdown_30d", Double),
    Column("max_drawdown_90d", Double),
)
