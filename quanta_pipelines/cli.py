"""The ``quanta`` command: run epochs, look at their state, show the demo.

Exit codes: 0 success, 1 a run failed or a gate did not pass, 2 the command was not understood.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, TextIO

os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quanta_pipelines import (
    cli_analysis,
    cli_fleet,
    cli_money,
    cli_people,
    cli_signals,
    cli_validators,
)
from quanta_pipelines.cli_cases import cases
from quanta_pipelines.cli_disputes import dispute_group
from quanta_pipelines.cli_operations import doctor, prune
from quanta_pipelines.cli_options import EpochId, EpochRange, json_option, restate_option
from quanta_pipelines.cli_prices import prices
from quanta_pipelines.cli_red_team import red_team
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import Settings, current_settings

DEMO_FIRST, DEMO_LAST = "2019-Q2-W23", "2019-Q4-W52"


@click.group()
def main() -> None:
    """Score equity portfolio signals, epoch by epoch, from prices to tokens."""


main.add_command(prices)
cli_signals.register(main)
cli_validators.register(main)
main.add_command(dispute_group)
main.add_command(cases)
cli_money.register(main)
cli_analysis.register(main)
cli_people.register(main)
main.add_command(red_team)
main.add_command(doctor)
main.add_command(prune)
cli_fleet.register(main)


@main.group("epoch")
def epoch_group() -> None:
    """Run one epoch, or list the state of all."""


@epoch_group.command("run")
@click.argument("epoch", type=EpochId())
@restate_option
@json_option
def epoch_run(epoch: Epoch, *, restate: str, as_json: bool) -> None:
    """Run everything of EPOCH, from raw prices to the ledger, and rebuild the marts."""
    _backfill((epoch,), as_json=as_json, restate=restate)


@main.command()
@click.argument("epochs", type=EpochRange(), required=False)
@click.option("--missing", is_flag=True, help="All epochs that are due and not paid.")
@click.option(
    "--retry",
    "retries",
    type=click.IntRange(0, 10),
    default=0,
    show_default=True,
    help="Further attempts per epoch where vendors or a database did not answer.",
)
@restate_option
@json_option
def backfill(
    epochs: tuple[Epoch, ...] | None, *, missing: bool, retries: int, restate: str, as_json: bool
) -> None:
    """Run the epochs A..B oldest first; stop at the first failed gate; build the marts once."""
    if missing == (epochs is not None):
        raise click.UsageError("either a range A..B or --missing")
    chosen = epochs if epochs is not None else _unpaid()
    if not chosen:
        click.echo("[]" if as_json else "every closed epoch is paid")
        return
    _backfill(chosen, as_json=as_json, restate=restate, retries=retries)


def _unpaid() -> tuple[Epoch, ...]:
    """Epochs that are due and have no ledger."""
    from quanta_pipelines.epoch_progress import unpaid

    platform = _platform(current_settings())
    found: tuple[Epoch, ...] = unpaid(platform, platform.clock())
    return found


@main.command()
@click.argument("epochs", type=EpochRange())
@json_option
def quality(epochs: tuple[Epoch, ...], *, as_json: bool) -> None:
    """Judge the published prices of the epochs A..B against those before, and write their pages.

    An odd epoch is a warning, not a failure: the pages say what is odd.
    """
    from quanta_pipelines.backfill import Backfill, recorded_instance
    from quanta_pipelines.definitions import defs

    _require_configured(epochs)
    console = Console(stderr=True, quiet=as_json)
    alone = recorded_instance(current_settings(), on_wait=_say_that_it_waits)
    with alone as instance, _progress(console) as progress:
        work = Backfill(defs, instance)
        task = progress.add_task("quality", total=len(epochs))
        outcomes = []
        for epoch in sorted(epochs):
            progress.update(task, description=epoch.id)
            outcomes.append(work.quality(epoch))
            progress.advance(task)
    if as_json:
        click.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
        return
    for outcome in outcomes:
        click.echo(f"{outcome.epoch_id}  {'; '.join(outcome.problems) or 'as expected'}")
    click.echo(f"Pages: {current_settings().data_docs / 'index.html'}")


@epoch_group.command("status")
@json_option
def epoch_status(*, as_json: bool) -> None:
    """List every epoch that has a table: what is published and which gate stands in the way."""
    from quanta_pipelines.epoch_state import epoch_states

    states = epoch_states(_platform(current_settings()))
    if as_json:
        rows = [{**asdict(state), "settled": state.settled} for state in states]
        click.echo(json.dumps(rows, indent=2))
        return
    for state in states:
        count = f"{state.tables:>2} of {state.expected} tables"
        click.echo(f"{state.epoch_id}  {count}  {state.in_words()}")
    if not states:
        click.echo("no epoch has been run yet")


@main.group("db")
def db_group() -> None:
    """Look after the database of the signal store."""


@db_group.command("upgrade")
@json_option
def db_upgrade(*, as_json: bool) -> None:
    """Bring the signal store's tables to the schema of this version; safe to repeat."""
    from quanta_pipelines.adapters.signal_store import SchemaMismatch, StoreUnavailable
    from quanta_pipelines.adapters.signal_store.schema import upgrade_at

    try:
        upgrade = upgrade_at(current_settings().signal_store_url)
    except (SchemaMismatch, StoreUnavailable) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(upgrade), indent=2))
        return
    steps = "is at" if upgrade.before == upgrade.after else f"{upgrade.before or 'empty'} ->"
    click.echo(f"{upgrade.address}: {steps} {upgrade.after}")


@main.command()
@click.argument("epoch", type=EpochId())
@json_option
def rescore(epoch: Epoch, *, as_json: bool) -> None:
    """Compute EPOCH again from its stored inputs, publish nothing, and compare every table.

    Leaves with 1 and names the first differing cell where a table is not identical.
    """
    from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
    from quanta_pipelines.adapters.lake import MissingTable
    from quanta_pipelines.rescore import comparison_lines
    from quanta_pipelines.rescore import rescore as computed_again

    try:
        comparisons = computed_again(_platform(current_settings()), epoch)
    except (MissingTable, GateNotPassed, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([asdict(found) for found in comparisons], indent=2))
    else:
        click.echo("\n".join(comparison_lines(comparisons)))
    if not all(found.identical for found in comparisons):
        sys.exit(1)


@main.command()
@click.argument("portfolio", type=click.File())
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), required=True, help="Last session to measure."
)
@json_option
def backtest(portfolio: TextIO, as_of: datetime, *, as_json: bool) -> None:
    """Measure the weights of PORTFOLIO, a JSON file, on past prices: hindsight, never a score."""
    from quanta_pipelines.backtest import backtest as measured

    vendors = _platform(current_settings()).vendors
    try:
        found = measured(json.load(portfolio), as_of=as_of.date(), vendors=vendors)
    except (ProtocolError, json.JSONDecodeError) as error:
        raise click.ClickException(f"{portfolio.name}: {error}") from error
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    click.echo(found.label)
    for horizon in found.horizons:
        click.echo(f"{horizon.horizon} sessions from {horizon.first_session} to {found.as_of}")
        for name, value in horizon.metrics.items():
            click.echo(f"  {name:<20}" + ("undefined" if value is None else f"{value:>12.6f}"))


@main.command()
@click.option("--first", type=EpochId(), default=DEMO_FIRST, show_default=True)
@click.option("--last", type=EpochId(), default=DEMO_LAST, show_default=True)
@json_option
def demo(first: Epoch, last: Epoch, *, as_json: bool) -> None:
    """Let a simulated population play real weeks of 2019, and run every epoch for real."""
    from quanta_pipelines.adapters.signal_store import NotRecorded
    from quanta_pipelines.simulation.market import Market
    from quanta_pipelines.simulation.season import Season

    epochs = EpochRange().convert(f"{first}..{last}", None, click.get_current_context())
    settings = current_settings()
    _require_configured(epochs)
    platform = _platform(settings)
    market = Market(platform.vendors)
    season = Season(platform.store, market, settings.genesis, platform.params)

    def play(epoch: Epoch) -> None:
        try:
            season.play(epoch)
        except NotRecorded as absent:
            raise click.ClickException(
                f"{epoch} cannot be played, {absent}: the season starts with {settings.genesis}"
            ) from absent

    outcomes = _backfill(epochs, before=play, as_json=as_json, talk=False)
    if as_json:
        return
    from quanta_pipelines.leaderboard import print_demo

    print_demo(platform, outcomes, last.id)


def _platform(settings: Settings) -> Any:
    from quanta_pipelines.resources import Platform

    return Platform.from_settings(settings)


def _backfill(
    epochs: tuple[Epoch, ...],
    *,
    as_json: bool,
    before: Callable[[Epoch], None] = lambda _: None,
    talk: bool = True,
    restate: str = "",
    retries: int = 0,
) -> list[Any]:
    """Run epochs with a progress bar, then the marts; leave with 1 when anything failed."""
    from quanta_pipelines.backfill import Backfill, recorded_instance
    from quanta_pipelines.definitions import defs

    _require_configured(epochs)
    console = Console(stderr=True, quiet=as_json)
    outcomes = []
    alone = recorded_instance(current_settings(), on_wait=_say_that_it_waits)
    with alone as instance, _progress(console) as progress:
        work = Backfill(defs, instance)
        task = progress.add_task("epochs", total=len(epochs) + 1)
        for epoch in sorted(epochs):
            progress.update(task, description=epoch.id)
            before(epoch)
            outcomes.append(work.epoch(epoch, restate=restate, retries=retries))
            progress.advance(task)
            if not outcomes[-1].succeeded:
                break
        # also after a failure: what a failed gate withdrew must not stay on the leaderboard
        if outcomes[-1].succeeded or current_settings().warehouse.exists():
            progress.update(task, description="marts")
            outcomes.append(work.marts())
            progress.advance(task)
    _report(outcomes, as_json=as_json)
    if talk and not as_json:
        seconds = sum(outcome.seconds for outcome in outcomes)
        click.echo(f"{len(epochs)} epochs settled and the marts published in {seconds:.1f} s")
    return outcomes


def _report(outcomes: list[Any], *, as_json: bool) -> None:
    """Print what failed and why, and leave with 1 when anything did."""
    if as_json:
        click.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    failed = [outcome for outcome in outcomes if not outcome.succeeded]
    for outcome in failed:
        for problem in outcome.problems:
            click.echo(f"{outcome.epoch_id or outcome.job}: {problem}", err=True)
    if failed:
        sys.exit(1)


def _require_configured(epochs: tuple[Epoch, ...]) -> None:
    """A usage error that names the first epoch which has no partition."""
    from quanta_pipelines.partitions import EPOCHS

    known = EPOCHS.get_partition_keys()
    for epoch in epochs:
        if epoch.id not in known:
            raise click.UsageError(
                f"{epoch} is not among the configured epochs, {known[0]} to {known[-1]}"
            )


def _say_that_it_waits() -> None:
    home = current_settings().home
    click.echo(f"another quanta command is running epochs in {home}: waiting for it", err=True)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console)
