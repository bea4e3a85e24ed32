"""Answering only where one is confident: accuracy by coverage, and the risk over all coverages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from valence.data import Series
from valence.measure.statistics import Estimate, line, share_of
from valence.measure.statistics.estimate import (
    Floats,
    Integers,
    estimated,
    nothing,
    numbered,
    sums_by,
)
from valence.measure.statistics.intervals import skewed_interval

COVERAGES = tuple(tenth / 10 for tenth in range(1, 11))

Correct = Sequence[bool] | Sequence[int] | npt.NDArray[np.bool_] | Integers
Clusters = Sequence[int] | Integers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selective:
    """`accuracy` of the most confident share of the answers, for each of `coverage`.

    `risk` is the area under the risk-coverage curve (AURC): the mean share of wrong answers
    over all coverages; lower is better.
    """

    coverage: tuple[float, ...]
    accuracy: tuple[Estimate, ...]
    risk: Estimate


def selective(
    confidence: Sequence[float] | Floats,
    correct: Correct,
    *,
    coverages: Sequence[float] = COVERAGES,
    clusters: Clusters = None,
) -> Selective:
    """What is gained by answering only where `confidence` [N] is high; `correct` [N].

    Answers that are equally confident come in any order: each counts for the part of it that
    is covered. Intervals of accuracy are exact binomial, over clusters [N] those of
    `share_of`, for answers above the cut as it is; that of the risk is over items or
    clusters, corrected for skewness. None without answers or where a confidence is missing
    (NaN).

    Source: Geifman and El-Yaniv 2017 (arXiv 1705.08500); AURC in Geifman et al. 2019
    (arXiv 1805.08206).
    """
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if len(sure) != len(right):
        raise ValueError(f"{len(sure)} confidences for {len(right)} answers")
    if len(sure) == 0 or np.isnan(sure).any():
        none = tuple(nothing() for _ in coverages)
        return Selective(coverage=tuple(coverages), accuracy=none, risk=nothing())
    owners = None if clusters is None else np.asarray(clusters)
    return Selective(
        coverage=tuple(coverages),
        accuracy=tuple(_accuracy(sure, right, each, owners) for each in coverages),
        risk=_risk(sure, 1 - right, owners),
    )


def _accuracy(sure: Floats, right: Floats, coverage: float, owners: Integers | None) -> Estimate:
    """Accuracy of the share that is covered; answers that tie at the cut stand for their mean."""
    covered = max(round(coverage * len(sure)), 1)
    cut = np.partition(sure, len(sure) - covered)[len(sure) - covered]
    above, tied = np.flatnonzero(sure > cut), np.flatnonzero(sure == cut)
    # Those that tie are all alike, so any of them stand for the part that is covered.
    taken = np.concatenate([above, tied[: covered - len(above)]])
    counted = right.copy()
    counted[tied] = right[tied].mean()
    return share_of(counted[taken], clusters=None if owners is None else owners[taken])


def _risk(sure: Floats, wrong: Floats, owners: Integers | None) -> Estimate:
    """AURC: an answer is in the mean of every coverage that reaches it.

    With ranks from the most confident on, the item at place i of N counts sum(1/j, j >= i)
    / N; equal ones share their places. Each item's influence: its own part, and that others
    lower down move by a place when it is there.
    """
    count = len(sure)
    parts = np.cumsum((1 / np.arange(1, count + 1))[::-1])[::-1]
    # Places of items that tie: the mean of the parts from the first to the last of them.
    first = rankdata(-sure, "min").astype(np.int64)
    last = rankdata(-sure, "max").astype(np.int64)
    sums = np.concatenate([[0.0], np.cumsum(parts)])
    part_N = (sums[last] - sums[first - 1]) / (last - first + 1)
    value = float(part_N @ wrong) / count
    # The mean of wrong / place over the items at or below each one in confidence.
    order = np.argsort(-sure, kind="stable")
    reached = np.cumsum((wrong / last)[order][::-1])[::-1]
    below_N = reached[first - 1]
    influence = part_N * wrong - below_N
    influence -= influence.mean()
    numbers, groups = numbered(owners, count)
    sums_G = sums_by(numbers, influence, groups) * groups / count
    return estimated(value, skewed_interval(value, sums_G), count)


def selective_series(found: Selective, *, name: str, model: str, mode: str, seed: int) -> Series:
    """Accuracy (y) by coverage (x), to draw."""
    return line(
        "selective", name, found.coverage, found.accuracy, model=model, mode=mode, seed=seed
    )
