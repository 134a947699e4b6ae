"""Sends this validator's row of each settled epoch to the chain, once the votes have agreed.

The schedule compares: the newest paid epoch, and whether a run sent it. A chain that refuses or
does not answer is asked again at the next tick; a row that is sent twice is the same row.
"""

import datetime as dt

import dagster as dg

from quanta_pipelines.adapters.chain import Chain, chain_of
from quanta_pipelines.automation import NEW_YORK, request
from quanta_pipelines.epoch_progress import newest_paid
from quanta_pipelines.partitions import EPOCHS
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.recovery import AGAIN_TAG, MOST_ATTEMPTS, UNFINISHED
from quanta_pipelines.resources import Platform
from quanta_pipelines.settings import current_settings
from quanta_pipelines.weight_export import NothingToSend, export_weights

TICKS = ("35 21 * * *", "5 12 * * *")  # half an hour after each settlement


@dg.resource(description="The chain that takes weights.")
def chain_from_settings(_context: dg.InitResourceContext) -> Chain:
    """The configured chain; raises ``ChainAbsent`` where its package is not installed."""
    said = current_settings()
    return chain_of(said.chain, home=said.home, network=said.chain_network, netuid=said.netuid)


def send_weights(platform: Platform, epoch: Epoch, chain: Chain) -> int | None:
    """Sends the row of an epoch; returns the block that holds it, nothing where there is no row.

    Raises ``ChainRefused``, ``InvalidWeights`` where the chain knows none of the miners, and
    ``MissingTable`` or ``GateNotPassed`` before the epoch is settled.
    """
    try:
        row = export_weights(platform, epoch, chain, salt=())
    except NothingToSend:
        return None
    return chain.set_weights(row.hotkey, row.uids, row.weights)


@dg.op(required_resource_keys={"platform", "chain"})
def row_of_epoch(context: dg.OpExecutionContext) -> None:
    """Sends the own row, or says that nothing was voted or agreed."""
    resources, epoch = context.resources, Epoch.parse(context.partition_key)
    block = send_weights(resources.platform, epoch, resources.chain)
    context.log.info(f"{epoch}: nothing to send" if block is None else f"{epoch}: in block {block}")


@dg.job(
    name="weights",
    partitions_def=EPOCHS,
    executor_def=dg.in_process_executor,
    description="Sets this validator's weights on the chain, from a settled epoch.",
)
def weights_job() -> None:
    """One step."""
    row_of_epoch()


@dg.schedule(
    job=weights_job,
    cron_schedule=TICKS,
    execution_timezone=NEW_YORK,
    description="Sends the row of the newest settled epoch to the chain, if one is configured.",
)
def epoch_weights(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    """Ask for the newest paid epoch whose row no run has sent."""
    if current_settings().chain == "simulated":
        return dg.SkipReason("QUANTA_CHAIN is simulated: there is no chain to send to")
    epoch = newest_paid(platform, context.scheduled_execution_time)
    if epoch is None:
        return dg.SkipReason("no epoch is paid")
    name, tags = weights_job.name, {"quanta/epoch": epoch.id}
    done = [dg.DagsterRunStatus.SUCCESS, *UNFINISHED]
    if context.instance.get_runs_count(dg.RunsFilter(job_name=name, tags=tags, statuses=done)):
        return dg.SkipReason(f"the row of {epoch} is sent, or being sent")
    attempts = context.instance.get_runs_count(dg.RunsFilter(job_name=name, tags=tags))
    if attempts >= MOST_ATTEMPTS:
        return dg.SkipReason(f"the row of {epoch} was refused {attempts} times: see its runs")
    tick = context.scheduled_execution_time.astimezone(dt.UTC).isoformat(timespec="minutes")
    return request(epoch, run_key=f"{epoch}/weights/{tick}", tags={AGAIN_TAG: f"weights {epoch}"})
