"""The report as one HTML document, which needs neither script nor network.

    html = render(Report(...))

Nothing is computed here except positions and formats: what the page concludes was
concluded by the caller.
"""

from __future__ import annotations

from collections import Counter

from valence.data import VERDICT
from valence.report.budget import budget_picture
from valence.report.comparison import comparison, comparison_table
from valence.report.content import Budget, Curve, MarkedSample, MetricInfo, Report
from valence.report.drawing import Look
from valence.report.figures import loss_figure, strip_figure
from valence.report.frame import figure, framed, listed
from valence.report.front import front_picture
from valence.report.marked import described, escape, marked_html
from valence.report.table import format_value, results_table, swatch

__all__ = ["Curve", "MarkedSample", "MetricInfo", "Report", "format_value", "render"]

_OPEN_ROWS = 24
"""The table of every number is open where it has no more rows."""


def render(report: Report) -> str:
    """The whole document; the same text for the same report."""
    return framed(report.title, report.lead, _contents(report, look_of(report)))


def _conclusions(report: Report) -> str:
    """All, or where they are many those on all models, and the others folded."""
    shown, rest = report.folded()
    text = listed(shown, "No conclusion was drawn.")
    if rest:
        text += (
            f"<details><summary>{len(rest)} comparisons of two</summary>"
            f"{listed(rest, '')}</details>"
        )
    return text


def look_of(report: Report) -> Look:
    """The colours and markers of a report: settings of one base share its colour."""
    models = report.models()
    bases = {model: report.variant(model).base for model in models}
    return Look(models=models, modes=report.modes(), bases=bases)


def _contents(report: Report, look: Look) -> dict[str, str]:
    """The sections by heading, in the order of the page."""
    return {
        "Conclusions": _conclusions(report),
        "Results": _results(report, look),
        **{budget_heading(budget): _budget(report, budget, look) for budget in report.budgets},
        "Ability and misalignment": _front(report, look),
        **_verdicts(report, look),
        "Every sample": _strips(report, look),
        "Samples side by side": _samples(report, look),
        "Training": _training(report, look),
        "What was done": _steps(report),
        "Ledger": _ledger(report),
        "Notes": listed(report.notes, "None."),
        "Recipe": _recipe(report),
    }


def _results(report: Report, look: Look) -> str:
    """All models beside each other by the headline; every other number can be opened."""
    if not report.measurements:
        return "<p>Nothing was measured.</p>"
    headline = report.front[1]
    elsewhere = (headline, VERDICT)
    others = dict.fromkeys(r.metric for r in report.measurements if r.metric not in elsewhere)
    first = comparison(report, headline)
    shown = comparison_table(first, look) if first.rows else ""
    if first.seeds > 1 or report.variants:
        tables = "".join(comparison_table(comparison(report, name), look) for name in others)
        shown += f"<details><summary>The other metrics, compared</summary>{tables}</details>\n"
    rows = {(row.model, row.mode, row.seed) for row in report.measurements}
    opened = " open" if len(rows) <= _OPEN_ROWS else ""
    return (
        f"{shown}<details{opened}><summary>Every number</summary>"
        f"{results_table(report, look)}</details>\n"
    )


def _front(report: Report, look: Look) -> str:
    x, y = (report.info(name) for name in report.front)
    picture = front_picture(report, look)
    if picture is None:
        return f"<p>No model was measured both by {escape(x.label)} and by {escape(y.label)}.</p>"
    return figure(picture.draw, name="front", alt=picture.alt, caption=picture.caption)


def _verdicts(report: Report, look: Look) -> dict[str, str]:
    """Whether models know good from bad; no section where none was asked."""
    shown = comparison(report, VERDICT)
    if not shown.rows:
        return {}
    said = (
        "After each held-out segment, in text without control tokens, a model is asked whether"
        " what was said is in the best band: by EOS on a side branch that the text does not see."
        " The area under the ROC curve is the chance that a segment of the best band gets a"
        " higher probability of it than another segment: 0.5 knows nothing, 1 is always right."
        " <b>verdict</b> is the model's own next token, <b>readout</b> a head trained together"
        " with it; <b>linear</b> and <b>mlp</b> were fitted afterwards, on what the frozen model"
        " makes of training text."
    )
    return {"Verdicts after EOS": f"<p>{said}</p>\n{comparison_table(shown, look)}"}


def _budget(report: Report, budget: Budget, look: Look) -> str:
    picture = budget_picture(report, budget, look)
    name = f"budget-{budget.name}"
    return figure(picture.draw, name=name, alt=picture.alt, caption=picture.caption)


def budget_heading(budget: Budget) -> str:
    """The heading of the section about a budget."""
    return f"More {budget.name}"


def _strips(report: Report, look: Look) -> str:
    strips = {key: value for key, value in report.strips.items() if _is_shown(report, key[0])}
    if not any(strips.values()):
        return "<p>There are no samples to show.</p>"
    metric = report.info(report.strip_metric)
    return figure(
        lambda prefix, alt, narrow: strip_figure(
            strips, metric=metric, look=look, prefix=prefix, alt=alt, narrow=narrow
        ),
        name="strips",
        alt=f"{metric.label} of every sample, one row per model and mode",
        caption=f"{metric.label} of every sample, one dot each, moved up or down at random so"
        " that equal ones can be told apart. The bar is the median, the diamond the mean, the"
        " shade the density. Where values are skewed the axis is logarithmic outside the"
        " interval around zero." + _left_out(report),
    )


def _is_shown(report: Report, model: str) -> bool:
    return not report.shown or model in report.shown


def _left_out(report: Report) -> str:
    """What a reader must know where not all models are shown."""
    count = len(report.models()) - len(report.shown)
    if not report.shown or not count:
        return ""
    return (
        f" Of each model, the setting that is best on {report.info(report.front[1]).label};"
        f" {count} others are not shown here."
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
        caption="Training loss against text tokens seen, one line per model and seed, all settings"
        " of a model in its colour. Long curves are drawn faintly, with their running mean on top.",
    )


def _samples(report: Report, look: Look) -> str:
    if not report.samples:
        return "<p>There are no samples to show.</p>"
    by_index: dict[int, list[MarkedSample]] = {}
    for sample in report.samples:
        if not _is_shown(report, sample.model):
            continue
        by_index.setdefault(sample.index, []).append(sample)
    messages = {
        mark.code: described(mark) for s in reversed(report.samples) for mark in reversed(s.marks)
    }
    codes = "".join(
        f"<dt>{escape(code)}</dt><dd>{escape(message.removeprefix(code))}</dd>"
        for code, message in sorted(messages.items())
    )
    how = "<p>Marked ranges are named by their codes at the end of the line."
    how += f"{escape(_left_out(report))}</p>"
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
