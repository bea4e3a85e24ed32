"""The figures of the report, each an SVG string that is the same for the same data.

Every figure comes in a wide shape and, for a phone, a narrow one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from valence.report.content import Curve, MetricInfo
from valence.report.drawing import (
    INK,
    Floats,
    Look,
    axis_label,
    drawing,
    log_if_wide,
    new_axes,
    plain_ticks,
    settle,
    shortened,
    symlog_threshold,
    titled,
    to_svg,
)
from valence.report.labels import label_ends, place_labels

_WIDE, _NARROW = 540.0, 285.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value and its 95% interval, where there is one."""

    value: float
    low: float | None
    high: float | None

    def span(self) -> tuple[float, float]:
        """Both ends of the interval; the value where there is no end."""
        low = self.value if self.low is None else self.low
        return low, self.value if self.high is None else self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One model in one mode, with one seed: x is ability, y is misalignment."""

    model: str
    mode: str
    seed: int
    x: Estimate
    y: Estimate


def front_figure(
    points: Sequence[FrontPoint],
    *,
    x: MetricInfo,
    y: MetricInfo,
    look: Look,
    prefix: str,
    alt: str,
    narrow: bool = False,
    labels: Mapping[tuple[str, str], str] | None = None,
    stairs: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> str:
    """Ability against misalignment with both intervals, one label per model and mode.

    `labels`, by (model, mode), leave out what they do not name. `stairs` are steps to draw, by
    model, to the right end of the figure. Where a model and mode has
    several seeds, each is a small point, joined by a thin line to their mean, which carries
    the label.
    """
    groups: dict[tuple[str, str], list[FrontPoint]] = {}
    for point in points:
        groups.setdefault((point.model, point.mode), []).append(point)
    with drawing(prefix):
        axes = new_axes(*((_NARROW, 340) if narrow else (_WIDE, 350)))
        log_if_wide(axes, "x", [end for point in points for end in point.x.span()])
        log_if_wide(axes, "y", [end for point in points for end in point.y.span()])
        anchors = []
        for (model, mode), members in groups.items():
            centre = _mean(p.x.value for p in members), _mean(p.y.value for p in members)
            name = titled(model, mode) if labels is None else labels.get((model, mode))
            if name is not None:
                anchors.append((name, centre))
            for point in members:
                ends = [centre[0], point.x.value], [centre[1], point.y.value]
                axes.plot(*ends, color=look.colour(model), linewidth=0.6, alpha=0.6)
                _draw_point(axes, point, look, small=len(members) > 1)
        axes.set_xlabel(axis_label(x))
        axes.set_ylabel(axis_label(y))
        axes.margins(0.1)
        for model, steps in (stairs or {}).items():
            _draw_stairs(axes, steps, look.colour(model), max(p.x.span()[1] for p in points))
        settle(axes)
        place_labels(axes, anchors, bars=[(point.x.span(), point.y.span()) for point in points])
        return to_svg(axes, prefix=prefix, alt=alt)


def strip_figure(
    strips: Mapping[tuple[str, str], Sequence[float]],
    *,
    metric: MetricInfo,
    look: Look,
    prefix: str,
    alt: str,
    narrow: bool = False,
) -> str:
    """Every sample's value as a dot, with density, median (bar) and mean (diamond).

    One row per (model, mode). The axis is symmetric-logarithmic where values are skewed.
    """
    with drawing(prefix):
        row = 36 if narrow else 28
        axes = new_axes(_NARROW if narrow else _WIDE, 48 + row * len(strips))
        values = np.asarray([v for strip in strips.values() for v in strip], dtype=np.float64)
        threshold = symlog_threshold(values)
        if threshold is not None:
            axes.set_xscale("symlog", linthresh=threshold, linscale=0.6)
        for at, ((model, _), strip) in enumerate(strips.items()):
            if len(strip) > 0:
                _draw_strip(axes, np.asarray(strip, dtype=np.float64), at, look.colour(model))
        _name_rows(axes, strips, above=narrow)
        plain_ticks(axes, "x")
        axes.set_xlabel(axis_label(metric))
        settle(axes)
        return to_svg(axes, prefix=prefix, alt=alt)


def loss_figure(
    curves: Sequence[Curve], *, look: Look, prefix: str, alt: str, narrow: bool = False
) -> str:
    """Training loss, in the caller's unit, against text tokens seen; one colour per base model.

    A curve of 80 points or more is drawn faintly, with its running mean on top.
    """
    with drawing(prefix):
        names = {curve.model: look.bases.get(curve.model, curve.model) for curve in curves}
        room = 20 + 4.8 * max((len(shortened(name, 20)) for name in names.values()), default=0)
        size = (_NARROW, 250) if narrow else (_WIDE, 270)
        axes = new_axes(*size, right=min(room / size[0], 0.5))
        ends: dict[str, tuple[str, float, float]] = {}
        for curve in curves:
            if len(curve.loss) == 0:
                continue
            colour, smooth = look.colour(curve.model), _running_mean(curve.loss)
            if len(curve.loss) >= 80:
                axes.plot(curve.tokens, curve.loss, color=colour, linewidth=0.5, alpha=0.3)
            dot = "o" if len(curve.loss) == 1 else None
            axes.plot(
                curve.tokens, smooth, color=colour, linewidth=1.3, alpha=0.9, marker=dot, ms=3
            )
            longest = ends.get(names[curve.model], (curve.model, -1.0, 0.0))[1]
            if curve.tokens[-1] > longest:
                end = (curve.model, curve.tokens[-1], float(smooth[-1]))
                ends[names[curve.model]] = end
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        plain_ticks(axes, "y")
        axes.set_xlabel("text tokens seen")
        axes.set_ylabel("training loss")
        axes.margins(x=0.01)
        settle(axes)
        named = [
            (shortened(name, 20), (x, y), look.colour(model))
            for name, (model, x, y) in ends.items()
        ]
        label_ends(axes, named)
        return to_svg(axes, prefix=prefix, alt=alt)


def _draw_point(axes: Axes, point: FrontPoint, look: Look, *, small: bool) -> None:
    colour = look.colour(point.model)
    x, y = point.x.value, point.y.value
    axes.plot(point.x.span(), (y, y), color=colour, linewidth=0.9, alpha=0.55)
    axes.plot((x, x), point.y.span(), color=colour, linewidth=0.9, alpha=0.55)
    axes.plot(
        [x],
        [y],
        marker=look.marker(point.mode),
        markersize=4 if small else 6.5,
        markerfacecolor=colour,
        markeredgecolor="white",
        markeredgewidth=0.6,
        zorder=3,
    )


def _draw_stairs(axes: Axes, steps: Sequence[tuple[float, float]], colour: str, end: float) -> None:
    across, along = [x for x, _ in steps], [y for _, y in steps]
    axes.plot(
        [*across, end],
        [*along, along[-1]],
        color=colour,
        drawstyle="steps-post",
        linewidth=1.1,
        alpha=0.45,
        zorder=1.5,
    )


def _draw_strip(axes: Axes, values: Floats, at: int, colour: str) -> None:
    scale = axes.xaxis.get_transform()
    grid, density = _density(np.asarray(scale.transform(values), dtype=np.float64))
    edge = 0.38 * density / density.max()
    body = scale.inverted().transform(grid)
    axes.fill_between(body, at - edge, at + edge, color=colour, alpha=0.16, linewidth=0)
    rows = at + np.random.default_rng(at).uniform(-0.24, 0.24, len(values))
    axes.plot(values, rows, ".", color=colour, alpha=0.4, markersize=4, markeredgewidth=0)
    median, mean = float(np.median(values)), float(np.mean(values))
    axes.plot((median, median), (at - 0.34, at + 0.34), color=INK, linewidth=1.5)
    axes.plot(
        [mean],
        [at],
        marker="D",
        markersize=3.8,
        markerfacecolor="white",
        markeredgecolor=INK,
        markeredgewidth=0.9,
        zorder=3,
    )


def _name_rows(
    axes: Axes, strips: Mapping[tuple[str, str], Sequence[float]], *, above: bool
) -> None:
    """The name of each row and its counts: at the left, or above the row."""
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(strips) - 0.5, -0.8 if above else -0.5)
    alone = len({model for model, _ in strips}) == 1
    names = [shortened(mode) if alone else titled(model, mode) for model, mode in strips]
    counts = [_counts(strip) for strip in strips.values()]
    axes.tick_params(axis="y", length=0)
    if not above:
        both = [f"{name}\n{count}" for name, count in zip(names, counts, strict=True)]
        axes.set_yticks(range(len(names)), both, fontsize=7.5)
        return
    axes.set_yticks([])
    for at, (name, count) in enumerate(zip(names, counts, strict=True)):
        where = axes.get_yaxis_transform()
        axes.text(0.01, at - 0.38, f"{name}  ({count})", transform=where, fontsize=7.5)


def _counts(strip: Sequence[float]) -> str:
    if len(strip) == 0:
        return "no samples"
    zero = sum(value == 0 for value in strip) / len(strip)
    return f"{len(strip)} samples" + (f", {zero:.0%} at zero" if zero else "")


def _density(values: Floats) -> tuple[Floats, Floats]:
    """Grid over the values and Gaussian kernel density, not normalised.

    The bandwidth is half of Silverman's, since many zeros make the values bimodal.
    The grid ends where the values end, so that no density shows where no value can be.
    """
    quartiles = np.quantile(values, (0.25, 0.75))
    spread = float(np.std(values))
    if quartiles[1] > quartiles[0]:
        spread = min(spread, float(quartiles[1] - quartiles[0]) / 1.34)
    least = max(float(np.ptp(values)), abs(float(values[0])) * 0.1, 1e-9) / 60
    width = max(0.45 * spread * len(values) ** -0.2, least)
    grid = np.linspace(values.min(), values.max(), 160)
    steps = (grid[:, None] - values[None, :]) / width
    return grid, np.exp(-0.5 * steps**2).sum(axis=1)


def _running_mean(values: Sequence[float]) -> Floats:
    """Mean over a centred window of a fortieth of the points, shorter at both ends."""
    half = len(values) // 80
    total = np.concatenate(([0.0], np.cumsum(np.asarray(values, dtype=np.float64))))
    at = np.arange(len(values))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return np.asarray((total[high] - total[low]) / (high - low), dtype=np.float64)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
