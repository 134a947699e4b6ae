"""What is fixed when an epoch opens: the snapshot it is settled with, and what it may hold.

Both are recorded once. Running either again changes nothing, and another answer is an error.
The snapshot is taken at the close that opens the epoch. The universe rests on that close, which is
final on the same evening; until then the intake answers that the epoch is not prepared.
"""

from datetime import datetime

import dagster as dg

from quanta_pipelines.adapters.signal_store import NotRecorded, SignalStore
from quanta_pipelines.partitions import EPOCHS
from quanta_pipelines.protocol.epoch import Epoch, prices_taken_at
from quanta_pipelines.protocol.oracle import settle_closes, universe
from quanta_pipelines.resources import Platform


class TooEarly(RuntimeError):
    """A moment before what is to be recorded is known."""


def record_opening_snapshot(platform: Platform, epoch: Epoch) -> bool:
    """Records stakes and emission, unless they are; says whether it did.

    What is recorded stays: a chain that is asked later would answer otherwise. Raises
    ``UnknownChainState``, and ``TooEarly`` before the epoch opens.
    """
    _check_known(platform, f"stakes of {epoch}", epoch.opens_at)
    if _has_snapshot(platform.store, epoch):
        return False
    found = platform.chain_state.at(epoch)
    platform.store.record_snapshot(
        epoch,
        emission_rao=found.emission_rao,
        external_rao=found.external_rao,
        stakes=found.stakes,
        bonds=found.bonds,
        conversions=found.conversions,
        source=found.source,
    )
    return True


def fix_opening_universe(platform: Platform, epoch: Epoch) -> tuple[str, ...]:
    """Fixes and returns the tickers that may be held in an epoch, unless they are fixed.

    Raises ``NoObservations`` and, before the evening of the close that opens it, ``TooEarly``.
    """
    entry = epoch.entry_session
    _check_known(platform, f"closes of {entry}", prices_taken_at(entry, platform.params))
    try:
        return platform.store.universe(epoch.id)
    except NotRecorded:
        observed = platform.observe(epoch, entry)
    settled = settle_closes(observed, platform.params)
    tickers = universe(observed, settled, entry, platform.params)
    platform.store.fix_universe(epoch, tickers)
    return tickers


@dg.op(required_resource_keys={"platform"})
def stakes_of_epoch(context: dg.OpExecutionContext) -> None:
    """Records stakes and emission as they stand when the epoch opens."""
    recorded = record_opening_snapshot(
        context.resources.platform, Epoch.parse(context.partition_key)
    )
    context.log.info("recorded" if recorded else "was recorded before")


@dg.op(required_resource_keys={"platform"})
def universe_of_epoch(context: dg.OpExecutionContext) -> None:
    """Fixes what may be held, from the closes that open the epoch."""
    tickers = fix_opening_universe(context.resources.platform, Epoch.parse(context.partition_key))
    context.log.info(f"{len(tickers)} tickers may be held: {', '.join(tickers)}")


@dg.job(
    name="snapshot",
    partitions_def=EPOCHS,
    executor_def=dg.in_process_executor,
    description="Records the stakes and the emission that an epoch is settled with.",
)
def snapshot_job() -> None:
    """One step."""
    stakes_of_epoch()


@dg.job(
    name="universe",
    partitions_def=EPOCHS,
    executor_def=dg.in_process_executor,
    description="Fixes the tickers that may be held in an epoch.",
)
def universe_job() -> None:
    """One step."""
    universe_of_epoch()


def _has_snapshot(store: SignalStore, epoch: Epoch) -> bool:
    try:
        store.snapshot(epoch.id)
    except NotRecorded:
        return False
    return True


def _check_known(platform: Platform, what: str, known_from: datetime) -> None:
    now = platform.clock()
    if now < known_from:
        raise TooEarly(
            f"the {what} are known from {known_from.isoformat()}, not at {now.isoformat()}"
        )
