"""Commands of a validator: score and vote at a peer's service, export weights for the chain."""

import json
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quanta_pipelines.cli_options import EpochId, json_option
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import current_settings

if TYPE_CHECKING:
    from quanta_pipelines.validator_run import EpochReport

SALT_LENGTH = 8  # u16 numbers, 128 bits


def register(main: click.Group) -> None:
    """Adds the commands to ``quanta``."""
    for command in (validator_group, export_weights):
        main.add_command(command)


@click.group("validator")
def validator_group() -> None:
    """Run this platform as one validator among several."""


@validator_group.command("run")
@click.option("--peer", "address", required=True, help="Address of the service that takes votes.")
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path.home() / ".quanta" / "hotkey.json",
    show_default=True,
    help="File of the own hotkey.",
)
@click.option("--epoch", type=EpochId(), help="One epoch, at once; the newest where not given.")
@click.option("--once", is_flag=True, help="Stop after one epoch.")
@click.option(
    "--cells",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the own values of differing cells here, as evidence for the other side.",
)
@json_option
def validator_run(
    address: str,
    key_file: Path,
    epoch: Epoch | None,
    cells: Path | None,
    *,
    once: bool,
    as_json: bool,
) -> None:
    """Score epochs on own prices, and vote at the service of a peer, in the own moment.

    Signals, stakes and universe are the peer's and are checked here. Leaves with 1 where the vote
    was not taken. Started again, it sends the same vote.
    """
    from quanta_pipelines.adapters.hotkey_file import UnusableKey, load_key
    from quanta_pipelines.adapters.signal_store import StoreUnavailable
    from quanta_pipelines.backfill import Backfill, recorded_instance
    from quanta_pipelines.claimed_cells import as_json as claims_as_json
    from quanta_pipelines.definitions import build_defs
    from quanta_pipelines.peer import Peer
    from quanta_pipelines.resources import Platform
    from quanta_pipelines.validator_run import (
        due_epoch,
        run_epoch,
        run_for_ever,
        seconds_to_wait,
    )

    settings = current_settings()
    try:
        pair = load_key(key_file)
        if pair.hotkey != settings.validator_hotkey:
            raise click.UsageError(
                f"{key_file} is of {pair.hotkey}, QUANTA_VALIDATOR_HOTKEY is "
                f"{settings.validator_hotkey}"
            )
        platform = replace(Platform.from_settings(settings), settles=False)
        defs = build_defs(platform=platform)
        with Peer(address, pair) as peer:

            def attempt(one: Epoch) -> "EpochReport":
                with recorded_instance(settings) as instance:
                    return run_epoch(platform, Backfill(defs, instance), peer, one, _tell)

            chosen = epoch or (due_epoch(platform.clock(), platform) if once else None)
            forever = run_for_ever(platform, attempt, time.sleep) if chosen is None else None
            if chosen is not None and (pause := seconds_to_wait(platform, chosen)):
                _tell(f"{chosen}: the own moment is in {pause:.0f} s")
                time.sleep(pause)
            for report in [attempt(chosen)] if chosen is not None else forever or ():
                if cells is not None:
                    cells.write_text(json.dumps(claims_as_json(report.claims), indent=2) + "\n")
                said = json.dumps({**asdict(report), "voted": report.voted}, indent=2)
                click.echo(said if as_json else "\n".join(_report_lines(report)))
                if chosen is not None and report.problem:
                    sys.exit(1)
    except (ProtocolError, StoreUnavailable, UnusableKey) as error:
        raise click.ClickException(str(error)) from error


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _report_lines(report: "EpochReport") -> Iterator[str]:
    if report.scored:
        yield (
            f"{report.epoch_id}: {report.miners} miners on prices of "
            f"{', '.join(report.price_sources)}, hash {report.data_hash[:12]}"
        )
    if report.voted:
        yield f"vote {report.submission_id} of {report.hotkey} is recorded"
    if report.problem:
        yield f"NOT VOTED: {report.problem}" if not report.voted else report.problem
    if report.note:
        yield report.note
    if report.peer_data_hash:
        same = report.peer_data_hash == report.data_hash
        yield (
            f"{report.peer} has the same prices"
            if same
            else f"{report.peer} has other prices, hash {report.peer_data_hash[:12]}:"
        )
    for cell in report.cells:
        yield f"  {cell.ticker} {cell.session} {cell.column}: own {cell.own}, peer {cell.peer}"


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
    from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
    from quanta_pipelines.adapters.lake import MissingTable
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
