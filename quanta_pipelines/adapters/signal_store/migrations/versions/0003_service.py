"""Participants, pools, disputes and administration as events, and nonces."""

import sqlalchemy as sa
from alembic import op

from quanta_pipelines.adapters.signal_store.migrations.append_only import refuse_changes

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
HOTKEY, EPOCH_ID, HEX64 = sa.String(48), sa.String(11), sa.String(64)
MOMENT = sa.DateTime(timezone=True)
GROWING = ("participant_events", "pool_events", "disputes", "dispute_events", "admin_actions")


def upgrade() -> None:
    _participants_and_pools()
    _disputes()
    _administration()
    _nonces()
    for table in GROWING:
        refuse_changes(table)


def downgrade() -> None:
    for table in ("nonces", *reversed(GROWING)):
        op.drop_table(table)


def _participants_and_pools() -> None:
    op.create_table(
        "participant_events",
        sa.Column("hotkey", HOTKEY, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("coldkey", HOTKEY),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
    )
    op.create_table(
        "pool_events",
        sa.Column("member", HOTKEY, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("operator", HOTKEY, nullable=False),
        sa.Column("event", sa.String(6), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "(ordinal % 2 = 1 AND event = 'joined') OR (ordinal % 2 = 0 AND event = 'left')",
            name="joined_and_left_in_turn",
        ),
    )


def _disputes() -> None:
    op.create_table(
        "disputes",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("epoch_id", EPOCH_ID, nullable=False),
        sa.Column("opened_by", HOTKEY, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("content_hash", HEX64, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.UniqueConstraint(
            "epoch_id", "opened_by", "content_hash", name="one_dispute_per_content"
        ),
    )
    op.create_table(
        "dispute_events",
        sa.Column("dispute_id", ROW_ID, sa.ForeignKey("disputes.id"), primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("event", sa.String(9), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )
    closes = sa.text("event IN ('upheld', 'dismissed', 'withdrawn')")
    op.create_index(
        "a_dispute_closes_once",
        "dispute_events",
        ["dispute_id"],
        unique=True,
        sqlite_where=closes,
        postgresql_where=closes,
    )


def _administration() -> None:
    op.create_table(
        "admin_actions",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )
    op.create_index("admin_actions_by_time", "admin_actions", ["at"])


def _nonces() -> None:
    op.create_table(
        "nonces",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("hotkey", HOTKEY, nullable=False),
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.UniqueConstraint("hotkey", "nonce", name="a_nonce_is_used_once"),
    )
    op.create_index("nonces_by_expiry", "nonces", ["expires_at"])
