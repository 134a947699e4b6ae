"""When things run: the job of one epoch, and the schedule that closes an epoch.

The schedule ticks on every weekday evening in New York, after vendors have stopped correcting, and
asks for a run only on a week's last session; half days and Thursday weeks need no special case.
"""

from zoneinfo import ZoneInfo

import dagster as dg

from quanta_pipelines.partitions import EPOCHS
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import UnknownSessions

NEW_YORK = "America/New_York"

EPOCH_ASSETS = dg.AssetSelection.all() - dg.AssetSelection.groups("marts")

epoch_job = dg.define_asset_job(
    "epoch",
    selection=EPOCH_ASSETS,
    description="Everything of one epoch, from raw prices to the ledger.",
    executor_def=dg.in_process_executor,
)

marts_job = dg.define_asset_job(
    "marts",
    selection=dg.AssetSelection.groups("marts"),
    description="Builds, tests and publishes what analysts read, over all settled epochs.",
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    job=epoch_job,
    cron_schedule="35 20 * * 1-5",
    execution_timezone=NEW_YORK,
    description="Closes an epoch on the evening of its last session.",
)
def epoch_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Run the epoch whose last session is today."""
    today = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK)).date()
    epoch = Epoch.containing(today)
    try:
        last = epoch.sessions[-1]
    except UnknownSessions as unknown:
        return dg.SkipReason(str(unknown))
    if today != last:
        return dg.SkipReason(f"{epoch.id} ends with the session of {last}, today is {today}")
    if epoch.id not in EPOCHS.get_partition_keys():
        return dg.SkipReason(f"{epoch.id} is not among the configured epochs")
    return dg.RunRequest(
        run_key=epoch.id,
        partition_key=epoch.id,
        tags={"quanta/epoch": epoch.id, "dagster/priority": "10"},
    )
