"""What was read once is not parsed again: tables by the bytes they came from, versions by file.

A process that runs epochs in order reads the same small files of the last weeks dozens of times.
The bytes are read each time, so a file that rots is noticed; only equal bytes give the same frame.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import pandas as pd
import pyarrow as pa

from quanta_pipelines.adapters.table_format import as_frame, read_rows, stored_hash

TEXT_BYTES = 64  # of an object that holds a text, beside the text
MOST_BYTES = 256 * 2**20  # of frames that are kept
MOST_VERSIONS = 65_536

Key = TypeVar("Key")
Value = TypeVar("Value")


_ALL: "WeakSet[Kept[Any, Any]]" = WeakSet()  # whatever this process keeps


class Kept(Generic[Key, Value]):
    """Values by key up to a total weight; the least recently used goes first."""

    def __init__(self, most: int, weight: Callable[[Value], int] = lambda _: 1) -> None:
        self._most, self._weight, self._held = most, weight, 0
        _ALL.add(self)
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key) -> Value | None:
        """The value, if it is still kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._values.clear()
            self._held = 0

    def put(self, key: Key, value: Value) -> Value:
        """Keep a value; one that is heavier than all room is not kept."""
        weight = self._weight(value)
        if weight > self._most:
            return value
        with self._lock:
            if key in self._values:
                self._held -= self._weight(self._values.pop(key))
            self._values[key], self._held = value, self._held + weight
            while self._held > self._most:
                self._held -= self._weight(self._values.popitem(last=False)[1])
        return value


def forget() -> None:
    """Read everything anew, as a process that has just started does: also versions and verdicts."""
    for kept in list(_ALL):
        kept.clear()


_FRAMES: Kept[bytes, tuple[pd.DataFrame, int]] = Kept(MOST_BYTES, lambda kept: kept[1])
_HASHES: Kept[bytes, str] = Kept(MOST_VERSIONS)


def parsed(data: bytes) -> pd.DataFrame:
    """The frame of a Parquet file, the caller's own: changing it changes nobody else's."""
    digest = hashlib.sha256(data).digest()
    found = _FRAMES.get(digest)
    if found is None:
        rows = read_rows(data)
        texts = sum(spec.type == pa.string() for spec in rows.schema)
        size = int(rows.nbytes) + TEXT_BYTES * texts * rows.num_rows
        found = _FRAMES.put(digest, (as_frame(rows), size))
    return found[0].copy()


def parsed_hash(data: bytes) -> str:
    """The content hash of what a Parquet file holds."""
    digest = hashlib.sha256(data).digest()
    return _HASHES.get(digest) or _HASHES.put(digest, stored_hash(read_rows(data)))
