"""Differences with intervals: the good mode against the bad one, and pairs of models."""

from __future__ import annotations

from collections.abc import Sequence

from valence.data import Measurement
from valence.report.content import Report
from valence.report.drawing import Look
from valence.report.grid import GridRow, grid, summaries
from valence.report.marked import escape
from valence.report.reading import gap_modes
from valence.report.seeds import Summary, by_seed, summarise
from valence.report.table import swatch

_ABOUT = (
    "Ability of one model in two modes, on the same documents or items: the difference is taken"
    " item by item. Where its 95% interval leaves out 0 the two modes are shown to differ."
)


def gap_section(report: Report, look: Look) -> dict[str, str]:
    """Each model's abilities in its best and its worst mode; no section without any."""
    found = summaries(report.measurements)
    groups: dict[str, dict[str, list[GridRow]]] = {}
    for (model, mode, metric), rows in by_seed(report.gaps).items():
        two = gap_modes(mode, set(report.modes()))
        if two is None:
            continue
        gap = summarise(rows)
        info = report.info(metric)
        said = shown(gap, lower_is_better=info.lower_is_better)
        cells = (*(found.get((model, one, metric)) for one in two), gap, said)
        head = f"{swatch(look, model)}{escape(info.label)}"
        groups.setdefault(mode, {}).setdefault(model, []).append(GridRow(head=head, cells=cells))
    tables = []
    for mode, by_model in groups.items():
        good, bad = gap_modes(mode, set(report.modes())) or ("", "")
        columns = [("", good), ("", bad), ("", f"{good} less {bad}"), ("", "shown to differ?")]
        tables.append(grid(f"Abilities in {good} and {bad} mode", "ability", columns, by_model))
    if not tables:
        return {}
    return {"Good mode against bad mode": f"<p>{_ABOUT}</p>\n{''.join(tables)}"}


def difference_section(report: Report, look: Look) -> dict[str, str]:
    """Differences between models or modes on the same items; no section without any."""
    groups: dict[str, list[GridRow]] = {}
    for (model, mode, name), rows in by_seed(report.differences).items():
        metric, _, other = name.partition(" minus ")
        gap = summarise(rows)
        head = f"{swatch(look, model)}{escape(model)} · {escape(mode)}"
        info = report.info(metric)
        said = shown(gap, lower_is_better=info.lower_is_better)
        cells = (other, gap, said, f"{_pairs(rows):,}")
        groups.setdefault(info.label, []).append(GridRow(head=head, cells=cells))
    if not groups:
        return {}
    columns = [("", "less"), ("", "difference"), ("", "shown to differ?"), ("", "items")]
    about = (
        "On the same items (prompts, documents, questions, judged segments): what is hard for"
        " both is no part of a difference. An interval that leaves out 0 shows that the two differ."
    )
    table = grid("Paired differences", "model · mode", columns, groups)
    return {"Paired differences": f"<p>{about}</p>\n{table}"}


def shown(gap: Summary, *, lower_is_better: bool | None) -> str:
    """Whether a difference is shown, and which way."""
    if gap.low is None or gap.high is None:
        return "not known"
    if gap.low <= 0 <= gap.high:
        return "not shown"
    lower = gap.high < 0
    way = "lower" if lower else "higher"
    if lower_is_better is None:
        return f"yes, {way}"
    return f"yes, {way}: {'better' if lower is lower_is_better else 'worse'}"


def _pairs(rows: Sequence[Measurement]) -> int:
    return sum(row.count for row in rows)
