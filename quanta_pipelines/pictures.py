"""The one place that draws: matplotlib without a screen, pictures with the same bytes every time.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; lines differ in their
dashes as well. matplotlib takes a second to import, so it is imported when a picture is drawn.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":")
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters on every machine
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.dpi": 110.0,
    "savefig.dpi": 110.0,
    "svg.hashsalt": "quanta",
}


def look(number: int) -> dict[str, Any]:
    """Colour and dashes of the line with this number; the first is black and solid."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[(number // len(COLOURS) + (number > 0) * number) % len(DASHES)],
    }


@dataclass
class Canvas:
    """A figure with its panels; ``png`` is filled when it is finished."""

    figure: "Figure"
    panels: "list[Axes]"
    png: bytes = field(default=b"")

    def write(self, path: Path) -> None:
        """Put the picture there, whole."""
        write_whole(path, self.png)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


@contextmanager
def canvas(rows: int, columns: int, *, width: float, height: float) -> Iterator[Canvas]:
    """Panels row by row, drawn with Agg, without a date or a version in the file."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, squeeze=False)
        drawn = Canvas(figure, [panel for line in panels for panel in line])
        yield drawn
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        drawn.png = buffer.getvalue()
