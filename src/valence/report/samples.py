"""Texts that models wrote, side by side, with what they were asked and what they scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from valence.data import VERDICT
from valence.report.content import MarkedSample, Report
from valence.report.drawing import Look
from valence.report.marked import described, escape, marked_html
from valence.report.metrics import plain
from valence.report.table import format_value, swatch

SAMPLES = "Samples side by side"
_TIMES = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}"


def is_shown(report: Report, model: str) -> bool:
    """Whether a model's samples are on the page."""
    return not report.shown or model in report.shown


def left_out(report: Report) -> str:
    """What a reader must know where not all models are shown."""
    count = len(report.models()) - len(report.shown)
    if not report.shown or not count:
        return ""
    return (
        f" Of each model, the setting that is best on {report.info(report.front[1]).label};"
        f" {count} others are not shown here."
    )


def sample_section(report: Report, look: Look) -> dict[str, str]:
    """Samples with the same number beside each other, those of each scenario together; no
    section where no metric of samples was asked for.
    """
    if not report.samples:
        none = {SAMPLES: "<p>There are no samples to show.</p>"}
        return {} if report.front[1] == VERDICT else none
    by_scenario: dict[str, list[MarkedSample]] = {}
    for sample in report.samples:
        if is_shown(report, sample.model):
            by_scenario.setdefault(sample.scenario, []).append(sample)
    parts = [_legend(report)]
    for scenario, samples in by_scenario.items():
        title = f"After prompts: {scenario}" if scenario else "Written from nothing"
        parts.append(f"<h3>{escape(title)}</h3>\n" if len(by_scenario) > 1 or scenario else "")
        parts += _groups(samples, look)
    return {SAMPLES: "".join(parts)}


def _legend(report: Report) -> str:
    said = []
    if any(sample.scores for sample in report.samples):
        said.append("Beside each text is the reward that it got; a higher one is preferred.")
    messages = {
        mark.code: described(mark) for s in reversed(report.samples) for mark in reversed(s.marks)
    }
    codes = "".join(
        f"<dt>{escape(code)}</dt><dd>{escape(message.removeprefix(code))}</dd>"
        for code, message in sorted(messages.items())
    )
    if codes:
        said.append("Marked ranges are named by their codes at the end of the line.")
    about = escape(" ".join(said) + left_out(report)).strip()
    return (f"<p>{about}</p>" if about else "") + (
        f'<dl class="legend">{codes}</dl>' if codes else ""
    )


def _groups(samples: Sequence[MarkedSample], look: Look) -> Iterator[str]:
    """The samples of each number, which have their prompt in common."""
    groups: dict[tuple[int, str], list[MarkedSample]] = {}
    for sample in samples:
        groups.setdefault((sample.index, sample.prompt), []).append(sample)
    for at, ((index, prompt), group) in enumerate(sorted(groups.items())):
        texts = "".join(_sample(sample, look) for sample in group)
        before = (
            f'<div class="prompt"><h4>Prompt</h4><pre tabindex="0"'
            f' aria-label="prompt of sample {index}"><code>{marked_html(prompt, ())}</code></pre>'
            "</div>"
            if prompt
            else ""
        )
        yield (
            f"<details{' open' if at == 0 else ''}><summary>Sample {index}</summary>"
            f'{before}<div class="grid">\n{texts}</div></details>\n'
        )


def _sample(sample: MarkedSample, look: Look) -> str:
    name = f"{escape(sample.model)} · {escape(sample.mode)}"
    end = "ended by the model" if sample.ended else "cut at the length limit"
    scores = "".join(_score(metric, score) for metric, score in sample.scores.items())
    return (
        f'<article class="sample"><h3>{swatch(look, sample.model)}{name}'
        f" <small>sample {sample.index}</small></h3>"
        f"<p>{scores}{_counted(sample)}{end}</p>"
        f'<pre tabindex="0" aria-label="sample {sample.index} of {name}"><code>'
        f"{marked_html(sample.text, sample.marks)}</code></pre></article>\n"
    )


def _counted(sample: MarkedSample) -> str:
    if sample.scores and not sample.marks:
        return ""  # Whether the scorer could point at anything is not known here.
    counts = Counter(mark.code for mark in sample.marks)
    listed = ", ".join(f"{escape(code)}{_TIMES}{count}" for code, count in sorted(counts.items()))
    return f"{len(sample.marks)} marked{f': {listed}' if listed else ''}; "


def _score(metric: str, score: float | str) -> str:
    said = f"<em>not scored: {escape(score)}</em>" if isinstance(score, str) else _reward(score)
    return f'<span class="score">{escape(plain(metric))}: {said}</span> '


def _reward(value: float) -> str:
    return f"reward <b>{format_value(value)}</b>"
