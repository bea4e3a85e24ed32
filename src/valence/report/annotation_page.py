"""An annotation as one HTML document, in the style of the page of a run.

write_annotation_page(Path("annotation.html"), report)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from valence.report.annotation_content import (
    Agreement,
    AnnotationReport,
    Calibration,
    Example,
    Examples,
    FailureKind,
    Group,
    Quantile,
    Summary,
)
from valence.report.annotation_figures import histogram_figure, is_skewed, reliability_figure
from valence.report.annotation_words import (
    DETECTION,
    agreement_lines,
    around,
    bound_said,
    calibration_about,
    cut,
    detection_cells,
    heading,
    interval,
    overview,
    visible,
)
from valence.report.bound import percent
from valence.report.frame import figure, framed, listed
from valence.report.marked import escape, marked_html
from valence.report.table import format_value
from valence.store import write_text


def write_annotation_page(path: Path, report: AnnotationReport) -> Path:
    """Write the page whole or not at all; returns its path. Raises `StoreError`."""
    write_text(path, render_annotation(report))
    return path


def render_annotation(report: AnnotationReport) -> str:
    """The whole document; the same text for the same report."""
    contents = {"The corpus": _corpus(report)}
    for number, summary in enumerate(report.summaries):
        contents[f"Rewards by {summary.name}"] = _summary(summary, f"rewards{number}")
    for found in report.agreements:
        contents[f"{found.first} and {found.second}"] = _agreement(found)
    for number, calibration in enumerate(report.calibrations):
        name = f"{calibration.name} against {calibration.labels}"
        contents[name] = _calibration(calibration, f"labels{number}")
    contents["Notes"] = listed(report.notes, "None.")
    names = ", ".join(summary.name for summary in report.summaries)
    styles = ("page.css", "annotation.css")
    return framed(report.title, f"Rewards by {names}.", contents, styles=styles)


def _corpus(report: AnnotationReport) -> str:
    failures = ""
    if report.unread:
        failures = f"<h3>What could not be read</h3>{_failures(report.unread)}"
    return _pairs("What was annotated", report.corpus) + failures


def _summary(summary: Summary, prefix: str) -> str:
    parts = [
        f"<p>{escape(summary.meaning)}<br><small>{escape(summary.scorer)} on"
        f" {escape(summary.device)}</small></p>",
        listed(overview(summary), ""),
    ]
    if summary.scored:
        parts.append(_histogram(summary, prefix))
        parts.append(_quantiles(summary))
    for title, groups in (("split", summary.splits), ("source", summary.sources)):
        if len(groups) > 1:
            parts.append(_groups(title, groups))
    parts.append("<h3>Failures</h3>")
    parts.append(_failures(summary.failures) if summary.failures else "<p>None.</p>")
    if summary.examples:
        parts.append("<h3>Segments to read</h3>")
        parts += [_examples(found, opened=at == 0) for at, found in enumerate(summary.examples)]
    parts.append(f"<h3>Ledger</h3>{_pairs('What the rewards cost', summary.ledger)}")
    return "\n".join(parts)


def _histogram(summary: Summary, prefix: str) -> str:
    histogram, bands = summary.histogram, summary.bands
    said = [f"Rewards of {summary.scored:,} segments."]
    if histogram.masses and histogram.counts:
        said.append(
            "Black lines are single values that many segments have, with their share, which is in"
            " no bar: beside them the bars could not be seen."
        )
    if histogram.threshold is not None:
        said.append(
            "The axis of rewards is logarithmic, but linear within"
            f" {format_value(histogram.threshold)} of zero."
        )
    if is_skewed(histogram):
        said.append("The axis of shares is logarithmic.")
    if bands is not None:
        said.append(f"Dashed: the bound, {bound_said(bands.asked, bands.reward)}.")
    listing = ", ".join(f"{percent(q.share)} {format_value(q.value)}" for q in summary.quantiles)
    return figure(
        lambda ids, alt, narrow: histogram_figure(
            histogram,
            name=summary.name,
            bound=None if bands is None else bands.reward,
            prefix=ids,
            alt=alt,
            narrow=narrow,
        ),
        name=f"{prefix}-histogram",
        alt=f"Histogram of the rewards by {summary.name}. Quantiles: {listing}",
        caption=" ".join(said),
    )


def _quantiles(summary: Summary) -> str:
    shares = [percent(quantile.share) for quantile in summary.quantiles]
    rows: list[tuple[str, Sequence[Quantile], float | None, list[str]]] = [
        ("reward", summary.quantiles, summary.mean, ["—"])
    ]
    rows += [
        (f"part {part.name}", part.quantiles, part.mean, [format_value(part.correlation)])
        for part in summary.parts
    ]
    rows.append(("characters", summary.lengths, summary.mean_length, ["—"]))
    heads = ["", *shares, "mean", *(["correlation with the reward"] if summary.parts else [])]
    cells = [
        [
            name,
            *([format_value(q.value) for q in quantiles] or ["—"] * len(shares)),
            format_value(mean),
            *(correlation if summary.parts else []),
        ]
        for name, quantiles, mean, correlation in rows
    ]
    return _table("Quantiles: as many lie at or below", heads, cells)


def _groups(title: str, groups: Sequence[Group]) -> str:
    bounded = any(group.upper is not None for group in groups)
    heads = [title, "documents", "segments", "failed", "mean"]
    rows = []
    for group in groups:
        row = [group.name, f"{group.documents:,}", f"{group.segments:,}"]
        row += [f"{group.segments - group.scored:,}", format_value(group.mean)]
        if group.upper is not None:
            row.append(percent(group.upper / group.scored if group.scored else None))
        rows.append(row)
    caption = f"By {title}, the largest first"
    return _table(caption, [*heads, *(["at or above the bound"] if bounded else [])], rows)


def _failures(failures: Sequence[FailureKind]) -> str:
    rows = [
        [
            f"{failure.stage}: {failure.kind}",
            f"{failure.documents:,}",
            f"{failure.segments:,}",
            _shortened(visible(f"{failure.document}: {failure.message}")),
        ]
        for failure in failures
    ]
    heads = ["kind", "documents", "segments", "the first of them"]
    return _table("Failures by kind", heads, rows, last="said")


def _shortened(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _examples(found: Examples, *, opened: bool) -> str:
    texts = "".join(_example(example) for example in found.examples)
    return (
        f"<details{' open' if opened else ''}><summary>{escape(found.title)}</summary>"
        f'<div class="grid">\n{texts}</div></details>\n'
    )


def _example(example: Example) -> str:
    before, after = (
        f'<span class="around">{marked_html(text, ())}</span>' if text else ""
        for text in around(example)
    )
    where = escape(heading(example))
    said = cut(example) or "the whole segment"
    return (
        f'<article class="sample"><h3><small>{where}</small></h3><p>{escape(said)}</p>'
        f'<pre class="wrapped" tabindex="0" aria-label="{where}"><code>{before}'
        f'<span class="segment">{marked_html(example.text, example.marks)}</span>{after}'
        "</code></pre></article>\n"
    )


def _agreement(found: Agreement) -> str:
    first, second = found.first, found.second
    sides = [bound_said(*pair) for pair in zip(found.asked, found.bounds, strict=True)]
    rows = [
        [f"{first} {where}", *(f"{count:,}" for count in row)]
        for where, row in zip(("below", "at or above"), found.table, strict=True)
    ]
    table = _table(
        f"Segments by band; the bound of {first} is {sides[0]}, that of {second} {sides[1]}",
        ["", f"{second} below", f"{second} at or above"],
        rows,
    )
    read = "".join(
        _examples(examples, opened=at == 0) for at, examples in enumerate(found.disagreements)
    )
    disagree = f"<h3>Disagreements to read</h3>{read}" if read else ""
    return _pairs("Value with its 95% interval over documents", agreement_lines(found)) + (
        f"{table}{disagree}"
    )


def _calibration(found: Calibration, prefix: str) -> str:
    values = ", ".join(format_value(bin.label.value) for bin in found.reliability)
    drawn = ""
    if found.reliability:
        drawn = figure(
            lambda ids, alt, narrow: reliability_figure(
                found.reliability,
                name=found.name,
                labels=found.labels,
                prefix=ids,
                alt=alt,
                narrow=narrow,
            ),
            name=f"{prefix}-reliability",
            alt=f"Mean of {found.labels} by tenths of the reward by {found.name}: {values}",
            caption=f"Mean of {found.labels} with its 95% interval over documents, for about as"
            f" many segments each, from the lowest reward by {found.name} to the highest. Equal"
            " rewards are never parted.",
        )
    rows = [
        [
            f"{format_value(bin.low)} to {format_value(bin.high)}",
            format_value(bin.mean),
            f"{bin.count:,}",
            interval(bin.label),
        ]
        for bin in found.reliability
    ]
    return (
        f"<p>{escape(calibration_about(found))}</p>"
        + _table("Detection", DETECTION, [detection_cells(row) for row in found.detection])
        + drawn
        + _table("Reliability", ["reward", "mean", "segments", f"mean of {found.labels}"], rows)
    )


def _table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, last: str = ""
) -> str:
    """A table whose first column names the rows; `last` is the class of the last column."""
    head = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    lines = []
    for name, *cells in rows:
        values = [f"<td>{escape(cell)}</td>" for cell in cells]
        if last and values:
            values[-1] = f'<td class="{last}">{escape(cells[-1])}</td>'
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(values)}</tr>\n')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f'<table class="results numbers"><caption><span>{escape(caption)}</span></caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{''.join(lines)}</tbody></table></div>\n"
    )


def _pairs(caption: str, lines: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{escape(value)}</td></tr>'
        for label, value in lines
    )
    if not rows:
        return "<p>Nothing was recorded.</p>"
    return f'<table class="ledger"><caption>{escape(caption)}</caption>{rows}</table>\n'
