"""Commands on disputes between validators: open one, add evidence, settle it by replay."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quanta_pipelines.cli_options import EpochId, json_option
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.settings import current_settings

if TYPE_CHECKING:
    from quanta_pipelines.claimed_cells import Claim
    from quanta_pipelines.dispute import Resolution
    from quanta_pipelines.resources import Platform

TABLES = {"prices": "validated_prices", "portfolios": "portfolios"}

Command = Callable[..., Any]


class Moment(click.ParamType[datetime]):
    """A moment with its time zone."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The moment; a usage error for one without a zone, and in production."""
        if current_settings().production:
            self.fail("a moment of one's own choice is refused in production", param, ctx)
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"a moment looks like 2019-08-03T02:00:00Z, not {value}", param, ctx)
        if moment.utcoffset() is None:
            self.fail(f"a moment carries its time zone, {value} has none", param, ctx)
        return moment.astimezone(UTC)


_at = click.option(
    "--at", type=Moment(), help="When it happens, for weeks of the past; now where not given."
)
_cells = click.option(
    "--cells",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of the differing cells, as `quanta validator run --cells` writes it.",
)
_peer = click.option("--peer", help="Address of the other validator's service, to ask it instead.")
_key = click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the own hotkey, which signs what the peer is asked.",
)
_number = click.argument("number", type=click.IntRange(1))


@click.group("dispute")
def dispute_group() -> None:
    """Dispute what another validator scored with, and settle it by scoring under both."""


@dispute_group.command("open")
@click.argument("epoch", type=EpochId())
@click.option("--against", required=True, help="Hotkey of the other validator.")
@click.option("--by", "opened_by", help="Hotkey of who disputes; the own one where not given.")
@click.option("--reason", required=True)
@click.option("--table", type=click.Choice(list(TABLES)), default="prices", show_default=True)
@_cells
@_peer
@_key
@_at
@json_option
def dispute_open(
    epoch: Epoch,
    against: str,
    opened_by: str | None,
    reason: str,
    table: str,
    cells: Path | None,
    peer: str | None,
    key_file: Path | None,
    at: datetime | None,
    *,
    as_json: bool,
) -> None:
    """Open a dispute of EPOCH with the cells in which the other validator differs."""
    from quanta_pipelines.dispute import open_dispute

    with _explained() as platform:
        claims = _claims(platform, epoch, TABLES[table], (cells, peer, key_file))
        number = open_dispute(
            platform,
            epoch,
            against=against,
            opened_by=opened_by or platform.own_validator,
            reason=reason,
            table=TABLES[table],
            claims=claims,
            at=at or platform.clock(),
        )
    said = {"dispute_id": number, "epoch_id": epoch.id, "against": against, "cells": len(claims)}
    text = f"dispute {number} of {epoch} against {against}: {len(claims)} cells claimed"
    click.echo(json.dumps(said, indent=2) if as_json else text)


@dispute_group.command("evidence")
@_number
@click.option("--author", help="Who adds the evidence; the own hotkey where not given.")
@_cells
@_peer
@_key
@_at
@json_option
def dispute_evidence(
    number: int,
    author: str | None,
    cells: Path | None,
    peer: str | None,
    key_file: Path | None,
    at: datetime | None,
    *,
    as_json: bool,
) -> None:
    """Show which cells are claimed in dispute NUMBER, or add some, beside the own values."""
    from quanta_pipelines.adapters.signal_store.disputes import disputed_table
    from quanta_pipelines.claimed_cells import own_value
    from quanta_pipelines.dispute import add_evidence, claims_so_far

    with _explained() as platform:
        now = at or platform.clock()
        found = platform.store.disputes.find(number, at=now)
        epoch, table = Epoch.parse(found.epoch_id), disputed_table(found.evidence)
        if cells is not None or peer is not None:
            claims = _claims(platform, epoch, table, (cells, peer, key_file))
            add_evidence(platform, number, author or platform.own_validator, claims, at=now)
        own = platform.lake.read(table, epoch.id)
        rows = [
            {**asdict(claim), "own": own_value(own, claim, table)}
            for claim in claims_so_far(platform, found)
        ]
    if as_json:
        click.echo(json.dumps({"dispute_id": number, "status": found.status, "cells": rows}))
        return
    click.echo(f"dispute {number} of {epoch}, {found.status}: {found.reason}")
    for row in rows:
        place = f"{row['ticker']} {row['where']} {row['column']}"
        click.echo(f"  {place}: own {row['own']}, claimed {row['value']}")


@dispute_group.command("resolve")
@_number
@click.option("--by", "author", required=True, help="Who decides, for the record.")
@_at
@json_option
def dispute_resolve(number: int, author: str, at: datetime | None, *, as_json: bool) -> None:
    """Score the epoch of dispute NUMBER under both cells, and record the verdict with its numbers.

    Leaves with 1, and decides nothing, where the evidence is incomplete.
    """
    from quanta_pipelines.dispute import resolve

    with _explained() as platform:
        found = resolve(platform, number, author=author, at=at or platform.clock())
    click.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(_lines(found)))


def _lines(found: "Resolution") -> Iterator[str]:
    yield f"dispute {found.dispute_id} of {found.epoch_id} is {found.verdict}: {found.reason}"
    yield f"  {found.cells} cells of {found.table}; {len(found.miners)} miners change"
    for vote in found.votes:
        yield (
            f"  vote of {vote.validator}: {vote.from_own / 1e9:.9f} from the own replay, "
            f"{vote.from_claimed / 1e9:.9f} from the claimed one: follows {vote.follows}"
        )
    yield (
        f"  consensus: {found.consensus_from_own:.9f} from the own replay, "
        f"{found.consensus_from_claimed:.9f} from the claimed one"
    )
    for miner in found.miners:
        yield (
            f"  {miner.hotkey}: score {miner.score_own} own, {miner.score_claimed} claimed; "
            f"weight {miner.weight_own} own, {miner.weight_claimed} claimed"
        )


def _claims(
    platform: "Platform",
    epoch: Epoch,
    table: str,
    where: tuple[Path | None, str | None, Path | None],
) -> "tuple[Claim, ...]":
    """The other validator's cells that differ: from a file, or asked of its service."""
    from quanta_pipelines.adapters.hotkey_file import load_key
    from quanta_pipelines.claimed_cells import differences, read_claims
    from quanta_pipelines.peer import Peer

    cells, peer, key_file = where
    if (cells is None) == (peer is None):
        raise click.UsageError("give --cells FILE or --peer URL")
    if cells is not None:
        return read_claims(cells.read_text(), table)
    if key_file is None or peer is None or table != TABLES["prices"]:
        raise click.UsageError("--peer asks for prices alone, and needs --key FILE")
    with Peer(peer, load_key(key_file)) as other:
        theirs = other.prices(epoch).table
    return differences(platform.lake.read(table, epoch.id), theirs, table)


@contextmanager
def _explained() -> "Iterator[Platform]":
    """The platform of the settings; what it refuses becomes a message and exit code 1."""
    from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
    from quanta_pipelines.adapters.hotkey_file import UnusableKey
    from quanta_pipelines.adapters.lake import MissingTable
    from quanta_pipelines.adapters.signal_store import StoreUnavailable
    from quanta_pipelines.client import ApiError
    from quanta_pipelines.dispute import NotProven
    from quanta_pipelines.protocol.errors import ProtocolError
    from quanta_pipelines.resources import Platform

    refused = (
        *(ApiError, GateNotPassed, MissingTable, NotProven),
        *(ProtocolError, StoreUnavailable, UnusableKey),
    )
    try:
        platform = Platform.from_settings(current_settings())
        try:
            yield platform
        finally:
            platform.store.close()
    except refused as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
