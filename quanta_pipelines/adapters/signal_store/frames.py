"""Rows of a query as a table with the types that its readers want."""

from typing import Any

import pandas as pd
from sqlalchemy import Connection, Select

INSTANT = "datetime64[ns, UTC]"


def table_of(connection: Connection, query: Select[Any], types: dict[str, str]) -> pd.DataFrame:
    """The columns that ``types`` names, typed, in its order; an empty table keeps its types."""
    result = connection.execute(query)
    return typed(pd.DataFrame(result.mappings().all(), columns=list(result.keys())), types)


def typed(table: pd.DataFrame, types: dict[str, str]) -> pd.DataFrame:
    """The columns that ``types`` names, in its order."""
    return table[list(types)].astype(types)
