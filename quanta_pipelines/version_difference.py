"""What a restatement changed: two published versions of an epoch's tables, cell by cell."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from data_contracts.tables import TABLES
from quanta_pipelines.adapters.lake import Lake, MissingTable
from quanta_pipelines.table_difference import Cells, table_cells, text_of

SHORT = 12  # characters of a content hash that are shown


@dataclass(frozen=True, slots=True)
class ChangedCell:
    """One cell that is not the same; a null is ``None``."""

    key: Mapping[str, str | None]
    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class TableChange:
    """One table between two versions, both named by their content hashes."""

    table: str
    before: str
    after: str
    rows: int  # of the later one
    added: tuple[Mapping[str, str | None], ...]  # keys of rows
    removed: tuple[Mapping[str, str | None], ...]
    cells: tuple[ChangedCell, ...]

    @property
    def columns(self) -> dict[str, int]:
        """How many cells of a column changed, in the order of the first."""
        counts: dict[str, int] = {}
        for cell in self.cells:
            counts[cell.column] = counts.get(cell.column, 0) + 1
        return counts


def changed_tables(lake: Lake, epoch_id: str) -> list[TableChange]:
    """Each table of the epoch that was published with other content, against the version before.

    Raises ``MissingTable`` where nothing at all is published of the epoch.
    """
    if not any(lake.exists(table, epoch_id) for table in TABLES):
        raise MissingTable(f"nothing of {epoch_id} is published")
    found = (last_two(lake, table, epoch_id) for table in TABLES)
    return [change_of(lake, *versions) for versions in found if versions is not None]


def last_two(lake: Lake, table: str, epoch_id: str) -> tuple[str, str, str, str] | None:
    """Table, epoch, and the last two different contents; nothing where there was only one."""
    published = lake.published(table, epoch_id)
    earlier = [content for content in published if content != published[-1]]
    return (table, epoch_id, earlier[-1], published[-1]) if earlier else None


def named_version(lake: Lake, table: str, epoch_id: str, start: str) -> str:
    """The one version whose content hash starts so; raises ``MissingTable``."""
    known = [version.content_hash for version in lake.versions(table, epoch_id)]
    fitting = [content for content in known if content.startswith(start)]
    if len(fitting) != 1:
        names = ", ".join(content[:SHORT] for content in known) or "none"
        raise MissingTable(
            f"{len(fitting)} versions of {table} {epoch_id} start with {start!r}; there are {names}"
        )
    return fitting[0]


def change_of(lake: Lake, table: str, epoch_id: str, before: str, after: str) -> TableChange:
    """What differs between two versions of one table."""
    key = TABLES[table].key()
    old, new = (
        table_cells(lake.read_version(table, epoch_id, content), key) for content in (before, after)
    )
    return TableChange(
        table=table,
        before=before,
        after=after,
        rows=len(new),
        added=tuple(dict(zip(key, at, strict=True)) for at in new if at not in old),
        removed=tuple(dict(zip(key, at, strict=True)) for at in old if at not in new),
        cells=tuple(_changed(old, new, key)),
    )


def _changed(old: Cells, new: Cells, key: Sequence[str]) -> Iterator[ChangedCell]:
    for at, row in old.items():
        if (now := new.get(at)) is None:
            continue
        for column in dict.fromkeys([*row, *now]):
            if row.get(column) != now.get(column):
                named = dict(zip(key, at, strict=True))
                yield ChangedCell(named, column, row.get(column), now.get(column))


def change_lines(changes: Sequence[TableChange], limit: int) -> list[str]:
    """For people: a head for each table, then at most ``limit`` cells of it."""
    return [line for change in changes for line in _lines(change, limit)]


def _lines(change: TableChange, limit: int) -> Iterator[str]:
    counts = ", ".join(f"{column} {count}" for column, count in change.columns.items())
    touched = len({tuple(cell.key.values()) for cell in change.cells})
    yield (
        f"{change.table}  {change.before[:SHORT]} -> {change.after[:SHORT]}: "
        f"{len(change.added)} rows more, {len(change.removed)} gone, "
        f"{touched} of {change.rows} changed" + (f" ({counts})" if counts else "")
    )
    said = [
        *(f"+ {_place(key)}" for key in change.added),
        *(f"- {_place(key)}" for key in change.removed),
        *(
            f"  {_place(cell.key)}: {cell.column} {text_of(cell.before)} -> {text_of(cell.after)}"
            for cell in change.cells
        ),
    ]
    yield from (f"  {line}" for line in said[:limit])
    if len(said) > limit:
        yield f"    and {len(said) - limit} more: --limit {len(said)} shows all"


def _place(key: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {text_of(value)}" for name, value in key.items())
