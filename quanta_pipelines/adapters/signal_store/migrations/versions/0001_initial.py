"""Commitments, reveals, universes, snapshots and votes, all append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
HOTKEY, EPOCH_ID, HEX64 = sa.String(48), sa.String(11), sa.String(64)
MOMENT = sa.DateTime(timezone=True)
TABLES = (
    "commitments",
    "reveals",
    "universes",
    "snapshots",
    "snapshot_stakes",
    "weight_submissions",
    "submitted_weights",
)


def upgrade() -> None:
    _signals()
    _snapshots()
    _votes()
    _refuse_changes()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")


def _signals() -> None:
    op.create_table(
        "commitments",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("hotkey", HOTKEY, nullable=False),
        sa.Column("epoch_id", EPOCH_ID, nullable=False),
        sa.Column("commitment", HEX64, nullable=False),
        sa.Column("ante_rao", sa.BigInteger, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.UniqueConstraint("epoch_id", "hotkey", "commitment", name="one_row_per_commitment"),
    )
    op.create_table(
        "reveals",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("hotkey", HOTKEY, nullable=False),
        sa.Column("epoch_id", EPOCH_ID, nullable=False),
        sa.Column("commitment", HEX64, nullable=False),
        sa.Column("positions", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("portfolio_hash", sa.String(64), nullable=False),
    )
    op.create_index("reveals_of_an_epoch", "reveals", ["epoch_id", "hotkey"])
    accepted = sa.text("verdict = 'accepted'")
    op.create_index(
        "one_accepted_reveal",
        "reveals",
        ["epoch_id", "hotkey"],
        unique=True,
        sqlite_where=accepted,
        postgresql_where=accepted,
    )


def _snapshots() -> None:
    op.create_table(
        "universes",
        sa.Column("epoch_id", EPOCH_ID, primary_key=True),
        sa.Column("ticker", sa.String(8), primary_key=True),
    )
    op.create_table(
        "snapshots",
        sa.Column("epoch_id", EPOCH_ID, primary_key=True),
        sa.Column("emission_rao", sa.BigInteger, nullable=False),
        sa.Column("external_rao", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String(9), nullable=False),
    )
    op.create_table(
        "snapshot_stakes",
        sa.Column("epoch_id", EPOCH_ID, sa.ForeignKey("snapshots.epoch_id"), primary_key=True),
        sa.Column("validator", HOTKEY, primary_key=True),
        sa.Column("stake_rao", sa.BigInteger, nullable=False),
    )


def _votes() -> None:
    op.create_table(
        "weight_submissions",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("validator", HOTKEY, nullable=False),
        sa.Column("epoch_id", EPOCH_ID, sa.ForeignKey("snapshots.epoch_id"), nullable=False),
        sa.Column("data_hash", HEX64, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.UniqueConstraint("epoch_id", "validator", name="one_vote_per_validator"),
    )
    op.create_table(
        "submitted_weights",
        sa.Column(
            "submission_id", ROW_ID, sa.ForeignKey("weight_submissions.id"), primary_key=True
        ),
        sa.Column("hotkey", HOTKEY, primary_key=True),
        sa.Column("weight_units", sa.BigInteger, nullable=False),
        sa.Column("composite", sa.Double, nullable=False),
        sa.Column("max_drawdown_7d", sa.Double),
        sa.Column("max_drawdown_30d", sa.Double),
        sa.Column("max_drawdown_90d", sa.Double),
    )


def _refuse_changes() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' only grows'; END $$"
        )
        for table in TABLES:
            op.execute(
                f"CREATE TRIGGER {table}_only_grows BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
            )
        return
    for table in TABLES:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} only grows'); END"
            )
