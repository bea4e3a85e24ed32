"""Any statistic of items, with a bootstrap interval over clusters of them.

Legend: N items, G clusters, R resamples, K statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from valence.measure.statistics.estimate import (
    UNKNOWN,
    Estimate,
    Floats,
    Integers,
    Interval,
    estimated,
    nothing,
    numbered,
)
from valence.measure.statistics.intervals import draws, student_quantile
from valence.measure.statistics.shares import exact_interval

MOST_LEFT_OUT = 100
"""Parts of the clusters that are left out in turn, to see how skewed the statistic is."""

Statistic = Callable[[Integers], float | None]
Drawn = Callable[[Integers], Sequence[float | None]]
"""How often each item was drawn [N] to statistics of these [K], None for what has no value."""


def clustered(statistic: Statistic, clusters: Integers, *, resamples: int, seed: int) -> Estimate:
    """Any statistic of items with a BCa bootstrap interval over clusters of them.

    `clusters` [N] names each item's cluster, for instance its document; `statistic` takes
    the numbers of items, some of them several times. Resamples in which it is None are left
    out. `count` is that of the items. There is no interval where the statistic is the same
    in all resamples, or in so many that both ends would be one number. A mean or a ratio has a
    better interval in `ratio`: this one covers about 92% for a correlation of 40 clusters.

    Source: Efron 1987, Better Bootstrap Confidence Intervals (JASA 82), the quantiles widened
    for few clusters as in Hesterberg 2015 (arXiv 1411.5279, section 3.5).
    """
    count = len(clusters)
    value = statistic(np.arange(count)) if count else None
    if value is None:
        return nothing(count)
    names = np.unique(clusters)
    if len(names) < 2:
        return estimated(value, UNKNOWN, count)
    order = np.argsort(clusters, kind="stable")
    members = np.split(order, np.searchsorted(clusters[order], names[1:]))
    rng = np.random.default_rng(seed)
    seen = _values(
        statistic,
        members,
        (rng.integers(0, len(names), len(names)) for _ in range(resamples)),
    )
    parts = np.array_split(rng.permutation(len(names)), min(len(names), MOST_LEFT_OUT))
    everyone = np.arange(len(names))
    without = _values(statistic, members, (np.setdiff1d(everyone, part) for part in parts))
    return estimated(value, _bca(value, seen, without, len(names)), count)


def _values(statistic: Statistic, members: Sequence[Integers], drawn: Iterable[Integers]) -> Floats:
    """The statistic of each draw of clusters that has one."""
    found = [statistic(np.concatenate([members[index] for index in one])) for one in drawn]
    return np.array([value for value in found if value is not None], dtype=np.float64)


def _bca(value: float, seen: Floats, without: Floats, groups: int) -> Interval:
    if len(seen) == 0 or np.ptp(seen) == 0:
        return UNKNOWN
    gaps = without.mean() - without if len(without) else np.zeros(1)
    squares = float((gaps**2).sum())
    acceleration = float((gaps**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    below = (float(np.mean(seen < value)) + float(np.mean(seen <= value))) / 2
    bias = float(ndtri(np.clip(below, 0.5 / len(seen), 1 - 0.5 / len(seen))))
    reach = math.sqrt(groups / (groups - 1)) * student_quantile(groups)
    ends = []
    for point in (-reach, reach):
        moved = bias + point
        stretch = 1 - acceleration * moved
        ends.append(float(ndtr(bias + moved / stretch)) if stretch > 0 else float(point > 0))
    low, high = np.quantile(seen, ends)
    # Ends that meet, where nearly all resamples say the same, would claim certainty.
    return (float(low), float(high)) if low < high else UNKNOWN


def shares_together(
    statistics: Drawn, clusters: Integers, counts: Sequence[int], *, resamples: int, seed: int
) -> list[Estimate]:
    """Statistics between 0 and 1 of the same items, with intervals over clusters [N] of them.

    Whatever they stand on, such as a threshold, is to be found by `statistics` from what was
    drawn: then the intervals hold how uncertain that is. They are normal on the logit scale, by
    the standard deviation of resamples and Student's t; that of a statistic of 0 or 1 is the
    exact one of so many clusters. `counts` [K] are those of the estimates. There is no interval
    of one cluster, or where a statistic is the same in all resamples.

    Of recall at a threshold that other items give it covers 96 to 98% of 60 to 200 documents and
    more of fewer, of false alarms there 99%; BCa intervals cover 91 to 95% and 90 to 92%.
    """
    numbers, groups = numbered(clusters, len(clusters))
    values = statistics(np.ones(len(clusters), dtype=np.int64))
    if groups < 2:
        seen_RK = np.zeros((0, len(values)))
    else:
        drawn_RG = draws(groups, resamples, seed).astype(np.int64)
        found = [statistics(drawn_G[numbers]) for drawn_G in drawn_RG]
        seen_RK = np.array(found, dtype=np.float64)  # None becomes NaN.
    return [
        nothing(count)
        if value is None
        else estimated(value, _between(value, seen_R, groups), count)
        for value, seen_R, count in zip(values, seen_RK.T, counts, strict=True)
    ]


def _between(value: float, seen_R: Floats, groups: int) -> Interval:
    """Interval of a statistic between 0 and 1 from what it is in resamples, NaN for nothing."""
    if groups < 2:
        return UNKNOWN
    if value in (0.0, 1.0):
        return exact_interval(value * groups, groups)
    known = seen_R[~np.isnan(seen_R)]
    error = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    if error <= 0:
        return UNKNOWN
    away = student_quantile(groups) * error / (value * (1 - value))
    return float(expit(logit(value) - away)), float(expit(logit(value) + away))
