"""Corrections of settled prices, append-only."""

import sqlalchemy as sa
from alembic import op

from quanta_pipelines.adapters.signal_store.migrations.append_only import refuse_changes

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLE = "price_corrections"
ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("ticker", sa.String(8), nullable=False),
        sa.Column("session", sa.Date, nullable=False),
        sa.Column("field", sa.String(8), nullable=False),
        sa.Column("old_value", sa.Double),
        sa.Column("new_value", sa.Double, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("corrections_of_a_cell", TABLE, ["ticker", "session", "field"])
    refuse_changes(TABLE)


def downgrade() -> None:
    op.drop_table(TABLE)
