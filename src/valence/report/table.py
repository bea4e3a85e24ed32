"""Numbers as a reader sees them, and the table of results."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import ceil, isfinite

from valence.data import Measurement
from valence.report.content import MetricInfo, Report
from valence.report.drawing import Look
from valence.report.marked import escape

_DASH = '<span class="dash" title="not measured">—</span>'
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# More columns than this do not fit on a printed page.
_COLUMNS = 6

Row = tuple[str, str, int]


def format_value(value: float | None) -> str:
    """Three significant digits; an em dash for None.

    Plain from 0.001 to 999,999, with a power of ten beyond. Raises ValueError for NaN and
    infinity, which stand for nothing that was measured.
    """
    if value is None:
        return "—"
    if not isfinite(value):
        raise ValueError(f"{value} is no measured value; give None where nothing was measured")
    if value == 0:
        return "0"
    digits, exponent = f"{value:.2e}".split("e")
    power = int(exponent)
    if -4 < power < 6:
        text = f"{round(value, 2 - power):,.{max(0, 2 - power)}f}"
    else:
        text = f"{digits} \N{MULTIPLICATION SIGN} 10{str(power).translate(_SUPERSCRIPT)}"
    return text.replace("-", "\N{MINUS SIGN}")


def results_table(report: Report, look: Look) -> str:
    """One or more tables: a row per model, mode and seed, a column per metric.

    Metrics that `report.metrics` does not describe follow those that it does. One that has no
    mode in common with others has a table of its own.
    """
    if not report.measurements:
        return "<p>Nothing was measured.</p>"
    named = [*(m.name for m in report.metrics), *(row.metric for row in report.measurements)]
    metrics = [report.info(name) for name in dict.fromkeys(named)]
    apart = _apart(report.measurements)
    beside = [metric for metric in metrics if metric.name not in apart]
    parts = max(ceil(len(beside) / _COLUMNS), 1)
    size = ceil(len(beside) / parts) or 1
    chunks = [beside[start : start + size] for start in range(0, len(beside), size)]
    chunks += [[metric] for metric in metrics if metric.name in apart]
    tables = []
    for number, chunk in enumerate(chunks, start=1):
        part = f" (part {number} of {len(chunks)})" if len(chunks) > 1 else ""
        tables.append(_table(report, look, chunk, f"Results{part}"))
    return "".join(tables) + _legend(metrics)


def _apart(measurements: Sequence[Measurement]) -> set[str]:
    """Metrics whose modes are those of no other."""
    modes: dict[str, set[str]] = {}
    for item in measurements:
        modes.setdefault(item.metric, set()).add(item.mode)
    return {
        name
        for name, own in modes.items()
        if all(own.isdisjoint(theirs) for other, theirs in modes.items() if other != name)
    }


def _table(report: Report, look: Look, metrics: Sequence[MetricInfo], caption: str) -> str:
    cells: dict[tuple[Row, str], list[Measurement]] = {}
    names = {metric.name for metric in metrics}
    for item in report.measurements:
        if item.metric in names:
            row = (item.model, item.mode, item.seed)
            cells.setdefault((row, item.metric), []).append(item)
    order = {model: at for at, model in enumerate(look.models)}
    rows = sorted(dict.fromkeys(row for row, _ in cells), key=lambda row: order[row[0]])
    seeds = len({seed for _, _, seed in rows}) > 1
    head = "".join(f'<th scope="col">{heading(metric)}</th>' for metric in metrics)
    bodies = []
    for _, group in groupby(rows, key=lambda row: row[0]):
        lines = []
        for row in sorted(group, key=lambda row: (look.modes.index(row[1]), row[2])):
            values = "".join(
                f"<td>{''.join(map(_cell, cells.get((row, metric.name), []))) or _DASH}</td>"
                for metric in metrics
            )
            lines.append(f"<tr>{_row_name(row, look, seeds=seeds)}{values}</tr>\n")
        bodies.append(f"<tbody>{''.join(lines)}</tbody>\n")
    corner = "model · mode" + (" · seed" if seeds else "")
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f'<table class="results"><caption><span>{escape(caption)}: value, 95% interval,'
        " and how many items it stands on</span></caption>\n"
        f'<thead><tr><th scope="col">{corner}</th>{head}</tr></thead>\n{"".join(bodies)}'
        "</table></div>\n"
    )


def heading(metric: MetricInfo) -> str:
    """A metric's label and which way is better, as HTML."""
    if metric.lower_is_better is None:
        return escape(metric.label)
    way = "↓ lower is better" if metric.lower_is_better else "↑ higher is better"
    return f"{escape(metric.label)} <small>{way}</small>"


def _row_name(row: Row, look: Look, *, seeds: bool) -> str:
    model, mode, seed = row
    shown = f"<small>seed {seed}</small>" if seeds else ""
    return f'<th scope="row">{swatch(look, model)}{escape(model)} · {escape(mode)} {shown}</th>'


def swatch(look: Look, model: str) -> str:
    """A dot in the model's colour, for the eye only."""
    return f'<i class="swatch" style="background:{look.colour(model)}" aria-hidden="true"></i>'


def _cell(item: Measurement) -> str:
    value = _DASH if item.value is None else f"<b>{format_value(item.value)}</b>"
    interval = ""
    if item.low is not None and item.high is not None:
        interval = f"<span>[{format_value(item.low)}, {format_value(item.high)}]</span>"
    failed = f', <em title="left out of the value">{item.failures:,} failed</em>'
    count = f"<small>n {item.count:,}{failed if item.failures else ''}</small>"
    return f'<div class="cell">{value} {count}{interval}</div>'


def _legend(metrics: Sequence[MetricInfo]) -> str:
    said = [metric for metric in metrics if metric.note]
    if not said:
        return ""
    items = "".join(f"<dt>{escape(m.label)}</dt><dd>{escape(m.note)}</dd>" for m in said)
    return f'<h3>What the columns mean</h3><dl class="legend">{items}</dl>\n'
