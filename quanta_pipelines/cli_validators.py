"""Commands of a validator: its weights for the chain."""

import json
import secrets
from dataclasses import asdict

import click

from quanta_pipelines.cli_options import EpochId, json_option
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import current_settings

SALT_LENGTH = 8  # u16 numbers, 128 bits


@click.command("export-weights")
@click.argument("epoch", type=EpochId())
@click.option("--salt", help="u16 numbers separated by commas; drawn where it is not given.")
@click.option("--version-key", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True)
@click.option("--send", is_flag=True, help="Set the weights on the configured chain.")
@json_option
def export_weights(
    epoch: Epoch, salt: str | None, version_key: int, *, send: bool, as_json: bool
) -> None:
    """Print the own row of EPOCH as the chain takes it, and the hash that commits to it.

    Keep the salt until the weights are revealed. Where nothing was scored or agreed there is
    nothing to export.
    """
    from quanta_pipelines.adapters.chain import SimulatedChain, chain_of
    from quanta_pipelines.adapters.chain.errors import ChainAbsent, ChainRefused
    from quanta_pipelines.adapters.lake import GateNotPassed, MissingTable
    from quanta_pipelines.resources import Platform
    from quanta_pipelines.weight_export import export_weights as exported
    from quanta_pipelines.weight_export import register_participants

    settings = current_settings()
    try:
        platform = Platform.from_settings(settings)
        chain = chain_of(
            settings.chain,
            home=settings.home,
            network=settings.chain_network,
            netuid=settings.netuid,
        )
        if isinstance(chain, SimulatedChain):
            register_participants(platform, epoch, chain)
        row = exported(platform, epoch, chain, salt=_salt(salt), version_key=version_key)
        block = chain.set_weights(row.hotkey, row.uids, row.weights) if send else None
    except (ChainAbsent, ChainRefused, GateNotPassed, MissingTable, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({**asdict(row), "block": block}, indent=2))
        return
    for uid, weight in zip(row.uids, row.weights, strict=True):
        click.echo(f"{uid:>6} {weight:>6}")
    click.echo(f"salt {','.join(map(str, row.salt))}")
    click.echo(f"commit {row.commit_hash}")
    click.echo(f"at block {row.seen_block}: tempo {row.tempo}, {row.phase}")
    if row.unregistered:
        click.echo(f"without a uid: {', '.join(row.unregistered)}", err=True)
    if block is not None:
        click.echo(f"set in block {block}")


def _salt(text: str | None) -> list[int]:
    if text is None:
        return [secrets.randbelow(2**16) for _ in range(SALT_LENGTH)]
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"numbers separated by commas, not {text!r}") from None
