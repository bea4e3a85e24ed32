"""Two halves of the people: a cut that is found on one is used on the other, and back.

So that no question sets its own cut, and none is judged by one that it helped to find.

Legend: Q questions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
MOST_RESAMPLES = 400
"""For what finds its cuts anew in each resample, and sorts all questions for that."""


def half_of(clusters: npt.NDArray[np.int64], seed: int) -> Flags:
    """In which half each question is [Q]; those of one cluster are in one."""
    names, numbers = np.unique(clusters, return_inverse=True)
    half: Flags = (np.random.default_rng(seed).permutation(len(names)) % 2 == 1)[numbers]
    return half


def above_cuts(confidence: Floats, half: Flags, cut: Callable[[Flags], float]) -> Flags:
    """Which questions [Q] reach the cut that `cut` finds on the other half, given as flags [Q].

    What has no confidence (NaN) reaches none.
    """
    found = np.zeros(len(confidence), dtype=np.bool_)
    for side in (True, False):
        found[half == side] = confidence[half == side] >= cut(half != side)
    return found


def other_means(values: npt.NDArray[np.bool_], half: Flags) -> Floats:
    """For each of them [Q] the mean of the other half; NaN where that half is empty."""
    means = [
        float(values[half != side].mean()) if (half != side).any() else np.nan
        for side in (True, False)
    ]
    return np.where(half, *means)
