"""The results of a page: the headline first, every other number behind a click, by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from valence.data import VERDICT
from valence.report.comparison import comparison, comparison_table
from valence.report.content import Report
from valence.report.drawing import Look
from valence.report.marked import escape
from valence.report.metrics import ATTACKS, GROUPS, JUDGING, KNOWING
from valence.report.table import results_table

_OPEN_ROWS = 24
"""The table of every number is open where it has no more rows."""
_TOGETHER = 12
"""Up to so many metrics stand in one table; more are folded by group."""
_SCENARIOS = 4
"""Of more scenarios than this the headline's tables are folded."""
OWN_SECTION = (JUDGING, ATTACKS, KNOWING)
"""Groups that a section of their own shows."""


def results_section(report: Report, look: Look) -> str:
    """All models beside each other by the headline; every other number can be opened."""
    if not report.measurements:
        return "<p>Nothing was measured.</p>"
    # Where models wrote nothing their ability is what can be compared at a glance.
    first = headlines(report) or [m for m in report.measured() if m == report.front[0]]
    # Of many guides a row each says more than a column each.
    told = {standing.metrics[0] for standing in report.standings}
    tables = [
        comparison_table(comparison(report, name), look) for name in first if name not in told
    ]
    shown = "".join(tables[:_SCENARIOS])
    if tables[_SCENARIOS:]:
        shown += _folded("The headline in other scenarios", "".join(tables[_SCENARIOS:]))
    return f"{shown}{_compared(report, look, first)}{_every(report, look)}"


def headlines(report: Report) -> list[str]:
    """The headline, of what models write of themselves and in each scenario."""
    base = report.front[1].partition("@")[0]
    if base == VERDICT:
        return []
    return [m for m in report.measured() if m == base or m.startswith(f"{base}@")]


def _compared(report: Report, look: Look, first: Sequence[str]) -> str:
    """The other metrics as summaries over seeds or settings, where there are any."""
    several = len({row.seed for row in report.measurements}) > 1
    if not several and not report.variants:
        return ""
    groups: dict[str, list[str]] = {}
    for name in report.measured():
        group = report.info(name).group
        if name not in first and group not in OWN_SECTION:
            groups.setdefault(group, []).append(name)
    if sum(map(len, groups.values())) <= _TOGETHER:
        groups = {"": [name for names in groups.values() for name in names]}
    return "".join(
        _folded(
            f"The other metrics, compared{f': {group}' if group else ''}",
            "".join(comparison_table(comparison(report, name), look) for name in names),
        )
        for group, names in groups.items()
        if names
    )


def _every(report: Report, look: Look) -> str:
    """Every number of every seed: one table, or where metrics are many one for each group."""
    rows = {(row.model, row.mode, row.seed) for row in report.measurements}
    few = len(rows) <= _OPEN_ROWS and not report.standings
    names = report.measured()
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(report.info(name).group, []).append(name)
    if len(names) <= _TOGETHER or len(groups) == 1:
        return _folded("Every number", results_table(report, look), opened=few)
    order = [*GROUPS, *groups]
    return "".join(
        _folded(
            f"Every number: {group or 'other'} ({len(groups[group])})",
            results_table(_only(report, groups[group]), look),
        )
        for group in sorted(groups, key=order.index)
    )


def _only(report: Report, names: Sequence[str]) -> Report:
    """The report with some of its metrics."""
    return replace(
        report,
        metrics=tuple(metric for metric in report.metrics if metric.name in names),
        measurements=tuple(row for row in report.measurements if row.metric in names),
    )


def _folded(title: str, text: str, *, opened: bool = False) -> str:
    return (
        f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>{text}</details>\n"
    )
