"""What confidences are held against: own answers, samples, or what a reference knew.

Legend: Q questions, N judgements: one a question, or one a sample of each question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from valence.measure.knowing.answering import Answered
from valence.recipe.knowing import Confidence

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Confidences [N] and whether what they are about was right, with clusters.

    `failures` counts questions that are left out: it abstained, so there is no answer to be
    sure of.
    """

    said: Floats
    right: npt.NDArray[np.bool_]
    clusters: npt.NDArray[np.int64]
    failures: int


def trials(
    name: Confidence,
    said: Floats,
    measured: Sequence[Answered],
    reference: Sequence[Answered] | None,
    clusters: npt.NDArray[np.int64],
) -> Trials:
    """What a confidence is held against.

    P(IK) against every sample: they are right with the probability that it should tell.
    `answering` against the reference's answers, where there is one: its own are abstentions
    where it is low. All else against the model's own answer, where it gives one.
    """
    if name.startswith("p_ik"):
        counts = [len(each.grades) for each in measured]
        right = [one == "right" for each in measured for one in each.grades]
        return Trials(
            said=np.repeat(said, counts),
            right=np.array(right, dtype=bool),
            clusters=np.repeat(clusters, counts),
            failures=0,
        )
    if name == "answering" and reference is not None:
        right = [each.right for each in reference]
        return Trials(said=said, right=np.array(right, bool), clusters=clusters, failures=0)
    return own_answers(said, measured, clusters)


def own_answers(
    said: Floats, measured: Sequence[Answered], clusters: npt.NDArray[np.int64]
) -> Trials:
    """A confidence against the model's own likeliest answer, where it is one."""
    answers = np.array([each.grade != "abstained" for each in measured])
    right = np.array([each.right for each in measured])
    return Trials(
        said=said[answers],
        right=right[answers],
        clusters=clusters[answers],
        failures=int((~answers).sum()),
    )
