"""The command that attacks the rules on real prices, and says what it earned."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quanta_pipelines.cli_options import json_option
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.settings import current_settings

if TYPE_CHECKING:
    from quanta_pipelines.simulation.price_table import PriceTable

ENOUGH = 100  # tickers: with fewer no overlap of portfolios is unlikely enough to be a copy
RECORDING = ("2018-01-02", "2022-12-28")  # what ships
DAY = click.DateTime(["%Y-%m-%d"])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("red-team")
@click.option("--epochs", type=click.IntRange(min=2), default=40, show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option(
    "--tickers", type=click.IntRange(min=12), help=f"Stocks of a seed; {ENOUGH}, or all there are."
)
@click.option("--attackers", help="Names by commas; all of them unless said.")
@click.option("--apart", is_flag=True, help="A season for every attack; slower.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True)
@click.option(
    "--prices", type=FILE, multiple=True, help="Parquet files of prices; the vendors' unless given."
)
@click.option("--since", type=DAY, help="First session that is used.")
@click.option("--until", type=DAY, help="Last session that is used.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Report and plots.")
@click.option("--page", type=FILE, help="Puts the tables between the marks of this page.")
@json_option
def red_team(
    *,
    epochs: int,
    seeds: int,
    tickers: int | None,
    attackers: str | None,
    apart: bool,
    jobs: int,
    prices: tuple[Path, ...],
    since: datetime | None,
    until: datetime | None,
    out: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Play honest miners and every kind of attacker over real weeks, and compare what they earn.

    Simulated participants, real prices, the real steps, under QUANTA and SPEC side by side.
    """
    from quanta_pipelines.red_team.campaign import Size, campaign
    from quanta_pipelines.red_team.report import as_json as for_machines
    from quanta_pipelines.red_team.report import for_terminal, write_page

    chosen = _chosen(attackers)
    try:
        table = _between(_table(prices), since, until)
        there = len(table.tickers())
        size = Size(epochs, seeds, tickers or min(ENOUGH, there))
        with _progress(quiet=as_json) as progress:
            task = progress.add_task("seasons", total=None)
            found = campaign(
                table,
                size,
                chosen,
                jobs=jobs,
                apart=apart,
                on_done=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except ProtocolError as error:
        raise click.ClickException(str(error)) from error
    said = json.dumps(for_machines(found), indent=2)
    if out is not None:
        from quanta_pipelines.red_team.plots import draw

        draw(found, out)
        (out / "red-team.json").write_text(said + "\n")
        (out / "red-team.md").write_text(for_terminal(found))
    if page is not None:
        write_page(page, found)
    click.echo(said if as_json else for_terminal(found))


def _chosen(names: str | None) -> tuple[str, ...]:
    """The attacks that were asked for, in the order of the registry."""
    from quanta_pipelines.simulation.attackers import NAMES

    if names is None:
        return NAMES
    asked = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in asked if name not in NAMES]:
        raise click.UsageError(
            f"there is no attacker {unknown[0]!r}; there are: {', '.join(NAMES)}"
        )
    if not asked:
        raise click.UsageError("--attackers names at least one")
    return tuple(name for name in NAMES if name in asked)


def _table(files: tuple[Path, ...]) -> "PriceTable":
    """The prices of files, or what the configured vendors saw over the span of the recording."""
    from quanta_pipelines.adapters.price_vendors.configured import configured_vendors
    from quanta_pipelines.simulation.market import Market
    from quanta_pipelines.simulation.price_table import observed, price_table

    if files:
        return price_table(files)
    first, last = (pd.Timestamp(day).date() for day in RECORDING)
    vendors = configured_vendors(current_settings())
    return observed(vendors[0] if len(vendors) == 1 else Market(vendors), first, last)


def _between(table: "PriceTable", since: datetime | None, until: datetime | None) -> "PriceTable":
    from dataclasses import replace

    first = pd.Timestamp.min if since is None else pd.Timestamp(since)
    last = pd.Timestamp.max if until is None else pd.Timestamp(until)
    return replace(table, rows=table.rows[table.rows["session"].between(first, last)])


def _progress(*, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True, quiet=quiet))
