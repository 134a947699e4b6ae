"""Small files below a folder or an S3 bucket, each written whole or not at all.

Names are relative to the root, with ``/``. What the files mean is ``lake``'s business. A folder
takes locks and hard links, S3 its conditional writes (``If-None-Match``, ``If-Match``), which AWS
and MinIO have. A store without either could not keep two publishers apart and is refused.
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias, cast

from fsspec import AbstractFileSystem
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

Signature: TypeAlias = tuple[int, int, int] | str

SETTLED_NS = 1_000_000_000  # age of a change from which on another one would show
_BLOCK = 65_536  # bytes fetched at a time where only a footer is wanted
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404"}


class UnsupportedStore(ValueError):
    """A place for files that could not keep two publishers apart."""


@dataclass(frozen=True, slots=True)
class AtomicFiles:
    """Files below ``root``; a reader sees the old bytes or the new ones, never a part."""

    root: str

    def path(self, name: str) -> str:
        """Where the file system finds ``name``."""
        return f"{_inside(self.root)}/{name}"

    @property
    def locks(self) -> bool:
        """Whether ``alone`` keeps other processes out: in a folder, not on S3."""
        return isinstance(self.system, LocalFileSystem)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self.system.isfile(self.path(name)))

    def read(self, name: str) -> bytes:
        """All bytes; raises ``FileNotFoundError``."""
        return bytes(self.system.cat_file(self.path(name)))

    def open(self, name: str) -> IO[bytes]:
        """For reading a part of it; raises ``FileNotFoundError``."""
        return cast(IO[bytes], self.system.open(self.path(name), "rb", block_size=_BLOCK))

    def stems(self, folder: str, suffix: str) -> list[str]:
        """Names in a folder that end with ``suffix``, without it, sorted."""
        try:
            paths = self.system.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (PurePosixPath(path).name for path in paths)
        return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))

    def tags(self, folder: str, suffix: str) -> dict[str, str]:
        """What changes with a file's bytes, by stem, for a folder's files: one listing, no reading.

        S3's ETag; of a folder's file its size and when it was written.
        """
        try:
            found = self.system.ls(self.path(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {
            PurePosixPath(each["name"]).name.removesuffix(suffix): str(
                each.get("ETag") or f"{each['size']} {each.get('mtime', each.get('created'))!r}"
            )
            for each in found
            if each["type"] == "file" and each["name"].endswith(suffix)
        }

    def write(self, name: str, data: bytes) -> None:
        """Put ``data`` there; a file that already holds it is not touched."""
        with suppress(FileNotFoundError):
            if self.read(name) == data:
                return
        if self.locks:
            _replace(Path(self.path(name)), data)
        else:
            self.system.pipe_file(self.path(name), data)  # one PUT: all of it or nothing

    def create(self, name: str, data: bytes) -> bool:
        """Put ``data`` there unless the name is taken; says whether it was free.

        Of two that ask at once one is told so. On S3 this is its conditional write.
        """
        if self.locks:
            return _link(Path(self.path(name)), data)
        if isinstance(self.system, MemoryFileSystem):
            free = not self.exists(name)
            if free:
                self.system.pipe_file(self.path(name), data)
            return free
        return self._put_if(name, data, IfNoneMatch="*")

    def tag(self, name: str) -> str | None:
        """What ``replace`` may be conditional on: S3's ETag, ``None`` where nothing is."""
        try:
            found = self.system.info(self.path(name))
        except FileNotFoundError:
            return None
        return str(found.get("ETag", ""))

    def signature(self, name: str) -> Signature | None:
        """What changes whenever the file does, without reading it; ``None`` where nothing can say.

        In a folder that is inode, size and time of change, but of a file that changed within the
        last second nothing is said: a second change could look like the first. On S3 the ETag.
        """
        if self.locks:
            try:
                found = os.stat(self.path(name))  # noqa: PTH116 - of a path that is text
            except FileNotFoundError:
                return None
            settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > SETTLED_NS
            return (found.st_ino, found.st_size, found.st_mtime_ns) if settled else None
        return self.tag(name) or None

    def replace(self, name: str, data: bytes, tag: str | None) -> bool:
        """Put ``data`` there if it still has that tag; says whether it had."""
        if tag is None:
            return self.create(name, data)
        if isinstance(self.system, MemoryFileSystem):
            self.system.pipe_file(self.path(name), data)
            return True
        return self._put_if(name, data, IfMatch=tag)

    def below(self, folder: str) -> list[str]:
        """Every file in a folder and its folders, relative to it, sorted; ``""`` is the root."""
        top = self.path(folder).rstrip("/")
        try:
            found = self.system.find(top)
        except FileNotFoundError:
            return []
        return sorted(path[len(top) + 1 :] for path in found)

    @contextmanager
    def alone(self, folder: str) -> Iterator[None]:
        """Hold a folder that no other process holds; the kernel takes it from one that is killed.

        S3 has no such thing: there ``create`` and ``replace`` decide.
        """
        if not self.locks:
            yield
            return
        path = Path(self.path(folder))
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @property
    def system(self) -> AbstractFileSystem:
        """The file system of the root; a missing package for it is an ``ImportError``."""
        return _system(self.root, os.getpid(), threading.get_ident())

    def _put_if(self, name: str, data: bytes, **condition: str) -> bool:
        """One conditional PUT, whatever the size; the store's refusal is False.

        A PUT whose answer got lost is sent again and then refused, by its own bytes.
        """
        bucket, key, _ = self.system.split_path(self.path(name))
        try:
            self.system.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
        except OSError as error:
            if _code(error) not in _LOST:
                raise
            with suppress(FileNotFoundError):
                return "IfMatch" in condition and self.read(name) == data
            return False
        return True


@lru_cache(maxsize=256)
def _system(root: str, _process: int, _thread: int) -> AbstractFileSystem:
    """Fsspec's own instance of this process and thread, which it takes a while to find."""
    protocol = split_protocol(root)[0] or "file"
    if protocol not in {"file", "local", "memory", "s3"}:
        raise UnsupportedStore(f"{root} is neither a folder nor an address s3://…")
    # Listings are not cached: another process may have published since.
    return url_to_fs(root, use_listings_cache=False)[0]


@lru_cache(maxsize=256)
def _inside(root: str) -> str:
    """The root as its own file system names it."""
    return str(url_to_fs(root)[1]).rstrip("/")


def _code(error: BaseException) -> str:
    """S3's own word for an error; s3fs keeps it on the cause, under a Python class."""
    response = getattr(error.__cause__, "response", None) or getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code", ""))


def _replace(path: Path, data: bytes) -> None:
    """Write beside ``path``, flush to the disk, then take its name in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - a test stands in for a kill at this call
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _link(path: Path, data: bytes) -> bool:
    """Write beside ``path``, flush, then take its name if nobody has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)
    return True


def _flush_folder(folder: Path) -> None:
    """Without this a crash of the machine may forget the new name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
