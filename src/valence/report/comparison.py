"""All models beside each other: for one metric a row per model and a column per mode."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from valence.report.content import MetricInfo, Report
from valence.report.drawing import Look
from valence.report.marked import escape
from valence.report.seeds import Summary, by_seed, summarise
from valence.report.table import format_value, heading, swatch

_AXES = 3
"""More settings than this share one column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model: its base, its settings by column, and a summary by mode where there is one."""

    model: str
    base: str
    settings: tuple[str, ...]
    cells: Mapping[str, Summary]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of all models. `axes` are the columns of settings, `modes` those of values."""

    metric: MetricInfo
    axes: tuple[str, ...]
    modes: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def seeds(self) -> int:
        """The largest number of seeds that a value stands on."""
        return max((cell.seeds for row in self.rows for cell in row.cells.values()), default=0)


def comparison(report: Report, metric: str) -> Comparison:
    """The summaries of one metric, models of one base together, in the order of the report."""
    found: dict[str, dict[str, Summary]] = {}
    for (model, mode, name), rows in by_seed(report.measurements).items():
        if name == metric:
            found.setdefault(model, {})[mode] = summarise(rows)
    models = [model for model in report.models() if model in found]
    bases = list(dict.fromkeys(report.variant(model).base for model in models))
    models.sort(key=lambda model: bases.index(report.variant(model).base))
    keys = _varied(report, models)
    columns = _columns(keys)
    modes = {mode for cells in found.values() for mode in cells}
    return Comparison(
        metric=report.info(metric),
        axes=tuple(columns),
        modes=tuple(mode for mode in report.modes() if mode in modes),
        rows=tuple(
            Row(
                model=model,
                base=report.variant(model).base,
                settings=_settings(_all_axes(report, model), columns),
                cells=found[model],
            )
            for model in models
        ),
    )


def comparison_table(shown: Comparison, look: Look) -> str:
    """The comparison as HTML, a group of rows per base model."""
    kinds = ["", *(' class="setting"' for _ in shown.axes), *("" for _ in shown.modes)]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for name, kind in zip(("model", *shown.axes, *shown.modes), kinds, strict=True)
    )
    bodies = []
    for _, group in groupby(shown.rows, key=lambda row: row.base):
        lines = [_line(row, shown, look, first=at == 0) for at, row in enumerate(group)]
        bodies.append(f"<tbody>{''.join(lines)}</tbody>\n")
    label = f"{shown.metric.label}, all models"
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">'
        f'<table class="results comparison"><caption><span>{heading(shown.metric)}:'
        f" {explained(shown)}</span></caption>\n"
        f"<thead><tr>{head}</tr></thead>\n{''.join(bodies)}</table></div>\n"
    )


def explained(shown: Comparison) -> str:
    """What the numbers of a comparison are."""
    return explained_for(shown.seeds)


def explained_for(seeds: int) -> str:
    """What summaries over at most so many seeds are."""
    if seeds < 2:
        return "value and 95% interval over samples or documents, of one training each"
    return (
        f"mean over {seeds} seeds and its 95% interval (Student's t); then SD, the standard"
        " deviation between seeds, and ±, the mean half-width of the 95% intervals over samples"
        " within a seed"
    )


def markdown_table(shown: Comparison) -> list[str]:
    """The comparison as the lines of a Markdown table."""
    names = ["model", *shown.axes, *shown.modes]
    lines = [_piped(names), "|" + "---|" * len(names)]
    for row in shown.rows:
        cells = [_plain(row.cells[mode]) if mode in row.cells else "" for mode in shown.modes]
        lines.append(_piped([row.base if shown.axes else row.model, *row.settings, *cells]))
    return lines


def spelled(value: Any) -> str:
    """A setting as a reader sees it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value if isinstance(value, str) else json.dumps(value, default=str)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def column_names(keys: Sequence[str]) -> dict[str, str]:
    """The last step of each dotted key, or all of it where that is not enough, by key."""
    last = [key.rpartition(".")[2] for key in keys]
    return {
        key: (end if last.count(end) == 1 else key).replace("_", " ")
        for key, end in zip(keys, last, strict=True)
    }


def _all_axes(report: Report, model: str) -> Mapping[str, Any]:
    return {**report.variant(model).shared, **report.variant(model).axes}


def _varied(report: Report, models: Sequence[str]) -> list[str]:
    """Keys under which the models differ, in the order in which they were set."""
    keys = dict.fromkeys(key for model in models for key in report.variant(model).axes)
    settings = [_all_axes(report, model) for model in models]
    return [
        key
        for key in keys
        if any(key not in one or one[key] != settings[0].get(key) for one in settings)
    ]


def _columns(keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """The keys that each column shows, with their names."""
    names = column_names(keys)
    if len(keys) > _AXES:
        return {"settings": names}
    return {names[key]: {key: ""} for key in keys}


def _settings(axes: Mapping[str, Any], columns: Mapping[str, dict[str, str]]) -> tuple[str, ...]:
    return tuple(
        ", ".join(
            f"{name} {spelled(axes[key])}".strip() for key, name in keys.items() if key in axes
        )
        for keys in columns.values()
    )


def _line(row: Row, shown: Comparison, look: Look, *, first: bool) -> str:
    name = row.base if shown.axes else row.model
    # On a phone there is no room for columns of settings: they stand below the name.
    titled = (f"{axis} {value}" for axis, value in zip(shown.axes, row.settings, strict=True))
    small = ", ".join(title for title in titled if not title.endswith(" "))
    below = f'<small class="setting">{escape(small)}</small>' if small else ""
    kind = "" if first or not shown.axes else ' class="again"'
    head = f'<th scope="row"{kind}><span>{swatch(look, row.model)}{escape(name)}</span>{below}</th>'
    settings = "".join(f'<td class="setting">{escape(value)}</td>' for value in row.settings)
    cells = "".join(f"<td>{summary_cell(row.cells.get(mode))}</td>" for mode in shown.modes)
    return f"<tr>{head}{settings}{cells}</tr>\n"


def summary_cell(cell: Summary | None) -> str:
    """The inside of a table cell: value, interval, both variances, what was left out."""
    if cell is None:
        return ""  # The model has no such mode, so there is nothing that was not measured.
    if cell.value is None:
        return '<div class="cell"><span class="dash" title="not measured">—</span></div>'
    interval = "" if cell.low is None or cell.high is None else _interval(cell)
    notes = "; ".join(_notes(cell))
    small = f"<small>{notes}</small>" if notes else ""
    return f'<div class="cell"><b>{format_value(cell.value)}</b>{interval}{small}</div>'


def _interval(cell: Summary) -> str:
    return f"<span>[{format_value(cell.low)}, {format_value(cell.high)}]</span>"


def _notes(cell: Summary) -> Iterator[str]:
    if cell.deviation is not None:
        yield f"SD {format_value(cell.deviation)}"
        if cell.sample is not None:
            yield f"±{format_value(cell.sample)}"
    if cell.missing:
        yield f"{cell.seeds} of {cell.seeds + cell.missing} seeds"
    if cell.failures:
        yield f"{cell.failures:,} failed"


def _plain(cell: Summary) -> str:
    if cell.value is None:
        return "—"
    interval = "" if cell.low is None else f" [{format_value(cell.low)}, {format_value(cell.high)}]"
    notes = "; ".join(_notes(cell))
    return f"{format_value(cell.value)}{interval}{f' ({notes})' if notes else ''}"


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
