"""From answers and confidences to rows of results and lines to draw.

Legend: Q questions.
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
from valence.measure.knowing.covering import covered
from valence.measure.knowing.halves import half_of, other_means
from valence.measure.knowing.trials import Trials, own_answers, trials
from valence.measure.statistics import Estimate, mean, share_of
from valence.recipe.knowing import Confidence, KnowingRecipe

Floats = npt.NDArray[np.float64]
KNOWN = "known"
"""Kind of the lines over how often an answer stood in training."""


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


def calibration(
    subject: Subject,
    recipe: KnowingRecipe,
    said: Mapping[Confidence, Floats],
    measured: Sequence[Answered],
    reference: Sequence[Answered] | None,
) -> Findings:
    """AUROC, Brier score, ECE, selective accuracy and their lines, for each confidence.

    What each is held against is in `trials`; so that confidences can be compared, there is also
    the AUROC of all of them against one thing, over all questions: whether the likeliest answer
    of the reference (without one, of the model itself) is right. Where some questions have no
    answer, also the AUROC for telling those that have one.
    """
    found = Findings()
    answerable = np.array([bool(each.question.answers) for each in measured])
    known = np.array([each.right for each in (measured if reference is None else reference)])
    for name, values in said.items():
        held = trials(name, values, measured, reference, subject.clusters)
        own = own_answers(values, measured, subject.clusters)
        found += _calibrated(subject, name, recipe.name, held)
        found += _selected(subject, name, recipe.name, own)
        told = {"reference": known} | ({} if answerable.all() else {"answerable": answerable})
        for what, truth in told.items():
            area = auroc(values, truth, clusters=subject.clusters)
            metric = f"{name}_{what}_auroc@{recipe.name}"
            found += Findings(rows=(subject.row(metric, area),))
    return found


def _calibrated(subject: Subject, name: str, questions: str, held: Trials) -> Findings:
    """Beside the Brier score that of a constant: what says the mean of the other half always."""
    said, right, clusters, seed = held.said, held.right, held.clusters, subject.seed
    found = {
        "auroc": auroc(said, right, clusters=clusters),
        "brier": brier(said, right, clusters=clusters, resamples=subject.resamples, seed=seed),
        "constant_brier": brier(
            # Where a confidence is missing there is nothing for a constant to stand beside.
            other_means(right, half_of(clusters, seed)) + 0 * said,
            right,
            clusters=clusters,
            resamples=subject.resamples,
            seed=seed,
        ),
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
    coverage, accuracy = covered(
        own.said, own.right, own.clusters, resamples=subject.resamples, seed=subject.seed
    )
    rows = (
        subject.row(f"{name}_aurc@{questions}", found.risk, own.failures),
        subject.row(f"{name}_coverage_at_95@{questions}", coverage, own.failures),
        subject.row(f"{name}_accuracy_at_95@{questions}", accuracy, own.failures),
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
