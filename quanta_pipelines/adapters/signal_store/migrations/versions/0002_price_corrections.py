"""Corrections of settled prices, append-only."""

import sqlalchemy as sa
from alembic import op

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
    _refuse_changes()


def downgrade() -> None:
    op.drop_table(TABLE)


def _refuse_changes() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER {TABLE}_only_grows BEFORE UPDATE OR DELETE ON {TABLE} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {TABLE}_no_{change.lower()} BEFORE {change} ON {TABLE} "
            f"BEGIN SELECT RAISE(ABORT, '{TABLE} only grows'); END"
        )
