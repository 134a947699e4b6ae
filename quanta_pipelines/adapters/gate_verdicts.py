"""What the checks said of which content, so that no stage reads a table past its gates.

``<table>/_gates/<epoch_id>/<check>.json`` holds the last verdict, which is on one content: a table
that was published since is not judged yet. Which gates a table has is said by its contract.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from quanta_pipelines.adapters.atomic_files import AtomicFiles, Signature
from quanta_pipelines.adapters.lake_files import EPOCH, NAME, valid
from quanta_pipelines.adapters.parsed_tables import MOST_VERSIONS, Kept


class GateNotPassed(RuntimeError):
    """A table whose current version has not passed a check that its reader asks for."""


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


# A file says the same while it does not change: by path and signature
_VERDICTS: Kept[tuple[str, Signature], GateVerdict] = Kept(MOST_VERSIONS)


def write_verdict(files: AtomicFiles, verdict: GateVerdict) -> None:
    """Keep what a check said; it replaces the check's earlier verdict on this epoch."""
    place = f"{verdict.table} {verdict.epoch_id}"
    if verdict.passed and verdict.content_hash is None:
        raise ValueError(f"{place}: {verdict.check} cannot pass on no content")
    said = {
        "content_hash": verdict.content_hash,
        "detail": verdict.detail,
        "inputs": dict(verdict.inputs),
        "passed": verdict.passed,
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":")) + "\n"
    files.write(_file(verdict.table, verdict.epoch_id, verdict.check), text.encode())


def read_verdict(files: AtomicFiles, table: str, epoch_id: str, check: str) -> GateVerdict | None:
    """What ``check`` last said, ``None`` when it was never evaluated."""
    name = _file(table, epoch_id, check)
    # On S3 the signature is a request like the file itself
    path, signature = files.path(name), files.signature(name) if files.locks else None
    known = _VERDICTS.get((path, signature)) if signature else None
    if known is not None:
        return known
    try:
        said = json.loads(files.read(name))
    except FileNotFoundError:
        return None
    found = GateVerdict(
        table,
        epoch_id,
        check,
        said["passed"],
        said["content_hash"],
        said["detail"],
        said.get("inputs", {}),
    )
    return _VERDICTS.put((path, signature), found) if signature else found


def passed_verdict(
    files: AtomicFiles, table: str, epoch_id: str, check: str, content_hash: str
) -> GateVerdict:
    """The verdict of a check that passed on exactly this content; else ``GateNotPassed`` says why.

    What the verdict rests on may have changed since: that is for the caller to compare.
    """
    place = f"{table} {epoch_id}: check {check}"
    verdict = read_verdict(files, table, epoch_id, check)
    if verdict is None:
        raise GateNotPassed(f"{place} was never evaluated")
    if not verdict.passed and verdict.content_hash in (None, content_hash):
        raise GateNotPassed(f"{place} failed: {verdict.detail}")
    if verdict.content_hash != content_hash:
        raise GateNotPassed(
            f"{place} was evaluated for another version, {verdict.content_hash}, not {content_hash}"
        )
    return verdict


def _file(table: str, epoch_id: str, check: str) -> str:
    return f"{valid(NAME, table)}/_gates/{valid(EPOCH, epoch_id)}/{valid(NAME, check)}.json"
