"""An epoch in four jobs, cut where the epoch before is read: what a fleet shares out.

Prices and signals of all epochs are read side by side. Holdings follow from those of the epoch
before, in order. Metrics read published returns alone, so they run side by side again, and they
are what costs. Scores, votes and money come in order. A job is one run on one worker.
"""

from dataclasses import dataclass

import dagster as dg

from quanta_pipelines.automation import MARTS, PROVISIONAL, QUALITY
from quanta_pipelines.instance import IN_ORDER

OBSERVED = (
    dg.AssetSelection.groups("market_data") | dg.AssetSelection.assets("commitments", "reveals")
) - QUALITY
HELD = dg.AssetSelection.assets("portfolios", "committed_portfolios", "portfolio_returns")
MEASURED = dg.AssetSelection.assets("horizon_metrics", "score_intervals")
SETTLED = dg.AssetSelection.all() - MARTS - PROVISIONAL - QUALITY - OBSERVED - HELD - MEASURED


@dataclass(frozen=True)
class Stage:
    """One of the jobs: ``after`` names the stage of the same epoch that comes before it."""

    job: str
    after: str | None
    in_order: bool  # after itself of the epoch before


STAGES = (
    Stage("fleet_prices", None, in_order=False),
    Stage("fleet_returns", "fleet_prices", in_order=True),
    Stage("fleet_metrics", "fleet_returns", in_order=False),
    Stage("fleet_settlement", "fleet_metrics", in_order=True),
)

JOBS = [
    dg.define_asset_job(
        stage.job,
        selection=selection,
        description=f"An epoch's {stage.job.removeprefix('fleet_')}, as quanta fleet asks for it.",
        executor_def=dg.in_process_executor,
        tags={IN_ORDER: stage.job} if stage.in_order else {},
    )
    for stage, selection in zip(STAGES, (OBSERVED, HELD, MEASURED, SETTLED), strict=True)
]
