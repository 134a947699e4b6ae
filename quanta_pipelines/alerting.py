"""Who has to know what: a sensor that looks every minute and tells each cause once.

It reads what finished since it last looked, in any order and any number: a sensor of Dagster's own
for failed runs answers one event a tick and drowns when many fail. Checks that only warn leave
their run green, so evaluations of every run are read. It can not see that its own daemon stopped:
``quanta doctor --alert``, started by the machine's own scheduler, does.
"""

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import dagster as dg

from quanta_pipelines.adapters.alert_channels import Alert, Channel, Email, Slack, Webhook
from quanta_pipelines.adapters.alert_outbox import AlertOutbox
from quanta_pipelines.adapters.lake import MissingTable
from quanta_pipelines.automation import NEW_YORK
from quanta_pipelines.epoch_progress import newest_closed, overdue
from quanta_pipelines.resources import Platform
from quanta_pipelines.settings import Settings, current_settings

INTERVAL_SECONDS = 60
MOST_RUNS = 500  # read in one tick; the cursor does not pass what was not read
OVERLAP = dt.timedelta(minutes=1)  # a run that was updated before may be written later
IN_A_ROW = 5
NAMED = 5
FINISHED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]


class NotTold(RuntimeError):
    """Alerts that wait because a channel did not take them."""


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """The channels that the settings name."""
    found: list[Channel] = []
    if url := settings.alert_webhook_url.get_secret_value():
        found.append(Webhook(url))
    if url := settings.alert_slack_url.get_secret_value():
        found.append(Slack(url))
    if settings.alert_smtp_host and settings.alert_email_to:
        recipients = [part.strip() for part in settings.alert_email_to.split(",") if part.strip()]
        found.append(
            Email(
                host=settings.alert_smtp_host,
                port=settings.alert_smtp_port,
                sender=settings.alert_email_from or recipients[0],
                recipients=tuple(recipients),
                user=settings.alert_smtp_user,
                password=settings.alert_smtp_password.get_secret_value(),
                starttls=settings.alert_smtp_starttls,
            )
        )
    return tuple(found)


def outbox_of(settings: Settings) -> AlertOutbox:
    """The outbox of a deployment."""
    return AlertOutbox(settings.alerts, channels_of(settings))


@dg.resource(description="Alerts that wait, and the channels that tell them.")
def outbox_from_settings(_context: dg.InitResourceContext) -> AlertOutbox:
    """The outbox of the current settings."""
    return outbox_of(current_settings())


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=(
        dg.DefaultSensorStatus.RUNNING
        if channels_of(current_settings())
        else dg.DefaultSensorStatus.STOPPED
    ),
    description="Tells people of failed runs, odd checks, late epochs and disputed prices.",
)
def alerts_sensor(
    context: dg.SensorEvaluationContext,
    platform: dg.ResourceParam[Platform],
    alert_outbox: dg.ResourceParam[AlertOutbox],
) -> dg.SkipReason:
    """What the tick found and told; fails where a channel does not answer."""
    now = platform.clock()
    if not alert_outbox.channels:
        return dg.SkipReason("no channel is configured: QUANTA_ALERT_WEBHOOK_URL and others")
    since = dt.datetime.fromisoformat(context.cursor) if context.cursor else now
    records = finished_runs(context.instance, since)
    found = [alert for record in records for alert in about_run(context.instance, record)]
    found += about_ticks(context.instance, now)
    found += about_epochs(platform, now)
    new = alert_outbox.put(found)
    context.update_cursor(_next_look(records, since).isoformat())
    delivery = alert_outbox.deliver()
    if delivery.failures:
        raise NotTold(f"{delivery.waiting} alerts wait: {'; '.join(delivery.failures)}")
    return dg.SkipReason(f"{len(records)} runs read, {new} new alerts, {delivery.told} told")


def finished_runs(instance: dg.DagsterInstance, since: dt.datetime) -> list[dg.RunRecord]:
    """Runs that ended since a moment, in the order in which they did."""
    return list(
        instance.get_run_records(
            filters=dg.RunsFilter(statuses=FINISHED, updated_after=since - OVERLAP),
            limit=MOST_RUNS,
            order_by="update_timestamp",
            ascending=True,
        )
    )


def _next_look(records: list[dg.RunRecord], since: dt.datetime) -> dt.datetime:
    """The moment after which the next tick reads: the newest update that was read."""
    return max([since, *(_utc(record.update_timestamp) for record in records)])


def about_run(instance: dg.DagsterInstance, record: dg.RunRecord) -> Iterator[Alert]:
    """A run that failed, and the checks that did not pass in it."""
    run, at = record.dagster_run, _utc(record.update_timestamp)
    epoch = run.tags.get("quanta/epoch") or run.tags.get("dagster/partition")
    place = f"{run.job_name} {epoch}" if epoch else run.job_name
    failed = run.status == dg.DagsterRunStatus.FAILURE
    for check in _failed_checks(instance, run.run_id):
        name = f"{check.asset_key.to_user_string()} {check.check_name}"
        warns = check.severity == dg.AssetCheckSeverity.WARN
        said = check.description or "did not pass"
        yield Alert(
            cause=f"check/{name}/{epoch}/{said}",
            severity="warning" if warns else "critical",
            subject=f"check {name} did not pass for {epoch}",
            text=f"{said}\nrun {run.run_id} of {place}",
            at=at,
            epoch_id=epoch,
        )
    if failed:
        steps, words = _failure(instance, run.run_id)
        day = at.astimezone(ZoneInfo(NEW_YORK)).date()
        yield Alert(
            # attempts of one day that fail in the same steps have one cause
            cause=f"run/{place}/{','.join(steps)}/{day}",
            severity="critical",
            subject=f"run of {place} failed",
            text=f"{words}\nrun {run.run_id}",
            at=at,
            epoch_id=epoch,
        )
        yield from _five_in_a_row(instance, run.job_name, at)


def _failed_checks(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetCheckEvaluation]:
    records = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    events = [record.event_log_entry.dagster_event for record in records]
    checks = [event.asset_check_evaluation_data for event in events if event is not None]
    return [check for check in checks if not check.passed]


def _failure(instance: dg.DagsterInstance, run_id: str) -> tuple[list[str], str]:
    """The steps that failed, and what they said; a run that died without a step says so itself."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    records = instance.get_records_for_run(run_id, of_type=kinds).records
    steps, words, died = [], [], []
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        if event.is_step_failure and event.step_key:
            error = event.step_failure_data.error
            steps.append(event.step_key)
            words.append(f"{event.step_key}: {(error.cause or error).message if error else ''}")
        else:
            died.append(event.message or "")
    return sorted(set(steps)), "\n".join(words[:NAMED] or died).strip() or "it says no reason"


def _five_in_a_row(instance: dg.DagsterInstance, job: str, at: dt.datetime) -> Iterator[Alert]:
    last = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=FINISHED), limit=IN_A_ROW)
    statuses = [record.dagster_run.status for record in last]
    if len(statuses) < IN_A_ROW or set(statuses) != {dg.DagsterRunStatus.FAILURE}:
        return
    good = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
    before = next((run.run_id for run in instance.get_runs(good, limit=1)), "never")
    yield Alert(
        cause=f"five/{job}/{before}",
        severity="critical",
        subject=f"{job} failed {IN_A_ROW} times in a row",
        text=f"the last success of {job}: {before}",
        at=at,
    )


def about_ticks(instance: dg.DagsterInstance, now: dt.datetime) -> Iterator[Alert]:
    """Schedules and sensors whose last five ticks failed."""
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=IN_A_ROW)
        if len(ticks) < IN_A_ROW or not all(tick.is_failure for tick in ticks):
            continue
        first = dt.datetime.fromtimestamp(ticks[-1].timestamp, dt.UTC)
        yield Alert(
            cause=f"ticks/{state.name}/{first.date()}",
            severity="critical",
            subject=f"{state.name} failed {IN_A_ROW} ticks in a row",
            text=str(ticks[0].error.message if ticks[0].error else "it says no reason"),
            at=now,
        )


def about_epochs(platform: Platform, now: dt.datetime) -> Iterator[Alert]:
    """Epochs that are late, and prices of the newest one on which vendors disagree."""
    for late in overdue(platform, now):
        yield Alert(
            cause=f"late/{late.epoch_id}/{late.step}",
            severity="critical",
            subject=f"{late.epoch_id} is late: {late.step}",
            text=late.in_words(),
            at=now,
            epoch_id=late.epoch_id,
        )
    newest = newest_closed(platform, now)
    if newest is not None:
        yield from disputed_prices(platform, newest.id, now)


def disputed_prices(platform: Platform, epoch_id: str, now: dt.datetime) -> Iterator[Alert]:
    """Prices of tickers that may be held, on which the vendors of an epoch disagree."""
    try:
        loaded = platform.lake.load("validated_prices", epoch_id)
    except MissingTable:
        return
    rows = loaded.frame
    rows = rows[(rows["status"] == "disputed") & rows["in_universe"]]
    if rows.empty:
        return
    cells = [f"{row.ticker} {row.session:%Y-%m-%d}" for row in rows.head(NAMED).itertuples()]
    more = [f"{len(rows) - NAMED} more"] if len(rows) > NAMED else []
    yield Alert(
        cause=f"disputed/{epoch_id}/{loaded.version.content_hash}",
        severity="warning",
        subject=f"vendors disagree on {len(rows)} prices of {epoch_id}",
        text=f"{'; '.join([*cells, *more])}\nquanta prices disagreements {epoch_id}",
        at=now,
        epoch_id=epoch_id,
    )


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
