"""Judges the published marts: the newest epoch against those before it; warns, never stops.

The expectations are in ``data_contracts.expectations.marts``. dbt's tests decide what is published;
this looks at what was, from the file that analysts open.
"""

import dagster as dg

from data_contracts.expectations.mart_profile import MARTS_READ
from data_contracts.expectations.marts import judge_marts
from data_contracts.expectations.suite import Quality
from quanta_pipelines.adapters.published_marts import NothingPublished, PublishedMarts
from quanta_pipelines.epoch_state import epoch_states
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.quality_result import quality_result
from quanta_pipelines.resources import Platform


def marts_quality(platform: Platform) -> Quality:
    """What the expectations find in the published marts; writes the page of their newest epoch.

    Raises ``NothingPublished`` and ``OutdatedMarts``, and what Great Expectations raises.
    """
    marts = PublishedMarts(str(platform.warehouse.database)).tables(MARTS_READ)
    if marts["epochs"].empty:
        raise NothingPublished("the published marts show no epoch")
    newest = Epoch.parse(str(marts["epochs"]["epoch_id"].max()))
    return judge_marts(
        marts,
        [state.epoch_id for state in epoch_states(platform) if state.published],
        epoch_id=newest.id,
        closes_at=newest.closes_at,
        folder=str(platform.data_docs.folder),
    )


@dg.asset_check(
    asset="leaderboard",
    name="mart_quality",
    description=(
        "The newest epoch of the published marts is like the 13 before it; ranks have no holes, "
        "balances add up, no settled epoch is absent. A warning asks a person to look at the page "
        "it links; it stops nothing."
    ),
    blocking=False,
    additional_deps=["epochs", "network_by_epoch", "ledger_balances", "price_quality"],
    required_resource_keys={"platform"},
)
def mart_quality(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Warns about odd marts."""
    platform: Platform = context.resources.platform
    return quality_result(
        lambda: marts_quality(platform), platform.data_docs, subject="the published marts"
    )
