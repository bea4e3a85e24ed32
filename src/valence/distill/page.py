"""A student's fidelity as one HTML document, in the style of the page of a run."""

from __future__ import annotations

from collections.abc import Sequence

from valence.data import Measurement
from valence.distill.fidelity import METRICS, Bin, Fidelity
from valence.distill.figures import bands_figure, reliability_figure
from valence.report.frame import figure, framed, listed
from valence.report.marked import escape
from valence.report.table import format_value

_STYLES = ("page.css", "annotation.css")


def fidelity_page(found: Fidelity) -> str:
    """The whole document; the same text for the same fidelity."""
    contents = {
        "Conclusions": listed(conclusions(found), "None."),
        "Fidelity": _measures(found.measurements),
        "Reliability": _reliability(found),
        "The two bands": _bands(found),
        "What it was made from": _made(found),
    }
    lead = f"A {found.kind} student of {found.teacher}, for the band below {said(found.bound)}."
    return framed(f"Student of {found.name}", lead, contents, styles=_STYLES)


def said(value: float | None) -> str:
    """A number for a reader."""
    return format_value(value)


def conclusions(found: Fidelity) -> list[str]:
    """What the figures come to, in sentences; the same in the terminal and on the page."""
    measures = {row.metric: row for row in found.measurements}
    auroc = measures["auroc_at_bound"]
    below = measures["share_below_teacher"].value
    lines = [
        f"On {auroc.count:,} held-out segments of {found.documents['held_out']:,} documents, the"
        f" student finds the teacher's band below {said(found.bound)} with an AUROC of"
        f" {_with_interval(auroc)}."
    ]
    if below is not None:
        lines.append(
            f"That band holds {100 * below:.1f}% of the segments. With a bound of"
            f" {said(found.matched_bound)} for the student, precision is"
            f" {_with_interval(measures['precision_matched'])} and recall"
            f" {_with_interval(measures['recall_matched'])}."
        )
    lines.append(
        f"Over all rewards, Spearman's correlation is {_with_interval(measures['spearman'])}."
    )
    speed = found.throughput
    if speed.student is not None:
        times = "" if speed.ratio is None else f", {said(speed.ratio)} times as fast as the teacher"
        lines.append(f"It scores {said(speed.student)} MB of text a core-second{times}.")
    left = sum(found.failures.values())
    if left:
        lines.append(f"{left:,} segments without a reward by the teacher were left out.")
    return lines


def _with_interval(row: Measurement) -> str:
    if row.value is None:
        return "— (it could not be measured)"
    if row.low is None or row.high is None:
        return said(row.value)
    return f"{said(row.value)} [{said(row.low)}, {said(row.high)}]"


def _label(metric: str) -> str:
    return metric.replace("_", " ").replace("auroc", "AUROC").replace("f1", "F1")


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f'<table class="results numbers"><caption><span>{escape(caption)}</span></caption>\n'
        f"<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def _measures(measurements: Sequence[Measurement]) -> str:
    rows = [
        (
            _label(row.metric),
            said(row.value),
            "—" if row.low is None or row.high is None else f"{said(row.low)} – {said(row.high)}",
        )
        for row in measurements
    ]
    count = measurements[0].count if measurements else 0
    caption = (
        f"Student against teacher on {count:,} held-out segments; 95% intervals over documents"
    )
    notes = "".join(
        f"<dt>{escape(_label(name))}</dt><dd>{escape(what)}</dd>" for name, what in METRICS.items()
    )
    legend = f'<h3>What the rows mean</h3><dl class="legend">{notes}</dl>\n'
    return _table(caption, ("metric", "value", "95% interval"), rows) + legend


def _reliability(found: Fidelity) -> str:
    listed_bins = "; ".join(f"{said(b.predicted)}: {said(b.teacher)}" for b in found.reliability)
    drawn = figure(
        lambda prefix, alt, narrow: reliability_figure(
            found.reliability, bound=found.bound, prefix=prefix, alt=alt, narrow=narrow
        ),
        name="reliability",
        alt=f"Predicted mean reward and the teacher's. {listed_bins}",
        caption="Held-out segments in ten bins by the reward that the student predicts. On the"
        " dashed diagonal the teacher's mean is what was predicted. The dotted line is the bound.",
    )
    return drawn + _table(
        "The bins",
        ("predicted", "by the teacher", "from", "to", "segments"),
        _bins(found.reliability),
    )


def _bins(bins: Sequence[Bin]) -> list[tuple[str, ...]]:
    return [
        (said(b.predicted), said(b.teacher), said(b.low), said(b.high), f"{b.count:,}")
        for b in bins
    ]


def _bands(found: Fidelity) -> str:
    return figure(
        lambda prefix, alt, narrow: bands_figure(
            found.bands, bound=found.bound, prefix=prefix, alt=alt, narrow=narrow
        ),
        name="bands",
        alt="Histogram of the student's rewards, for each of the teacher's two bands:"
        f" {sum(found.bands.below):,} segments below the bound, {sum(found.bands.others):,} others",
        caption="The student's rewards of held-out segments, by the teacher's band; each outline"
        " holds its own band's segments. The dotted"
        " line is the bound.",
    )


def _made(found: Fidelity) -> str:
    speed = found.throughput
    rows = [
        ("student", found.student),
        ("teacher", found.teacher),
        ("what the rewards mean", found.meaning),
        ("bound", said(found.bound)),
        ("seed", str(found.seed)),
        *(
            (
                f"segments, {split.replace('_', ' ')}",
                f"{count:,} of {found.documents[split]:,} documents;"
                f" {found.failures[split]:,} without a reward",
            )
            for split, count in found.segments.items()
        ),
        ("student, MB a core-second", said(speed.student)),
        ("teacher, MB a core-second", said(speed.teacher)),
        ("times as fast", said(speed.ratio)),
    ]
    body = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{escape(value)}</td></tr>'
        for label, value in rows
    )
    return f'<table class="ledger"><caption>The student and its data</caption>{body}</table>'
