"""Means, and ratios of sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from valence.measure.statistics.estimate import (
    Estimate,
    Floats,
    Integers,
    nothing,
    numbered,
    sums_by,
)
from valence.measure.statistics.intervals import ratio_interval


def ratio(
    numerators: Sequence[float] | Floats,
    denominators: Sequence[float] | Floats,
    *,
    clusters: Sequence[int] | Integers | None = None,
    resamples: int,
    seed: int,
) -> Estimate:
    """Ratio of sums over items [N], with a bootstrap-t interval over items or clusters [N].

    For instance violations per character over samples of different lengths. Items (or
    clusters) are drawn whole. None without items or with a denominator that sums to 0. Of
    items that are all equal there is no interval: for hits of 0 or 1 that is what `share` is
    for. An interval of numbers that are all 0 or more (or less) does not pass 0.

    In simulation it covers 93 to 97% for 64 items or more, also where 90% are 0. It covers
    about 91% of 20 items with a long tail (lognormal) and 80% of 20 of which 2 are not 0.
    """
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, np.float64)
    count = len(top)
    if count == 0 or bottom.sum() == 0:
        return nothing(count)
    numbers, groups = numbered(clusters, count)
    top_G = sums_by(numbers, top, groups)
    bottom_G = sums_by(numbers, bottom, groups)
    value = float(top.sum() / bottom.sum())
    low, high = ratio_interval(top_G, bottom_G, resamples=resamples, seed=seed)
    if low is not None and (top >= 0).all():
        low = max(low, 0.0)
    if high is not None and (top <= 0).all():
        high = min(high, 0.0)
    return Estimate(value=value, low=low, high=high, count=count)


def mean(
    values: Sequence[float] | Floats,
    *,
    clusters: Sequence[int] | Integers | None = None,
    resamples: int,
    seed: int,
) -> Estimate:
    """Mean over items [N] with a bootstrap-t interval over items or clusters [N], as `ratio`."""
    return ratio(values, np.ones(len(values)), clusters=clusters, resamples=resamples, seed=seed)
