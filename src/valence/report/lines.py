"""Lines in small panels: one figure for all lines of a kind that belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import ceil, isnan, log2, nan
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from valence.report.drawing import (
    FAINT,
    INK,
    drawing,
    log_if_wide,
    marker,
    plain_ticks,
    shortened,
    to_svg,
)
from valence.report.kinds import Kind
from valence.report.panels import Line, Panel, Point

_WIDE, _NARROW = 540.0, 285.0
_DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
_DENSE = 14
"""Lines with more points than this have a band, not bars."""
_ROOM = 0.4
"""Powers of 2 between two labels of an axis of steps."""


def lines_figure(
    panels: Sequence[Panel],
    *,
    kind: Kind,
    y: str,
    prefix: str,
    alt: str,
    narrow: bool = False,
) -> str:
    """All panels with the same y axis, and one legend for them; `y` is what that axis says."""
    with drawing(prefix):
        every = _frames(panels, narrow=narrow)
        figure = every[0].get_figure(root=True)
        assert isinstance(figure, Figure)
        for panel, axes in zip(panels, every, strict=True):
            axes.set_title(shortened(panel.title, 34), loc="left", fontsize=8)
            _guide(axes, kind)
            for at, line in enumerate(panel.lines):
                _draw(axes, line, kind, shift=at - (len(panel.lines) - 1) / 2)
            _scale_x(axes, panel, kind)
        _scale_y(every[0], panels, kind)
        figure.supxlabel(kind.x, fontsize=8.5)
        figure.supylabel(y, fontsize=8.5)
        _legend(figure, panels, columns=2 if narrow else 4)
        return to_svg(every[0], prefix=prefix, alt=alt)


def _frames(panels: Sequence[Panel], *, narrow: bool) -> list[Axes]:
    """Axes of a new figure, one for each panel."""
    columns = 1 if narrow else min(len(panels), 3)
    rows = ceil(len(panels) / columns)
    names = len(_named(panels))
    legend = 14 * ceil(names / (2 if narrow else 4)) if names > 1 else 0
    each = {1: 215, 2: 190, 3: 165}[columns] if not narrow else 170
    width = _NARROW if narrow else _WIDE
    figure = Figure(
        figsize=(width / 72, (each * rows + 24 + legend) / 72),
        layout=ConstrainedLayoutEngine(),
        facecolor="none",
    )
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    every = list(chain.from_iterable(grid))
    for axes in every[len(panels) :]:
        axes.remove()
    for axes in every[: len(panels)]:
        axes.set_facecolor("none")
        axes.tick_params(which="both", length=2.5, width=0.7)
    return every[: len(panels)]


def _guide(axes: Axes, kind: Kind) -> None:
    if kind.guide == "diagonal":
        axes.plot((0, 1), (0, 1), color=FAINT, linewidth=0.9, linestyle=":")
    elif kind.guide == "chance":
        axes.axhline(0.5, color=FAINT, linewidth=0.9, linestyle=":")


def _draw(axes: Axes, line: Line, kind: Kind, *, shift: float) -> None:
    """The line with its intervals; single seeds faintly behind their mean, or alone."""
    for seed in line.seeds:
        places, values = _coordinates(seed)
        faint = 0.35 if line.points else 0.8
        axes.plot(places, values, color=line.colour, linewidth=0.6, alpha=faint)
        if not line.points:
            _dots(axes, seed, line, kind)
    if not line.points:
        return
    apart = 0.008 * shift * (max(p.x for p in line.points) - min(p.x for p in line.points))
    # Equal probabilities must stand at their place; other lines move aside so that bars show.
    moved = 0.0 if kind.sized or kind.steps else apart
    places, values = _coordinates(line.points)
    axes.plot(
        [x + moved for x in places],
        values,
        color=line.colour,
        linewidth=0.7 if kind.sized else 1.3,
        linestyle=_DASHES[line.style % len(_DASHES)],
        zorder=3,
    )
    _intervals(axes, line, moved, dense=_dense(line.points, kind))
    _dots(axes, line.points, line, kind, moved)


def _coordinates(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [p.x for p in points], [nan if p.y is None else p.y for p in points]


def _dense(points: Sequence[Point], kind: Kind) -> bool:
    return len(points) > _DENSE and not kind.sized


def _intervals(axes: Axes, line: Line, moved: float, *, dense: bool) -> None:
    if dense:
        low, high = ([nan if e is None else e for e in ends] for ends in _ends(line.points))
        axes.fill_between(
            [p.x for p in line.points], low, high, color=line.colour, alpha=0.14, linewidth=0
        )
        return
    known = [p for p in line.points if p.low is not None and p.high is not None]
    axes.vlines(
        [point.x + moved for point in known],
        [point.low or 0.0 for point in known],
        [point.high or 0.0 for point in known],
        color=line.colour,
        linewidth=1,
        alpha=0.5,
    )


def _ends(points: Sequence[Point]) -> Iterator[list[float | None]]:
    yield [point.low for point in points]
    yield [point.high for point in points]


def _dots(axes: Axes, points: Sequence[Point], line: Line, kind: Kind, moved: float = 0.0) -> None:
    """A marker at each point, of an area by its count where that matters."""
    seen = [(point.x + moved, point.y, point.count) for point in points if point.y is not None]
    if _dense(points, kind) or not seen:
        return
    xs, ys, counts = zip(*seen, strict=True)
    most = max(counts) or 1
    sizes = [6 + 42 * count / most for count in counts] if kind.sized else 22.0
    axes.scatter(
        xs,
        ys,
        s=sizes,
        marker=marker(line.style),
        color=line.colour,
        edgecolors="white",
        linewidths=0.6,
        zorder=4,
    )


def _scale_x(axes: Axes, panel: Panel, kind: Kind) -> None:
    places = sorted({point.x for line in panel.lines for point in _all(line)})
    if kind.guide == "diagonal":
        axes.set_xlim(-0.03, 1.03)
        axes.xaxis.set_major_locator(FixedLocator((0, 0.5, 1)))
    elif kind.x_is_share:
        axes.set_xlim(0, 1.04)
        axes.xaxis.set_major_locator(FixedLocator((0.1, 0.25, 0.5, 0.75, 1)))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol="%"))
        return
    elif kind.steps and places:
        axes.set_xscale("symlog", linthresh=1, linscale=1, base=2)
        axes.xaxis.set_major_locator(FixedLocator(_apart(places)))
        axes.xaxis.set_minor_locator(NullLocator())
    elif places:
        log_if_wide(axes, "x", places)
    plain_ticks(axes, "x")


def _scale_y(axes: Axes, panels: Sequence[Panel], kind: Kind) -> None:
    """The y axis of all panels: over values and the intervals of single seeds.

    Intervals over two or three seeds may be so wide that nothing else would be seen.
    """
    values = [
        end
        for panel in panels
        for line in panel.lines
        for points in (line.seeds or (line.points,))
        for point in points
        for end in (point.y, point.low, point.high)
        if end is not None and not isnan(end)
    ]
    if kind.guide == "diagonal":
        axes.set_ylim(-0.03, 1.03)
    elif values:
        low, high = min(values), max(values)
        if kind.guide == "chance":
            low, high = min(low, 0.48), max(high, 0.52)
        room = 0.06 * (high - low) or 0.05 * (abs(high) or 1.0)
        low, high = low - room, high + room
        axes.set_ylim(*((max(low, -0.03), min(high, 1.03)) if kind.share else (low, high)))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
    )


def _all(line: Line) -> Iterator[Point]:
    yield from line.points
    for seed in line.seeds:
        yield from seed


def _named(panels: Sequence[Panel]) -> dict[str, Line]:
    """The first line of each name."""
    named: dict[str, Line] = {}
    for panel in panels:
        for line in panel.lines:
            named.setdefault(line.label, line)
    return named


def _legend(figure: Figure, panels: Sequence[Panel], *, columns: int) -> None:
    """One for all panels, above them, where there is more than one name."""
    named = _named(panels)
    if len(named) < 2:
        return
    handles = [
        Line2D(
            [],
            [],
            color=line.colour,
            linewidth=1.3,
            linestyle=_DASHES[line.style % len(_DASHES)],
            marker=marker(line.style),
            markersize=4.5,
        )
        for line in named.values()
    ]
    names = [shortened(name, 24) for name in named]
    figure.legend(
        handles,
        names,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        fontsize=7.5,
        labelcolor=INK,
        handlelength=2.4,
        columnspacing=1.2,
    )


def _apart(places: Sequence[float]) -> list[float]:
    """Places that leave room for their labels on a scale of powers of 2, the last one kept."""
    found: list[float] = []
    for place in sorted(places, reverse=True):
        if not found or log2(found[-1] + 1) - log2(place + 1) > _ROOM:
            found.append(place)
    return found
