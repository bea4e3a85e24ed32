"""Does it say "I don't know" exactly when it does not know?

What can be known is what a reference model knew: the one that was taught the facts, which
answers always. Without one it is the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from valence.errors import CorpusError, MissingFileError
from valence.measure.knowing.answering import Answered
from valence.measure.knowing.records import read_records
from valence.measure.statistics import Estimate, mean, share_of
from valence.recipe.knowing import KnowingRecipe
from valence.score.answers import reward


def reference_of(recipe: KnowingRecipe, measured: Sequence[Answered]) -> list[Answered]:
    """For each question what the reference model answered, or else what this one did.

    Raises `MissingFileError` and `CorpusError` where the file is not there, is no record of
    answers, or lacks a question.
    """
    if recipe.reference is None:
        return list(measured)
    path = Path(recipe.reference)
    if not path.is_file():
        raise MissingFileError(
            "no such file",
            where=str(path),
            fix="Set measure.knowing.reference to the questions.jsonl of another measure.",
        )
    known: Mapping[str, Answered] = {
        each.question.prompt: each for each in read_records(path, recipe.abstentions)
    }
    missing = [each.question.text for each in measured if each.question.prompt not in known]
    if missing:
        raise CorpusError(
            f"lacks {len(missing)} of {len(measured)} questions, for instance {missing[0]!r}",
            where=str(path),
            fix="Measure both with the same questions (world, fit, questions, shots).",
        )
    return [known[each.question.prompt] for each in measured]


def abstentions(
    measured: Sequence[Answered],
    reference: Sequence[Answered],
    clusters: npt.NDArray[np.int64],
    recipe: KnowingRecipe,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """Shares of abstentions and mean scores, intervals over clusters [Q].

    A question is known if the share of the reference's samples that are right is above the
    target, so that to answer it with one of them pays; one without an answer never is. `score`
    is the mean reward of `score.answers`; `score_always` that of the reference's likeliest
    answers, and `score_oracle` of them where they are right, abstaining where they are not: the
    most that can be had of these answers. To abstain always scores 0. Where some questions have
    no answer, abstentions on those and on others are told apart.
    """
    said = np.array([each.grade == "abstained" for each in measured], dtype=np.float64)
    known = np.array([each.share_right > recipe.target for each in reference])
    worth, always = (
        np.array([reward(each.grade, recipe.target) for each in some], dtype=np.float64)
        for some in (measured, reference)
    )

    def average(values: npt.NDArray[np.float64]) -> Estimate:
        return mean(values, clusters=clusters, resamples=resamples, seed=seed)

    found = {
        "abstention": share_of(said, clusters=clusters),
        "abstention_known": share_of(said[known], clusters=clusters[known]),
        "abstention_unknown": share_of(said[~known], clusters=clusters[~known]),
        "score": average(worth),
    }
    answerable = np.array([bool(each.question.answers) for each in measured])
    if not answerable.all():
        found["abstention_answerable"] = share_of(said[answerable], clusters=clusters[answerable])
        found["abstention_unanswerable"] = share_of(
            said[~answerable], clusters=clusters[~answerable]
        )
    if recipe.reference is not None:
        found["score_always"] = average(always)
        right = [float(each.right) for each in reference]
        found["score_oracle"] = share_of(right, clusters=clusters)
    return found
