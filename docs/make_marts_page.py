"""Writes dbt's page on the published marts: models, columns, tests, lineage, readers.

One file without references to the network, `warehouse/docs/index.html` of the home:

    make docs
"""

import sys

from quanta_pipelines.adapters.warehouse import Warehouse
from quanta_pipelines.settings import current_settings


def main() -> None:
    """Document the marts that stand there; without any it says so."""
    settings = current_settings()
    warehouse = Warehouse(settings.warehouse)
    if not warehouse.database.exists():
        sys.exit(f"{warehouse.database} is not there: run `make demo` or any `quanta epoch run`")
    sys.stdout.write(f"{warehouse.document(settings.lake_root)}\n")


if __name__ == "__main__":
    main()
