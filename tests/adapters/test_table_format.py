"""A table as bytes: every type comes back, the hash sees everything, the rest is refused."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanta_pipelines.adapters.table_format import (
    UnsupportedColumn,
    content_hash,
    from_parquet,
    read_rows,
    stored_hash,
    to_parquet,
)


def every_type() -> pd.DataFrame:
    day = pd.Timestamp("2025-11-24")
    return pd.DataFrame(
        {
            "ticker": pd.Series(["AAPL", None, ""], dtype=object),
            "close": [189.5, np.nan, -0.0],
            "rao": np.array([2**62, 0, -1], dtype="int64"),
            "rank": pd.array([1, None, 2**62 + 1], dtype="Int64"),
            "stale": [True, False, True],
            "session": pd.DatetimeIndex([day, pd.NaT, day + pd.Timedelta(days=1)]),
            "fetched_at": pd.DatetimeIndex([day, pd.NaT, pd.Timestamp.max]).tz_localize("UTC"),
        }
    )


def test_a_table_is_read_back_with_its_types() -> None:
    read = from_parquet(to_parquet(every_type(), "t", {}))
    pd.testing.assert_frame_equal(read, every_type())
    assert read["ticker"].dtype == object
    assert read["ticker"].iloc[1] is None


def test_types_survive_where_there_is_no_value() -> None:
    frame = every_type()
    frame["ticker"] = pd.Series([None, None, None], dtype=object)
    for some in (frame, frame.iloc[:0]):
        pd.testing.assert_frame_equal(from_parquet(to_parquet(some, "t", {})), some)


def test_text_may_come_in_any_string_dtype() -> None:
    plain = every_type()[["ticker"]]
    assert to_parquet(plain.astype("string"), "t", {}) == to_parquet(plain, "t", {})
    assert content_hash(plain.astype("string")) == content_hash(plain)


_COLUMNS = {
    "object": st.one_of(st.none(), st.text(max_size=5)),
    "float64": st.floats(),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "Int64": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    "bool": st.booleans(),
    "datetime64[ns, UTC]": st.one_of(st.none(), st.integers(-(2**62), 2**62)),
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    names = draw(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4, unique=True))
    columns = {}
    for name in names:
        kind = draw(st.sampled_from(sorted(_COLUMNS)))
        values = draw(st.lists(_COLUMNS[kind], min_size=rows, max_size=rows))
        columns[name] = pd.Series(values, dtype=object).astype(pd.api.types.pandas_dtype(kind))
    return pd.DataFrame(columns)


@settings(deadline=None)
@given(frames())
def test_any_frame_makes_the_round_trip_and_keeps_its_hash(frame: pd.DataFrame) -> None:
    data = to_parquet(frame, "t", {})
    read = from_parquet(data)
    assert stored_hash(read_rows(data)) == content_hash(frame)
    pd.testing.assert_frame_equal(read, frame)
    assert to_parquet(read, "t", {}) == data
    assert content_hash(read) == content_hash(frame)


def test_the_hash_sees_names_types_nulls_values_and_order() -> None:
    column = pd.Series(["ab", "c"], dtype=object)
    variants = [
        pd.DataFrame({"a": column}),
        pd.DataFrame({"b": column}),
        pd.DataFrame({"a": column[::-1]}),
        pd.DataFrame({"a": pd.Series(["a", "bc"], dtype=object)}),  # the same bytes in a row
        pd.DataFrame({"a": pd.Series(["ab", None, "c"], dtype=object)}),
        pd.DataFrame({"a": [1, 2]}),
        pd.DataFrame({"a": pd.array([1, 2], dtype="Int64")}),
        pd.DataFrame({"a": [1.0, 2.0]}),
    ]
    assert len({content_hash(frame) for frame in variants}) == len(variants)


def test_the_hash_of_a_small_frame_is_fixed() -> None:
    # sha256 of "quanta table 1\n1\n" "1:a:int64\n" one byte of null bits, 7 in eight bytes
    written = b"quanta table 1\n1\n1:a:int64\n" + b"\0" + (7).to_bytes(8, "little")
    assert content_hash(pd.DataFrame({"a": [7]})) == hashlib.sha256(written).hexdigest()


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pd.Series([1, "a"], dtype=object), "1 is no text"),
        (pd.Series(["\ud800"], dtype=object), "surrogate"),
        (pd.Series([1], dtype="int32"), "int32 is none of"),
        (pd.Series(["a"], dtype="category"), "category is none of"),
        (pd.Series(pd.to_datetime(["2025-11-24"])).astype("datetime64[us]"), "datetime64.us. is"),
        (pd.Series(pd.to_datetime(["2025-11-24"]).tz_localize("Europe/Berlin")), "Berlin. is"),
        (pd.Series(pd.to_datetime(["2025-11-24 16:00"])), "time zone"),
    ],
)
def test_a_column_that_would_not_come_back_is_refused(
    column: "pd.Series[str]", reason: str
) -> None:
    with pytest.raises(UnsupportedColumn, match=rf"scores\.value: .*{reason}"):
        to_parquet(pd.DataFrame({"value": column}), "scores", {})


def test_columns_need_distinct_text_names() -> None:
    for frame in (
        pd.DataFrame(),
        pd.DataFrame({1: [2]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
    ):
        with pytest.raises(UnsupportedColumn, match="distinct text names"):
            content_hash(frame)
