# ruff: noqa: E402  threads are limited before numpy is imported
"""What one more epoch costs, from the first to the five hundredth, and what the time is spent on.

Plays and settles epoch after epoch of real prices, through Dagster, from an empty lake. Before each
epoch all that the process has read is forgotten, so that every epoch is as cold as in a process
that has just started, as the weekly schedule starts one. Processor time; nothing is asserted.
"""

import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

for threads in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{threads}_NUM_THREADS"] = "1"

import click

NEAR = 2  # epochs on each side of a mark that its median is over
MARKS = (10, 30, 52, 150, 250, 500)
READING, CHECKS, BETWEEN = "reading the lake", "checks", "between steps"


@click.command()
@click.option("--epochs", type=int, default=500, show_default=True)
@click.option("--miners", type=int, default=72, show_default=True)
@click.option("--first", default="2019-Q2-W23", show_default=True, help="The first epoch.")
@click.option(
    "--prices",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Parquet files of closes; without them the recorded closes of 2018 to 2022.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Every epoch, as JSON lines.")
@click.option("--plot", type=click.Path(path_type=Path), help="A picture of it.")
def main(
    epochs: int,
    miners: int,
    first: str,
    prices: tuple[Path, ...],
    out: Path | None,
    plot: Path | None,
) -> None:
    """Settle epochs, print what those around some marks cost."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"QUANTA_HOME": folder, "QUANTA_FIRST_EPOCH": first}
        found = []
        for cost in costs(epochs, miners, prices):
            found.append(cost)
            if out:
                with out.open("a") as file:
                    file.write(json.dumps(cost) + "\n")
    for mark in sorted({*(mark for mark in MARKS if mark < epochs), epochs}):
        click.echo(json.dumps(around(found, mark)))
    if plot:
        draw(found, plot)


def costs(epochs: int, miners: int, prices: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The cost of each epoch in turn; playing its miners and validators is not part of it."""
    from quanta_pipelines.adapters.parsed_tables import forget
    from quanta_pipelines.backfill import Backfill, recorded_instance
    from quanta_pipelines.definitions import build_defs
    from quanta_pipelines.resources import Platform
    from quanta_pipelines.settings import current_settings
    from quanta_pipelines.simulation.price_table import PriceTable, price_table
    from quanta_pipelines.simulation.season import Season

    settings = current_settings()
    platform = Platform.from_settings(settings)
    if prices:
        table, chosen = price_table(prices), platform.vendors[0].tickers()
        rows = table.rows[table.rows["ticker"].isin(chosen)]
        platform = replace(platform, vendors=(PriceTable(rows),))
    season = Season(
        platform.store, platform.vendors[0], platform.genesis, platform.params, miners=miners
    )
    clock = Clock()
    with recorded_instance(settings) as instance, clock.counting(instance):
        work = Backfill(build_defs(platform=platform), instance)
        epoch = platform.genesis
        for number in range(1, epochs + 1):
            season.play(epoch)
            forget()
            clock.spent.clear()
            began = time.process_time()
            outcome = work.epoch(epoch)
            total = time.process_time() - began
            if not outcome.succeeded:
                raise click.ClickException(f"{epoch}: {'; '.join(outcome.problems)}")
            spent = {name: round(value, 3) for name, value in sorted(clock.spent.items())}
            spent[BETWEEN] = round(total - sum(v for k, v in spent.items() if k != READING), 3)
            yield {
                "number": number,
                "epoch": epoch.id,
                "seconds": round(total, 3),
                "spent": spent,
                "load": round(os.getloadavg()[0], 1),
            }
            epoch = epoch.next()
    platform.store.close()


class Clock:
    """Processor time of steps by stage, and of reading the lake, which is part of them."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._began: dict[str, float] = {}

    @contextmanager
    def counting(self, instance: Any) -> Iterator[None]:
        """Look at the steps' events as they are recorded, and at every reading."""
        from quanta_pipelines.adapters.lake import Lake

        inner = instance.handle_new_event

        def handled(event: Any, **options: Any) -> Any:
            result = inner(event, **options)
            if event.is_dagster_event and event.dagster_event.step_key:
                self._seen(event.dagster_event)
            return result

        instance.handle_new_event = handled
        kept = {name: getattr(Lake, name) for name in ("load", "load_all")}
        for name, function in kept.items():
            setattr(Lake, name, self._timed(function))
        try:
            yield
        finally:
            for name, function in kept.items():
                setattr(Lake, name, function)

    def _seen(self, event: Any) -> None:
        now = time.process_time()
        if event.is_step_start:
            self._began[event.step_key] = now
        elif event.is_step_success or event.is_step_failure:
            self.spent[stage_of(event.step_key)] += now - self._began.pop(event.step_key)

    def _timed(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            began = time.process_time()
            try:
                return inner(*arguments, **options)
            finally:
                self.spent[READING] += time.process_time() - began

        return timed


def stage_of(step: str) -> str:
    """The stage of an asset's step; all others are checks."""
    from data_contracts.tables import STAGE_OF
    from quanta_pipelines.contract_type import STEPS

    return STAGE_OF[STEPS[step].tables[0]] if step in STEPS else CHECKS


def around(found: Sequence[dict[str, Any]], mark: int) -> dict[str, Any]:
    """Medians over a mark and its neighbours."""
    near = found[max(0, mark - 1 - NEAR) : mark + NEAR]
    parts = sorted({name for cost in near for name in cost["spent"]})
    return {
        "number": mark,
        "seconds": round(statistics.median(cost["seconds"] for cost in near), 2),
        "spent": {
            name: round(statistics.median(cost["spent"].get(name, 0.0) for cost in near), 2)
            for name in parts
        },
    }


def draw(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Seconds by number of epochs, one band a stage."""
    from quanta_pipelines.pictures import COLOURS, canvas

    whole = {name for cost in found for name in cost["spent"]} - {READING}
    names = [BETWEEN, *sorted(whole - {BETWEEN})]
    numbers = [cost["number"] for cost in found]
    smooth = [around(found, number) for number in numbers]
    with canvas(1, 1, width=8.0, height=3.6) as drawn:
        panel = drawn.panels[0]
        bands = [[cost["spent"].get(name, 0.0) for cost in smooth] for name in names]
        colours = [*COLOURS[1:], "#999999", COLOURS[0]][: len(names)]
        panel.stackplot(numbers, bands, labels=names, colors=colours, alpha=0.75)
        panel.set_xlim(numbers[0], numbers[-1])
        panel.set_ylim(0, None)
        panel.set_xlabel("epochs settled so far")
        panel.set_ylabel("processor seconds of one more")
        handles, labels = panel.get_legend_handles_labels()
        panel.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    drawn.write(path)


if __name__ == "__main__":
    main()
