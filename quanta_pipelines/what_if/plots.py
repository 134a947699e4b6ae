"""Pictures of a sweep: money over time, who moves, concentration and ranks by rule set."""

from pathlib import Path
from typing import TYPE_CHECKING

from quanta_pipelines.pictures import COLOURS, Canvas, canvas, look
from quanta_pipelines.what_if.comparison import Compared
from quanta_pipelines.what_if.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 7  # rule sets in one picture of lines; a larger grid shows the base and the first
MOST_BARS = 40
LETTERS = 44


def write_plots(found: Sweep, folder: Path) -> tuple[Path, ...]:
    """Write the pictures; returns their paths."""
    paths = []
    pictures = {"money": _money(found), "movers": _movers(found), "ranks": _ranks(found)}
    for name, drawn in pictures.items():
        if drawn is not None:
            paths.append(folder / f"what-if-{name}.png")
            drawn.write(paths[-1])
    return tuple(paths)


def _money(found: Sweep) -> Canvas:
    """Cumulative burn and treasury, the carry of each epoch, and the Gini of its rewards."""
    shown = [found.base, *found.variants][:MOST_LINES]
    with canvas(2, 2, width=10.5, height=7.2) as drawn:
        burned, treasury, carry, spread = drawn.panels
        for number, one in enumerate(shown):
            weeks = range(len(one.epochs))
            style = {**look(number), "label": _short(one.name)}
            burned.plot(weeks, _running([line.burned for line in one.epochs]), **style)
            treasury.plot(weeks, _running([line.treasury for line in one.epochs]), **style)
            carry.plot(weeks, [float(line.carry) for line in one.epochs], **style)
            gini = [line.concentration.gini for line in one.epochs]
            spread.plot(weeks, [_or_gap(at) for at in gini], **style)
        for panel, title, unit in (
            (burned, "Burned since the first epoch", "ALPHA"),
            (treasury, "Into the treasury since the first epoch", "ALPHA"),
            (carry, "Carried into the next epoch", "ALPHA"),
            (spread, "Gini of the epoch's rewards", "0 equal, 1 one miner has all"),
        ):
            panel.set_title(title, loc="left")
            panel.set_ylabel(unit)
            _weeks(panel, [line.epoch_id for line in found.base.epochs])
        spread.set_ylim(0.0, 1.0)
        drawn.figure.legend(
            *burned.get_legend_handles_labels(), loc="outside lower center", ncols=2
        )
        hidden = 1 + len(found.variants) - len(shown)
        more = f"; {hidden} more rule sets are in the JSON" if hidden else ""
        shared = f", every variant with {found.settings}" if found.settings else ""
        drawn.figure.suptitle(
            f"{found.first} to {found.last}{shared}{more}", x=0.01, ha="left", wrap=True
        )
    return drawn


def _movers(found: Sweep) -> Canvas | None:
    """Who gains and loses most, one panel per rule set; nothing where nobody's result changes."""
    moving = [one for one in found.variants if one.gained or one.lost][: MOST_LINES - 1]
    if not moving:
        return None
    with canvas(len(moving), 1, width=8.0, height=0.6 + 3.4 * len(moving)) as drawn:
        for panel, one in zip(drawn.panels, moving, strict=True):
            movers = [*one.gained, *reversed(one.lost)]
            amounts = [float(mover.difference) for mover in movers]
            colours = [COLOURS[1] if amount > 0 else COLOURS[2] for amount in amounts]
            panel.barh(range(len(movers)), amounts, color=colours)
            panel.set_yticks(range(len(movers)), [f"{mover.hotkey[:10]}…" for mover in movers])
            panel.invert_yaxis()
            panel.axvline(0.0, color=COLOURS[0], linewidth=0.8)
            panel.set_xlabel("net result less the base's, ALPHA over the span")
            title = f"{_short(one.name)}: {one.winners} gain, {one.losers} lose"
            panel.set_title(title, loc="left")
            panel.grid(visible=False, axis="y")
    return drawn


def _ranks(found: Sweep) -> Canvas:
    """By rule set: concentration of all rewards, and how ranks hold."""
    shown = [found.base, *found.variants][:MOST_BARS]
    places = range(len(shown))
    with canvas(1, 2, width=11.0, height=1.6 + 0.42 * len(shown)) as drawn:
        shares, ranks = drawn.panels
        for panel, parts in ((shares, _concentrations(shown)), (ranks, _correlations(shown))):
            for number, (label, values) in enumerate(parts.items()):
                at = [place + 0.26 * (number - (len(parts) - 1) / 2) for place in places]
                panel.barh(at, values, height=0.24, color=COLOURS[number + 1], label=label)
            panel.set_yticks(places, [_short(one.name) for one in shown])
            panel.invert_yaxis()
            panel.grid(visible=False, axis="y")
            panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
        shares.set_xlim(0.0, 1.0)
        shares.set_title("Rewards of the span: concentration", loc="left")
        ranks.set_title("Ranks: mean correlation over epochs", loc="left")
        ranks.tick_params(labelleft=False)
        lowest = [value for part in _correlations(shown).values() for value in part if value < 0]
        ranks.set_xlim(min([0.0, *lowest]), 1.0)
    return drawn


def _concentrations(shown: list[Compared]) -> dict[str, list[float]]:
    return {
        "Gini": [_or_gap(one.concentration.gini) for one in shown],
        "share of the largest earner": [_or_gap(one.concentration.top_share) for one in shown],
    }


def _correlations(shown: list[Compared]) -> dict[str, list[float]]:
    against = [one.against_base for one in shown]
    return {
        "Spearman to base": [_or_gap(one.spearman if one else None) for one in against],
        "Kendall to base": [_or_gap(one.kendall if one else None) for one in against],
        "Spearman week to week": [_or_gap(one.week_to_week.spearman) for one in shown],
    }


def _or_gap(value: float | None) -> float:
    """What is not known is not drawn."""
    return float("nan") if value is None else value


def _running(amounts: list[str]) -> list[float]:
    total, running = 0.0, []
    for amount in amounts:
        total += float(amount)
        running.append(total)
    return running


def _weeks(panel: "Axes", epoch_ids: list[str]) -> None:
    """A handful of epochs named on the axis."""
    every = max(1, -(-len(epoch_ids) // 6))
    places = list(range(0, len(epoch_ids), every))
    panel.set_xticks(places, [epoch_ids[at] for at in places], rotation=30, ha="right")


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
