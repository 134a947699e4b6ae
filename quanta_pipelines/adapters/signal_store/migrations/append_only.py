"""Triggers that refuse updates and deletions, for both databases; revision 0001 made the first."""

from alembic import op


def refuse_changes(table: str) -> None:
    """From now on the table only grows; PostgreSQL's function is that of revision 0001."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER {table}_only_grows BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        refuse_truncation(table)
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} only grows'); END"
        )


def refuse_truncation(table: str) -> None:
    """PostgreSQL only: triggers of rows do not see TRUNCATE."""
    op.execute(
        f"CREATE TRIGGER {table}_not_truncated BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def allow_changes(table: str) -> None:
    """Drops the triggers of rows, so that a revision may fill a new column."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"DROP TRIGGER {table}_only_grows ON {table}")
        op.execute(f"DROP TRIGGER IF EXISTS {table}_not_truncated ON {table}")
        return
    for change in ("update", "delete"):
        op.execute(f"DROP TRIGGER {table}_no_{change}")
