"""Stage marts: the dbt project as assets, its tests as blocking checks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, dbt_assets
from dagster_dbt.asset_utils import get_asset_check_key_for_test

from data_contracts.tables import CONTRACTS
from quanta_pipelines.adapters.dbt_runs import (
    DBT_PROJECT,
    Build,
    NodeResult,
    model_names,
    parse_manifest,
)
from quanta_pipelines.contract_type import OWNERS, column_schema
from quanta_pipelines.epoch_state import epoch_states
from quanta_pipelines.resources import Platform

MANIFEST = parse_manifest(DBT_PROJECT / "target")
MARTS = model_names(MANIFEST, "marts")


class QuantaTranslator(DagsterDbtTranslator):
    """All models in one group, with the owner of the other assets."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:  # noqa: ARG002
        """The stage."""
        return "marts"

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002
        """The owner of every asset here."""
        return OWNERS

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The project's own words, without the SQL under them."""
        return str(dbt_resource_props["description"])

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """Columns as described in the project; a staging model has those of its table."""
        metadata = dict(super().get_metadata(dbt_resource_props))
        if dbt_resource_props["resource_type"] != "model":
            return metadata
        # dbt parses without a database, so the place it would name is not the published one
        name = dbt_resource_props["name"]
        metadata["dagster/table_name"] = f"quanta.main.{name}"
        contract = CONTRACTS.get(name.removeprefix("stg_"))
        if contract is not None:
            metadata["dagster/column_schema"] = column_schema(contract)
        return metadata


TRANSLATOR = QuantaTranslator()


@dbt_assets(
    manifest=MANIFEST,
    dagster_dbt_translator=TRANSLATOR,
    name="dbt_marts",
    pool="duckdb",
    required_resource_keys={"platform"},
)
def marts(
    context: dg.AssetExecutionContext,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Builds the marts over all epochs that passed their gates; publishes them when tests pass.

    Epochs before the first that is new or changed keep the rows that are published.
    """
    platform: Platform = context.resources.platform
    states = epoch_states(platform)
    settled = [state.epoch_id for state in states if state.published]
    if not settled:
        raise dg.Failure("no epoch is settled yet: run an epoch first", allow_retries=False)
    left_out = {state.epoch_id: state.waiting_for for state in states if not state.published}
    build = platform.warehouse.build(platform.lake.root, settled, MARTS)
    metadata = {
        "epochs": len(settled),
        "epochs built": len(build.epochs),
        "epochs left out": left_out,
    }
    yield from _reported(build, metadata)


def _reported(
    build: Build, metadata: dict[str, Any]
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Materialisations only when all tests passed: nothing was published otherwise."""
    manifest = json.loads(MANIFEST.read_text())
    for node in build.nodes:
        if node.unique_id.startswith("model.") and build.passed:
            key = TRANSLATOR.get_asset_spec(manifest, node.unique_id, None).key
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)
    for node in build.nodes:
        if node.unique_id.startswith("test."):
            yield _check_result(manifest, node)
    broken = [f"{node.unique_id}: {node.message}" for node in build.nodes if not node.passed]
    if broken:
        raise dg.Failure("the marts were not published: " + "; ".join(broken), allow_retries=False)


def _check_result(manifest: Mapping[str, Any], node: NodeResult) -> dg.AssetCheckResult:
    """A dbt test as the check it is."""
    key = get_asset_check_key_for_test(manifest, TRANSLATOR, node.unique_id, None)
    if key is None:
        raise ValueError(f"{node.unique_id} belongs to no model")
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=node.passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=None if node.passed else node.message,
        metadata={"failing_rows": node.failures},
    )
