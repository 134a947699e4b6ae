"""Pictures of a run: what attacks earn beside their honest counterparts, and when.

matplotlib is imported here alone, with the backend that needs no screen.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quanta_pipelines.red_team.campaign import Campaign
from quanta_pipelines.red_team.measures import Line, cumulated
from quanta_pipelines.simulation.attackers import VALIDATOR_KINDS

mpl.use("Agg")

QUANTA_COLOUR, SPEC_COLOUR, HONEST_COLOUR = "#1f5fa8", "#c4561e", "#8a8a8a"
COLOURS = {"QUANTA": QUANTA_COLOUR, "SPEC": SPEC_COLOUR}
COLUMNS = 5
DOTS = 90  # an inch


def draw(found: Campaign, folder: Path) -> list[Path]:
    """Both pictures, as PNG files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    miners = [line for line in found.lines if line.attack not in VALIDATOR_KINDS]
    made = {"differences.png": _differences(miners), "paths.png": _paths(miners, found)}
    for name, figure in made.items():
        figure.savefig(folder / name, dpi=DOTS, metadata={"Software": None})
    return [folder / name for name in made]


def _differences(lines: list[Line]) -> Figure:
    """Mean and interval of every attack under both rule sets, best attack last."""
    figure = Figure(figsize=(9, 0.42 * len(lines) + 1.6), layout="constrained")
    axes = figure.subplots()
    for row, line in enumerate(reversed(lines)):
        for shift, (rules, one) in zip((0.16, -0.16), line.earned.items(), strict=True):
            ends = one.difference
            if ends.low is not None and ends.high is not None:
                axes.plot([ends.low, ends.high], [row + shift] * 2, color=COLOURS[rules], lw=1.6)
            axes.plot([ends.mean], [row + shift], "o", color=COLOURS[rules], ms=4)
    axes.axvline(0.0, color="black", lw=0.8)
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_yticks(range(len(lines)), [line.attack for line in reversed(lines)])
    axes.set_xlabel("gain per token at risk less that of the honest counterpart, 95 % over seeds")
    axes.grid(axis="x", alpha=0.3)
    handles = [axes.plot([], [], color=colour, label=name)[0] for name, colour in COLOURS.items()]
    axes.legend(handles=handles, loc="lower right")
    return figure


def _paths(lines: list[Line], found: Campaign) -> Figure:
    """What every attack has gained so far, epoch by epoch."""
    rows = -(-len(lines) // COLUMNS)
    figure = Figure(figsize=(2.7 * COLUMNS, 1.9 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False, sharex=True).ravel()
    for axes, line in zip(grid, lines, strict=False):
        _path(axes, line, found)
    for axes in grid[len(lines) :]:
        axes.set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.supylabel("gain so far per token at risk")
    return figure


def _path(axes: Axes, line: Line, found: Campaign) -> None:
    for rules, colour in COLOURS.items():
        theirs, honest = cumulated(line.attack, rules, found.seasons)
        epochs = range(1, len(theirs) + 1)
        axes.plot(epochs, theirs, color=colour, lw=1.5, label=rules)
        if rules == "QUANTA":
            axes.plot(
                epochs, honest, color=HONEST_COLOUR, lw=1.2, label="honest counterpart, QUANTA"
            )
    axes.axhline(0.0, color="black", lw=0.5)
    axes.set_title(line.attack, fontsize=9)
    axes.tick_params(labelsize=7)
