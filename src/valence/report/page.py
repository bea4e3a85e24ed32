"""The report as one HTML document, which needs neither script nor network.

    html = render(Report(...))

Nothing is computed here except positions and formats: what the page concludes was
concluded by the caller.
"""

from __future__ import annotations

from valence.data import VERDICT
from valence.report.budget import budget_picture
from valence.report.content import Budget, Curve, MarkedSample, MetricInfo, Report
from valence.report.drawing import Look
from valence.report.figures import loss_figure, strip_figure
from valence.report.frame import figure, framed, listed
from valence.report.front import front_pictures
from valence.report.gaps import difference_section, gap_section
from valence.report.guides import guide_section
from valence.report.marked import escape, marked_html
from valence.report.results import results_section
from valence.report.samples import is_shown, left_out, sample_section
from valence.report.table import format_value
from valence.report.topics import topic_sections

__all__ = ["Curve", "MarkedSample", "MetricInfo", "Report", "format_value", "render"]

FRONT, STRIPS = "Ability and misalignment", "Every sample"


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
        "Results": results_section(report, look),
        **{budget_heading(budget): _budget(report, budget, look) for budget in report.budgets},
        **guide_section(report, look),
        **_front(report, look),
        **gap_section(report, look),
        **difference_section(report, look),
        **topic_sections(report, look),
        **_strips(report, look),
        **sample_section(report, look),
        **({"Training": _training(report, look)} if report.trained else {}),
        "What was done": _steps(report),
        "Ledger": _ledger(report),
        "Notes": listed(report.notes, "None."),
        "Recipe": _recipe(report),
    }


def _front(report: Report, look: Look) -> dict[str, str]:
    """Ability against misalignment; no section where no metric of samples was asked for."""
    if report.front[1] == VERDICT:
        return {}
    pictures = front_pictures(report, look)
    x, y = (escape(report.info(name).label) for name in report.front)
    text = "\n".join(
        figure(
            picture.draw,
            name=f"front-{at}" if at else "front",
            alt=picture.alt,
            caption=picture.caption,
        )
        for at, picture in enumerate(pictures)
    )
    return {FRONT: text or f"<p>No model was measured both by {x} and by {y}.</p>"}


def _budget(report: Report, budget: Budget, look: Look) -> str:
    picture = budget_picture(report, budget, look)
    name = f"budget-{budget.name}"
    return figure(picture.draw, name=name, alt=picture.alt, caption=picture.caption)


def budget_heading(budget: Budget) -> str:
    """The heading of the section about a budget."""
    return f"More {budget.name}"


def _strips(report: Report, look: Look) -> dict[str, str]:
    """One dot for each sample; no section where models wrote to prompts only, or nothing."""
    strips = {key: value for key, value in report.strips.items() if is_shown(report, key[0])}
    if not any(strips.values()):
        none = {STRIPS: "<p>There are no samples to show.</p>"}
        return {} if report.samples or report.front[1] == VERDICT else none
    metric = report.info(report.strip_metric)
    drawn = figure(
        lambda prefix, alt, narrow: strip_figure(
            strips, metric=metric, look=look, prefix=prefix, alt=alt, narrow=narrow
        ),
        name="strips",
        alt=f"{metric.label} of every sample, one row per model and mode",
        caption=f"{metric.label} of every sample, one dot each, moved up or down at random so"
        " that equal ones can be told apart. The bar is the median, the diamond the mean, the"
        " shade the density. Where values are skewed the axis is logarithmic outside the"
        " interval around zero." + left_out(report),
    )
    return {STRIPS: drawn}


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
