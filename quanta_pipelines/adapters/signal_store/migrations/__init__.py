"""Alembic revisions of the signal store; ``SignalStore.open`` applies them."""
