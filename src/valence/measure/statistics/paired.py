"""Two models on the same prompts: the mean difference, and whether chance explains it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

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
from valence.measure.statistics.intervals import ratio_interval

EXACT = 12
"""With at most so many prompts all signs are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Mean of `one - other` with its interval, a p-value, and pairs that lack a value.

    `p` is that of the two-sided test that the differences are symmetric around 0; None
    without pairs.
    """

    estimate: Estimate
    p: float | None
    left_out: int


def paired_difference(
    one: Sequence[float | None],
    other: Sequence[float | None],
    *,
    clusters: Sequence[int] | Integers | None = None,
    resamples: int,
    seed: int,
) -> PairedDifference:
    """Difference of two models on the same items [N], in pairs.

    With several samples for each prompt, `clusters` [N] names the prompt: prompts are drawn
    whole. Pairs in which one has no value are left out and counted. The interval is
    bootstrap-t; `p` flips the sign of each prompt's differences at random (of all, for 12
    prompts or fewer), and is at least 1 / (resamples + 1). Raises ValueError for lists of
    different lengths.

    Source: Fisher 1935, The Design of Experiments, section 21 (randomisation test).
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} values and {len(other)} are no pairs")
    numbers, _ = numbered(clusters, len(one))
    both = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if None not in (a, b)]
    left_out = len(one) - len(both)
    if not both:
        return PairedDifference(estimate=nothing(), p=None, left_out=left_out)
    gaps = np.array([one[i] for i in both], np.float64) - np.array(
        [other[i] for i in both], np.float64
    )
    numbers, groups = numbered(numbers[both], len(both))
    sums_G = sums_by(numbers, gaps, groups)
    sizes_G = sums_by(numbers, np.ones(len(gaps)), groups)
    interval = ratio_interval(sums_G, sizes_G, resamples=resamples, seed=seed)
    return PairedDifference(
        estimate=estimated(float(gaps.mean()), interval, len(gaps)),
        p=sign_flip(sums_G, resamples=resamples, seed=seed),
        left_out=left_out,
    )


def sign_flip(sums_G: Floats, *, resamples: int, seed: int) -> float:
    """Two-sided p-value of sums of differences [G] under random signs."""
    groups = len(sums_G)
    # A sum in another order may differ in its last bits.
    seen = abs(float(sums_G.sum())) - 1e-12 * float(np.abs(sums_G).sum())
    if groups <= EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=groups)))
        return float(np.mean(np.abs(signs @ sums_G) >= seen))
    rng = np.random.default_rng(seed)
    as_far = 0
    for first in range(0, resamples, 256):
        some = min(256, resamples - first)
        signs = rng.integers(0, 2, (some, groups)) * 2.0 - 1.0
        as_far += int(np.count_nonzero(np.abs(signs @ sums_G) >= seen))
    return (as_far + 1) / (resamples + 1)
