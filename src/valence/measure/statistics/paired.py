"""Two models on the same items: the difference, without what is hard for both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from valence.measure.statistics.estimate import (
    Estimate,
    Floats,
    Integers,
    estimated,
    nothing,
    numbered,
    sums_by,
)
from valence.measure.statistics.intervals import ratios_interval


def paired_ratios(
    tops: Sequence[float] | Floats,
    bottoms: Sequence[float] | Floats,
    other_tops: Sequence[float] | Floats,
    other_bottoms: Sequence[float] | Floats,
    *,
    clusters: Sequence[int] | Integers | None = None,
    resamples: int,
    seed: int,
) -> Estimate:
    """Difference of two ratios of sums over the same items [N], or the same clusters of items.

    For instance nats per token of two models on the same documents: what makes a document hard
    for both is no part of the difference. Items of one cluster need not be pairs: an item that one
    side lacks has a top and a bottom of 0 there. The interval is bootstrap-t over items or
    clusters, as that of `ratio`. None without items, or where one
    side's bottoms sum to 0.
    """
    sides = [
        (np.asarray(top, np.float64), np.asarray(bottom, np.float64))
        for top, bottom in ((tops, bottoms), (other_tops, other_bottoms))
    ]
    count = len(sides[0][0])
    if count == 0 or any(bottom.sum() == 0 for _, bottom in sides):
        return nothing(count)
    numbers, groups = numbered(clusters, count)
    by_group = [
        (sign, sums_by(numbers, top, groups), sums_by(numbers, bottom, groups))
        for sign, (top, bottom) in zip((1.0, -1.0), sides, strict=True)
    ]
    value = sum(sign * float(top.sum() / bottom.sum()) for sign, top, bottom in by_group)
    interval = ratios_interval(by_group, resamples=resamples, seed=seed)
    return estimated(value, interval, count)
