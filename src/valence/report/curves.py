"""Figures of all lines of a report: one for each kind, and for each metric or set of questions."""

from __future__ import annotations

from collections.abc import Sequence

from valence.data import Series
from valence.report.content import Report
from valence.report.drawing import Look, Picture
from valence.report.frame import figure
from valence.report.kinds import Kind, group_of, kind_of, y_label
from valence.report.lines import lines_figure
from valence.report.marked import escape
from valence.report.panels import MOST_PANELS, Panel, family, panels
from valence.report.table import format_value

_SAID = 12
"""Points of a line that its description names."""


def curve_figures(report: Report, look: Look, group: str, *, name: str = "lines") -> str:
    """The figures of a group of metrics, as HTML; nothing where it has no lines.

    `name` begins the ids of the page's figures. Of many panels the later ones are folded.
    """
    found: dict[tuple[str, str], list[Series]] = {}
    for series in report.series:
        if group_of(series) == group:
            found.setdefault((series.kind, family(series)), []).append(series)
    shown = []
    for at, ((kind, place), members) in enumerate(found.items()):
        start = f"{name}-{at}-{_slug(kind, place)}"
        arranged = panels(members, look)
        parts = [arranged[n : n + MOST_PANELS] for n in range(0, len(arranged), MOST_PANELS)]
        drawn = [
            _figure(report, members, part, f"{start}-{number}") for number, part in enumerate(parts)
        ]
        heading = kind_of(members[0]).title + (f", {_place(report, place)}" if place else "")
        shown.append(f"<h3>{escape(heading)}</h3>\n{drawn[0]}\n")
        if drawn[1:]:
            more = len(arranged) - MOST_PANELS
            folded = "\n".join(drawn[1:])
            shown.append(f"<details><summary>{more} more panels</summary>{folded}</details>\n")
    return "".join(shown)


def curve_picture(report: Report, members: Sequence[Series], part: Sequence[Panel]) -> Picture:
    """Some panels of lines of one kind."""
    kind = kind_of(members[0])
    y = y_label(kind, report.info(family(members[0])))
    listed = "; ".join(_said(panel) for panel in part)
    return Picture(
        draw=lambda prefix, alt, narrow: lines_figure(
            part, kind=kind, y=y, prefix=prefix, alt=alt, narrow=narrow
        ),
        alt=f"{y} by {kind.x}. {listed}",
        caption=f"{kind.caption} {_intervals(kind, part)}".strip(),
    )


def _figure(report: Report, members: Sequence[Series], part: Sequence[Panel], name: str) -> str:
    picture = curve_picture(report, members, part)
    return figure(picture.draw, name=name, alt=picture.alt, caption=picture.caption)


def _intervals(kind: Kind, part: Sequence[Panel]) -> str:
    seeds = max((len(line.seeds) for panel in part for line in panel.lines), default=0)
    if not seeds:
        return "Bars or bands are 95% intervals."
    if any(line.points for panel in part for line in panel.lines):
        return (
            "Faint lines are single seeds; the strong one is their mean, and its bars are 95%"
            " intervals over seeds (Student's t), cut where they leave the axis."
        )
    return "One line for each seed."


def _said(panel: Panel) -> str:
    """What a panel shows, for those who do not see it."""
    lines = []
    for line in panel.lines:
        points = line.points or line.seeds[0]
        step = -(-len(points) // _SAID)
        some = points[::step] if step > 1 else points
        pairs = ", ".join(f"{format_value(p.x)}: {format_value(p.y)}" for p in some)
        lines.append(f"{line.label}: {pairs}")
    return f"{panel.title}: {' | '.join(lines)}"


def _place(report: Report, place: str) -> str:
    return report.info(place).label


def _slug(kind: str, place: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in f"{kind}-{place}".lower())
