"""Abstaining by a confidence: to answer where it is above a threshold, and else to say so.

The threshold that scores best under the rule of `score.answers` is found on one half of the
people and used on the other, and the other way round, so that no question sets its own.

Legend: Q questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from valence.measure.knowing.answering import Answered
from valence.measure.statistics import Estimate, mean
from valence.recipe.knowing import Confidence
from valence.score.answers import reward

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def policy_scores(
    measured: Sequence[Answered],
    said: Mapping[Confidence, Floats],
    clusters: npt.NDArray[np.int64],
    *,
    target: float,
    resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """Mean reward of answering or abstaining by each confidence [Q], intervals over clusters.

    The answer is the model's likeliest; abstaining is 0, as it is where the model abstains
    itself. A question without a confidence is abstained on.
    """
    worth = np.array([reward(each.grade, target) for each in measured], dtype=np.float64)
    return {
        name: mean(
            np.where(answered_by(confidence, worth, clusters, seed), worth, 0.0),
            clusters=clusters,
            resamples=resamples,
            seed=seed,
        )
        for name, confidence in said.items()
    }


def answered_by(
    confidence: Floats, worth: Floats, clusters: npt.NDArray[np.int64], seed: int
) -> Flags:
    """Which questions [Q] are answered, by the threshold of the other half of the clusters."""
    names, numbers = np.unique(clusters, return_inverse=True)
    half = (np.random.default_rng(seed).permutation(len(names)) % 2 == 1)[numbers]
    found = np.zeros(len(confidence), dtype=np.bool_)
    for side in (True, False):
        threshold = best_threshold(confidence[half != side], worth[half != side])
        found[half == side] = confidence[half == side] >= threshold
    return found


def best_threshold(confidence: Floats, worth: Floats) -> float:
    """The threshold from which answering pays most; infinite if it never pays.

    Of several the highest, which answers least.
    """
    known = np.isfinite(confidence)
    order = np.argsort(-confidence[known], kind="stable")
    levels, gains = confidence[known][order], np.cumsum(worth[known][order])
    # Equal confidences are answered together, so only the last of them is a place to stop.
    best, threshold = 0.0, float("inf")
    if not len(levels):
        return threshold
    for end in np.flatnonzero(np.append(np.diff(levels) != 0, True)):
        if gains[end] > best:
            best, threshold = float(gains[end]), float(levels[end])
    return threshold
