"""Pictures of the economy: totals over the years, and what a decile of skill earns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quanta_pipelines.pictures import COLOURS, Canvas, canvas
from quanta_pipelines.protocol.epoch import Epoch
from quanta_pipelines.simulation.economy.summary import Economy, Estimate, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WITHOUT, WITH = COLOURS[2], COLOURS[1]
_LABELS = {False: "without emission", True: "with emission"}
_STYLES: Mapping[bool, tuple[str, str, str]] = {False: (WITHOUT, "--", "s"), True: (WITH, "-", "o")}
TITLES = {
    "supply": "Supply: issued less burned",
    "burned": "Burned",
    "treasury": "Into the treasury",
    "miners": "All miners together: payouts less antes",
}


def pictures(found: Economy) -> dict[str, Canvas]:
    """The pictures by the name of their file."""
    return {"totals.png": _totals(found), "deciles.png": _deciles(found)}


def write_pictures(found: Economy, folder: Path) -> tuple[Path, ...]:
    """Write the pictures; returns their paths."""
    paths = []
    for name, drawn in pictures(found).items():
        paths.append(folder / name)
        drawn.write(paths[-1])
    return tuple(paths)


def _totals(found: Economy) -> Canvas:
    first, last = (Epoch.parse(name) for name in (found.first, found.last))
    ends = [one.sessions[-1] for one in Epoch.range(first, last)]
    days = np.array(ends, dtype="datetime64[D]")
    with canvas(2, 2, width=10.0, height=6.8) as drawn:
        for panel, (name, title) in zip(drawn.panels, TITLES.items(), strict=True):
            for scene in (found.without, found.emitting):
                path, (colour, dashes, _) = scene.paths[name], _STYLES[scene.emission]
                thousands = [
                    [amount / 1000 for amount in line] for line in (path.mean, path.low, path.high)
                ]
                label = _LABELS[scene.emission]
                panel.plot(days, thousands[0], color=colour, linestyle=dashes, label=label)
                panel.fill_between(days, thousands[1], thousands[2], color=colour, alpha=0.2, lw=0)
            panel.axhline(0.0, color=COLOURS[0], linewidth=0.8)
            panel.set_title(title, loc="left")
            panel.set_ylabel("thousand ALPHA since the start")
        handles = drawn.panels[0].get_legend_handles_labels()
        drawn.figure.legend(*handles, loc="outside lower center", ncols=2)
        drawn.figure.suptitle(
            f"{found.assumed.miners} simulated miners on real prices, {found.epochs} weeks; "
            f"mean of {found.seeds} seeds, band: 95 % interval of the mean",
            x=0.01,
            ha="left",
        )
    return drawn


def _deciles(found: Economy) -> Canvas:
    with canvas(1, 2, width=10.0, height=4.4) as drawn:
        result, broke = drawn.panels
        for scene in (found.without, found.emitting):
            _dots(result, scene, [one.result for one in scene.deciles], 100.0)
            _dots(broke, scene, [one.broke for one in scene.deciles], 1.0)
        result.axhline(0.0, color=COLOURS[0], linewidth=0.8)
        result.set_title("Net result of a decile", loc="left")
        result.set_ylabel("% of the antes at stake")
        broke.set_title("Miners who go broke", loc="left")
        broke.set_ylabel("per 100 seats a year")
        broke.set_ylim(bottom=0.0)
        for panel in (result, broke):
            coefficients = [one.coefficient for one in found.without.deciles]
            panel.set_xticks(coefficients, [f"{at:g}" for at in coefficients])
            panel.set_xlabel("information coefficient of the decile (0: no skill)")
        handles = result.get_legend_handles_labels()
        drawn.figure.legend(*handles, loc="outside lower center", ncols=2)
    return drawn


def _dots(panel: "Axes", scene: Scene, values: Sequence[Estimate], scale: float) -> None:
    """Means with their intervals by decile; the two scenes stand side by side."""
    colour, dashes, marker = _STYLES[scene.emission]
    coefficients = [one.coefficient for one in scene.deciles]
    aside = (0.08 if scene.emission else -0.08) * (coefficients[1] - coefficients[0])
    half = [(one.mean - one.low if one.low is not None else 0.0) * scale for one in values]
    panel.errorbar(
        [at + aside for at in coefficients],
        [one.mean * scale for one in values],
        yerr=half,  # Student's interval is as wide on both sides
        color=colour,
        linestyle=dashes,
        marker=marker,
        markersize=4,
        capsize=2.5,
        label=_LABELS[scene.emission],
    )
