"""From answers and confidences to rows of results and lines to draw.

Legend: Q questions, N judgements: one a question, or one a sample of each question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from valence.data import Findings, Measurement, Series
from valence.measure.calibration import (
    auroc,
    brier,
    ece,
    reliability_series,
    selective,
    selective_series,
)
from valence.measure.knowing.answering import Answered
from valence.measure.statistics import Estimate, clustered, mean, share_of
from valence.recipe.knowing import Confidence, KnowingRecipe

Floats = npt.NDArray[np.float64]
KNOWN = "known"
"""Kind of the lines over how often an answer stood in training."""
ACCURACY = 0.95
MOST_RESAMPLES = 200
"""For coverage, each of whose resamples sorts all answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose results they are, and how their intervals are made; `clusters` [Q] of questions."""

    model: str
    mode: str
    seed: int
    resamples: int
    clusters: npt.NDArray[np.int64]

    def row(self, metric: str, estimate: Estimate, failures: int = 0) -> Measurement:
        """An estimate as a row of results."""
        return estimate.measurement(
            model=self.model, mode=self.mode, metric=metric, failures=failures, seed=self.seed
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Confidences [N] and whether what they are about was right, with clusters.

    `failures` counts questions that are left out: it abstained, so there is no answer to be
    sure of.
    """

    said: Floats
    right: npt.NDArray[np.bool_]
    clusters: npt.NDArray[np.int64]
    failures: int


def accuracies(subject: Subject, answered: Sequence[Answered], recipe: KnowingRecipe) -> Findings:
    """Share of right answers, of the likeliest and of samples, also by times in training.

    Over questions that have an answer; others count as failures.
    """
    open_Q = np.array([bool(each.question.answers) for each in answered])
    right = np.array([float(each.right) for each in answered])
    sampled = np.array([each.share_right for each in answered])
    abstained = np.array([float(each.grade == "abstained") for each in answered])
    clusters, without = subject.clusters[open_Q], int((~open_Q).sum())
    average = mean(
        sampled[open_Q], clusters=clusters, resamples=subject.resamples, seed=subject.seed
    )
    rows = [
        subject.row(f"accuracy@{recipe.name}", share_of(right[open_Q], clusters=clusters), without),
        subject.row(f"sampled_accuracy@{recipe.name}", average, without),
    ]
    lines = {"accuracy": right, "abstention": abstained}
    times = [each.question.times for each in answered]
    series = [
        _by_times(subject, f"{name}@{recipe.name}", values, times)
        for name, values in lines.items()
        if any(each is not None for each in times)
    ]
    return Findings(rows=tuple(rows), series=tuple(series))


def trials(
    name: Confidence,
    said: Floats,
    measured: Sequence[Answered],
    reference: Sequence[Answered] | None,
    clusters: npt.NDArray[np.int64],
) -> Trials:
    """What a confidence is held against.

    P(IK) against every sample: they are right with the probability that it should tell.
    `answering` against the reference's answers, where there is one: its own are abstentions
    where it is low. All else against the model's own answer, where it gives one.
    """
    if name.startswith("p_ik"):
        counts = [len(each.grades) for each in measured]
        right = [one == "right" for each in measured for one in each.grades]
        return Trials(
            said=np.repeat(said, counts),
            right=np.array(right, dtype=bool),
            clusters=np.repeat(clusters, counts),
            failures=0,
        )
    if name == "answering" and reference is not None:
        right = [each.right for each in reference]
        return Trials(said=said, right=np.array(right, bool), clusters=clusters, failures=0)
    return own_answers(said, measured, clusters)


def own_answers(
    said: Floats, measured: Sequence[Answered], clusters: npt.NDArray[np.int64]
) -> Trials:
    """A confidence against the model's own likeliest answer, where it is one."""
    answers = np.array([each.grade != "abstained" for each in measured])
    right = np.array([each.right for each in measured])
    return Trials(
        said=said[answers],
        right=right[answers],
        clusters=clusters[answers],
        failures=int((~answers).sum()),
    )


def calibration(
    subject: Subject,
    recipe: KnowingRecipe,
    said: Mapping[Confidence, Floats],
    measured: Sequence[Answered],
    reference: Sequence[Answered] | None,
) -> Findings:
    """AUROC, Brier score, ECE, selective accuracy and their lines, for each confidence.

    Where some questions have no answer, also the AUROC for telling those that have one.
    """
    found = Findings()
    answerable = np.array([bool(each.question.answers) for each in measured])
    for name, values in said.items():
        held = trials(name, values, measured, reference, subject.clusters)
        own = own_answers(values, measured, subject.clusters)
        found += _calibrated(subject, name, recipe.name, held)
        found += _selected(subject, name, recipe.name, own)
        if not answerable.all():
            area = auroc(values, answerable, clusters=subject.clusters)
            metric = f"{name}_answerable_auroc@{recipe.name}"
            found += Findings(rows=(subject.row(metric, area),))
    return found


def coverage_at(confidence: Floats, right: npt.NDArray[np.bool_], accuracy: float) -> float | None:
    """The largest share of answers [N], the most confident first, that are so often right.

    Answers of one confidence are taken together. 0 if no share is; None without answers, or
    where a confidence is missing (NaN).
    """
    if len(confidence) == 0 or np.isnan(confidence).any():
        return None
    order = np.argsort(-confidence, kind="stable")
    accuracy_N = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last_N = np.append(np.diff(confidence[order]) != 0, True)
    enough = np.flatnonzero(last_N & (accuracy_N >= accuracy - 1e-12))
    return float(enough[-1] + 1) / len(order) if len(enough) else 0.0


def _calibrated(subject: Subject, name: str, questions: str, held: Trials) -> Findings:
    said, right, clusters, seed = held.said, held.right, held.clusters, subject.seed
    found = {
        "auroc": auroc(said, right, clusters=clusters),
        "brier": brier(said, right, clusters=clusters, resamples=subject.resamples, seed=seed),
        "ece": ece(said, right, clusters=clusters, seed=seed),
    }
    rows = tuple(
        subject.row(f"{name}_{metric}@{questions}", each, held.failures)
        for metric, each in found.items()
    )
    if not len(said) or np.isnan(said).any():
        return Findings(rows=rows)
    line = reliability_series(
        said,
        right,
        name=f"{name}@{questions}",
        model=subject.model,
        mode=subject.mode,
        seed=seed,
        clusters=clusters,
    )
    return Findings(rows=rows, series=(line,))


def _selected(subject: Subject, name: str, questions: str, own: Trials) -> Findings:
    found = selective(own.said, own.right, clusters=own.clusters)
    covered = clustered(
        lambda places: coverage_at(own.said[places], own.right[places], ACCURACY),
        own.clusters,
        resamples=min(subject.resamples, MOST_RESAMPLES),
        seed=subject.seed,
    )
    rows = (
        subject.row(f"{name}_aurc@{questions}", found.risk, own.failures),
        subject.row(f"{name}_coverage_at_95@{questions}", covered, own.failures),
    )
    if not len(own.said) or np.isnan(own.said).any():
        return Findings(rows=rows)
    line = selective_series(
        found,
        name=f"{name}@{questions}",
        model=subject.model,
        mode=subject.mode,
        seed=subject.seed,
    )
    return Findings(rows=rows, series=(line,))


def _by_times(subject: Subject, name: str, values: Floats, times: Sequence[int | None]) -> Series:
    """Share of `values` [Q] for each number of times that an answer stood in training."""
    levels = sorted({each for each in times if each is not None})
    found = []
    for level in levels:
        some = np.array([each == level for each in times])
        found.append(share_of(values[some], clusters=subject.clusters[some]))
    return Series(
        kind=KNOWN,
        name=name,
        model=subject.model,
        mode=subject.mode,
        seed=subject.seed,
        x=tuple(float(level) for level in levels),
        y=tuple(each.value for each in found),
        low=tuple(each.low for each in found),
        high=tuple(each.high for each in found),
        count=tuple(each.count for each in found),
    )
