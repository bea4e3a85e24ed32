"""Several trainings of one model: what other samples would change, and another training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valence.measure.statistics.estimate import (
    UNKNOWN,
    Estimate,
    Floats,
    estimated,
    nothing,
)
from valence.measure.statistics.intervals import skewed_interval
from valence.report.seeds import mean_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoLevels:
    """One mean over seeds with both its intervals.

    `samples`: what other samples of the same trained models would change. `seeds`: what other
    trainings would change, samples included. `samples.count` is that of samples,
    `seeds.count` that of seeds.
    """

    samples: Estimate
    seeds: Estimate


def over_seeds(values: Sequence[float | None]) -> Estimate:
    """Mean over training seeds, one value each, by Student's t with n - 1 degrees of freedom.

    Seeds without a value are left out; with one seed there is no interval. The interval holds
    the variance between samples too, since every value was measured on its own samples. An
    interval of two seeds is wide (12.7 standard errors) because two seeds say little.
    """
    found = [value for value in values if value is not None]
    if not found:
        return nothing()
    interval = mean_interval(found) if len(found) > 1 else UNKNOWN
    return estimated(sum(found) / len(found), interval, len(found))


def two_levels(
    values: Sequence[Sequence[float] | Floats],
    weights: Sequence[Sequence[float] | Floats] | None = None,
) -> TwoLevels:
    """Mean over seeds of each seed's mean of samples, with intervals of both levels.

    `values` has the samples [N] of each seed, `weights` their weights (a seed's mean is then
    weighted, and a ratio of sums where values are counts over their weights). Over samples:
    the skewness-corrected interval, seeds as strata. Over seeds: Student's t over their means,
    never narrower than that over samples. A bootstrap of seeds and then of samples in them is
    not used: of 3 seeds it covers far too little, as resamples of 3 hold about 2
    (`tests/measure/test_coverage.py`). Seeds without samples are left out.
    """
    means, parts = [], []
    for index, samples in enumerate(values):
        each = np.asarray(samples, dtype=np.float64)
        weight = np.ones(len(each)) if weights is None else np.asarray(weights[index], np.float64)
        if len(each) == 0 or weight.sum() == 0:
            continue
        means.append(float((each * weight).sum() / weight.sum()))
        parts.append((each - means[-1]) * weight / weight.sum())
    if not means:
        return TwoLevels(samples=nothing(), seeds=nothing())
    influence = np.concatenate(parts)
    influence *= len(influence) / len(means)
    value = sum(means) / len(means)
    within = estimated(value, skewed_interval(value, influence), len(influence))
    return TwoLevels(samples=within, seeds=_widened(over_seeds(means), within))


def _widened(seeds: Estimate, samples: Estimate) -> Estimate:
    """The interval over seeds, made to hold that over samples; none of one seed."""
    if seeds.low is None or seeds.high is None or samples.low is None or samples.high is None:
        return seeds
    return Estimate(
        value=seeds.value,
        low=min(seeds.low, samples.low),
        high=max(seeds.high, samples.high),
        count=seeds.count,
    )
