"""Everything Dagster knows, on one screen: the stages in order, checks, jobs and the schedule."""

from typing import Any

import dagster as dg

from quanta_pipelines import (
    alerting,
    automation,
    fleet_jobs,
    opening,
    price_sensor,
    recovery,
    weight_sending,
)
from quanta_pipelines.assets import (
    consensus,
    integrity,
    market_data,
    marts,
    pages,
    rewards,
    scoring,
    signals,
)
from quanta_pipelines.checks import ALL_CHECKS
from quanta_pipelines.mart_quality import mart_quality
from quanta_pipelines.price_quality import price_quality
from quanta_pipelines.resources import NoValues, platform_from_settings

STAGES = (market_data, signals, scoring, integrity, consensus, rewards, marts, pages)


def build_defs(**overrides: Any) -> dg.Definitions:
    """The platform's definitions; ``overrides`` replace resources by name, as tests do."""
    return dg.Definitions(
        assets=dg.load_assets_from_modules(STAGES),
        asset_checks=[*ALL_CHECKS, price_quality, mart_quality],
        jobs=[
            opening.snapshot_job,
            opening.universe_job,
            automation.signals_job,
            automation.epoch_job,
            automation.close_job,
            automation.provisional_job,
            automation.settle_job,
            automation.marts_job,
            automation.quality_job,
            automation.mart_quality_job,
            weight_sending.weights_job,
            *fleet_jobs.JOBS,
        ],
        schedules=[
            automation.epoch_snapshot,
            automation.epoch_universe,
            automation.epoch_signals,
            automation.epoch_close,
            automation.epoch_so_far,
            automation.epoch_settlement,
            recovery.epoch_close_again,
            recovery.epoch_settle_again,
            recovery.marts_again,
            weight_sending.epoch_weights,
        ],
        sensors=[price_sensor.live_quotes_sensor, alerting.alerts_sensor],
        resources={
            "platform": platform_from_settings,
            "live_quotes": price_sensor.live_quotes_from_settings,
            "chain": weight_sending.chain_from_settings,
            "alert_outbox": alerting.outbox_from_settings,
            "io_manager": NoValues(),
            **overrides,
        },
        executor=dg.in_process_executor,
    )


defs = build_defs()
