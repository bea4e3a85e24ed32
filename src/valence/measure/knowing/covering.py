"""How much can be answered so that nearly all of it is right, by a cut of other people.

Legend: N answers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from valence.measure.knowing.halves import MOST_RESAMPLES, Flags, Floats, above_cuts, half_of
from valence.measure.statistics import Estimate, clustered, share_of
from valence.measure.statistics.estimate import nothing

ACCURACY = 0.95
"""What is promised."""


def covered(
    confidence: Floats,
    right: Flags,
    clusters: npt.NDArray[np.int64],
    *,
    resamples: int,
    seed: int,
) -> tuple[Estimate, Estimate]:
    """Share of answers [N] above the cut of the other half, and the share of those that is right.

    The cut is the lowest above which `ACCURACY` of one half are right. Found where it is used it
    would keep its promise by construction; on other people the second number says how far it is
    kept. None without answers, or where a confidence is missing (NaN).

    The interval of the first is a bootstrap over clusters that finds the cuts anew, each cluster
    in its half: of how much such cuts are expected to cover. In simulation
    (`test_knowing_covering`) it holds that 89 to 95 times of 100 where the confidence tells
    something, and 78 to 94 where it tells nothing and hardly ever covers; taking the cuts as given
    55 to 75. That of the second takes them as given (`share_of`): a bootstrap holds 83 to 90 times
    of 100, because what it is right in is nearly all, and this one 98 or more.
    """
    if len(confidence) == 0 or np.isnan(confidence).any():
        return nothing(), nothing()
    half = half_of(clusters, seed)

    def coverage(places: npt.NDArray[np.int64]) -> float:
        return float(covered_by(confidence[places], right[places], half[places]).mean())

    share = clustered(coverage, clusters, resamples=min(resamples, MOST_RESAMPLES), seed=seed)
    above = covered_by(confidence, right, half)
    return share, share_of(right[above].astype(np.float64), clusters=clusters[above])


def covered_by(confidence: Floats, right: Flags, half: Flags) -> Flags:
    """Which answers [N] are above the cut of the other half."""
    return above_cuts(
        confidence, half, lambda others: lowest_cut(confidence[others], right[others], ACCURACY)
    )


def lowest_cut(confidence: Floats, right: Flags, accuracy: float) -> float:
    """The lowest confidence [N] from which on so many answers are right; infinite if none is.

    Answers of one confidence are taken together.
    """
    if not len(confidence):
        return float("inf")
    order = np.argsort(-confidence, kind="stable")
    levels = confidence[order]
    accuracy_N = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    last_N = np.append(np.diff(levels) != 0, True)
    enough = np.flatnonzero(last_N & (accuracy_N >= accuracy - 1e-12))
    return float(levels[enough[-1]]) if len(enough) else float("inf")
