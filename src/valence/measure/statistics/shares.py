"""Shares of hits, with intervals that do not claim certainty at 0 or at 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import betaincinv

from valence.measure.statistics.estimate import (
    Estimate,
    Floats,
    Integers,
    estimated,
    nothing,
    numbered,
    sums_by,
)
from valence.measure.statistics.intervals import TAIL, student_quantile


def share(hits: int, count: int) -> Estimate:
    """Share of hits with the exact binomial interval (Clopper and Pearson 1934).

    A bootstrap of 0 hits would claim certainty; the exact interval does not.
    """
    if count == 0:
        return nothing()
    return estimated(hits / count, exact_interval(hits, count), count)


def exact_interval(hits: float, count: float) -> tuple[float, float]:
    """Clopper and Pearson's interval; halves of hits and effective counts need not be whole."""
    low = float(betaincinv(hits, count - hits + 1, TAIL)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - TAIL)) if hits < count else 1.0
    return low, high


def share_of(
    hits: Sequence[float] | Floats, *, clusters: Sequence[int] | Integers | None = None
) -> Estimate:
    """Mean of hits [N] between 0 and 1 (a tie may be a half), with a binomial interval.

    With clusters [N] it is the exact interval of the effective number of items, which is
    smaller by the design effect and by the few degrees of freedom of the clusters; where the
    hits are all equal, of the number of clusters.

    Source: Korn and Graubard 1998, Confidence Intervals for Proportions With Small Expected
    Number of Positive Counts Estimated From Survey Data.
    """
    values = np.asarray(hits, dtype=np.float64)
    count = len(values)
    if count == 0:
        return nothing()
    value = float(values.mean())
    effective = effective_count(values, clusters)
    return estimated(value, exact_interval(value * effective, effective), count)


def effective_count(values: Floats, clusters: Sequence[int] | Integers | None) -> float:
    """How many independent hits [N] would say as much as these, which are alike in clusters [N]."""
    count = len(values)
    if clusters is None:
        return float(count)
    numbers, groups = numbered(clusters, count)
    if groups < 2:
        return 1.0
    value = float(values.mean())
    sums_G = sums_by(numbers, values - value, groups)
    variance = float((sums_G**2).sum()) * groups / (groups - 1) / count**2
    if variance == 0 or value in (0.0, 1.0):
        return float(groups)
    fewer = (student_quantile(count) / student_quantile(groups)) ** 2
    return float(min(count, value * (1 - value) / variance * fewer))
