"""A sweep for people, as tables on the terminal, and for machines, as JSON; both show the notes."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from quanta_pipelines.pictures import write_whole
from quanta_pipelines.what_if.comparison import Compared, Mover
from quanta_pipelines.what_if.figures import Stability
from quanta_pipelines.what_if.sweep import Sweep

SHOWN_MOVERS = 5  # on each side, on the terminal
WIDTH = 130
NONE = "-"


def as_text(found: Sweep) -> str:
    """Everything, with sorted keys: the same sweep gives the same text."""
    return json.dumps(asdict(found), indent=2, sort_keys=True) + "\n"


def write_sweep(found: Sweep, folder: Path) -> tuple[Path, ...]:
    """Write JSON and pictures into a folder, each file whole; returns their paths."""
    from quanta_pipelines.what_if.plots import write_plots

    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "what-if.json"
    write_whole(report, as_text(found).encode())
    return (report, *write_plots(found, folder))


def print_sweep(found: Sweep, file: TextIO | None = None) -> None:
    """The figures of every rule set, then the miners that move most."""
    console = Console(file=file)
    console.width = max(console.width, WIDTH)
    everyone = [found.base, *found.variants]
    console.print(_money(found, everyone))
    console.print(_shares(everyone))
    for one in found.variants:
        if one.gained or one.lost:
            console.print(_movers(one))
    for line in closing_lines(found):
        console.print(line, highlight=False, markup=False)


def closing_lines(found: Sweep) -> list[str]:
    """What ended early, whether the base gives the published tables, and what to keep in mind."""
    broken = [f"{one.name} ends early: {one.problem}" for one in found.variants if one.problem]
    same = [
        f"{one.name}: no table changes"
        for one in found.variants
        if not one.tables_changed and not one.problem
    ]
    base = (
        "the base gives every published table bit for bit"
        if not found.differing
        else f"the base gives {len(found.differing)} tables that are not as published, the first "
        f"is {found.differing[0]}: other rules or other code wrote it"
    )
    return [*broken, *same, base, *found.notes]


def _money(found: Sweep, everyone: Sequence[Compared]) -> Table:
    shared = f"; every variant with {found.settings}" if found.settings else ""
    title = f"{found.first}..{found.last}: {found.epochs} epochs, ALPHA{shared}"
    table = Table(title=title, title_justify="left")
    table.add_column("rule set")
    for name in ("burned", "treasury", "rewards", "miners net", "carry at end", "gain", "lose"):
        table.add_column(name, justify="right")
    for one in everyone:
        moved = (str(one.winners), str(one.losers)) if one.against_base else (NONE, NONE)
        table.add_row(one.name, *one.totals.values(), *moved)
    return table


def _shares(everyone: Sequence[Compared]) -> Table:
    table = Table(
        title="Concentration of rewards; rank correlation to the base and from week to week",
        title_justify="left",
    )
    table.add_column("rule set")
    for name in (
        "Gini",
        "top 1",
        "Spearman, base",
        "Kendall, base",
        "Spearman, weeks",
        "Kendall, weeks",
        "tables changed",
    ):
        table.add_column(name, justify="right")
    for one in everyone:
        shares = (one.concentration.gini, one.concentration.top_share)
        ranks = (*_both(one.against_base), *_both(one.week_to_week))
        table.add_row(
            one.name, *(_number(value) for value in (*shares, *ranks)), str(one.tables_changed)
        )
    return table


def _movers(one: Compared) -> Table:
    table = Table(title=f"{one.name}: who moves most, net ALPHA", title_justify="left")
    table.add_column("miner")
    for name in ("base", "variant", "difference"):
        table.add_column(name, justify="right")
    shown: list[Mover] = [*one.gained[:SHOWN_MOVERS], *reversed(one.lost[:SHOWN_MOVERS])]
    for mover in shown:
        table.add_row(mover.hotkey, mover.base, mover.variant, mover.difference)
    return table


def _both(found: Stability | None) -> tuple[float | None, float | None]:
    return (found.spearman, found.kendall) if found else (None, None)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"
