"""Where labels go, so that they cover neither each other nor the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import cos, hypot, pi, sin

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import FontProperties
from matplotlib.transforms import Bbox

from valence.report.drawing import FAINT, INK

Span = tuple[float, float]
_RADII = (6.0, 11.0, 17.0, 25.0, 35.0, 47.0, 61.0, 77.0, 95.0)
_TURNS = tuple(2 * pi * step / 16 for step in range(16))


def place_labels(
    axes: Axes, anchors: Sequence[tuple[str, Span]], *, bars: Sequence[tuple[Span, Span]]
) -> None:
    """Write each label near its anchor, joined to it by a thin line where it had to move away.

    `anchors` are (label, (x, y)) and `bars` the (x span, y span) of the error bars of each
    point, in data units. The layout of the figure must be settled.
    """
    font = FontProperties(size=7.5)
    frame = axes.get_window_extent()
    marks = [_around(*_pixels(axes, point), 4.5) for _, point in anchors]
    lines = [_box(axes, xs, ys) for span in bars for xs, ys in _arms(span)]
    taken: list[Bbox] = []
    for label, point in anchors:
        size = _size(axes, label, font)
        spots = list(_spots(_pixels(axes, point), size))
        costs = [far * 0.15 + _cost(box, frame, marks, lines, taken) for box, far in spots]
        box, far = spots[int(np.argmin(costs))]
        taken.append(box)
        _write(axes, label, _pixels(axes, point), box, font, leader=far > _RADII[1])


def label_ends(axes: Axes, ends: Sequence[tuple[str, Span, str]]) -> None:
    """Write each line's label to the right of its end, labels pushed apart vertically.

    `ends` are (label, (x, y), colour), in data units.
    """
    placed = [(_pixels(axes, end), label, colour) for label, end, colour in ends]
    placed.sort(key=lambda item: item[0][1])
    heights = [at[1] for at, _, _ in placed]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + 11)
    sunk = max(0.0, heights[-1] - axes.get_window_extent().y1 + 4) if heights else 0.0
    right = max((at[0] for at, _, _ in placed), default=0.0)
    for (at, label, colour), height in zip(placed, heights, strict=True):
        place = {"xycoords": "figure pixels", "textcoords": "figure pixels"}
        axes.annotate(
            label,
            at,
            xytext=(right + 12, height - sunk),
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8, "relpos": (0, 0.5)},
            **place,
        )


def _spots(at: Span, size: Span) -> Iterator[tuple[Bbox, float]]:
    """Boxes of that size whose nearest edge is some radius away, all around the point."""
    for radius in _RADII:
        for turn in _TURNS:
            x = at[0] + radius * cos(turn) + (cos(turn) - 1) / 2 * size[0]
            y = at[1] + radius * sin(turn) + (sin(turn) - 1) / 2 * size[1]
            yield Bbox.from_bounds(x, y, *size), radius


def _cost(
    box: Bbox, frame: Bbox, marks: Sequence[Bbox], lines: Sequence[Bbox], taken: Sequence[Bbox]
) -> float:
    over = (frame.x0 - box.x0, box.x1 - frame.x1, frame.y0 - box.y0, box.y1 - frame.y1)
    outside = max(0.0, *(float(edge) for edge in over))
    hit = 8 * sum(_overlap(box, other) for other in taken)
    hit += 8 * sum(_overlap(box, other) for other in marks)
    return 20 * outside + hit + sum(_overlap(box, other) for other in lines) / 4


def _write(
    axes: Axes, label: str, at: Span, box: Bbox, font: FontProperties, *, leader: bool
) -> None:
    near = (min(max(at[0], box.x0), box.x1), min(max(at[1], box.y0), box.y1))
    if leader and hypot(near[0] - at[0], near[1] - at[1]) > 0:
        (x0, y0), (x1, y1) = axes.transData.inverted().transform([at, near])
        axes.plot([x0, x1], [y0, y1], color=FAINT, linewidth=0.5, zorder=2)
    axes.annotate(
        label,
        (box.x0, (box.y0 + box.y1) / 2),
        xycoords="figure pixels",
        va="center_baseline",
        color=INK,
        fontproperties=font,
        zorder=4,
        bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.6},
    )


def _size(axes: Axes, label: str, font: FontProperties) -> Span:
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    width, height, _ = renderer.get_text_width_height_descent(label, font, ismath=False)
    return width + 2, height + 2


def _pixels(axes: Axes, point: Span) -> Span:
    x, y = axes.transData.transform(point)
    return float(x), float(y)


def _around(x: float, y: float, reach: float) -> Bbox:
    return Bbox([[x - reach, y - reach], [x + reach, y + reach]])


def _arms(span: tuple[Span, Span]) -> Iterator[tuple[Span, Span]]:
    """The two bars of a cross with the given x and y spans, each as a span in x and in y."""
    xs, ys = span
    middle = (sum(xs) / 2, sum(ys) / 2)
    yield xs, (middle[1], middle[1])
    yield (middle[0], middle[0]), ys


def _box(axes: Axes, xs: Span, ys: Span) -> Bbox:
    (x0, y0), (x1, y1) = axes.transData.transform([(xs[0], ys[0]), (xs[1], ys[1])])
    return Bbox([[x0 - 0.5, y0 - 0.5], [x1 + 0.5, y1 + 0.5]])


def _overlap(one: Bbox, other: Bbox) -> float:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(wide, 0) * max(high, 0))
