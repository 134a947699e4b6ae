"""Judges an epoch's published prices against those of the epochs before; warns, never stops.

The expectations are in ``data_contracts.expectations``. Whatever happens here, an epoch goes on: an
odd epoch and an expectation that cannot be evaluated are both a warning on ``validated_prices``.
"""

import dagster as dg
import pandas as pd

from data_contracts.expectations.epoch_profile import EpochProfile, epoch_profile, price_cells
from data_contracts.expectations.limits import TRAILING_EPOCHS
from data_contracts.expectations.prices import judge
from data_contracts.expectations.suite import Quality
from data_contracts.market_data import RawPrices, ValidatedPrices
from quanta_pipelines.adapters.lake import Lake
from quanta_pipelines.partitions import EPOCHS
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.quality_result import quality_result
from quanta_pipelines.resources import Platform


def epoch_quality(platform: Platform, epoch: Epoch) -> Quality:
    """What the expectations find in an epoch's published prices; writes its page.

    Raises ``MissingTable`` where the epoch has no prices, and what Great Expectations raises.
    """
    return judge(
        _cells(platform.lake, epoch.id),
        trailing_profiles(platform.lake, epoch),
        epoch_id=epoch.id,
        closes_at=epoch.closes_at,
        folder=str(platform.data_docs.folder),
    )


def trailing_profiles(lake: Lake, epoch: Epoch) -> list[EpochProfile]:
    """The last 13 epochs before this one whose prices are published and passed, oldest first."""
    earlier = [known for known in lake.epochs("validated_prices") if known < epoch.id]
    sound = [known for known in reversed(earlier) if _passed(lake, known)][:TRAILING_EPOCHS]
    return [epoch_profile(_cells(lake, known), known) for known in reversed(sound)]


def _cells(lake: Lake, epoch_id: str) -> pd.DataFrame:
    return price_cells(lake.read("validated_prices", epoch_id), lake.read("raw_prices", epoch_id))


def _passed(lake: Lake, epoch_id: str) -> bool:
    gates = {"raw_prices": RawPrices.gates(), "validated_prices": ValidatedPrices.gates()}
    return all(lake.refusal(table, epoch_id, names) is None for table, names in gates.items())


@dg.asset_check(
    asset="validated_prices",
    name="price_quality",
    description=(
        "The epoch's returns, vendors, volumes and coverage are like those of the 13 epochs before "
        "it. A warning asks a person to look at the page it links; it stops nothing."
    ),
    blocking=False,
    additional_deps=["raw_prices"],
    partitions_def=EPOCHS,
    required_resource_keys={"platform"},
)
def price_quality(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Warns about an odd epoch."""
    platform: Platform = context.resources.platform
    epoch = Epoch.parse(context.partition_key)
    return quality_result(
        lambda: epoch_quality(platform, epoch),
        platform.data_docs,
        subject="the prices",
        epoch_id=epoch.id,
    )
