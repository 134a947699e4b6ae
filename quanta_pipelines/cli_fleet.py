"""Commands for more than one machine: Dagster's instance, and a backfill that workers share."""

import json
import secrets
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from quanta_pipelines.cli_options import EpochRange, json_option
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import current_settings

if TYPE_CHECKING:
    from quanta_pipelines.fleet import FleetBackfill


def register(main: click.Group) -> None:
    """Adds the commands to ``quanta``."""
    main.add_command(instance)
    main.add_command(fleet)


@click.command()
def instance() -> None:
    """Write Dagster's instance from the settings and print its folder, DAGSTER_HOME.

    Every machine of a fleet does this before it starts a daemon or a webserver; a worker does it
    by itself.
    """
    from quanta_pipelines.instance import IncompleteFleet, write_instance

    try:
        click.echo(write_instance(current_settings()))
    except IncompleteFleet as incomplete:
        raise click.ClickException(str(incomplete)) from incomplete


@click.group()
def fleet() -> None:
    """Work that many machines share."""


@fleet.command()
@click.argument("epochs", type=EpochRange())
@click.option("--poll", type=click.FloatRange(min=0.2), default=2.0, show_default=True)
@json_option
def backfill(epochs: tuple[Epoch, ...], *, poll: float, as_json: bool) -> None:
    """Run EPOCHS on the workers: side by side what can be, in order what must be, then the marts.

    Needs the webserver, the daemon and workers; returns when everything has succeeded, or when
    something has failed for good and nothing runs any more.
    """
    from quanta_pipelines.fleet import FleetBackfill, FleetError, Webserver

    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    work = FleetBackfill(Webserver(current_settings().webserver_url), epochs, name)
    started = time.monotonic()

    def say(done: int, total: int) -> None:
        if not as_json and sys.stderr.isatty():
            click.echo(f"\r{done} of {total} runs", nl=False, err=True)

    try:
        succeeded = work.run(poll, say)
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    _report(work, time.monotonic() - started, as_json=as_json)
    if not succeeded:
        sys.exit(1)


def _report(work: "FleetBackfill", seconds: float, *, as_json: bool) -> None:
    """How long it took, how much ran at once, and what failed."""
    from quanta_pipelines.fleet_report import efforts

    busy = sum(run.ended - run.started for run in work.runs if run.started and run.ended)
    said = {
        "backfill": work.name,
        "epochs": len(work.epochs),
        "runs": len(work.runs),
        "retried": sum(run.retried for run in work.runs),
        "seconds": round(seconds, 1),
        "seconds_in_runs": round(busy, 1),
        "epochs_per_hour": round(3600 * len(work.epochs) / seconds, 1),
        "stages": [asdict(effort) for effort in efforts(work.runs)],
        "failures": work.failures(),
    }
    if as_json:
        click.echo(json.dumps(said, indent=2))
        return
    click.echo(
        f"{said['epochs']} epochs in {said['runs']} runs, {said['retried']} of them retried: "
        f"{said['seconds']} s, {said['seconds_in_runs']} s of work, "
        f"{said['epochs_per_hour']} epochs an hour"
    )
    for effort in efforts(work.runs):
        how = "in order" if effort.in_order else f"up to {effort.most_at_once} at once"
        click.echo(
            f"{effort.stage:<17} {effort.runs:>4} runs  {effort.seconds_in_runs:>8} s of work in "
            f"{effort.seconds:>8} s  {how}"
        )
    for line in work.failures():
        click.echo(line, err=True)
