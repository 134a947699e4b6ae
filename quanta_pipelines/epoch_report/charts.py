"""Pictures of an epoch as inline SVG: numbers in, elements out, nothing drawn by a browser.

Coordinates have one decimal, so the same numbers give the same bytes. Colours are classes that the
page's style defines for light and dark; every mark that stands for a row has a title.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 720


@dataclass(frozen=True, slots=True)
class Span:
    """A miner's score with its interval; ends are absent where the history is short."""

    label: str
    tier: str
    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class Flow:
    """Money between two names, in rao."""

    source: str
    target: str
    amount: int
    says: str


def tag(name: str, inside: Iterable[Markup] | Markup | str = "", **attributes: object) -> Markup:
    """An element; text and attributes are escaped, underscores become hyphens."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
    )
    body = escape(inside) if isinstance(inside, str) else Markup("").join(inside)
    return Markup(f"<{name}{written}>{body}</{name}>")  # noqa: S704 - every part was escaped


def interval_plot(spans: Sequence[Span]) -> Markup:
    """One line a miner from the lower to the upper end, a dot at the score; best first."""
    left, right, row = 150.0, 20.0, 15.0
    wide, high = WIDTH - left - right, row * len(spans) + 30
    axis = [_grid(left + wide * at / 4, 8, high - 20, f"{at / 4:.2f}") for at in range(5)]
    lines = []
    for number, span in enumerate(spans):
        y, x = 14 + row * number, left + wide * span.value
        parts = [tag("text", span.label, x=left - 8, y=y + 3.5, class_="name")]
        if span.lower is not None and span.upper is not None:
            start, end = left + wide * span.lower, left + wide * span.upper
            whisker = f"whisker {span.tier}"
            parts.append(tag("line", x1=start, x2=end, y1=y, y2=y, class_=whisker))
        parts.append(tag("circle", cx=x, cy=y, r=3.5, class_=f"dot {span.tier}"))
        parts.append(tag("title", _span_words(span)))
        lines.append(tag("g", parts))
    return _figure(high, [*axis, *lines], "Scores with their intervals, best first")


def reward_curve(rewards: Sequence[tuple[int, str, int]]) -> Markup:
    """Bars of what each rank earned: rank, tier and rao, best first."""
    left, high, base = 60.0, 220.0, 190.0
    most = max((rao for _, _, rao in rewards), default=0) or 1
    step = (WIDTH - left - 10) / max(len(rewards), 1)
    bars = [
        tag(
            "rect",
            [tag("title", f"rank {rank}: {alpha(rao)} ALPHA")],
            x=left + step * at,
            y=base - 170 * rao / most,
            width=max(step - 1.5, 0.8),
            height=170 * rao / most,
            class_=f"bar {tier}",
        )
        for at, (rank, tier, rao) in enumerate(rewards)
    ]
    marks = [_level(left, base - 170 * part / 2, alpha(most * part // 2)) for part in range(3)]
    return _figure(high, [*marks, *bars], "Rewards by rank, in ALPHA")


def curves(
    lines: Sequence[tuple[str, Sequence[float | None]]],
    ticks: Sequence[str],
    zero: float,
    title: str,
) -> Markup:
    """Lines over epochs: class and values, all of one length; ``zero`` is where none moved.

    A line begins where its first value is; there is nothing where a value is absent.
    """
    left, top, tall, high = 60.0, 10.0, 190.0, 235.0
    values = [value for _, line in lines for value in line if value is not None] + [zero]
    low, up = min(values), max(values)
    room = (up - low) or 1.0
    step = (WIDTH - left - 15) / max(len(ticks) - 1, 1)

    def height(value: float) -> float:
        return top + tall * (up - value) / room

    marks = [_level(left, height(value), _signed(value - zero)) for value in _steps(low, up)]
    paths = [
        tag(
            "polyline",
            points=" ".join(
                f"{left + step * at:.1f},{height(value):.1f}"
                for at, value in enumerate(line)
                if value is not None
            ),
            class_=f"curve {name}",
        )
        for name, line in lines
    ]
    shown = {min(1, len(ticks) - 1), len(ticks) // 2, len(ticks) - 1}
    labels = [
        tag(
            "text",
            tick,
            x=left + step * at,
            y=high - 12,
            class_="tick " + ("end" if at == len(ticks) - 1 else "start" if at < 2 else ""),
        )
        for at, tick in enumerate(ticks)
        if at in shown
    ]
    return _figure(high, [*marks, *paths, *labels], title)


def sankey(flows: Sequence[Flow], columns: Sequence[Sequence[str]]) -> Markup:
    """Money from the left to the right: a bar a name, as high as what passes through it."""
    pad, bar, tall = 14.0, 12.0, 300.0
    total = max(sum(flow.amount for flow in flows if flow.source in columns[0]), 1)
    passing = {
        name: max(
            sum(flow.amount for flow in flows if flow.source == name),
            sum(flow.amount for flow in flows if flow.target == name),
        )
        for column in columns
        for name in column
    }
    places: dict[str, tuple[float, float]] = {}
    marks = []
    for at, column in enumerate(columns):
        x = 4 + (WIDTH - 8 - bar) * at / max(len(columns) - 1, 1)
        y = 16.0
        for name in column:
            size = tall * passing[name] / total
            places[name] = (x, y)
            marks.append(_node(name, passing[name], x, y, size, bar, at, len(columns)))
            y += max(size, 14) + pad
    left_from: dict[str, float] = {}
    right_to: dict[str, float] = {}
    ribbons = []
    for flow in flows:
        size = tall * flow.amount / total
        (x0, y0), (x1, y1) = places[flow.source], places[flow.target]
        y0 += left_from.get(flow.source, 0.0)
        y1 += right_to.get(flow.target, 0.0)
        left_from[flow.source] = left_from.get(flow.source, 0.0) + size
        right_to[flow.target] = right_to.get(flow.target, 0.0) + size
        ribbons.append(_ribbon(flow, (x0 + bar, y0), (x1, y1), size))
    lowest = max(
        (y + max(tall * passing[name] / total, 14) for name, (_, y) in places.items()), default=20
    )
    return _figure(lowest + 14, [*ribbons, *marks], "Where the epoch's money came from and went")


def alpha(rao: int) -> str:
    """Rao as ALPHA with two decimals, cut off, thousands grouped."""
    whole, rest = divmod(int(rao), 10**9)
    return f"{whole:,}.{rest // 10**7:02d}"


def _node(
    name: str, amount: int, x: float, y: float, size: float, bar: float, at: int, columns: int
) -> Markup:
    last = at == columns - 1
    words = f"{name} {alpha(amount)}"
    place = x - 6 if last else x + bar + 6
    return tag(
        "g",
        [
            tag("rect", x=x, y=y, width=bar, height=max(size, 1.0), class_="node"),
            tag("text", words, x=place, y=y + min(size, 20) / 2 + 8, class_="flow" + " end" * last),
        ],
    )


def _ribbon(
    flow: Flow, start: tuple[float, float], end: tuple[float, float], size: float
) -> Markup:
    (x0, y0), (x1, y1) = start, end
    middle = (x0 + x1) / 2
    points = (
        f"M{x0:.1f},{y0:.1f} C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f} "
        f"L{x1:.1f},{y1 + size:.1f} "
        f"C{middle:.1f},{y1 + size:.1f} {middle:.1f},{y0 + size:.1f} {x0:.1f},{y0 + size:.1f} Z"
    )
    return tag("path", [tag("title", f"{flow.says}: {alpha(flow.amount)} ALPHA")], d=points)


def _signed(change: float) -> str:
    """A change in whole percent; no sign where it is none."""
    return f"{change:+.0%}" if round(change, 2) else "0%"


def _steps(low: float, high: float) -> list[float]:
    return [low, (low + high) / 2, high]


def _grid(x: float, top: float, bottom: float, label: str) -> Markup:
    return tag(
        "g",
        [
            tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"),
            tag("text", label, x=x, y=bottom + 14, class_="tick"),
        ],
    )


def _level(left: float, y: float, label: str) -> Markup:
    return tag(
        "g",
        [
            tag("line", x1=left, x2=WIDTH - 10, y1=y, y2=y, class_="grid"),
            tag("text", label, x=left - 6, y=y + 4, class_="name"),
        ],
    )


def _span_words(span: Span) -> str:
    ends = ""
    if span.lower is not None and span.upper is not None:
        ends = f", between {span.lower:.3f} and {span.upper:.3f}"
    return f"{span.label}: {span.value:.6f}{ends}, {span.tier.replace('_', ' ')}"


def _figure(high: float, inside: Iterable[Markup], title: str) -> Markup:
    return tag(
        "svg",
        [tag("title", title), *inside],
        viewBox=f"0 0 {WIDTH} {high:.0f}",
        role="img",
        aria_label=title,
        xmlns="http://www.w3.org/2000/svg",
    )


def _text(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
