"""Commands about money: does every rao add up, and what has a hotkey."""

import json
import sys
from dataclasses import asdict

import click

from quanta_pipelines.cli_options import EpochId, json_option
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import current_settings


def register(main: click.Group) -> None:
    """Adds the commands to ``quanta``."""
    for command in (audit, balance):
        main.add_command(command)


@click.command()
@click.argument("epoch", type=EpochId(), required=False)
@click.option("--all", "every", is_flag=True, help="All published epochs.")
@json_option
def audit(epoch: Epoch | None, *, every: bool, as_json: bool) -> None:
    """State every account of EPOCH, or of all epochs, and check that no rao is lost.

    Everything is recomputed from the published ledgers alone, those before EPOCH included. Beside
    them stand the rates at which amounts in other units were converted, where the signal store
    knows any. Leaves with 1 and lists what is wrong where anything is.
    """
    from quanta_pipelines.adapters.lake import Lake, MissingTable
    from quanta_pipelines.adapters.signal_store import SchemaMismatch, SignalStore, StoreUnavailable
    from quanta_pipelines.audit import audit as audited
    from quanta_pipelines.audit import audit_lines, with_rates

    if (epoch is None) != every:
        raise click.UsageError("name one epoch, or give --all")
    try:
        settings = current_settings()
        found = audited(Lake(settings.lake_root), epoch.id if epoch else None)
        if found.epochs:
            try:
                store = SignalStore.open(settings.signal_store_url, migrate=False)
                try:
                    found = with_rates(found, store)
                finally:
                    store.close()
            except (SchemaMismatch, StoreUnavailable) as error:
                click.echo(f"without the rates of conversions: {error}", err=True)
    except (MissingTable, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        click.echo("\n".join(audit_lines(found)) or "no epoch has been settled yet")
    if found.problems:
        sys.exit(1)


@click.command()
@click.argument("hotkey")
@json_option
def balance(hotkey: str, *, as_json: bool) -> None:
    """Show what HOTKEY staked, got back, earned and lost, and which antes wait in escrow."""
    from quanta_pipelines.adapters.lake import Lake
    from quanta_pipelines.adapters.signal_store import SignalStore, StoreUnavailable
    from quanta_pipelines.audit import balance as balance_of
    from quanta_pipelines.audit import balance_lines
    from quanta_pipelines.protocol.commit_reveal import public_key

    settings = current_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        public_key(hotkey)
        store = SignalStore.open(settings.signal_store_url)
        try:
            found = balance_of(Lake(settings.lake_root), store, hotkey)
        finally:
            store.close()
    except (StoreUnavailable, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(balance_lines(found)))
