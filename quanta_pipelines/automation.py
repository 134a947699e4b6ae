"""When things run: the jobs of one epoch, and the schedules that close and settle it.

An epoch opens with the close of the week before: stakes are recorded within half an hour, and the
universe in the evening, once that close is final. After the reveal window its signals are taken.
Closing ticks on every weekday evening in New York, after vendors have stopped correcting, and asks
for a run only on a week's last session; half days and Thursday weeks need no special case. Votes
and disputes take another day: settlement ticks every evening and pays what has become due.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo

import dagster as dg

from quanta_pipelines.mart_quality import mart_quality
from quanta_pipelines.opening import snapshot_job, universe_job
from quanta_pipelines.partitions import EPOCHS
from quanta_pipelines.price_quality import price_quality
from quanta_pipelines.protocol.epoch import Epoch, distribution_starts, reveals_close
from quanta_pipelines.protocol.errors import UnknownSessions

NEW_YORK = "America/New_York"
ONE_DAY = timedelta(days=1)
HALF_AN_HOUR = timedelta(minutes=30)
NO_TAGS: Mapping[str, str] = MappingProxyType({})

# Schedules ask for live phases at priority 10; whole epochs are history, one at a time
HISTORY = {"dagster/priority": "-10", "quanta/backfill": "epoch"}

MARTS = dg.AssetSelection.groups("marts")
PROVISIONAL = dg.AssetSelection.assets("provisional_scores")
SETTLEMENT = dg.AssetSelection.groups("consensus", "rewards")

# Import for seconds what nothing else needs, and stop nothing: not part of a backfill.
QUALITY = dg.AssetSelection.checks(price_quality)
MART_QUALITY = dg.AssetSelection.checks(mart_quality)

# Prices of the epoch do not exist yet when its signals are taken: judged when it closes.
SIGNALS = dg.AssetSelection.groups("signals") - dg.AssetSelection.checks(
    dg.AssetCheckKey(dg.AssetKey("portfolios"), "held_tickers_are_priced")
)

signals_job = dg.define_asset_job(
    "signals",
    selection=SIGNALS,
    description="What was committed and revealed for an epoch, and what is therefore held.",
    executor_def=dg.in_process_executor,
)

epoch_job = dg.define_asset_job(
    "epoch",
    selection=dg.AssetSelection.all() - MARTS - PROVISIONAL - QUALITY,
    description="Everything of one epoch, from raw prices to the ledger.",
    executor_def=dg.in_process_executor,
    tags=HISTORY,
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
    description=(
        "An epoch's votes, consensus and money, then the marts over all settled epochs, judged."
    ),
    executor_def=dg.in_process_executor,
)

marts_job = dg.define_asset_job(
    "marts",
    selection=MARTS - MART_QUALITY,
    description="Builds, tests and publishes what analysts read, over all settled epochs.",
    executor_def=dg.in_process_executor,
)

quality_job = dg.define_asset_job(
    "quality",
    selection=QUALITY,
    description="Judges the published prices of an epoch again, and writes their page.",
    executor_def=dg.in_process_executor,
)

mart_quality_job = dg.define_asset_job(
    "mart_quality",
    selection=MART_QUALITY,
    description="Judges the published marts again, and writes their newest epoch's page.",
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    job=snapshot_job,
    cron_schedule="5,35 13-16 * * 1-5",
    execution_timezone=NEW_YORK,
    description="Records stakes and emission after the close that opens an epoch.",
)
def epoch_snapshot(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Record what the epoch that opened since the last tick is settled with."""
    now = context.scheduled_execution_time
    epoch = _opened_by(_day(context))
    if epoch is None or not now - HALF_AN_HOUR < epoch.opens_at <= now:
        return dg.SkipReason("no epoch opened in the last half hour")
    return request(epoch)


@dg.schedule(
    job=universe_job,
    cron_schedule="35 20 * * 1-5",
    execution_timezone=NEW_YORK,
    description="Fixes what may be held, on the evening of the session that opens an epoch.",
)
def epoch_universe(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Fix the universe of the epoch that today's close opened."""
    today = _day(context)
    epoch = _opened_by(today)
    if epoch is None:
        return dg.SkipReason(f"no epoch opens with the close of {today}")
    return request(epoch)


@dg.schedule(
    job=signals_job,
    cron_schedule="5 17 * * *",
    execution_timezone=NEW_YORK,
    description="Takes an epoch's signals on the first evening after its reveal window.",
)
def epoch_signals(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Take the signals of the epoch whose reveal window ended since the last tick."""
    epoch = _begun_since_yesterday(context, reveals_close)
    return request(epoch) if epoch else dg.SkipReason("no reveal window ended since yesterday")


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
    return request(epoch)


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
    return request(epoch, run_key=f"{epoch.id}/{today}", priority=5)


@dg.schedule(
    job=settle_job,
    cron_schedule="5 21 * * *",
    execution_timezone=NEW_YORK,
    description="Settles an epoch on the first evening after its vote and dispute windows.",
)
def epoch_settlement(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Settle the epoch whose distribution began since the last tick."""
    epoch = _begun_since_yesterday(context, distribution_starts)
    if epoch is None:
        return dg.SkipReason("no epoch's dispute window ended since yesterday evening")
    return request(epoch)


def _begun_since_yesterday(
    context: dg.ScheduleEvaluationContext, start: Callable[[Epoch], datetime]
) -> Epoch | None:
    """The epoch whose ``start`` lies between yesterday's tick and this one, if there is one."""
    now = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK))
    last_tick = now - ONE_DAY  # the same time on yesterday's clock, 23 to 25 hours ago
    this_week = Epoch.containing(now.date())
    for epoch in (this_week.next(), this_week, this_week.previous()):
        try:
            begun = start(epoch)
        except UnknownSessions:
            continue
        if last_tick < begun <= now:
            return epoch
    return None


def _opened_by(day: date) -> Epoch | None:
    """The epoch that the close of a day opens, if it opens one."""
    following = Epoch.containing(day).next()
    try:
        return following if following.entry_session == day else None
    except UnknownSessions:
        return None


def _day(context: dg.ScheduleEvaluationContext) -> date:
    """The tick's day in New York."""
    return context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK)).date()


def request(
    epoch: Epoch,
    run_key: str | None = None,
    priority: int = 10,
    tags: Mapping[str, str] = NO_TAGS,
) -> dg.RunRequest | dg.SkipReason:
    """One run of the epoch, however often a tick asks for it."""
    if epoch.id not in EPOCHS.get_partition_keys():
        return dg.SkipReason(f"{epoch.id} is not among the configured epochs")
    return dg.RunRequest(
        run_key=run_key or epoch.id,
        partition_key=epoch.id,
        tags={"quanta/epoch": epoch.id, "dagster/priority": str(priority), **tags},
    )
