"""Commands for people: why a miner got what it got, an epoch as one page, what was restated."""

import json
from dataclasses import asdict

import click

from quanta_pipelines.cli_options import EpochId, json_option
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import current_settings


def register(main: click.Group) -> None:
    """Adds the commands to ``quanta``."""
    for command in (explain, report, diff):
        main.add_command(command)


@click.command()
@click.argument("epoch", type=EpochId())
@click.argument("hotkey")
@json_option
def explain(epoch: Epoch, hotkey: str, *, as_json: bool) -> None:
    """Show why HOTKEY got what it got in EPOCH, from positions to payout, with each number's row.

    Below it stands what it would have got under other rules, computed by the rules themselves.
    """
    from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
    from quanta_pipelines.adapters.lake import MissingTable
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
    from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
    from quanta_pipelines.adapters.lake import MissingTable
    from quanta_pipelines.explanation import NotExplained
    from quanta_pipelines.publication import report as written
    from quanta_pipelines.resources import Platform

    try:
        page = written(Platform.from_settings(current_settings()), epoch)
    except (MissingTable, GateNotPassed, NotExplained, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps({"epoch_id": epoch.id, "page": str(page)}) if as_json else str(page))


@click.command()
@click.argument("epoch", type=EpochId())
@click.argument("table", required=False)
@click.option("--before", metavar="HASH", help="Beginning of a version's content hash.")
@click.option("--after", metavar="HASH", help="The same of the version it is compared with.")
@click.option("--limit", default=10, show_default=True, help="Cells shown of a table.")
@json_option
def diff(
    epoch: Epoch,
    table: str | None,
    before: str | None,
    after: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Show what a restatement of EPOCH changed, in all tables or in TABLE, cell by cell.

    Without --before and --after, which need TABLE, the current version is compared with the last
    one that was different.
    """
    from data_contracts.tables import TABLES
    from quanta_pipelines import version_difference as versions
    from quanta_pipelines.adapters.lake import MissingTable
    from quanta_pipelines.resources import Platform

    if table is not None and table not in TABLES:
        raise click.BadParameter(f"{table} is none of {', '.join(TABLES)}", param_hint="TABLE")
    if (before or after) and not (table and before and after):
        raise click.UsageError("--before and --after go together, with a TABLE")
    lake = Platform.from_settings(current_settings()).lake
    try:
        if table and before and after:
            named = [versions.named_version(lake, table, epoch.id, it) for it in (before, after)]
            changes = [versions.change_of(lake, table, epoch.id, *named)]
        else:
            changes = versions.changed_tables(lake, epoch.id)
            changes = [change for change in changes if table in (None, change.table)]
    except MissingTable as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([asdict(change) for change in changes]))
        return
    lines = versions.change_lines(changes, limit)
    click.echo("\n".join(lines) or f"nothing of {epoch} was ever published with other content")
