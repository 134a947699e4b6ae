"""Commands that ask what would be: history under other rules, and the economy over years."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from quanta_pipelines.cli_options import EpochRange, json_option
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.protocol.errors import ProtocolError
from quanta_pipelines.protocol.params import QUANTA
from quanta_pipelines.settings import current_settings

MOST_JOBS = 64
FOLDER = click.Path(file_okay=False, path_type=Path)
out_option = click.option("--out", type=FOLDER, help="Folder for JSON and pictures.")
jobs_option = click.option(
    "--jobs", type=click.IntRange(1, MOST_JOBS), default=1, show_default=True, help="Processes."
)


def register(main: click.Group) -> None:
    """Adds the commands to ``quanta``."""
    for command in (what_if, economics):
        main.add_command(command)


@click.command("what-if")
@click.option("--set", "settings", multiple=True, metavar="SECTION.FIELD=VALUE")
@click.option("--grid", multiple=True, metavar="SECTION.FIELD=VALUE,VALUE,…")
@click.option("--epochs", type=EpochRange(), required=True, metavar="A..B", help="Published ones.")
@click.option(
    "--votes",
    type=click.Choice(["carried", "recorded"]),
    default="carried",
    show_default=True,
    help="What other validators are taken to have voted under the other rules.",
)
@click.option("--work", type=FOLDER, help="Where the isolated home is made and removed again.")
@jobs_option
@out_option
@json_option
def what_if(
    *,
    settings: tuple[str, ...],
    grid: tuple[str, ...],
    epochs: tuple[Epoch, ...],
    votes: Literal["carried", "recorded"],
    work: Path | None,
    jobs: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run the published epochs A..B again under other parameters, in a lake of their own.

    The operator's lake, store and warehouse are read and never written. Each --set changes one
    parameter, each --grid sweeps one; all combinations run. Leaves with 1 where a rule set breaks
    a contract or an invariant.
    """
    from quanta_pipelines.adapters.gate_verdicts import GateNotPassed
    from quanta_pipelines.adapters.lake import MissingTable
    from quanta_pipelines.adapters.signal_store import SchemaMismatch, StoreUnavailable
    from quanta_pipelines.what_if.isolation import History
    from quanta_pipelines.what_if.parameters import variants
    from quanta_pipelines.what_if.report import as_text, print_sweep, write_sweep
    from quanta_pipelines.what_if.sweep import sweep

    history = History.of(current_settings())
    try:
        chosen = variants(QUANTA, settings, grid)
        if out is not None:
            history.require_apart(out, what="the output folder", above=False)
        with _progress(len(chosen) + 1, quiet=as_json) as on_done:
            found = sweep(
                history,
                chosen,
                epochs,
                base_params=QUANTA,
                votes=votes,
                jobs=jobs,
                work=work,
                on_done=on_done,
            )
    except (ProtocolError, MissingTable, GateNotPassed, SchemaMismatch, StoreUnavailable) as error:
        raise click.ClickException(str(error)) from error
    written = write_sweep(found, out) if out else ()
    if as_json:
        click.echo(as_text(found), nl=False)
    else:
        print_sweep(found)
        click.echo("".join(f"{path}\n" for path in written), nl=False)
    if any(one.problem for one in found.variants):
        sys.exit(1)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A bar on standard error that moves each time the function it gives is called."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True, quiet=quiet)) as progress:
        task = progress.add_task("", total=total)

        def done(name: str) -> None:
            progress.update(task, advance=1, description=name)

        yield done


@click.command()
@click.option("--years", type=click.IntRange(1, 40), default=5, show_default=True)
@click.option("--seeds", type=click.IntRange(1, 200), default=10, show_default=True)
@click.option(
    "--prices",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="QUANTA_REFERENCE_DATA",
    help="Folder of Parquet files with as-traded closes; else the recording that ships.",
)
@click.option("--set", "settings", multiple=True, metavar="SECTION.FIELD=VALUE")
@jobs_option
@out_option
@json_option
def economics(
    *,
    years: int,
    seeds: int,
    prices: Path | None,
    settings: tuple[str, ...],
    jobs: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Simulate the economy over years of real prices, with and without emission.

    Miners and their skill are simulated; scores and settlement are the production rules.
    """
    from quanta_pipelines.simulation.economy.market import market
    from quanta_pipelines.simulation.economy.page import (
        as_text,
        decile_table,
        first_paragraph,
        money_table,
        write_economy,
    )
    from quanta_pipelines.simulation.economy.summary import economy
    from quanta_pipelines.what_if.parameters import variants

    try:
        params = variants(QUANTA, settings, ())[0].params if settings else QUANTA
        found_prices = market(prices, years, params)
        with _progress(2 * seeds, quiet=as_json) as on_done:
            found = economy(
                found_prices,
                years_asked=years,
                seeds=seeds,
                jobs=jobs,
                params=params,
                on_done=on_done,
            )
    except ProtocolError as error:
        raise click.ClickException(str(error)) from error
    written = write_economy(found, out) if out else ()
    if as_json:
        click.echo(as_text(found), nl=False)
    else:
        words = [first_paragraph(found), "", *money_table(found), "", *decile_table(found)]
        Console(width=max(Console().width, 140)).print(Markdown("\n".join(words)))
        click.echo("".join(f"{path}\n" for path in written), nl=False)
