"""Second chances: closing and settlement that did not succeed when they were due.

Both look at what is published and not at what was asked before, and name each run after its tick:
a key that never changes would be dropped for ever after the first attempt. The oldest epoch that
is not paid comes first, alone. A paid epoch is never asked for again; when its inputs change
afterwards, an operator decides. Marts that a settlement did not come to are built by themselves.
"""

import datetime as dt

import dagster as dg

from quanta_pipelines.automation import (
    NEW_YORK,
    close_job,
    epoch_job,
    marts_job,
    request,
    settle_job,
)
from quanta_pipelines.epoch_progress import (
    LEDGER,
    broken_by_rule,
    has_snapshot,
    is_scored,
    newest_paid,
    oldest_unpaid,
)
from quanta_pipelines.protocol.epoch import Epoch, distribution_starts, settles_at
from quanta_pipelines.resources import Platform

# Inside the vote window, late on that evening, and twice on each following day
CLOSING_TICKS = ("50 20 * * 1-5", "35 22 * * 1-5", "5 9,17 * * *")
SETTLEMENT_TICKS = ("35 23 * * *", "35 11 * * *")
MARTS_TICKS = ("20 0 * * *", "20 12 * * *")  # when a settlement of the tick before has ended
FIRST_ATTEMPT = dt.timedelta(minutes=20)  # the regular tick has its turn before
MOST_ATTEMPTS = 8  # per epoch and phase; after that an operator has to look
AGAIN_TAG = "quanta/again"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

BUILDING = ("fleet_settlement", epoch_job.name, settle_job.name, marts_job.name)  # marts follow

Answer = dg.RunRequest | dg.SkipReason


@dg.schedule(
    job=close_job,
    cron_schedule=CLOSING_TICKS,
    execution_timezone=NEW_YORK,
    description="Closes an epoch that could not be closed when it was due: vendors were late.",
)
def epoch_close_again(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> Answer:
    """Ask for the oldest closed epoch without scores, unless asking again can not help."""
    now = context.scheduled_execution_time
    epoch = oldest_unpaid(platform, now - FIRST_ATTEMPT)
    if epoch is None:
        return dg.SkipReason("every closed epoch is paid")
    if is_scored(platform, epoch):
        return dg.SkipReason(f"{epoch} is scored and waits for its settlement")
    if not has_snapshot(platform, epoch):
        return dg.SkipReason(f"nobody recorded the stakes of {epoch}: run its snapshot first")
    if broken := broken_by_rule(platform, epoch):
        return dg.SkipReason(f"not healed by asking vendors again: {broken}")
    return _again(context, epoch, "close")


@dg.schedule(
    job=settle_job,
    cron_schedule=SETTLEMENT_TICKS,
    execution_timezone=NEW_YORK,
    description="Catches up with closed epochs that were not settled, oldest first.",
)
def epoch_settle_again(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> Answer:
    """Ask for the oldest scored epoch without a ledger whose dispute window is over."""
    now = context.scheduled_execution_time
    epoch = oldest_unpaid(platform, now - FIRST_ATTEMPT)
    if epoch is None:
        return dg.SkipReason("every closed epoch is paid")
    if not is_scored(platform, epoch):
        return dg.SkipReason(f"{epoch} is not scored since {settles_at(epoch).isoformat()}")
    due = distribution_starts(epoch, platform.params)
    if now - FIRST_ATTEMPT < due:
        return dg.SkipReason(f"{epoch} is paid from {due.isoformat()} on")
    return _again(context, epoch, "settle")


@dg.schedule(
    job=marts_job,
    cron_schedule=MARTS_TICKS,
    execution_timezone=NEW_YORK,
    description="Builds the marts where a settlement broke off between its ledger and them.",
)
def marts_again(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> Answer:
    """Ask for the marts when a ledger was published after they were, and nobody is at work on it.

    Dagster's records say so, not the marts themselves: in a fleet those lie on another machine.
    """
    instance, epoch = context.instance, newest_paid(platform, context.scheduled_execution_time)
    if epoch is None:
        return dg.SkipReason("no epoch is paid")
    if not marts_are_behind(instance):
        return dg.SkipReason("no ledger was published since the marts were")
    for job in BUILDING:
        if instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=UNFINISHED)):
            return dg.SkipReason(f"a run of {job} is under way")
    attempts = instance.get_runs_count(dg.RunsFilter(tags={AGAIN_TAG: f"marts {epoch}"}))
    if attempts >= MOST_ATTEMPTS:
        return dg.SkipReason(
            f"the marts of {epoch} were asked for {attempts} times: see those runs"
        )
    return dg.RunRequest(
        run_key=f"{epoch}/marts/{_minute(context)}",
        tags={"dagster/priority": "10", AGAIN_TAG: f"marts {epoch}"},
    )


def marts_are_behind(instance: dg.DagsterInstance) -> bool:
    """Whether the newest ledger was materialised after the last that is built on the marts."""
    ledger = instance.get_latest_materialization_event(dg.AssetKey(LEDGER))
    if ledger is None:
        return False
    pages = instance.get_latest_materialization_event(dg.AssetKey("epoch_pages"))
    return pages is None or pages.timestamp < ledger.timestamp


def _minute(context: dg.ScheduleEvaluationContext) -> str:
    """The tick as part of a run key."""
    return context.scheduled_execution_time.astimezone(dt.UTC).isoformat(timespec="minutes")


def _again(context: dg.ScheduleEvaluationContext, epoch: Epoch, phase: str) -> Answer:
    """One more attempt, when none is under way and not too many have failed."""
    instance = context.instance
    running = dg.RunsFilter(tags={"quanta/epoch": epoch.id}, statuses=UNFINISHED)
    if instance.get_runs_count(running):
        return dg.SkipReason(f"a run of {epoch} is under way")
    attempts = instance.get_runs_count(dg.RunsFilter(tags={AGAIN_TAG: f"{phase} {epoch}"}))
    if attempts >= MOST_ATTEMPTS:
        return dg.SkipReason(
            f"{phase} of {epoch} was asked for {attempts} times more: correct its cause, "
            f"then `quanta epoch run {epoch}`"
        )
    key = f"{epoch}/{phase}/{_minute(context)}"
    return request(epoch, run_key=key, tags={AGAIN_TAG: f"{phase} {epoch}"})
