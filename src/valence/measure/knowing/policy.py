"""Abstaining by a confidence: to answer where it is above a threshold, and else to say so.

The threshold that scores best under the rule of `score.answers` is found on one half of the
people and used on the other, and the other way round.

Legend: Q questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from valence.measure.knowing.answering import Answered
from valence.measure.knowing.halves import MOST_RESAMPLES, Flags, Floats, above_cuts, half_of
from valence.measure.statistics import Estimate, clustered
from valence.recipe.knowing import Confidence
from valence.score.answers import reward


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
        name: policy_score(confidence, worth, clusters, resamples=resamples, seed=seed)
        for name, confidence in said.items()
    }


def policy_score(
    confidence: Floats,
    worth: Floats,
    clusters: npt.NDArray[np.int64],
    *,
    resamples: int,
    seed: int,
) -> Estimate:
    """Mean of what is answered [Q] by the thresholds of the other half, and 0 for the rest.

    A bootstrap over clusters that finds the thresholds anew, each cluster in its half: the
    interval is of the score that such thresholds are expected to have. In simulation
    (`test_knowing_policy`) it covers 93 to 95% where the confidence tells something and 89%
    where it tells nothing; one that takes the thresholds as given covers 88 to 93 and 60%.
    """
    half = half_of(clusters, seed)

    def score(places: npt.NDArray[np.int64]) -> float:
        some = confidence[places], worth[places], half[places]
        return float(np.where(answered_by(*some), worth[places], 0.0).mean())

    return clustered(score, clusters, resamples=min(resamples, MOST_RESAMPLES), seed=seed)


def answered_by(confidence: Floats, worth: Floats, half: Flags) -> Flags:
    """Which questions [Q] are answered, by the threshold of the other half."""
    return above_cuts(
        confidence, half, lambda others: best_threshold(confidence[others], worth[others])
    )


def best_threshold(confidence: Floats, worth: Floats) -> float:
    """The threshold from which answering pays most; infinite if it never pays.

    Of several the highest, which answers least.
    """
    known = np.isfinite(confidence)
    order = np.argsort(-confidence[known], kind="stable")
    levels, gains = confidence[known][order], np.cumsum(worth[known][order])
    if not len(levels):
        return float("inf")
    # Equal confidences are answered together, so only the last of them is a place to stop.
    ends = np.flatnonzero(np.append(np.diff(levels) != 0, True))
    best = ends[np.argmax(gains[ends])]
    return float(levels[best]) if gains[best] > 0 else float("inf")
