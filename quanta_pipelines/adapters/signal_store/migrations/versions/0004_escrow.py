"""Commitments are numbered per miner and epoch, and every ante's way through escrow is a row.

What was committed before gets its numbers and its movements in the same transaction.
"""

import sqlalchemy as sa
from alembic import op

from quanta_pipelines.adapters.signal_store.migrations.append_only import (
    allow_changes,
    refuse_changes,
    refuse_truncation,
)

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
NEVER_TRUNCATED = (
    "reveals",
    "universes",
    "snapshots",
    "snapshot_stakes",
    "weight_submissions",
    "submitted_weights",
)


def upgrade() -> None:
    allow_changes("commitments")
    _number_commitments()
    refuse_changes("commitments")
    op.create_table(
        "escrow_movements",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("commitment_id", ROW_ID, sa.ForeignKey("commitments.id"), nullable=False),
        sa.Column("from_account", sa.String(64), nullable=False),
        sa.Column("to_account", sa.String(64), nullable=False),
        sa.Column("amount_rao", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("commitment_id", "reason", name="an_ante_moves_once_each_way"),
        sa.CheckConstraint("amount_rao > 0", name="a_movement_moves_something"),
    )
    _post_antes()
    refuse_changes("escrow_movements")
    if op.get_context().dialect.name == "postgresql":
        for table in NEVER_TRUNCATED:
            refuse_truncation(table)


def downgrade() -> None:
    op.drop_table("escrow_movements")
    allow_changes("commitments")
    with op.batch_alter_table("commitments") as batch:
        batch.drop_constraint("one_commitment_at_a_time", type_="unique")
        batch.drop_column("ordinal")
    refuse_changes("commitments")
    if op.get_context().dialect.name == "postgresql":
        for table in ("commitments", *NEVER_TRUNCATED):
            op.execute(f"DROP TRIGGER {table}_not_truncated ON {table}")


def _number_commitments() -> None:
    """In the order of receipt; the last one has been the standing one all along."""
    op.add_column("commitments", sa.Column("ordinal", sa.Integer, nullable=True))
    op.execute(
        "UPDATE commitments SET ordinal = (SELECT count(*) FROM commitments AS earlier "
        "WHERE earlier.epoch_id = commitments.epoch_id AND earlier.hotkey = commitments.hotkey "
        "AND (earlier.received_at, earlier.id) <= (commitments.received_at, commitments.id))"
    )
    with op.batch_alter_table("commitments") as batch:
        batch.alter_column("ordinal", existing_type=sa.Integer, nullable=False)
        batch.create_unique_constraint(
            "one_commitment_at_a_time", ["epoch_id", "hotkey", "ordinal"]
        )


def _post_antes() -> None:
    """Each ante goes into escrow; where a newer commitment came, the earlier one's goes back."""
    columns = "(commitment_id, from_account, to_account, amount_rao, reason, moved_at)"
    op.execute(
        f"INSERT INTO escrow_movements {columns} "
        "SELECT id, 'miner:' || hotkey, 'escrow:' || hotkey, ante_rao, 'ante_posted', received_at "
        "FROM commitments ORDER BY id"
    )
    op.execute(
        f"INSERT INTO escrow_movements {columns} "
        "SELECT old.id, 'escrow:' || old.hotkey, 'miner:' || old.hotkey, old.ante_rao, "
        "'ante_replaced', newer.received_at FROM commitments AS old JOIN commitments AS newer "
        "ON newer.epoch_id = old.epoch_id AND newer.hotkey = old.hotkey "
        "AND newer.ordinal = old.ordinal + 1 ORDER BY newer.id"
    )
