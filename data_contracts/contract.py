"""The shape all contracts share: epoch id first, exact columns, one row per key, in key order.

A class names its ``key`` and its ``invariants``: the checks that must hold on the published table
before the next stage may read it. ``quanta_pipelines.checks`` implements each.
"""

from typing import Any, ClassVar

import pandas as pd
import pandera.pandas as pa

EPOCH_ID = r"^\d{4}-Q[1-4]-W(0[1-9]|[1-4]\d|5[0-3])\Z"


class EpochTable(pa.DataFrameModel):
    """A table with one Parquet file per epoch."""

    _key: ClassVar[tuple[str, ...]] = ()
    _invariants: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(
        cls, *, key: tuple[str, ...], invariants: tuple[str, ...] = (), **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)  # type: ignore[no-untyped-call]
        cls._key, cls._invariants = key, invariants

    epoch_id: str = pa.Field(str_matches=EPOCH_ID, description="Epoch, e.g. 2025-Q4-W48.")

    class Config:
        """Exact columns in the declared order; nothing is coerced."""

        strict = True
        ordered = True

    @pa.dataframe_check
    @classmethod
    def one_epoch(cls, frame: pd.DataFrame) -> bool:
        """All rows belong to one epoch."""
        return bool(frame["epoch_id"].nunique() <= 1)

    @pa.dataframe_check
    @classmethod
    def one_row_per_key(cls, frame: pd.DataFrame) -> "pd.Series[bool]":
        """No key appears twice."""
        return ~frame.duplicated(list(cls._key), keep=False)

    @pa.dataframe_check
    @classmethod
    def in_key_order(cls, frame: pd.DataFrame) -> bool:
        """Rows stand in the order of their key, so that equal tables are equal bytes."""
        keys = frame[list(cls._key)]
        return bool(keys.equals(keys.sort_values(list(cls._key), kind="stable")))

    @classmethod
    def key(cls) -> tuple[str, ...]:
        """Columns that name a row within the epoch."""
        return cls._key

    @classmethod
    def gates(cls) -> tuple[str, ...]:
        """Checks that must have passed on the published table before anyone may read it."""
        return ("contract", *cls._invariants)
