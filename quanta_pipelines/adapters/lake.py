"""Tables by epoch: what is current, every version ever published, and reading past the gates.

``<root>/<table>/<epoch_id>.parquet`` is current, ``_versions/<epoch_id>/<hash>.parquet`` beside it
keeps each publication. ``publication_order`` says which came when, ``gate_verdicts`` what a check
said. The root is a folder or ``s3://…``. A reader sees the old file or the new one, never a part of
one.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from quanta_pipelines.adapters.atomic_files import AtomicFiles, Signature
from quanta_pipelines.adapters.gate_verdicts import (
    GateNotPassed,
    GateVerdict,
    passed_verdict,
    read_verdict,
    write_verdict,
)
from quanta_pipelines.adapters.lake_files import (
    EPOCH,
    HASH,
    NAME,
    MissingTable,
    current_file,
    stored,
    valid,
    versions_folder,
)
from quanta_pipelines.adapters.parsed_tables import MOST_VERSIONS, Kept, parsed, parsed_hash
from quanta_pipelines.adapters.publication_order import PublicationOrder
from quanta_pipelines.adapters.table_format import (
    as_frame,
    content_hash,
    read_rows,
    stored_hash,
    to_parquet,
)

__all__ = ["Lake", "Loaded", "MissingTable", "Version", "content_hash", "glanced", "joined"]


@dataclass(frozen=True, slots=True)
class Version:
    """One publication of a table for an epoch; ``content_hash`` is over its values."""

    table: str
    epoch_id: str
    content_hash: str
    rows: int
    path: str
    params_version: str
    code_version: str


# A footer does not change while its file does not: by path and signature
_VERSIONS: Kept[tuple[str, Signature], Version] = Kept(MOST_VERSIONS)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A table, and which version of it."""

    frame: pd.DataFrame
    version: Version


@dataclass(frozen=True, slots=True)
class Lake:
    """The tables below ``root``: a folder's path, ``s3://…``, or ``memory://…`` in a test."""

    root: str

    def publish(
        self,
        table: str,
        epoch_id: str,
        frame: pd.DataFrame,
        *,
        params_version: str,
        code_version: str,
        unless_changed: Mapping[str, int] | None = None,
    ) -> Version:
        """Make ``frame`` the table's current version, rows in the order given.

        ``unless_changed`` is what ``publications`` said when the publisher read the table: it then
        publishes only if nobody published the table since, for any epoch, and else raises
        ``ChangedMeanwhile``. What is current already may be published again.
        """
        current, versions = current_file(table, epoch_id), versions_folder(table, epoch_id)
        hashed = content_hash(frame, table)
        stamps = {
            "epoch_id": epoch_id,
            "params_version": params_version,
            "code_version": code_version,
            "content_hash": hashed,
        }
        data = to_parquet(frame, table, stamps)
        self._files.write(f"{versions}/{hashed}.parquet", data)
        self._order(table).append(epoch_id, hashed, unless_changed)
        return _version(table, self._files.path(current), stamps, rows=len(frame))

    def load(self, table: str, epoch_id: str, *, gates: Sequence[str] = ()) -> Loaded:
        """The current table and its version, both from the same bytes.

        Each of ``gates`` must have passed on exactly this content, and the content must be what
        the file says it is.
        """
        data, version = self._judged(table, epoch_id, gates)
        if gates:
            _require_content(version, parsed_hash(data))
        return Loaded(parsed(data), version)

    def load_all(
        self, table: str, epoch_ids: Sequence[str], *, gates: Sequence[str]
    ) -> tuple[pd.DataFrame, tuple[Version, ...]]:
        """The tables of some epochs, at least one, under each other, texts as categories.

        Each is judged as ``load`` judges it.
        """
        rows, versions = [], []
        for epoch_id in epoch_ids:
            data, version = self._judged(table, epoch_id, gates)
            rows.append(read_rows(data))
            if gates:
                _require_content(version, stored_hash(rows[-1]))
            versions.append(version)
        return as_frame(pa.concat_tables(rows), categories=True), tuple(versions)

    def _judged(self, table: str, epoch_id: str, gates: Sequence[str]) -> tuple[bytes, Version]:
        """The current file of a table, once its gates have passed on what it says it holds."""
        name = current_file(table, epoch_id)
        data = stored(self._files, table, epoch_id, name)
        version = _footer(table, self._files.path(name), io.BytesIO(data))
        for check in gates:
            self._require_passed(table, epoch_id, check, version.content_hash)
        return data, version

    def read(self, table: str, epoch_id: str, *, gates: Sequence[str] = ()) -> pd.DataFrame:
        """The current table, as ``load`` gives it."""
        return self.load(table, epoch_id, gates=gates).frame

    def refusal(self, table: str, epoch_id: str, gates: Sequence[str]) -> str | None:
        """Why ``read`` with these gates would refuse, ``None`` when it would not."""
        try:
            held = self.version(table, epoch_id).content_hash
            for check in gates:
                self._require_passed(table, epoch_id, check, held)
        except (MissingTable, GateNotPassed) as error:
            return str(error)
        return None

    def passed(self, table: str, epoch_id: str, gates: Sequence[str]) -> bool:
        """Whether the gates have passed on what is current, whatever became of what it rests on."""
        if not self.exists(table, epoch_id):
            return False
        held = self.version(table, epoch_id).content_hash
        verdicts = [self.verdict(table, epoch_id, check) for check in gates]
        return all(v is not None and v.passed and v.content_hash == held for v in verdicts)

    def exists(self, table: str, epoch_id: str) -> bool:
        """Whether the table has a current version for the epoch."""
        return self._files.exists(current_file(table, epoch_id))

    def version(self, table: str, epoch_id: str) -> Version:
        """The current version, from the file's footer alone."""
        return self._stamped(table, epoch_id, current_file(table, epoch_id))

    def epochs(self, table: str) -> tuple[str, ...]:
        """The epochs for which the table is published, oldest first."""
        stems = self._files.stems(valid(NAME, table), ".parquet")
        return tuple(stem for stem in stems if EPOCH.fullmatch(stem))

    def versions(self, table: str, epoch_id: str) -> tuple[Version, ...]:
        """Every version ever published, in the order in which each was first published.

        Those of a lake that kept no order yet come first, by content hash.
        """
        folder = versions_folder(table, epoch_id)
        hashes = [h for h in self._files.stems(folder, ".parquet") if HASH.fullmatch(h)]
        first = {h: at for at, h in reversed(list(enumerate(self.published(table, epoch_id))))}
        hashes.sort(key=lambda h: first.get(h, -1))
        return tuple(self._stamped(table, epoch_id, f"{folder}/{h}.parquet") for h in hashes)

    def published(self, table: str, epoch_id: str) -> tuple[str, ...]:
        """Content hashes in the order of publication; one that came back stands there again."""
        return self._order(table).published(epoch_id)

    def publications(self, table: str) -> dict[str, int]:
        """How often a table was published, by epoch: what a publication may be conditional on.

        What is current afterwards is at least as new as what is counted here.
        """
        return self._order(table).counted()

    def read_version(self, table: str, epoch_id: str, content_hash: str) -> pd.DataFrame:
        """One version by its content, current or not."""
        name = f"{versions_folder(table, epoch_id)}/{valid(HASH, content_hash)}.parquet"
        return parsed(stored(self._files, table, epoch_id, name))

    def record_verdict(
        self,
        table: str,
        epoch_id: str,
        check: str,
        *,
        passed: bool,
        content_hash: str | None,
        detail: str,
        inputs: Mapping[str, str] | None = None,
    ) -> GateVerdict:
        """Keep what ``check`` said; it replaces the check's earlier verdict on this epoch.

        ``inputs`` are the tables that it rests on, ``scores 2025-Q4-W48``, with content hashes.
        """
        verdict = GateVerdict(
            table, epoch_id, check, passed, content_hash, detail, dict(inputs or {})
        )
        write_verdict(self._files, verdict)
        return verdict

    def verdict(self, table: str, epoch_id: str, check: str) -> GateVerdict | None:
        """What ``check`` last said, ``None`` when it was never evaluated."""
        return read_verdict(self._files, table, epoch_id, check)

    def _require_passed(self, table: str, epoch_id: str, check: str, held: str) -> None:
        verdict = passed_verdict(self._files, table, epoch_id, check, held)
        for name, seen in verdict.inputs.items():
            if self.version(*name.split(" ")).content_hash != seen:
                raise GateNotPassed(
                    f"{table} {epoch_id}: check {check} rests on another version of {name}: "
                    f"run {table} again"
                )

    @property
    def _files(self) -> AtomicFiles:
        return AtomicFiles(self.root)

    def _order(self, table: str) -> PublicationOrder:
        return PublicationOrder(self._files, table)

    def _stamped(self, table: str, epoch_id: str, name: str) -> Version:
        path, signature = self._files.path(name), self._files.signature(name)
        known = _VERSIONS.get((path, signature)) if signature else None
        if known is not None:
            return known
        try:
            with self._files.open(name) as file:
                found = _footer(table, path, file)
            return _VERSIONS.put((path, signature), found) if signature else found
        except FileNotFoundError:
            raise MissingTable(f"{table} {epoch_id}: no file {path}") from None


def joined(found: Sequence[Loaded]) -> tuple[pd.DataFrame, tuple[Version, ...]]:
    """``load_all`` of a lake whose tables do not all lie in one place: texts stay objects."""
    frames = [loaded.frame for loaded in found]
    return pd.concat(frames, ignore_index=True), tuple(loaded.version for loaded in found)


def glanced(lake: Lake) -> Lake:
    """A plain lake for one pass; a lake that stands over another one stays as it is."""
    return GlancedLake(lake.root) if type(lake) is Lake else lake


@dataclass(frozen=True, slots=True)
class GlancedLake(Lake):
    """A lake whose versions are each looked up once: for one pass over all epochs.

    What others publish while the pass lasts may not be seen. On S3 each look is a request.
    """

    _seen: dict[tuple[str, str], Version] = field(default_factory=dict)

    def version(self, table: str, epoch_id: str) -> Version:
        """The version that was current when it was first asked for."""
        if (table, epoch_id) not in self._seen:
            self._seen[table, epoch_id] = Lake.version(self, table, epoch_id)
        return self._seen[table, epoch_id]

    def publish(self, table: str, epoch_id: str, frame: pd.DataFrame, **options: Any) -> Version:
        """What this pass publishes, it sees."""
        self._seen[table, epoch_id] = Lake.publish(self, table, epoch_id, frame, **options)
        return self._seen[table, epoch_id]


def _require_content(version: Version, held: str) -> None:
    if held != version.content_hash:
        raise GateNotPassed(
            f"{version.table} {version.epoch_id}: the file does not hold {version.content_hash}, "
            "as it says"
        )


def _footer(table: str, path: str, file: IO[bytes]) -> Version:
    """The version a Parquet file says it is."""
    found = pq.read_metadata(file)
    stamps = {key.decode(): value.decode() for key, value in found.metadata.items()}
    return _version(table, path, stamps, rows=found.num_rows)


def _version(table: str, path: str, stamps: Mapping[str, str], *, rows: int) -> Version:
    return Version(
        table=table,
        epoch_id=stamps["epoch_id"],
        content_hash=stamps["content_hash"],
        rows=rows,
        path=path,
        params_version=stamps["params_version"],
        code_version=stamps["code_version"],
    )
