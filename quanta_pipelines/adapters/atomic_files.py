"""Small files below a folder or any fsspec URL, each written whole or not at all.

Names are relative to the root, with ``/``. What the files mean is ``lake``'s business.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

_BLOCK = 65_536  # bytes fetched at a time where only a footer is wanted


@dataclass(frozen=True, slots=True)
class AtomicFiles:
    """Files below ``root``; a reader sees the old bytes or the new ones, never a part."""

    root: str

    def path(self, name: str) -> str:
        """Where the file system finds ``name``."""
        return f"{url_to_fs(self.root)[1].rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self._system.isfile(self.path(name)))

    def read(self, name: str) -> bytes:
        """All bytes; raises ``FileNotFoundError``."""
        return bytes(self._system.cat_file(self.path(name)))

    def open(self, name: str) -> IO[bytes]:
        """For reading a part of it; raises ``FileNotFoundError``."""
        return cast(IO[bytes], self._system.open(self.path(name), "rb", block_size=_BLOCK))

    def stems(self, folder: str, suffix: str) -> list[str]:
        """Names in a folder that end with ``suffix``, without it, sorted."""
        try:
            paths = self._system.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (PurePosixPath(path).name for path in paths)
        return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))

    def write(self, name: str, data: bytes) -> None:
        """Put ``data`` there; a file that already holds it is not touched."""
        with suppress(FileNotFoundError):
            if self.read(name) == data:
                return
        if isinstance(self._system, LocalFileSystem):
            _replace(Path(self.path(name)), data)
        else:
            self._system.pipe_file(self.path(name), data)  # one PUT: all of it or nothing

    def create(self, name: str, data: bytes) -> bool:
        """Put ``data`` there unless the name is taken; says whether it was free.

        Of two that ask at once one is told so. On an object store this is its conditional write.
        """
        if isinstance(self._system, LocalFileSystem):
            return _link(Path(self.path(name)), data)
        try:
            self._system.pipe_file(self.path(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def below(self, folder: str) -> list[str]:
        """Every file in a folder and its folders, relative to it, sorted."""
        top = self.path(folder)
        try:
            found = self._system.find(top)
        except FileNotFoundError:
            return []
        return sorted(path[len(top) + 1 :] for path in found)

    @contextmanager
    def alone(self, folder: str) -> Iterator[None]:
        """Hold a folder that no other process holds; the kernel takes it from one that is killed.

        An object store has no such thing: there ``create`` alone decides.
        """
        if not isinstance(self._system, LocalFileSystem):
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
    def _system(self) -> AbstractFileSystem:
        # Listings are not cached: another process may have published since.
        return url_to_fs(self.root, use_listings_cache=False)[0]


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
