"""Where a table's files lie below the lake's root, for all that write or read them.

Every name is checked before it becomes a part of a path. How the files come about is the business
of ``lake``, ``publication_order`` and ``gate_verdicts``.
"""

import re

from quanta_pipelines.adapters.atomic_files import AtomicFiles

NAME = re.compile(r"[a-z_]+")
EPOCH = re.compile(r"[0-9]{4}-Q[1-4]-W[0-9]{2}")
HASH = re.compile(r"[0-9a-f]{64}")


class InvalidName(ValueError):
    """A table, check, epoch or hash that cannot be part of a path."""


class MissingTable(LookupError):
    """A table, or a version of it, that was never published for an epoch."""


def valid(form: re.Pattern[str], name: str) -> str:
    """The name, if all of it has the form."""
    if not form.fullmatch(name):
        raise InvalidName(f"{name!r} does not have the form {form.pattern}")
    return name


def current_file(table: str, epoch_id: str) -> str:
    """The table that is current."""
    return f"{valid(NAME, table)}/{valid(EPOCH, epoch_id)}.parquet"


def versions_folder(table: str, epoch_id: str) -> str:
    """Each version that was ever published, by content hash."""
    return f"{valid(NAME, table)}/_versions/{valid(EPOCH, epoch_id)}"


def stored(files: AtomicFiles, table: str, epoch_id: str, name: str) -> bytes:
    """All bytes of a table's file; raises ``MissingTable``."""
    try:
        return files.read(name)
    except FileNotFoundError:
        raise MissingTable(f"{table} {epoch_id}: no file {files.path(name)}") from None
