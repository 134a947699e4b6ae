"""Commands for people: why a miner got what it got, and an epoch as one page."""

import json

import click

from quanta_pipelines.cli_options import EpochId, json_option
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import current_settings


def register(main: click.Group) -> None:
    """Adds the commands to ``quanta``."""
    for command in (explain, report):
        main.add_command(command)


@click.command()
@click.argument("epoch", type=EpochId())
@click.argument("hotkey")
@json_option
def explain(epoch: Epoch, hotkey: str, *, as_json: bool) -> None:
    """Show why HOTKEY got what it got in EPOCH, from positions to payout, with each number's row.

    Below it stands what it would have got under other rules, computed by the rules themselves.
    """
    from quanta_pipelines.adapters.lake import GateNotPassed, MissingTable
    from quanta_pipelines.explanation import NotExplained
    from quanta_pipelines.explanation_view import explanation_json, explanation_lines, one_miner
    from quanta_pipelines.protocol.commit_reveal import public_key
    from quanta_pipelines.publication import explained
    from quanta_pipelines.resources import Platform

    try:
        public_key(hotkey)
        table = explained(Platform.from_settings(current_settings()), epoch)
    except (MissingTable, GateNotPassed, NotExplained, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
    row = one_miner(table, hotkey)
    if row is None:
        raise click.ClickException(f"{hotkey} took no part in {epoch}")
    click.echo(explanation_json(row) if as_json else "\n".join(explanation_lines(row)))


@click.command()
@click.argument("epoch", type=EpochId())
@json_option
def report(epoch: Epoch, *, as_json: bool) -> None:
    """Write the page of EPOCH, one file that works without a network, and the index of pages."""
    from quanta_pipelines.adapters.lake import GateNotPassed, MissingTable
    from quanta_pipelines.explanation import NotExplained
    from quanta_pipelines.publication import report as written
    from quanta_pipelines.resources import Platform

    try:
        page = written(Platform.from_settings(current_settings()), epoch)
    except (MissingTable, GateNotPassed, NotExplained, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps({"epoch_id": epoch.id, "page": str(page)}) if as_json else str(page))
