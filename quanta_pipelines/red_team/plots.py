"""Pictures of a run: what attacks earn beside their honest counterparts, and when."""

from pathlib import Path
from typing import TYPE_CHECKING

from quanta_pipelines.pictures import COLOURS, Canvas, canvas
from quanta_pipelines.red_team.campaign import Campaign
from quanta_pipelines.red_team.measures import RULES, Line, cumulated
from quanta_pipelines.simulation.attackers import VALIDATOR_KINDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOUR = dict(zip(RULES, COLOURS[1:3], strict=True))
DASHES = dict(zip(RULES, ("-", "--"), strict=True))
MARKER = dict(zip(RULES, ("o", "s"), strict=True))
PANELS = 5  # in a row
TICKS = (-30, -10, -3, -1, -0.5, 0, 0.5, 1, 3, 10, 30)


def draw(found: Campaign, folder: Path) -> list[Path]:
    """Both pictures, as PNG files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    miners = [line for line in found.lines if line.attack not in VALIDATOR_KINDS]
    made = {"differences.png": _differences(miners), "paths.png": _paths(miners, found)}
    for name, picture in made.items():
        picture.write(folder / name)
    return [folder / name for name in made]


def _differences(lines: list[Line]) -> Canvas:
    """Mean and interval of every attack by miners under both rule sets."""
    with canvas(1, 1, width=9.0, height=0.42 * len(lines) + 1.6) as drawn:
        axes = drawn.panels[0]
        for row, line in enumerate(reversed(lines)):
            for shift, rules in zip((0.16, -0.16), RULES, strict=True):
                _interval(axes, row + shift, line, rules)
        axes.axvline(0.0, color="black", linewidth=0.8)
        axes.set_xscale("symlog", linthresh=1.0)
        axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axes.set_yticks(range(len(lines)), [line.attack for line in reversed(lines)])
        axes.set_xlabel("gain per token at risk less that of the honest counterpart, 95 %")
        for rules in RULES:
            axes.plot([], [], color=COLOUR[rules], marker=MARKER[rules], label=rules)
        axes.legend(loc="lower right")
    return drawn


def _interval(axes: "Axes", row: float, line: Line, rules: str) -> None:
    ends = line.earned[rules].difference
    if ends.low is not None and ends.high is not None:
        axes.plot([ends.low, ends.high], [row, row], color=COLOUR[rules])
    axes.plot([ends.mean], [row], MARKER[rules], color=COLOUR[rules], markersize=4)


def _paths(lines: list[Line], found: Campaign) -> Canvas:
    """What every attack by miners has gained so far, epoch by epoch."""
    rows = -(-len(lines) // PANELS)
    with canvas(rows, PANELS, width=2.6 * PANELS, height=1.9 * rows + 0.6) as drawn:
        for axes, line in zip(drawn.panels, lines, strict=False):
            _path(axes, line, found)
        for axes in drawn.panels[len(lines) :]:
            axes.set_visible(False)
        handles, labels = drawn.panels[0].get_legend_handles_labels()
        drawn.figure.legend(handles, labels, loc="outside lower center", ncols=3)
        drawn.figure.supylabel("gain by epoch of the attack, over one epoch's tokens at risk")
    return drawn


def _path(axes: "Axes", line: Line, found: Campaign) -> None:
    for rules in RULES:
        theirs, honest = cumulated(line.attack, rules, found.seasons)
        epochs = range(1, len(theirs) + 1)
        axes.plot(epochs, theirs, color=COLOUR[rules], linestyle=DASHES[rules], label=rules)
        if rules == "QUANTA":
            axes.plot(epochs, honest, color="#888888", label="honest counterpart, QUANTA")
    axes.axhline(0.0, color="black", linewidth=0.5)
    axes.set_title(line.attack, fontsize=9)
    axes.tick_params(labelsize=7)
