"""One table as bytes: its types, its content hash and its Parquet file.

A frame becomes the same bytes on every run: an explicit schema, fixed writer settings, no index and
no metadata that names a library's version. The content hash looks at values only, so it outlives
the file format. Where files lie and which of them is current is ``lake``.
"""

import hashlib
import io
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Column: TypeAlias = "pd.Series[Any]"  # of any of the types below
ROW_GROUP_ROWS = 65_536
_ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "float64": pa.float64(),
    "int64": pa.int64(),
    "Int64": pa.int64(),
    "bool": pa.bool_(),
    "datetime64[ns]": pa.timestamp("ns"),
    "datetime64[ns, UTC]": pa.timestamp("ns", tz="UTC"),
}
_NEVER_NULL = ("int64", "bool")  # what tells int64 from Int64 in a file


class UnsupportedColumn(TypeError):
    """A column that the lake cannot give back exactly as it was."""


def content_hash(frame: pd.DataFrame, table: str = "table") -> str:
    """SHA-256 of names, types, which values are null, and every other value, in row order.

    Numbers count as little-endian 64-bit words, text as its length and UTF-8 bytes. NaN is null.
    ``table`` only names the table in errors.
    """
    digest = hashlib.sha256(f"quanta table 1\n{len(frame)}\n".encode())
    for name, kind in column_kinds(frame, table).items():
        column = frame[name]
        null = column.isna().to_numpy(dtype=bool)
        digest.update(f"{len(name.encode())}:{name}:{kind}\n".encode())
        digest.update(np.packbits(null, bitorder="little").tobytes())
        digest.update(_value_bytes(column[~null] if null.any() else column, kind))
    return digest.hexdigest()


def stored_hash(rows: pa.Table) -> str:
    """``content_hash`` of what a file holds, taken from its columns as Arrow reads them.

    Texts lie there as they are hashed, so no value becomes an object.
    """
    digest = hashlib.sha256(f"quanta table 1\n{rows.num_rows}\n".encode())
    for spec, chunks in zip(rows.schema, rows.columns, strict=True):
        kind, column = _stored_kind(spec), _one_array(chunks)
        known = (
            column.is_valid() if kind != "float64" else pc.invert(column.is_null(nan_is_null=True))
        )
        null = ~known.to_numpy(zero_copy_only=False)
        digest.update(f"{len(spec.name.encode())}:{spec.name}:{kind}\n".encode())
        digest.update(np.packbits(null, bitorder="little").tobytes())
        digest.update(_stored_bytes(column.filter(known) if null.any() else column, kind))
    return digest.hexdigest()


def _one_array(chunks: pa.ChunkedArray) -> pa.Array:
    if chunks.num_chunks == 1:
        return chunks.chunk(0)
    return pa.concat_arrays(chunks.chunks) if chunks.num_chunks else pa.array([], chunks.type)


def _stored_kind(spec: pa.Field) -> str:
    """The kind of a column of a file; raises ``UnsupportedColumn`` where no table has it."""
    for kind, arrow_type in _ARROW_TYPES.items():
        if spec.type == arrow_type and (
            kind == "Int64" or spec.type != pa.int64() or not spec.nullable
        ):
            return kind
    raise UnsupportedColumn(f"{spec.name}: {spec.type} is none of {', '.join(_ARROW_TYPES)}")


def _stored_bytes(values: pa.Array, kind: str) -> bytes:
    """The bytes of values without nulls."""
    if kind == "string":
        if not len(values):
            return b""
        _, offsets, texts = values.buffers()
        ends = np.frombuffer(offsets, "<i4")[values.offset : values.offset + len(values) + 1]
        joined: bytes = texts[ends[0] : ends[-1]].to_pybytes()
        return np.diff(ends).astype("<u8").tobytes() + joined
    if kind == "bool":
        numbers = values.to_numpy(zero_copy_only=False).astype("u1")
    elif kind == "float64":
        numbers = values.to_numpy().astype("<f8")
    else:
        numbers = values.cast(pa.int64()).to_numpy().astype("<i8")
    return bytes(numbers.tobytes())


def column_kinds(frame: pd.DataFrame, table: str) -> dict[str, str]:
    """The kind of each column, in order; raises ``UnsupportedColumn`` for any other."""
    names = list(frame.columns)
    if not names or len(set(names)) < len(names) or not all(isinstance(n, str) for n in names):
        raise UnsupportedColumn(f"{table}: columns need distinct text names, not {names}")
    return {name: _kind(frame[name], f"{table}.{name}") for name in names}


def to_parquet(frame: pd.DataFrame, table: str, stamps: Mapping[str, str]) -> bytes:
    """The frame as a Parquet file with ``stamps`` in its footer."""
    kinds = column_kinds(frame, table)
    fields = [
        pa.field(name, _ARROW_TYPES[kind], nullable=kind not in _NEVER_NULL)
        for name, kind in kinds.items()
    ]
    arrays = [
        pa.Array.from_pandas(frame[spec.name].reset_index(drop=True), type=spec.type)
        for spec in fields
    ]
    return _written(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), stamps)


def arrow_to_parquet(rows: pa.Table) -> bytes:
    """Rows of a database as a Parquet file: the same bytes for the same rows in the same order."""
    return _written(rows.combine_chunks().replace_schema_metadata(None), {})


def _written(rows: pa.Table, stamps: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with pq.ParquetWriter(
        buffer,
        rows.schema,
        compression="zstd",
        compression_level=3,
        version="2.6",
        data_page_version="1.0",
        store_schema=False,  # a copy of the schema in Arrow's own format, which may change
    ) as writer:
        writer.write_table(rows, ROW_GROUP_ROWS)
        if stamps:
            writer.add_key_value_metadata(dict(stamps))
    return buffer.getvalue()


def from_parquet(data: bytes) -> pd.DataFrame:
    """The frame that ``to_parquet`` was given, with a fresh index."""
    return as_frame(read_rows(data))


def read_rows(data: bytes) -> pa.Table:
    """The columns of a Parquet file."""
    return pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)  # tables are small


def as_frame(rows: pa.Table, *, categories: bool = False) -> pd.DataFrame:
    """Rows of a file as a frame, texts as objects or, where asked, as categories."""
    frame: pd.DataFrame = rows.to_pandas(
        types_mapper={pa.int64(): pd.Int64Dtype()}.get, strings_to_categorical=categories
    )
    whole = {
        spec.name: np.dtype("int64")
        for spec in rows.schema
        if spec.type == pa.int64() and not spec.nullable
    }
    return frame.astype(whole)


def _kind(column: Column, place: str) -> str:
    """One of the names in ``_ARROW_TYPES``; ``place`` is table and column for the error."""
    dtype = column.dtype
    if isinstance(dtype, pd.StringDtype) or dtype == np.dtype(object):
        _require_text(column, place)
        return "string"
    if isinstance(dtype, pd.DatetimeTZDtype) and (dtype.unit, str(dtype.tz)) == ("ns", "UTC"):
        return "datetime64[ns, UTC]"
    if str(dtype) == "datetime64[ns]" and (column != column.dt.normalize())[column.notna()].any():
        raise UnsupportedColumn(f"{place}: a time of day needs a time zone, which is UTC")
    if str(dtype) not in _ARROW_TYPES or isinstance(dtype, pd.DatetimeTZDtype):
        raise UnsupportedColumn(f"{place}: {dtype} is none of {', '.join(_ARROW_TYPES)}")
    return str(dtype)


def _require_text(column: Column, place: str) -> None:
    """Every value is text that UTF-8 can hold, or null."""
    values = column.dropna().tolist()
    # The usual case in two passes without a loop
    if pd.api.types.infer_dtype(values) in ("string", "empty") and "".join(values).isascii():
        return
    for value in values:
        if not isinstance(value, str):
            raise UnsupportedColumn(f"{place}: {value!r} is no text")
        try:
            value.encode()  # of all text only half a surrogate pair has no UTF-8
        except UnicodeEncodeError:
            raise UnsupportedColumn(f"{place}: {value!r} holds half a surrogate pair") from None


def _value_bytes(values: Column, kind: str) -> bytes:
    """The bytes of values without nulls."""
    if kind == "string":
        texts = values.tolist()
        if not (joined := "".join(texts)).isascii():  # a letter may take several bytes
            texts = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, texts), "<u8", len(texts))
        return lengths.tobytes() + joined.encode()
    if kind == "bool":
        return values.to_numpy(dtype="u1").tobytes()
    if kind == "float64":
        return values.to_numpy(dtype="<f8").tobytes()
    if kind == "datetime64[ns, UTC]":
        values = values.dt.tz_localize(None)
    return values.to_numpy().astype("<i8").tobytes()
