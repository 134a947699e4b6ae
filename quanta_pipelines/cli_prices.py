"""``quanta prices``: what prices are, now and settled, and how they came about."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from quanta_pipelines.cli_options import EpochId, json_option
from quanta_pipelines.protocol.corrections import FIELDS, Field
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import Settings, current_settings

if TYPE_CHECKING:
    from quanta_pipelines.adapters.price_vendors import QuoteVendor


@click.group("prices")
def prices() -> None:
    """Ask for prices, and see what they were made of."""


class Ticker(click.ParamType[str]):
    """A ticker on the command line; ``brk-b`` is read as ``BRK.B``."""

    name = "ticker"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The ticker as the rules spell it, or a usage error."""
        from quanta_pipelines.protocol.portfolio import canonical_ticker

        try:
            return canonical_ticker(str(value))
        except ProtocolError as error:
            return self.fail(str(error), param, ctx)


@prices.command()
@click.argument("tickers", type=Ticker(), nargs=-1, required=True)
@json_option
def quote(tickers: tuple[str, ...], *, as_json: bool) -> None:
    """Ask all vendors for TICKERS, store what they say, and print the live price of each.

    Leaves with 1 and names the tickers that have no price.
    """
    from quanta_pipelines.adapters.live_quotes import ask_prices
    from quanta_pipelines.adapters.quote_store import QuoteStore
    from quanta_pipelines.price_view import price_json, price_lines

    settings = current_settings()
    vendors = _quote_vendors(settings)
    store = QuoteStore.open(settings.quote_store_url)
    try:
        answer = ask_prices(vendors, store, tickers)
    except ProtocolError as error:
        raise click.ClickException(str(error)) from error
    finally:
        store.close()
    click.echo(price_json(answer) if as_json else "\n".join(price_lines(answer)))
    for polled in answer.round.vendors:
        if polled.problem or not polled.refused.empty:
            click.echo(f"warning: {polled.in_words()}", err=True)
    found = answer.live.prices
    if unpriced := found.loc[found["price"].isna(), "ticker"].tolist():
        click.echo(f"no price for {', '.join(unpriced)}", err=True)
        sys.exit(1)


@prices.command()
@click.option("--keep-days", type=click.IntRange(min=14), help="Instead of the configured days.")
@json_option
def prune(keep_days: int | None, *, as_json: bool) -> None:
    """Delete live quotes that are older than their retention."""
    from quanta_pipelines.adapters.live_quotes import utc_now
    from quanta_pipelines.adapters.quote_store import QuoteStore

    settings = current_settings()
    days = keep_days or settings.quote_retention_days
    before = utc_now() - timedelta(days=days)
    store = QuoteStore.open(settings.quote_store_url)
    try:
        deleted = store.prune(before)
    finally:
        store.close()
    said = {"deleted": deleted, "before": before.isoformat()}
    click.echo(json.dumps(said) if as_json else f"{deleted} quotes from before {before:%Y-%m-%d}")


def _quote_vendors(settings: Settings) -> "tuple[QuoteVendor, ...]":
    """The configured vendors that give live prices."""
    from quanta_pipelines.adapters.live_quotes import NoQuoteVendor, quote_vendors
    from quanta_pipelines.adapters.price_vendors.configured import InvalidVendors
    from quanta_pipelines.adapters.price_vendors.errors import VendorError

    try:
        return quote_vendors(settings)
    except (NoQuoteVendor, InvalidVendors, VendorError, OSError) as error:
        raise click.ClickException(str(error)) from error


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
@click.option("--refetch", "again", is_flag=True, help="Ask all vendors again for EPOCH before.")
@json_option
def impact(epoch: Epoch, *, again: bool, as_json: bool) -> None:
    """Say what running EPOCH and all later ones again would change: prices, miners, rao.

    Computes with the corrections that are recorded now, and with kept replies of vendors that are
    newer than the published prices. Publishes nothing. With --refetch the new replies are kept, so
    the next run of EPOCH reads them.
    """
    from quanta_pipelines.price_impact import impact_lines, price_impact
    from quanta_pipelines.price_refetch import newer_replies, refetch

    with _said(), _platform() as platform:
        for outcome in refetch(platform, epoch) if again else ():
            lost = f", {len(outcome.losses)} tickers lost" if outcome.losses else ""
            click.echo(f"{outcome.vendor}: {len(outcome.rows)} rows{lost}", err=True)
        impacts = price_impact(platform, epoch, newer_replies(platform))
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
    from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
    from quanta_pipelines.adapters.lake import MissingTable

    try:
        yield
    except (MissingTable, GateNotPassed, ProtocolError) as error:
        raise click.ClickException(str(error)) from error
