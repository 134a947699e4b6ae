"""Stage marts, after dbt: a page for each epoch and an explanation for each of its miners."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd

from data_contracts.explanations import Explanations
from quanta_pipelines.contract_type import OWNERS, column_schema, rows_table
from quanta_pipelines.epoch_state import epoch_states
from quanta_pipelines.publication import INDEX, Published, publish_pages, reports_folder
from quanta_pipelines.resources import DataDocs, Platform


@dg.asset(
    name="epoch_pages",
    deps=["leaderboard", "epochs"],
    group_name="marts",
    owners=OWNERS,
    kinds={"html", "parquet"},
    pool="duckdb",
    required_resource_keys={"platform"},
    metadata={"dagster/column_schema": column_schema(Explanations)},
)
def epoch_pages(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Explains every miner of every settled epoch, and writes one page an epoch and their index.

    What is current already is left alone. An epoch that cannot be explained, since it was settled
    under other rules, is named with the reason and stops nothing.
    """
    platform: Platform = context.resources.platform
    settled = [state.epoch_id for state in epoch_states(platform) if state.published]
    return _reported(platform, publish_pages(platform, settled))


def _reported(platform: Platform, done: Sequence[Published]) -> dg.MaterializeResult[None]:
    folder = DataDocs(reports_folder(platform))
    written = [each for each in done if each.page]
    metadata: dict[str, dg.MetadataValue[Any]] = {
        "index": folder.link(INDEX),
        "pages": rows_table(
            pd.DataFrame(
                [{"epoch": each.epoch_id, "miners": each.miners} for each in written[-20:]]
            )
        ),
        "without a page": dg.MetadataValue.json(
            {each.epoch_id: each.reason for each in done if not each.page}
        ),
    }
    if written:
        metadata["newest page"] = folder.link(written[-1].page)
    return dg.MaterializeResult(metadata={"epochs": len(written), **metadata})
