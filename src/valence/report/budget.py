"""The figure of a metric against a budget: text tokens, or parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from valence.report.comparison import column_names, spelled
from valence.report.content import Budget, MetricInfo, Report
from valence.report.drawing import (
    Look,
    Picture,
    axis_label,
    drawing,
    log_if_wide,
    new_axes,
    settle,
    shortened,
    titled,
    to_svg,
)
from valence.report.figures import Estimate
from valence.report.labels import label_ends
from valence.report.seeds import by_seed, summarise
from valence.report.table import format_value

_WIDE, _NARROW = (540.0, 330.0), (285.0, 340.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLine:
    """One base model in one mode, with all but the budget equal: (budget, estimate) pairs.

    `model` is one of its models; `dashed` is the mode of the worst band.
    """

    name: str
    model: str
    mode: str
    dashed: bool
    points: tuple[tuple[float, Estimate], ...]


def budget_picture(report: Report, budget: Budget, look: Look) -> Picture:
    """The report's misalignment against a budget."""
    metric = report.info(report.front[1])
    lines = budget_lines(report, budget, metric.name)
    listed = "; ".join(
        f"{line.name} {line.mode}: "
        + ", ".join(f"{format_value(x)}: {format_value(y.value)}" for x, y in line.points)
        for line in lines
    )
    return Picture(
        draw=lambda prefix, alt, narrow: budget_figure(
            lines, budget=budget, metric=metric, look=look, prefix=prefix, alt=alt, narrow=narrow
        ),
        alt=f"{metric.label} against {budget.label}. {listed}",
        caption=f"{metric.label} against {budget.label}, on a logarithmic scale. Bars are 95%"
        " intervals (over seeds where there are several, else over samples); colour is the"
        " model, shape the mode, dashed the mode of the worst band.",
    )


def budget_lines(report: Report, budget: Budget, metric: str) -> list[BudgetLine]:
    """What the figure draws, in the report's budget modes.

    A model that was trained at one size only is a point, unless it has settings besides.
    """
    found: dict[tuple[str, str, str], dict[float, tuple[str, Estimate]]] = {}
    for (model, mode, name), rows in by_seed(report.measurements).items():
        summary = summarise(rows)
        if name != metric or mode not in report.budget_modes or summary.value is None:
            continue
        if model not in budget.amounts:
            continue
        estimate = Estimate(value=summary.value, low=summary.low, high=summary.high)
        key = (report.variant(model).base, _rest(report, budget, model), mode)
        found.setdefault(key, {})[budget.amounts[model]] = (model, estimate)
    lines = []
    for (base, rest, mode), points in found.items():
        if len(points) > 1 or not rest:
            ordered = sorted(points.items())
            lines.append(
                BudgetLine(
                    name=f"{base} {rest}".strip(),
                    model=ordered[0][1][0],
                    mode=mode,
                    dashed=mode == report.budget_modes[-1],
                    points=tuple((amount, estimate) for amount, (_, estimate) in ordered),
                )
            )
    return lines


def budget_figure(
    lines: Sequence[BudgetLine],
    *,
    budget: Budget,
    metric: MetricInfo,
    look: Look,
    prefix: str,
    alt: str,
    narrow: bool = False,
) -> str:
    """The metric with its 95% intervals against the budget (log scale), a line per name.

    Points of different lines at one budget stand a little apart, so that their bars show.
    """
    with drawing(prefix):
        width, height = _NARROW if narrow else _WIDE
        names = [_named(line, 18 if narrow else 30) for line in lines]
        room = 20 + 4.8 * max(map(len, names), default=0)
        axes = new_axes(width, height, right=min(room / width, 0.5))
        axes.set_xscale("log")
        ends = [end for line in lines for _, estimate in line.points for end in estimate.span()]
        log_if_wide(axes, "y", ends)
        named = [
            (name, _draw(axes, line, look, at, len(lines)))
            for at, (name, line) in enumerate(zip(names, lines, strict=True))
        ]
        _name_budgets(axes, lines)
        axes.set_xlabel(budget.label)
        axes.set_ylabel(axis_label(metric))
        settle(axes)
        colours = [look.colour(line.model) for line in lines]
        label_ends(axes, [(n, end, c) for (n, end), c in zip(named, colours, strict=True)])
        return to_svg(axes, prefix=prefix, alt=alt)


def _named(line: BudgetLine, most: int) -> str:
    return shortened(line.name, most) if line.mode == "none" else titled(line.name, line.mode, most)


def _draw(axes: Axes, line: BudgetLine, look: Look, at: int, of: int) -> tuple[float, float]:
    """Draw a line; returns its right end."""
    colour = look.colour(line.model)
    shift = 1.012 ** (at - (of - 1) / 2)
    places = [amount * shift for amount, _ in line.points]
    for place, (_, estimate) in zip(places, line.points, strict=True):
        axes.plot((place, place), estimate.span(), color=colour, linewidth=1.1, alpha=0.55)
    axes.plot(
        places,
        [estimate.value for _, estimate in line.points],
        color=colour,
        linewidth=1.2,
        linestyle="--" if line.dashed else "-",
        marker=look.marker(line.mode),
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.6,
        zorder=3,
    )
    return places[-1], line.points[-1][1].value


def _name_budgets(axes: Axes, lines: Sequence[BudgetLine]) -> None:
    """A tick at each budget, but where they would touch."""
    amounts = sorted({amount for line in lines for amount, _ in line.points})
    kept: list[float] = []
    for amount in amounts:
        if not kept or amount >= 1.6 * kept[-1]:
            kept.append(amount)
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _rest(report: Report, budget: Budget, model: str) -> str:
    """What was set besides the budget, in words."""
    axes = {
        key: value
        for key, value in report.variant(model).axes.items()
        if not key.startswith(budget.axes)
    }
    names = column_names(list(axes))
    return ", ".join(f"{names[key]} {spelled(value)}" for key, value in axes.items())
