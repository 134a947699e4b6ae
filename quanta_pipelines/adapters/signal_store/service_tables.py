"""Tables of the service around the intake: participants, pools, disputes, administration, nonces.

Events are only ever added, like the intake's rows; a current state is folded from them. Numbers
within a hotkey, member or dispute are unique, so two requests at once cannot both be the next one.
Nonces alone are deleted, when they have expired.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from quanta_pipelines.adapters.signal_store.tables import (
    EPOCH_ID,
    HEX64,
    HOTKEY,
    METADATA,
    ROW_ID,
    Instant,
    Submitted,
)

_DECIDES = text("event IN ('confirm', 'dismiss')")
_CLOSES = text("event IN ('upheld', 'dismissed', 'withdrawn')")

PARTICIPANT_EVENTS = Table(
    "participant_events",
    METADATA,
    Column("hotkey", HOTKEY, primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("coldkey", HOTKEY),
    Column("role", String(16), nullable=False),
    Column("since", Instant, nullable=False),
)

POOL_EVENTS = Table(
    "pool_events",
    METADATA,
    Column("member", HOTKEY, primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("operator", HOTKEY, nullable=False),
    Column("event", String(6), nullable=False),  # 'joined' or 'left'
    Column("at", Instant, nullable=False),
    CheckConstraint(
        "(ordinal % 2 = 1 AND event = 'joined') OR (ordinal % 2 = 0 AND event = 'left')",
        name="joined_and_left_in_turn",
    ),
)

DISPUTES = Table(
    "disputes",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("epoch_id", EPOCH_ID, nullable=False),
    Column("opened_by", HOTKEY, nullable=False),
    Column("reason", Submitted, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("content_hash", HEX64, nullable=False),
    Column("opened_at", Instant, nullable=False),
    UniqueConstraint("epoch_id", "opened_by", "content_hash", name="one_dispute_per_content"),
)

DISPUTE_EVENTS = Table(
    "dispute_events",
    METADATA,
    Column("dispute_id", ROW_ID, ForeignKey("disputes.id"), primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("event", String(9), nullable=False),
    Column("actor", Submitted, nullable=False),
    Column("note", Submitted, nullable=False),
    Column("at", Instant, nullable=False),
    Index(
        "a_dispute_closes_once",
        "dispute_id",
        unique=True,
        sqlite_where=_CLOSES,
        postgresql_where=_CLOSES,
    ),
)

DISPUTE_EVIDENCE = Table(
    "dispute_evidence",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("dispute_id", ROW_ID, ForeignKey("disputes.id"), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("author", Submitted, nullable=False),
    Column("document", Text, nullable=False),  # canonical JSON
    Column("content_hash", HEX64, nullable=False),
    Column("at", Instant, nullable=False),
    UniqueConstraint("dispute_id", "content_hash", name="evidence_is_given_once"),
    CheckConstraint("kind IN ('cells', 'replay')", name="evidence_is_cells_or_a_replay"),
)

CASE_EVENTS = Table(
    "case_events",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("case_id", String(48), nullable=False),
    Column("event", String(7), nullable=False),  # 'review', 'confirm' or 'dismiss'
    Column("author", Submitted, nullable=False),
    Column("reason", Submitted, nullable=False),
    Column("evidence", Submitted, nullable=False),
    Column("at", Instant, nullable=False),
    Index("events_of_a_case", "case_id"),
    Index(
        "a_case_is_decided_once",
        "case_id",
        unique=True,
        sqlite_where=_DECIDES,
        postgresql_where=_DECIDES,
    ),
)

ADMIN_ACTIONS = Table(
    "admin_actions",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("actor", Submitted, nullable=False),
    Column("action", Submitted, nullable=False),
    Column("payload", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Index("admin_actions_by_time", "at"),
)

NONCES = Table(
    "nonces",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("hotkey", HOTKEY, nullable=False),
    Column("nonce", String(64), nullable=False),
    Column("expires_at", Instant, nullable=False),
    UniqueConstraint("hotkey", "nonce", name="a_nonce_is_used_once"),
    Index("nonces_by_expiry", "expires_at"),
)
