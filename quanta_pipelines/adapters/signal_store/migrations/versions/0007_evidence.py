"""Evidence on disputes in rows of its own, and the price sources that a vote names."""

import sqlalchemy as sa
from alembic import op

from quanta_pipelines.adapters.signal_store.migrations.append_only import refuse_changes

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "dispute_evidence",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("dispute_id", ROW_ID, sa.ForeignKey("disputes.id"), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("dispute_id", "content_hash", name="evidence_is_given_once"),
        sa.CheckConstraint("kind IN ('cells', 'replay')", name="evidence_is_cells_or_a_replay"),
    )
    refuse_changes("dispute_evidence")
    op.add_column("weight_submissions", sa.Column("price_sources", sa.Text, nullable=True))


def downgrade() -> None:
    op.drop_table("dispute_evidence")
    op.drop_column("weight_submissions", "price_sources")
