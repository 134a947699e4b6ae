"""Runs revisions on the connection that ``database`` hands over, in its transaction."""

from alembic import context

from quanta_pipelines.adapters.signal_store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
