"""``quanta prices``: what prices are, now and settled, and how they came about."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

import click

from quanta_pipelines.cli_options import EpochId, json_option
from quanta_pipelines.protocol.corrections import FIELDS, Field
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import current_settings


@click.group("prices")
def prices() -> None:
    """Ask for prices, and see what they were made of."""


@prices.command("correct")
@click.argument("epoch", type=EpochId())
@click.argument("ticker")
@click.argument("session", type=click.DateTime(["%Y-%m-%d"]))
@click.option("--field", type=click.Choice(FIELDS), required=True, help="What is wrong.")
@click.option("--value", type=float, required=True, help="What holds: dollars, or new shares.")
@click.option("--old", help="What you expect to be settled now, or 'none'.")
@click.option("--reason", required=True, help="Why it is wrong.")
@click.option("--evidence", required=True, help="Where it can be looked up.")
@click.option("--author", required=True, help="Who says so.")
@json_option
def correct(
    epoch: Epoch, ticker: str, session: datetime, field: Field, *, as_json: bool, **said: Any
) -> None:
    """Record that a FIELD of TICKER in SESSION, which EPOCH looks at, is VALUE.

    Nothing runs by it. `quanta prices impact` says what running the epoch again would change.
    """
    from quanta_pipelines.price_correction import Cell, correct_price, recorded_lines

    with _said(), _platform() as platform:
        cell = Cell(ticker.strip().upper().replace("-", "."), _day(session), field)
        found = correct_price(platform, epoch, cell, recorded_at=datetime.now(UTC), **said)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2, default=str))
        return
    click.echo("\n".join(recorded_lines(found)))


@prices.command("disagreements")
@click.argument("epoch", type=EpochId())
@json_option
def disagreements(epoch: Epoch, *, as_json: bool) -> None:
    """Report which vendors were apart in what EPOCH looks at, since when, by how much and why."""
    from quanta_pipelines.price_disagreements import disagreements_of, report_lines, report_records

    with _said(), _platform() as platform:
        report = disagreements_of(platform, epoch)
    if as_json:
        click.echo(json.dumps(report_records(report), indent=2))
        return
    click.echo("\n".join(report_lines(report)))


@prices.command("impact")
@click.argument("epoch", type=EpochId())
@json_option
def impact(epoch: Epoch, *, as_json: bool) -> None:
    """Say what running EPOCH and all later ones again would change: prices, miners, rao.

    Computes with the corrections that are recorded now, and writes nothing.
    """
    from quanta_pipelines.price_impact import impact_lines, price_impact

    with _said(), _platform() as platform:
        impacts = price_impact(platform, epoch)
    if as_json:
        rows = [
            {**asdict(one), "moved_rao": one.moved_rao, "total_rao": one.total_rao}
            for one in impacts
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo("\n".join(impact_lines(impacts)))


def _day(moment: datetime) -> date:
    return moment.date()


@contextmanager
def _platform() -> Iterator[Any]:
    from quanta_pipelines.resources import Platform

    platform = Platform.from_settings(current_settings())
    try:
        yield platform
    finally:
        platform.store.close()


@contextmanager
def _said() -> Iterator[None]:
    """What the rules or the lake refuse, in their own words, with exit code 1."""
    from quanta_pipelines.adapters.lake import GateNotPassed, MissingTable

    try:
        yield
    except (MissingTable, GateNotPassed, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
