"""A table of summaries with rows in groups and columns in groups, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from valence.data import Measurement
from valence.report.comparison import explained_for, summary_cell
from valence.report.marked import escape
from valence.report.seeds import Summary, by_seed, summarise

Summaries = Mapping[tuple[str, str, str], Summary]
"""By (model, mode, metric)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridRow:
    """One row: its head as HTML, and a summary, text or nothing for each column."""

    head: str
    cells: tuple[Summary | str | None, ...]


def summaries(rows: Sequence[Measurement]) -> dict[tuple[str, str, str], Summary]:
    """Every metric of every model and mode over its seeds."""
    return {key: summarise(found) for key, found in by_seed(rows).items()}


def grid(
    title: str,
    corner: str,
    columns: Sequence[tuple[str, str]],
    groups: Mapping[str, Sequence[GridRow]],
) -> str:
    """The table; nothing where it has no rows. Columns that no row fills are left out.

    `columns` are (group, name), `groups` rows by title; the empty title, of columns or rows,
    is none. Text is escaped here, but for the heads of rows.
    """
    every = [row for rows in groups.values() for row in rows]
    kept = [at for at in range(len(columns)) if any(row.cells[at] is not None for row in every)]
    if not kept:
        return ""
    seeds = max(
        (cell.seeds for row in every for cell in row.cells if isinstance(cell, Summary)), default=0
    )
    caption = f"{escape(title)}: {explained_for(seeds)}"
    bodies = "".join(_body(name, rows, kept) for name, rows in groups.items() if rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}">'
        f'<table class="results comparison grid-table"><caption><span>{caption}</span></caption>\n'
        f"<thead>{_head(corner, [columns[at] for at in kept])}</thead>\n{bodies}</table></div>\n"
    )


def _head(corner: str, columns: Sequence[tuple[str, str]]) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for _, name in columns)
    if not any(group for group, _ in columns):
        return f'<tr><th scope="col">{escape(corner)}</th>{names}</tr>'
    spans = "".join(
        f'<th scope="colgroup" colspan="{len(list(members))}">{escape(group)}</th>'
        for group, members in groupby(columns, key=lambda column: column[0])
    )
    first = f'<th scope="col" rowspan="2">{escape(corner)}</th>'
    return f"<tr>{first}{spans}</tr>\n<tr>{names}</tr>"


def _body(name: str, rows: Sequence[GridRow], kept: Sequence[int]) -> str:
    lines = [
        f'<tr><th scope="row">{row.head}</th>'
        + "".join(f"<td>{_inside(row.cells[at])}</td>" for at in kept)
        + "</tr>\n"
        for row in rows
    ]
    title = (
        f'<tr class="group"><th scope="rowgroup" colspan="{len(kept) + 1}">{escape(name)}</th>'
        "</tr>\n"
        if name
        else ""
    )
    return f"<tbody>{title}{''.join(lines)}</tbody>\n"


def _inside(cell: Summary | str | None) -> str:
    return escape(cell) if isinstance(cell, str) else summary_cell(cell)
