"""What operators decide about cases, append-only, and the bonds of miners beside a snapshot."""

import sqlalchemy as sa
from alembic import op

from quanta_pipelines.adapters.signal_store.migrations.append_only import refuse_changes

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
EVENTS, BONDS = "case_events", "snapshot_bonds"


def upgrade() -> None:
    op.create_table(
        EVENTS,
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("case_id", sa.String(48), nullable=False),
        sa.Column("event", sa.String(7), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("events_of_a_case", EVENTS, ["case_id"])
    decides = sa.text("event IN ('confirm', 'dismiss')")
    op.create_index(
        "a_case_is_decided_once",
        EVENTS,
        ["case_id"],
        unique=True,
        sqlite_where=decides,
        postgresql_where=decides,
    )
    refuse_changes(EVENTS)
    op.create_table(
        BONDS,
        sa.Column("epoch_id", sa.String(11), sa.ForeignKey("snapshots.epoch_id"), primary_key=True),
        sa.Column("hotkey", sa.String(48), primary_key=True),
        sa.Column("bond_rao", sa.BigInteger, nullable=False),
    )
    refuse_changes(BONDS)


def downgrade() -> None:
    op.drop_table(BONDS)
    op.drop_table(EVENTS)
