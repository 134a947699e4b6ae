"""Amounts of a snapshot in their own unit, with the rate that they were converted at."""

import sqlalchemy as sa
from alembic import op

from quanta_pipelines.adapters.signal_store.migrations.append_only import refuse_changes

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE = "snapshot_conversions"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("epoch_id", sa.String(11), sa.ForeignKey("snapshots.epoch_id"), primary_key=True),
        sa.Column("purpose", sa.String(8), primary_key=True),
        sa.Column("unit", sa.String(12), nullable=False),
        sa.Column("amount", sa.String(64), nullable=False),
        sa.Column("rate", sa.String(64), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("quoted_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("purpose IN ('emission', 'external')", name="what_is_converted"),
    )
    refuse_changes(TABLE)


def downgrade() -> None:
    op.drop_table(TABLE)
