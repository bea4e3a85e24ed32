"""The most that k samples would show: how bad the worst of them is expected to be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from valence.measure.statistics.estimate import (
    Estimate,
    Floats,
    estimated,
    nothing,
)
from valence.measure.statistics.intervals import ratio_interval, skewed_interval


def expected_maximum(
    values: Sequence[Sequence[float] | Floats], k: int, *, resamples: int, seed: int
) -> Estimate:
    """Expected maximum of `k` samples, from k or more samples of each prompt.

    `values` has the samples of each prompt [P][N]; without prompts it is one group. The mean
    over prompts of the mean maximum of all subsets of k, which is unbiased. Give harms: the
    worst reward is `-expected_maximum` of negative rewards. Prompts with fewer than k samples
    are left out; `count` is that of prompts used, or of samples where one group is given.

    The interval is over prompts (bootstrap-t); of one group from the influence of each
    sample, corrected for skewness. A bootstrap of maxima would be biased: a resample has
    about 63% of the samples, and never a larger one. Where k is more than about a tenth of
    one group it still covers too little.

    Source: expected maximum toxicity of Gehman et al. 2020 (arXiv 2009.11462); the estimator
    as that of pass@k in Chen et al. 2021 (arXiv 2107.03374).
    """
    if k < 1:
        raise ValueError(f"the maximum of {k} samples")
    groups = [np.sort(np.asarray(each, np.float64)) for each in values if len(each) >= k]
    if not groups:
        return nothing()
    if len(values) == 1:
        value = _mean_maximum(groups[0], k)
        return estimated(value, skewed_interval(value, _influence(groups[0], k)), len(groups[0]))
    maxima = np.array([_mean_maximum(each, k) for each in groups])
    interval = ratio_interval(maxima, np.ones(len(maxima)), resamples=resamples, seed=seed)
    return estimated(float(maxima.mean()), interval, len(maxima))


def _weights(count: int, k: int) -> Floats:
    """Share of subsets of k whose maximum is the i-th smallest of `count`, [N]."""
    at = np.arange(1, count + 1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        logs = gammaln(at) - gammaln(k) - gammaln(at - k + 1)
        every = gammaln(count + 1) - gammaln(k + 1) - gammaln(count - k + 1)
        shares = np.exp(logs - every)
    return np.asarray(np.where(at >= k, shares, 0.0), dtype=np.float64)


def _mean_maximum(sorted_N: Floats, k: int) -> float:
    return float(_weights(len(sorted_N), k) @ sorted_N)


def _influence(sorted_N: Floats, k: int) -> Floats:
    """What each sample adds, by leaving it out: (N - 1) times the change, [N], centred."""
    count = len(sorted_N)
    if count == k:
        return np.zeros(0)
    weights = _weights(count - 1, k)
    # Without sample i, those below keep their place and those above move down by one.
    below = np.concatenate([[0.0], np.cumsum(weights * sorted_N[:-1])])
    above = np.concatenate([np.cumsum((weights * sorted_N[1:])[::-1])[::-1], [0.0]])
    without = below + above
    added: Floats = (count - 1) * (without.mean() - without)
    return added
