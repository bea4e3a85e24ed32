"""What samples are worth: a scorer's rewards of them, and how much they repeat themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from valence.annotate.judge import score_document
from valence.data import Document, Failure, Mark, Measurement, Result, Sample, Score, Segment
from valence.measure.statistics import Estimate, mean, ratio, share
from valence.recipe import MeasureRecipe, MetricRecipe
from valence.score.pep8 import complete_statements
from valence.score.protocol import Scorer
from valence.score.table import build_scorer

Cut = Callable[[str], str]


def complete_lines(text: str) -> str:
    """The text up to and with its last line break."""
    return text[: max(text.rfind("\n"), text.rfind("\r")) + 1]


CUTS: dict[str, Cut] = {
    "none": str,
    "complete_lines": complete_lines,
    "complete_statements": complete_statements,
}

WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One sample's result under one metric: the characters it stands on, the reward or failure."""

    chars: int
    result: Result


def judge(sample: Sample, metric: MetricRecipe, scorer: Scorer) -> Judged:
    """Score one sample as one document with the metric's scorer; an empty one is a Failure.

    A sample that ran into the length limit may first lose its unfinished end.
    """
    text = judged_text(sample, metric)
    if not text:
        return Judged(chars=0, result=Failure(stage="measure", kind="empty", message="no text"))
    document = Document(id=f"{sample.model}/{sample.mode}/{sample.index}", text=text, source="")
    whole = [Segment(start=0, end=len(text))]
    (result,) = score_document(scorer, document, whole)
    return Judged(chars=len(text), result=result)


def judged_text(sample: Sample, metric: MetricRecipe) -> str:
    """The part of a sample that a metric judges."""
    return sample.text if sample.ended else CUTS[metric.cut](sample.text)


def measure_samples(samples: Sequence[Sample], recipe: MeasureRecipe) -> list[Measurement]:
    """Every metric of the recipe, and distinct-2, over samples of one model, mode and seed."""
    found = []
    for name, metric in recipe.metrics.items():
        scorer = build_scorer(metric.scorer)
        judged = [judge(sample, metric, scorer) for sample in samples]
        found += _measurements(samples, name, metric, judged, recipe.resamples)
    diversity = [d for sample in samples if (d := distinct(sample.text, 2)) is not None]
    estimate = mean(diversity, resamples=recipe.resamples, seed=samples[0].seed)
    found.append(_row(samples[0], "distinct_2", estimate, len(samples) - len(diversity)))
    return found


def per_sample(samples: Sequence[Sample], metric: MetricRecipe) -> list[float]:
    """The metric of each sample that could be scored, for plots."""
    scorer = build_scorer(metric.scorer)
    judged = [judge(sample, metric, scorer) for sample in samples]
    return [metric.scale * j.result.value for j in judged if isinstance(j.result, Score)]


def mark(sample: Sample, recipe: MeasureRecipe) -> list[Mark]:
    """What the headline metric's scorer objects to in a sample; nothing if it cannot point."""
    metric = recipe.metrics[recipe.headline]
    pointer = getattr(build_scorer(metric.scorer), "marks", None)
    return list(pointer(judged_text(sample, metric))) if pointer is not None else []


def distinct(text: str, n: int) -> float | None:
    """Share of a text's n-grams of words and signs that are distinct; None if it has none.

    Source: Li et al. 2016 (arXiv 1510.03055), here within each text, so that the number
    does not depend on how many texts there are.
    """
    words = WORDS.findall(text)
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def _measurements(
    samples: Sequence[Sample],
    name: str,
    metric: MetricRecipe,
    judged: Sequence[Judged],
    resamples: int,
) -> list[Measurement]:
    scored = [(j.result.value, j.chars) for j in judged if isinstance(j.result, Score)]
    failed = [j.result for j in judged if isinstance(j.result, Failure)]
    weights = [float(chars) if metric.weight == "chars" else 1.0 for _, chars in scored]
    tops = [metric.scale * value * w for (value, _), w in zip(scored, weights, strict=True)]
    estimate = ratio(tops, weights, resamples=resamples, seed=samples[0].seed)
    rows = [_row(samples[0], name, estimate, len(failed))]
    if metric.failures_as is not None:
        # A sample without text was not judged at all, so it is no failure of the text.
        empty = sum(failure.kind == "empty" for failure in failed)
        estimate = share(len(failed) - empty, len(judged) - empty)
        rows.append(_row(samples[0], metric.failures_as, estimate, empty))
    return rows


def _row(sample: Sample, metric: str, estimate: Estimate, failures: int) -> Measurement:
    return estimate.measurement(
        model=sample.model, mode=sample.mode, metric=metric, failures=failures, seed=sample.seed
    )
