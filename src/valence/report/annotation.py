"""An annotation in the terminal: tables, a histogram in text, segments to read.

All text of documents is shown as text: it holds no markup and no control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from valence.report.annotation_content import (
    Agreement,
    AnnotationReport,
    Calibration,
    Example,
    Examples,
    FailureKind,
    Group,
    Histogram,
    Quantile,
    Summary,
)
from valence.report.annotation_words import (
    DETECTION,
    agreement_lines,
    around,
    calibration_about,
    cut,
    detection_cells,
    heading,
    interval,
    overview,
    visible,
)
from valence.report.bound import percent
from valence.report.table import format_value

_ROWS = 16
"""Rows of a histogram, besides those for single values."""

_LINES = 12
"""Lines shown of one segment in the terminal."""

_BLOCKS = " ▏▎▍▌▋▊▉█"


def print_annotation(report: AnnotationReport, console: Console) -> None:
    """The whole report, to a console of any width."""
    console.print(_said(report.title, style="bold"))
    console.print(_pairs(report.corpus))
    _print_failures(console, "documents that could not be read", report.unread)
    for summary in report.summaries:
        _print_summary(console, summary)
    for agreement in report.agreements:
        _print_agreement(console, agreement)
    for calibration in report.calibrations:
        _print_calibration(console, calibration)
    console.rule("Notes")
    for note in report.notes:
        console.print(_said(f"- {note}"))


def _print_summary(console: Console, summary: Summary) -> None:
    console.rule(_said(f"Rewards by {visible(summary.name)}"))
    console.print(_said(f"{summary.scorer} on {summary.device}: {summary.meaning}"))
    for sentence in overview(summary):
        console.print(_said(f"- {sentence}"))
    if summary.scored:
        console.print(histogram_text(summary.histogram, max(console.width - 40, 10)))
    console.print(_quantile_table(summary))
    for title, groups in (("split", summary.splits), ("source", summary.sources)):
        if len(groups) > 1:
            console.print(_group_table(title, groups))
    _print_failures(console, "failures", summary.failures)
    console.print(_pairs(summary.ledger))
    for examples in summary.examples:
        _print_examples(console, examples)


def histogram_text(histogram: Histogram, width: int) -> Text:
    """A row per range of rewards, and one for each single value that holds much of the mass."""
    rows = [(f"= {format_value(value)}", value, count) for value, count in histogram.masses]
    edges, counts = histogram.edges, histogram.counts
    step = max(1, -(-len(counts) // _ROWS))
    for start in range(0, len(counts), step):
        low, high = edges[start], edges[min(start + step, len(counts))]
        label = f"{format_value(low)} … {format_value(high)}"
        rows.append((label, low, sum(counts[start : start + step])))
    most = max((count for _, _, count in rows), default=0)
    wide = max((len(label) for label, _, _ in rows), default=0)
    text = Text(no_wrap=True, overflow="crop")
    for label, _, count in sorted(rows, key=lambda row: (row[1], not row[0].startswith("="))):
        style = "cyan" if label.startswith("=") else "blue"
        text.append(f"{label:>{wide}} ")
        text.append(_bar(count / most if most else 0, width), style=style)
        text.append(f" {percent(count / histogram.total)}\n")
    text.rstrip()
    return text


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def _quantile_table(summary: Summary) -> Table:
    rows: list[tuple[str, Sequence[Quantile], float | None, str]] = [
        ("reward", summary.quantiles, summary.mean, "")
    ]
    rows += [
        (f"part {part.name}", part.quantiles, part.mean, format_value(part.correlation))
        for part in summary.parts
    ]
    rows.append(("characters", summary.lengths, summary.mean_length, ""))
    # One line a quantile: a terminal has more lines than columns.
    table = _table("as many lie at or below", *(name for name, *_ in rows))
    for at, length in enumerate(summary.lengths):
        cells = [format_value(q[at].value) if q else "—" for _, q, _, _ in rows]
        table.add_row(percent(length.share), *cells)
    table.add_row("mean", *(format_value(mean) for _, _, mean, _ in rows))
    if summary.parts:
        table.add_row("correlation with the total", *(told or "—" for *_, told in rows))
    return table


def _group_table(title: str, groups: Sequence[Group]) -> Table:
    bounded = any(group.upper is not None for group in groups)
    table = _table(title, "documents", "segments", "failed", "mean")
    if bounded:
        table.add_column("at or above the bound", justify="right")
    for group in groups:
        upper = []
        if group.upper is not None:
            upper = [percent(group.upper / group.scored if group.scored else None)]
        table.add_row(
            _said(group.name),
            f"{group.documents:,}",
            f"{group.segments:,}",
            f"{group.segments - group.scored:,}",
            format_value(group.mean),
            *upper,
        )
    return table


def _print_failures(console: Console, title: str, failures: Sequence[FailureKind]) -> None:
    if not failures:
        return
    table = Table("stage", "kind", title=title, title_justify="left", box=None)
    for head in ("documents", "segments"):
        table.add_column(head, justify="right")
    table.add_column("the first of them", overflow="fold")
    for failure in failures:
        table.add_row(
            _said(failure.stage),
            _said(failure.kind),
            f"{failure.documents:,}",
            f"{failure.segments:,}",
            _text(f"{failure.document}: {failure.message}", 300),
        )
    console.print(table)


def _print_examples(console: Console, examples: Examples) -> None:
    console.print(_said(f"\n{visible(examples.title)}", style="bold"))
    for example in examples.examples:
        console.print(_said(heading(example), style="dim"))
        console.print(Padding(example_text(example), (0, 0, 0, 2)))
        if said := cut(example):
            console.print(_said(f"  [{said}]", style="italic dim"))


def example_text(example: Example) -> Text:
    """The segment between some of its context, which is dim; marks are underlined."""
    cuts = sorted(
        {0, len(example.text), *(m.start for m in example.marks)} | {m.end for m in example.marks}
    )
    before, after = around(example, 60)
    # The last line feed would leave the closing bracket alone on a line; as long as before.
    whole = f"{example.text[:-1]}↵" if example.text.endswith("\n") else example.text
    text = Text(_one_line(before), style="")
    text.stylize("dim")
    text.append("⟦", style="dim")
    for start, end in pairwise(cuts):
        marked = any(mark.start <= start and end <= mark.end for mark in example.marks)
        text.append(visible(whole[start:end]), style="underline red" if marked else "")
    text.append("⟧", style="dim")
    text.append(_one_line(after), style="dim")
    lines = text.split("\n", allow_blank=True)
    if len(lines) <= _LINES:
        return text
    kept = Text("\n").join(lines[:_LINES])
    return kept.append(f"\n[{len(lines) - _LINES} more lines]", style="italic dim")


def _one_line(text: str) -> str:
    return visible(text.replace("\r\n", "\n").replace("\n", "↵"))


def _said(text: str, style: str = "") -> Text:
    """Text without markup in which nothing steers the terminal."""
    return Text(visible(text), style=style)


def _text(text: str, most: int) -> Text:
    shown = _one_line(text)
    return _said(shown if len(shown) <= most else shown[: most - 1] + "…")


def _print_agreement(console: Console, found: Agreement) -> None:
    console.rule(_said(f"Agreement of {visible(found.first)} and {visible(found.second)}"))
    console.print(_pairs(agreement_lines(found)))
    table = _table("", f"{found.second} below", f"{found.second} at or above")
    for at, row in enumerate(found.table):
        side = ("below", "at or above")[at]
        bound = format_value(found.bounds[0])
        table.add_row(_said(f"{visible(found.first)} {side} {bound}"), *(f"{n:,}" for n in row))
    console.print(table)
    for examples in found.disagreements:
        _print_examples(console, examples)


def _print_calibration(console: Console, found: Calibration) -> None:
    console.rule(_said(f"{visible(found.name)} against {visible(found.labels)}"))
    console.print(_said(calibration_about(found)))
    table = _table(*DETECTION)
    for row in found.detection:
        table.add_row(*detection_cells(row))
    console.print(table)
    table = _table("reward from", "to", "mean", "segments", f"mean {found.labels}")
    for bin in found.reliability:
        numbers = (format_value(value) for value in (bin.low, bin.high, bin.mean))
        table.add_row(*numbers, f"{bin.count:,}", interval(bin.label))
    console.print(table)


def _table(first: str, *heads: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(_said(first), overflow="fold")
    for head in heads:
        table.add_column(_said(head), justify="right")
    return table


def _pairs(lines: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for label, value in lines:
        table.add_row(_said(label, style="dim"), _said(value))
    return table
