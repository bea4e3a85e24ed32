"""What guides cost and buy: a row for each setting, the best for each budget, and one figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from valence.data import Standing
from valence.report.content import Report
from valence.report.drawing import Look
from valence.report.frame import figure
from valence.report.front import cost_pictures
from valence.report.grid import GridRow, grid, summaries
from valence.report.marked import escape
from valence.report.pareto import BUDGETS, best_within
from valence.report.seeds import Summary
from valence.report.table import format_value, swatch

REJECTED = "rejected_segments"
GUIDES = "Which guide: the front"
_ABOUT = (
    "<b>On the front</b> by the values is what no other setting beats, that is, what none is as"
    " good as in all these columns and better in one. That is <b>shown</b> where a setting is shown"
    " to be better than every other one in something. It is <b>outdone</b> by one that is shown to"
    " be better in something and worse in nothing, and <b>like</b> one that nothing tells it"
    " apart from. Costs have no interval: closer than 5% they are alike. The logarithm per added"
    " token is by how much each token through the model, beyond those of the mode without a"
    " guide, takes the logarithm of the first column down; of a value of 0 there is none."
)
_WITHIN = (
    "The best of several settings was chosen by the texts it is measured on, so its value flatters"
    " it a little. What a guide looks at it can also please: other columns tell what that took."
)

Who = tuple[str, str]
Cell = Summary | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells by model, each with a name of its own, under columns."""

    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def guide_section(report: Report, look: Look) -> dict[str, str]:
    """Settings, budgets and what a token buys; no section where no cost was counted."""
    found = "".join(
        f"{_html(settings, look)}{_html(budgets, look)}"
        for settings, budgets in guide_tables(report)
    )
    drawn = "".join(
        figure(picture.draw, name=f"cost-{at}", alt=picture.alt, caption=picture.caption)
        for at, picture in enumerate(cost_pictures(report, look))
    )
    if not found:
        return {GUIDES: drawn} if drawn else {}
    return {GUIDES: f"<p>{_ABOUT}</p>\n{found}<p>{_WITHIN}</p>\n{drawn}"}


def guide_tables(report: Report) -> Iterator[tuple[Table, Table]]:
    """For each scenario all settings, the cheapest of each model first; and the best by budget."""
    for metrics, ours in groupby(report.standings, key=lambda each: each.metrics):
        members = list(ours)
        yield _settings(report, metrics, members), _budgets(report, metrics, members)


def _settings(report: Report, metrics: Sequence[str], ours: Sequence[Standing]) -> Table:
    found = summaries(report.measurements)
    cost = metrics[-1]
    rejected = cost.replace(cost.partition("@")[0], REJECTED, 1)
    shown = [*metrics, rejected]
    alone = len({each.model for each in ours}) == 1
    models = list(dict.fromkeys(each.model for each in ours))

    def place(each: Standing) -> tuple[int, float]:
        return models.index(each.model), found[each.model, each.mode, cost].value or 0.0

    return Table(
        title=_titled("Settings", cost),
        corner="setting",
        columns=(
            *(report.info(metric).label for metric in shown),
            "logarithm per added token",
            "on the front?",
        ),
        rows=tuple(
            (
                each.model,
                each.mode,
                (
                    *(found.get((each.model, each.mode, metric)) for metric in shown),
                    _reduction(each),
                    _mark(each, alone=alone),
                ),
            )
            for each in sorted(ours, key=place)
        ),
    )


def _budgets(report: Report, metrics: Sequence[str], ours: Sequence[Standing]) -> Table:
    found = summaries(report.measurements)
    headline, cost = metrics[0], metrics[-1]
    sign = -1 if report.info(headline).lower_is_better is False else 1
    points: dict[str, dict[Who, tuple[float, float]]] = {}
    for each in ours:
        price, value = (found[each.model, each.mode, m].value or 0.0 for m in (cost, headline))
        points.setdefault(each.model, {})[each.model, each.mode] = (price, sign * value)

    def best(model: str, budget: float) -> str | None:
        who = best_within(points[model], budget)
        if who is None:
            return None
        value = found[who[0], who[1], headline]
        return f"{who[1]}: {format_value(value.value)}{_interval(value.low, value.high)}"

    rows = (
        ("", f"{budget:g} tokens", tuple(best(model, budget) for model in points))
        for budget in BUDGETS
    )
    return Table(
        title=_titled(f"Best {report.info(headline).label}, by tokens for each of text", cost),
        corner="at most, through the model",
        columns=tuple(points),
        rows=tuple(row for row in rows if any(row[2])),
    )


def _html(table: Table, look: Look) -> str:
    groups: dict[str, list[GridRow]] = {}
    for model, name, cells in table.rows:
        head = f"{swatch(look, model) if model else ''}{escape(name)}"
        groups.setdefault(model, []).append(GridRow(head=head, cells=cells))
    titles = groups if len(groups) > 1 else {"": [row for rows in groups.values() for row in rows]}
    return grid(table.title, table.corner, [("", name) for name in table.columns], titles)


def _titled(title: str, cost: str) -> str:
    scenario = cost.partition("@")[2]
    return f"{title}, {scenario}" if scenario else title


def _mark(each: Standing, *, alone: bool) -> str:
    """Whether a setting is on the front, and which others speak against that."""
    if each.beaten_by:
        others, shown = each.shown_by or each.beaten_by, "shown" if each.shown_by else "not shown"
        return f"no: beaten by {_first(others, alone=alone)}, {shown}"
    if each.outdone_by:
        return f"by the values; outdone by {_first(each.outdone_by, alone=alone)}"
    if each.alike:
        return f"by the values; like {_first(each.alike, alone=alone)}"
    return "yes, shown"


def _first(others: Sequence[Who], *, alone: bool) -> str:
    model, mode = others[0]
    more = f" and {len(others) - 1} more" if others[1:] else ""
    return f"{mode if alone else f'{model} · {mode}'}{more}"


def _reduction(each: Standing) -> str | None:
    if each.reduction is None:
        return None
    return f"{format_value(each.reduction)}{_interval(each.low, each.high)}"


def _interval(low: float | None, high: float | None) -> str:
    """Both ends, or the one that is known; nothing where neither is."""
    if low is None or high is None:
        side, end = ("at least", low) if high is None else ("at most", high)
        return "" if end is None else f", {side} {format_value(end)}"
    return f" [{format_value(low)}, {format_value(high)}]"
