"""When things run: the jobs of one epoch, and the schedules that close and settle it.

Closing ticks on every weekday evening in New York, after vendors have stopped correcting, and asks
for a run only on a week's last session; half days and Thursday weeks need no special case. Votes
and disputes take another day: settlement ticks every evening and pays what has become due.
"""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from quanta_pipelines.partitions import EPOCHS
from quanta_pipelines.price_quality import price_quality
from quanta_pipelines.protocol.epoch import Epoch, distribution_starts
from quanta_pipelines.protocol.errors import UnknownSessions

NEW_YORK = "America/New_York"
ONE_DAY = timedelta(days=1)

MARTS = dg.AssetSelection.groups("marts")
PROVISIONAL = dg.AssetSelection.assets("provisional_scores")
SETTLEMENT = dg.AssetSelection.groups("consensus", "rewards")

# Imports for seconds what nothing else needs, and stops nothing: not part of a backfill.
QUALITY = dg.AssetSelection.checks(price_quality)

epoch_job = dg.define_asset_job(
    "epoch",
    selection=dg.AssetSelection.all() - MARTS - PROVISIONAL - QUALITY,
    description="Everything of one epoch, from raw prices to the ledger.",
    executor_def=dg.in_process_executor,
)

close_job = dg.define_asset_job(
    "close",
    selection=dg.AssetSelection.all() - MARTS - PROVISIONAL - SETTLEMENT,
    description="An epoch up to this validator's own scores.",
    executor_def=dg.in_process_executor,
)

provisional_job = dg.define_asset_job(
    "provisional",
    selection=PROVISIONAL,
    description="Scores of a running epoch, from its sessions so far; never paid.",
    executor_def=dg.in_process_executor,
)

settle_job = dg.define_asset_job(
    "settle",
    selection=SETTLEMENT | MARTS,
    description="An epoch's votes, consensus and money, then the marts over all settled epochs.",
    executor_def=dg.in_process_executor,
)

marts_job = dg.define_asset_job(
    "marts",
    selection=MARTS,
    description="Builds, tests and publishes what analysts read, over all settled epochs.",
    executor_def=dg.in_process_executor,
)

quality_job = dg.define_asset_job(
    "quality",
    selection=QUALITY,
    description="Judges the published prices of an epoch again, and writes their page.",
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    job=close_job,
    cron_schedule="35 20 * * 1-5",
    execution_timezone=NEW_YORK,
    description="Closes and scores an epoch on the evening of its last session.",
)
def epoch_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Score the epoch whose last session is today."""
    today = _day(context)
    epoch = Epoch.containing(today)
    try:
        last = epoch.sessions[-1]
    except UnknownSessions as unknown:
        return dg.SkipReason(str(unknown))
    if today != last:
        return dg.SkipReason(f"{epoch.id} ends with the session of {last}, today is {today}")
    return _request(epoch)


@dg.schedule(
    job=provisional_job,
    cron_schedule="35 20 * * 1-5",
    execution_timezone=NEW_YORK,
    description="Scores a running epoch on the evening of each session but its last.",
)
def epoch_so_far(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Score the running epoch when today was one of its sessions."""
    today = _day(context)
    epoch = Epoch.containing(today)
    try:
        sessions = epoch.sessions
    except UnknownSessions as unknown:
        return dg.SkipReason(str(unknown))
    if today not in sessions[:-1]:
        return dg.SkipReason(f"{today} is no session of {epoch.id} before its last, {sessions[-1]}")
    return _request(epoch, run_key=f"{epoch.id}/{today}", priority=5)


@dg.schedule(
    job=settle_job,
    cron_schedule="5 21 * * *",
    execution_timezone=NEW_YORK,
    description="Settles an epoch on the first evening after its vote and dispute windows.",
)
def epoch_settlement(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Settle the epoch whose distribution began since the last tick."""
    now = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK))
    last_tick = now - ONE_DAY  # the same time on yesterday's clock, 23 to 25 hours ago
    this_week = Epoch.containing(now.date())
    for epoch in (this_week, this_week.previous()):
        try:
            begun = distribution_starts(epoch)
        except UnknownSessions:
            continue
        if last_tick < begun <= now:
            return _request(epoch)
    return dg.SkipReason("no epoch's dispute window ended since yesterday evening")


def _day(context: dg.ScheduleEvaluationContext) -> date:
    """The tick's day in New York."""
    return context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK)).date()


def _request(
    epoch: Epoch, run_key: str | None = None, priority: int = 10
) -> dg.RunRequest | dg.SkipReason:
    """One run of the epoch, however often a tick asks for it."""
    if epoch.id not in EPOCHS.get_partition_keys():
        return dg.SkipReason(f"{epoch.id} is not among the configured epochs")
    return dg.RunRequest(
        run_key=run_key or epoch.id,
        partition_key=epoch.id,
        tags={"quanta/epoch": epoch.id, "dagster/priority": str(priority)},
    )
