"""Lets DuckDB read a lake on S3 through fsspec when dbt builds the marts.

DuckDB's own extension for S3 would be downloaded at run time.
"""

import os

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from quanta_pipelines.adapters.atomic_files import AtomicFiles


class Plugin(BasePlugin):
    """dbt-duckdb's name for what it asks when it opens a connection."""

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Registers the file system of the lake that is being read, if it is no folder."""
        root = os.environ.get("QUANTA_DBT_LAKE", "")
        if "://" in root:
            conn.register_filesystem(AtomicFiles(root).system)
