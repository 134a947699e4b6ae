"""Every reply of a vendor as it came, kept for good: what prices are read from, now and later.

``replies/<vendor>/<request>/<fetched_at>-<content>.json.gz`` below the lake's root, where
``<request>`` is the SHA-256 of the request without its secrets. Nothing is replaced or removed: a
question that is asked again adds a file.
"""

import base64
import gzip
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from quanta_pipelines.adapters.atomic_files import AtomicFiles

_LOG = logging.getLogger(__name__)
_STAMP = "%Y%m%dT%H%M%S%fZ"
_SUFFIX = ".json.gz"


@dataclass(frozen=True, slots=True)
class Request:
    """A question to a vendor, without address and secrets: what identifies its reply."""

    vendor: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of vendor, path and parameters."""
        canonical = json.dumps(
            [self.vendor, self.path, dict(self.params)], sort_keys=True, separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, and when; ``fetched_at`` is UTC."""

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class ReplyArchive:
    """The replies below ``root``: a folder's path or any fsspec URL."""

    root: str

    def add(self, reply: Reply) -> None:
        """Keep a reply; the same one again changes nothing."""
        data = gzip.compress(_to_json(reply), mtime=0)
        stamp = f"{reply.fetched_at.astimezone(UTC):{_STAMP}}"
        content = hashlib.sha256(data).hexdigest()[:16]
        self._files.write(f"{_folder(reply.request)}/{stamp}-{content}{_SUFFIX}", data)

    def newest(self, request: Request, since: datetime) -> Iterator[Reply]:
        """Replies to a request that were fetched at ``since`` or later, newest first.

        A file that cannot be read is reported and passed over: the vendor can be asked again.
        """
        least = f"{since.astimezone(UTC):{_STAMP}}"
        for stem in reversed(self._files.stems(_folder(request), _SUFFIX)):
            if stem < least:
                return
            name = f"{_folder(request)}/{stem}{_SUFFIX}"
            try:
                yield _from_json(request, gzip.decompress(self._files.read(name)))
            except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
                _LOG.warning("reply %s cannot be read: %s", self._files.path(name), error)

    @property
    def _files(self) -> AtomicFiles:
        return AtomicFiles(self.root)


def _folder(request: Request) -> str:
    return f"replies/{request.vendor}/{request.digest}"


def _to_json(reply: Reply) -> bytes:
    try:
        encoding, body = "utf-8", reply.body.decode()
    except UnicodeDecodeError:
        encoding, body = "base64", base64.b64encode(reply.body).decode()
    said = {
        "vendor": reply.request.vendor,
        "path": reply.request.path,
        "params": dict(reply.request.params),
        "status": reply.status,
        "headers": dict(reply.headers),
        "fetched_at": reply.fetched_at.astimezone(UTC).isoformat(),
        "encoding": encoding,
        "body": body,
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _from_json(request: Request, data: bytes) -> Reply:
    said = json.loads(data)
    body = said["body"]
    return Reply(
        request=request,
        status=said["status"],
        headers=said["headers"],
        body=base64.b64decode(body) if said["encoding"] == "base64" else body.encode(),
        fetched_at=datetime.fromisoformat(said["fetched_at"]),
    )
