"""The report as one HTML document, which needs neither script nor network.

    html = render(Report(...))

Nothing is computed here except positions and formats: what the page concludes was
concluded by the caller.
"""

from __future__ import annotations

from collections import Counter

from valence.report.content import Curve, MarkedSample, MetricInfo, Report
from valence.report.drawing import Look
from valence.report.figures import (
    Estimate,
    FrontPoint,
    front_figure,
    loss_figure,
    strip_figure,
)
from valence.report.frame import figure, framed, listed
from valence.report.marked import described, escape, marked_html
from valence.report.table import format_value, results_table, swatch

__all__ = ["Curve", "MarkedSample", "MetricInfo", "Report", "format_value", "render"]


def render(report: Report) -> str:
    """The whole document; the same text for the same report."""
    contents = _contents(report, Look(models=report.models(), modes=report.modes()))
    return framed(report.title, report.lead, contents)


def _contents(report: Report, look: Look) -> dict[str, str]:
    """The sections by heading, in the order of the page."""
    return {
        "Conclusions": listed(report.conclusions, "No conclusion was drawn."),
        "Results": results_table(report, look),
        "Ability and misalignment": _front(report, look),
        "Every sample": _strips(report, look),
        "Samples side by side": _samples(report, look),
        "Training": _training(report, look),
        "What was done": _steps(report),
        "Ledger": _ledger(report),
        "Notes": listed(report.notes, "None."),
        "Recipe": _recipe(report),
    }


def _front(report: Report, look: Look) -> str:
    x, y = (report.info(name) for name in report.front)
    found = {(m.model, m.mode, m.seed, m.metric): m for m in report.measurements}
    rows = list(dict.fromkeys((m.model, m.mode, m.seed) for m in report.measurements))
    points = []
    for row in rows:
        across, along = found.get((*row, x.name)), found.get((*row, y.name))
        if across is None or across.value is None or along is None or along.value is None:
            continue
        points.append(
            FrontPoint(
                model=row[0],
                mode=row[1],
                seed=row[2],
                x=Estimate(value=across.value, low=across.low, high=across.high),
                y=Estimate(value=along.value, low=along.low, high=along.high),
            )
        )
    if not points:
        return f"<p>No model was measured both by {escape(x.label)} and by {escape(y.label)}.</p>"
    what = f"{x.label} against {y.label}"
    listed = "; ".join(
        f"{p.model} {p.mode}: {format_value(p.x.value)}, {format_value(p.y.value)}" for p in points
    )
    caption = f"{what}. Bars are 95% intervals; colour is the model, shape the mode."
    if len({point.seed for point in points}) > 1:
        caption += " Small points are single seeds; the label stands at their mean."
    if len(points) < len(rows):
        caption += f" Not shown, for lack of one of the two values: {len(rows) - len(points)}."
    return figure(
        lambda prefix, alt, narrow: front_figure(
            points, x=x, y=y, look=look, prefix=prefix, alt=alt, narrow=narrow
        ),
        name="front",
        alt=f"{what}. {listed}",
        caption=caption,
    )


def _strips(report: Report, look: Look) -> str:
    if not any(report.strips.values()):
        return "<p>There are no samples to show.</p>"
    metric = report.info(report.strip_metric)
    return figure(
        lambda prefix, alt, narrow: strip_figure(
            report.strips, metric=metric, look=look, prefix=prefix, alt=alt, narrow=narrow
        ),
        name="strips",
        alt=f"{metric.label} of every sample, one row per model and mode",
        caption=f"{metric.label} of every sample, one dot each, moved up or down at random so"
        " that equal ones can be told apart. The bar is the median, the diamond the mean, the"
        " shade the density. Where values are skewed the axis is logarithmic outside the"
        " interval around zero.",
    )


def _training(report: Report, look: Look) -> str:
    if not any(curve.loss for curve in report.curves):
        return "<p>No training loss was recorded.</p>"
    ends = "; ".join(
        f"{c.model} seed {c.seed}: {format_value(c.loss[-1])}" for c in report.curves if c.loss
    )
    return figure(
        lambda prefix, alt, narrow: loss_figure(
            report.curves, look=look, prefix=prefix, alt=alt, narrow=narrow
        ),
        name="loss",
        alt=f"Training loss against text tokens seen. Last values: {ends}",
        caption="Training loss against text tokens seen, one line per model and seed. Long"
        " curves are drawn faintly, with their running mean on top.",
    )


def _samples(report: Report, look: Look) -> str:
    if not report.samples:
        return "<p>There are no samples to show.</p>"
    by_index: dict[int, list[MarkedSample]] = {}
    for sample in report.samples:
        by_index.setdefault(sample.index, []).append(sample)
    messages = {
        mark.code: described(mark) for s in reversed(report.samples) for mark in reversed(s.marks)
    }
    codes = "".join(
        f"<dt>{escape(code)}</dt><dd>{escape(message.removeprefix(code))}</dd>"
        for code, message in sorted(messages.items())
    )
    how = "<p>Marked ranges are named by their codes at the end of the line.</p>"
    legend = f'{how}<dl class="legend">{codes}</dl>' if codes else ""
    groups = []
    for at, (index, group) in enumerate(sorted(by_index.items())):
        texts = "".join(_sample(sample, look) for sample in group)
        groups.append(
            f"<details{' open' if at == 0 else ''}><summary>Sample {index}</summary>"
            f'<div class="grid">\n{texts}</div></details>\n'
        )
    return f"{legend}{''.join(groups)}"


def _sample(sample: MarkedSample, look: Look) -> str:
    name = f"{escape(sample.model)} · {escape(sample.mode)}"
    counts = Counter(mark.code for mark in sample.marks)
    listed = ", ".join(
        f"{escape(code)}\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}{count}"
        for code, count in sorted(counts.items())
    )
    end = "ended by the model" if sample.ended else "cut at the length limit"
    return (
        f'<article class="sample"><h3>{swatch(look, sample.model)}{name}'
        f" <small>sample {sample.index}</small></h3>"
        f"<p>{len(sample.marks)} marked{f': {listed}' if listed else ''}; {end}</p>"
        f'<pre tabindex="0" aria-label="sample {sample.index} of {name}"><code>'
        f"{marked_html(sample.text, sample.marks)}</code></pre></article>\n"
    )


def _steps(report: Report) -> str:
    items = "".join(f"<li><b>{escape(s)}</b> {escape(did)}</li>" for s, did in report.steps)
    return f"<ol>{items}</ol>" if items else "<p>No step was recorded.</p>"


def _ledger(report: Report) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{escape(value)}</td></tr>'
        for label, value in report.ledger
    )
    if not rows:
        return "<p>Nothing was recorded.</p>"
    return f'<table class="ledger"><caption>What the run cost</caption>{rows}</table>'


def _recipe(report: Report) -> str:
    text = f'<pre tabindex="0"><code>{marked_html(report.recipe, ())}</code></pre>'
    return f"<details><summary>All values, defaults included</summary>{text}</details>"
