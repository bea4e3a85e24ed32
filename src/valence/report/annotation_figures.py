"""The figures of an annotation's page: how rewards lie, and what labels say of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, SymmetricalLogLocator

from valence.report.annotation_content import Histogram, Reliability
from valence.report.bound import percent
from valence.report.drawing import (
    INK,
    Floats,
    drawing,
    new_axes,
    plain_ticks,
    settle,
    shortened,
    to_svg,
)
from valence.report.table import format_value

_WIDE, _NARROW = 540.0, 285.0
_BLUE, _ORANGE = "#0072B2", "#D55E00"
_TICKS = 6
SKEWED = 100
"""Counts are drawn on a logarithmic axis where the largest is so many times their median."""

LINEAR_SCALE = 0.6
"""How many decades wide the linear part of a symmetric logarithmic axis is, on either side."""


def is_skewed(histogram: Histogram) -> bool:
    """Whether the counts are drawn on a logarithmic axis."""
    counts = [count for count in histogram.counts if count]
    return bool(counts) and max(counts) >= SKEWED * float(np.median(counts))


def histogram_figure(
    histogram: Histogram,
    *,
    name: str,
    bound: float | None,
    prefix: str,
    alt: str,
    narrow: bool = False,
) -> str:
    """Share of segments by reward; the bound is a dashed line.

    Values that hold much of the mass alone are lines with their share written on them, since
    beside them nothing else could be seen; bars in true proportion where there is nothing else.
    """
    with drawing(prefix):
        axes = new_axes(*((_NARROW, 230) if narrow else (_WIDE, 240)))
        shares = np.array(histogram.counts) / max(histogram.total, 1)
        edges = np.array(histogram.edges)
        if histogram.threshold is not None:
            axes.set_xscale("symlog", linthresh=histogram.threshold, linscale=LINEAR_SCALE)
            locator = SymmetricalLogLocator(linthresh=histogram.threshold, base=10)
            locator.set_params(numticks=_TICKS if narrow else 2 * _TICKS)
            axes.xaxis.set_major_locator(locator)
        if len(shares):
            _bars(axes, edges, shares)
            if is_skewed(histogram):
                axes.set_yscale("log")
                axes.set_ylim(bottom=0.5 / histogram.total)
        _masses(axes, histogram, alone=len(shares) == 0)
        if bound is not None:
            axes.axvline(bound, color=_ORANGE, linewidth=1.1, linestyle=(0, (4, 2)), zorder=4)
        plain_ticks(axes, "x")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(f"reward by {shortened(name)} (higher is preferred)")
        axes.set_ylabel("share of scored segments")
        settle(axes)
        return to_svg(axes, prefix=prefix, alt=alt)


def _bars(axes: Axes, edges: Floats, shares: Floats) -> None:
    if edges[0] == edges[-1]:
        axes.plot(edges[:1], shares, "o", color=_BLUE)
        return
    axes.stairs(shares, edges, fill=True, color=_BLUE, alpha=0.55, linewidth=0)
    axes.stairs(shares, edges, color=_BLUE, linewidth=0.8)


def _masses(axes: Axes, histogram: Histogram, *, alone: bool) -> None:
    values = [value for value, _ in histogram.masses]
    shares = [count / max(histogram.total, 1) for _, count in histogram.masses]
    if alone:
        axes.vlines(values, 0, shares, color=_BLUE, linewidth=7)
        axes.margins(x=0.15)
        axes.set_ylim(0, 1.15 * max(shares, default=1))
        for value, share in zip(values, shares, strict=True):
            said = f"{percent(share)} at {format_value(value)}"
            axes.annotate(
                said, (value, share), (0, 3), textcoords="offset points", ha="center", fontsize=7.5
            )
        return
    for at, (value, share) in enumerate(zip(values, shares, strict=True)):
        axes.axvline(value, color=INK, linewidth=1.6, zorder=3)
        scale = axes.transData.transform((value, axes.get_ylim()[0]))
        left = axes.transAxes.inverted().transform(scale)[0] > 0.5
        axes.annotate(
            f"{percent(share)} at {format_value(value)}",
            (value, 0.99 - 0.075 * (at % 12)),
            (-4 if left else 4, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top",
            fontsize=7.5,
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )


def reliability_figure(
    bins: Sequence[Reliability],
    *,
    name: str,
    labels: str,
    prefix: str,
    alt: str,
    narrow: bool = False,
) -> str:
    """Mean label with its interval, bin by bin of the reward, the worst first."""
    with drawing(prefix):
        axes = new_axes(*((_NARROW, 230) if narrow else (_WIDE, 240)))
        at = np.arange(len(bins))
        values = [bin.label.value for bin in bins]
        for place, bin in zip(at, bins, strict=True):
            if bin.label.low is not None and bin.label.high is not None:
                ends = (bin.label.low, bin.label.high)
                axes.plot((place, place), ends, color=_BLUE, linewidth=1.2, alpha=0.6)
        axes.plot(at, [float("nan") if v is None else v for v in values], "-o", color=_BLUE)
        every = 2 if narrow and len(bins) > 6 else 1
        axes.set_xticks(at[::every], [format_value(bin.mean) for bin in bins[::every]])
        axes.tick_params(axis="x", labelrotation=30)
        plain_ticks(axes, "y")
        axes.set_xlabel(f"mean reward by {shortened(name)}, by tenths of the segments")
        axes.set_ylabel(f"mean of {shortened(labels, 20)}")
        settle(axes)
        return to_svg(axes, prefix=prefix, alt=alt)
