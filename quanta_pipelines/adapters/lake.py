"""Tables by epoch: what is current, every version ever published, and the verdicts of the gates.

``<root>/<table>/<epoch_id>.parquet`` is current. Beside it ``_versions/<epoch_id>/<hash>.parquet``
keeps each publication, ``_order/<epoch_id>/<number>.json`` says which came when, and
``_gates/<epoch_id>/<check>.json`` what a check said. The root is a folder or ``s3://…``. A reader
sees the old file or the new one, never a part of one.
"""

import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

import pandas as pd
import pyarrow.parquet as pq

from quanta_pipelines.adapters.atomic_files import AtomicFiles, Signature
from quanta_pipelines.adapters.code_version import code_version
from quanta_pipelines.adapters.parsed_tables import MOST_VERSIONS, Kept, parsed, parsed_hash
from quanta_pipelines.adapters.table_format import content_hash, to_parquet

__all__ = [
    "ChangedMeanwhile",
    "GateNotPassed",
    "GateVerdict",
    "InvalidName",
    "Lake",
    "MissingTable",
    "Version",
    "code_version",
    "content_hash",
]

_NAME = re.compile(r"[a-z_]+")
_EPOCH = re.compile(r"[0-9]{4}-Q[1-4]-W[0-9]{2}")
_HASH = re.compile(r"[0-9a-f]{64}")


class InvalidName(ValueError):
    """A table, check, epoch or hash that cannot be part of a path."""


class MissingTable(LookupError):
    """A table, or a version of it, that was never published for an epoch."""


class GateNotPassed(RuntimeError):
    """A table whose current version has not passed a check that its reader asks for."""


class ChangedMeanwhile(RuntimeError):
    """A table that another process published since it was read for this publication."""


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
class GateVerdict:
    """What a check said, and of which content; ``None`` when nothing could be published."""

    table: str
    epoch_id: str
    check: str
    passed: bool
    content_hash: str | None
    detail: str
    inputs: Mapping[str, str] = field(default_factory=dict)


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
        current, versions = _current(table, epoch_id), _versions(table, epoch_id)
        hashed = content_hash(frame, table)
        stamps = {
            "epoch_id": epoch_id,
            "params_version": params_version,
            "code_version": code_version,
            "content_hash": hashed,
        }
        data = to_parquet(frame, table, stamps)
        self._files.write(f"{versions}/{hashed}.parquet", data)
        with self._files.alone(_order(table)):
            if unless_changed is None:
                while not self._numbered(table, epoch_id, hashed):
                    pass  # another process took the number; the next is free or taken by the same
            else:
                self._claim(table, epoch_id, hashed, unless_changed)
            self._finish(table, epoch_id)
        return _version(table, self._files.path(current), stamps, rows=len(frame))

    def load(self, table: str, epoch_id: str, *, gates: Sequence[str] = ()) -> Loaded:
        """The current table and its version, both from the same bytes.

        Each of ``gates`` must have passed on exactly this content, and the content must be what
        the file says it is.
        """
        name = _current(table, epoch_id)
        data = self._load(table, epoch_id, name)
        version = _footer(table, self._files.path(name), io.BytesIO(data))
        for check in gates:
            self._require_passed(table, epoch_id, check, version.content_hash)
        if gates and parsed_hash(data, table) != version.content_hash:
            raise GateNotPassed(
                f"{table} {epoch_id}: the file does not hold {version.content_hash}, as it says"
            )
        return Loaded(parsed(data), version)

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
        return self._files.exists(_current(table, epoch_id))

    def version(self, table: str, epoch_id: str) -> Version:
        """The current version, from the file's footer alone."""
        return self._stamped(table, epoch_id, _current(table, epoch_id))

    def epochs(self, table: str) -> tuple[str, ...]:
        """The epochs for which the table is published, oldest first."""
        stems = self._files.stems(_valid(_NAME, table), ".parquet")
        return tuple(stem for stem in stems if _EPOCH.fullmatch(stem))

    def versions(self, table: str, epoch_id: str) -> tuple[Version, ...]:
        """Every version ever published, in the order in which each was first published.

        Those of a lake that kept no order yet come first, by content hash.
        """
        folder = _versions(table, epoch_id)
        hashes = [h for h in self._files.stems(folder, ".parquet") if _HASH.fullmatch(h)]
        first = {h: at for at, h in reversed(list(enumerate(self.published(table, epoch_id))))}
        hashes.sort(key=lambda h: first.get(h, -1))
        return tuple(self._stamped(table, epoch_id, f"{folder}/{h}.parquet") for h in hashes)

    def published(self, table: str, epoch_id: str) -> tuple[str, ...]:
        """Content hashes in the order of publication; one that came back stands there again."""
        folder = _order(table, epoch_id)
        names = self._files.stems(folder, ".json")
        texts = [self._files.read(f"{folder}/{name}.json") for name in names]
        return tuple(json.loads(text)["content_hash"] for text in texts)

    def publications(self, table: str) -> dict[str, int]:
        """How often a table was published, by epoch: what a publication may be conditional on.

        What is current afterwards is at least as new as what is counted here.
        """
        with self._files.alone(_order(table)):
            counted, names = self._counted(table)
            if self._files.locks:
                return counted
            if self._complete(table, sum(counted.values()) + 1):
                return self.publications(table)
            for epoch_id, number in counted.items():
                if f"{epoch_id}/{number:06}.done" not in names:
                    self._finish(table, epoch_id)
        return counted

    def _counted(self, table: str) -> tuple[dict[str, int], frozenset[str]]:
        """Publications by epoch, and the names below the table's order."""
        names = frozenset(self._files.below(_order(table)))
        numbers = [name for name in names if name.endswith(".json") and "_claims/" not in name]
        counts = Counter(name.partition("/")[0] for name in numbers)
        return dict(sorted(counts.items())), names

    def _claim(
        self, table: str, epoch_id: str, hashed: str, unless_changed: Mapping[str, int]
    ) -> None:
        """Take the next number for a conditional publication, or say what came in between.

        On S3 the number is one of the whole table: of two publications for different epochs that
        were counted alike one is refused too.
        """
        said = self.published(table, epoch_id)
        if said and said[-1] == hashed:
            return
        now, _ = self._counted(table)
        changed = [e for e in sorted(now) if now[e] != unless_changed.get(e, 0)]
        if self._files.locks:
            taken = not changed and self._numbered(table, epoch_id, hashed)
        else:
            number = sum(unless_changed.values()) + 1
            nth = unless_changed.get(epoch_id, 0) + 1
            claim = {"content_hash": hashed, "epoch_id": epoch_id, "number": nth}
            text = json.dumps(claim, sort_keys=True) + "\n"
            taken = not changed and self._files.create(_claim_name(table, number), text.encode())
            self._complete(table, number)
            taken = taken or self.published(table, epoch_id)[-1:] == (hashed,)
        if not taken:
            raise ChangedMeanwhile(
                f"{table} of {', '.join(changed) or epoch_id} was published by another process "
                f"since this one read it; {table} {epoch_id} is not published: run it again"
            )

    def _complete(self, table: str, number: int) -> bool:
        """Publish what a claim says, whoever made it; its maker may have been killed."""
        try:
            claim = json.loads(self._files.read(_claim_name(table, number)))
        except FileNotFoundError:
            return False
        self._number(table, claim["epoch_id"], claim["number"], claim["content_hash"])
        self._finish(table, claim["epoch_id"])
        return True

    def _numbered(self, table: str, epoch_id: str, hashed: str) -> bool:
        """Give the next number to a publication; False where another process took it first."""
        said = self.published(table, epoch_id)
        if said and said[-1] == hashed:
            return True
        return self._number(table, epoch_id, len(said) + 1, hashed)

    def _number(self, table: str, epoch_id: str, number: int, hashed: str) -> bool:
        text = json.dumps({"content_hash": hashed}) + "\n"
        return self._files.create(f"{_order(table, epoch_id)}/{number:06}.json", text.encode())

    def _finish(self, table: str, epoch_id: str) -> None:
        """Make the last publication in the order the current one.

        On S3 no lock keeps others out: a publisher that is late would put its table over a newer
        one. So it writes only over what it saw before it read the order, and looks at the order
        again afterwards; any publisher, and whoever counts publications, finishes for one that
        was killed. The mark ``.done`` says that a number needs no finishing.
        """
        current = _current(table, epoch_id)
        while True:
            tag = None if self._files.locks else self._files.tag(current)
            said = self.published(table, epoch_id)
            name = f"{_versions(table, epoch_id)}/{said[-1]}.parquet"
            data = self._load(table, epoch_id, name)
            if self._files.locks:
                self._files.write(current, data)
                return
            if not self._holds(current, data) and not self._files.replace(current, data, tag):
                continue
            if len(self.published(table, epoch_id)) == len(said):
                self._files.write(f"{_order(table, epoch_id)}/{len(said):06}.done", b"")
                return

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self._files.read(name) == data
        except FileNotFoundError:
            return False

    def read_version(self, table: str, epoch_id: str, content_hash: str) -> pd.DataFrame:
        """One version by its content, current or not."""
        name = f"{_versions(table, epoch_id)}/{_valid(_HASH, content_hash)}.parquet"
        return parsed(self._load(table, epoch_id, name))

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
        if passed and content_hash is None:
            raise ValueError(f"{table} {epoch_id}: {check} cannot pass on no content")
        rests_on = dict(inputs or {})
        said = {
            "content_hash": content_hash,
            "detail": detail,
            "inputs": rests_on,
            "passed": passed,
        }
        text = json.dumps(said, sort_keys=True, separators=(",", ":")) + "\n"
        self._files.write(_gate(table, epoch_id, check), text.encode())
        return GateVerdict(table, epoch_id, check, passed, content_hash, detail, rests_on)

    def verdict(self, table: str, epoch_id: str, check: str) -> GateVerdict | None:
        """What ``check`` last said, ``None`` when it was never evaluated."""
        try:
            text = self._files.read(_gate(table, epoch_id, check))
        except FileNotFoundError:
            return None
        said = json.loads(text)
        return GateVerdict(
            table,
            epoch_id,
            check,
            said["passed"],
            said["content_hash"],
            said["detail"],
            said.get("inputs", {}),
        )

    def _require_passed(self, table: str, epoch_id: str, check: str, held: str) -> None:
        place = f"{table} {epoch_id}: check {check}"
        verdict = self.verdict(table, epoch_id, check)
        if verdict is None:
            raise GateNotPassed(f"{place} was never evaluated")
        if not verdict.passed and verdict.content_hash in (None, held):
            raise GateNotPassed(f"{place} failed: {verdict.detail}")
        if verdict.content_hash != held:
            raise GateNotPassed(
                f"{place} was evaluated for another version, {verdict.content_hash}, not {held}"
            )
        for name, seen in verdict.inputs.items():
            if self.version(*name.split(" ")).content_hash != seen:
                raise GateNotPassed(
                    f"{place} rests on another version of {name}: run {table} again"
                )

    @property
    def _files(self) -> AtomicFiles:
        return AtomicFiles(self.root)

    def _load(self, table: str, epoch_id: str, name: str) -> bytes:
        try:
            return self._files.read(name)
        except FileNotFoundError:
            raise MissingTable(f"{table} {epoch_id}: no file {self._files.path(name)}") from None

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


def _current(table: str, epoch_id: str) -> str:
    return f"{_valid(_NAME, table)}/{_valid(_EPOCH, epoch_id)}.parquet"


def _gate(table: str, epoch_id: str, check: str) -> str:
    folder = f"{_valid(_NAME, table)}/_gates/{_valid(_EPOCH, epoch_id)}"
    return f"{folder}/{_valid(_NAME, check)}.json"


def _versions(table: str, epoch_id: str) -> str:
    return f"{_valid(_NAME, table)}/_versions/{_valid(_EPOCH, epoch_id)}"


def _order(table: str, epoch_id: str | None = None) -> str:
    folder = f"{_valid(_NAME, table)}/_order"
    return folder if epoch_id is None else f"{folder}/{_valid(_EPOCH, epoch_id)}"


def _claim_name(table: str, number: int) -> str:
    return f"{_order(table)}/_claims/{number:08}.json"


def _valid(form: re.Pattern[str], name: str) -> str:
    if not form.fullmatch(name):
        raise InvalidName(f"{name!r} does not have the form {form.pattern}")
    return name
