"""What a model knows, whether it knows that, and whether it says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from valence.control import ControlScheme
from valence.data import Findings, Items
from valence.measure.ability import evidence_of
from valence.measure.knowing.abstention import abstentions, reference_of
from valence.measure.knowing.answering import Answered, answer
from valence.measure.knowing.confidence import HEADS, Asked, confidences
from valence.measure.knowing.findings import Subject, accuracies, calibration
from valence.measure.knowing.lessons import ANSWERS, write_lessons
from valence.measure.knowing.policy import policy_scores
from valence.measure.knowing.questions import read_questions
from valence.measure.knowing.reading import opening
from valence.measure.knowing.records import QUESTIONS, write_records
from valence.model import Checkpoint
from valence.precision import Precision
from valence.recipe.knowing import KnowingRecipe
from valence.score.answers import reward

Progress = Callable[[int, int], None]


def know(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    recipe: KnowingRecipe,
    *,
    taught: bool,
    model_name: str,
    seed: int,
    resamples: int,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
    work: Path,
) -> Findings:
    """Accuracy, confidences and abstentions of a model in a mode, on the measured questions.

    `known` names the control tokens in the vocabulary, if there are any; `taught`: whether it
    was taught the verdict. Metrics end in `@` and the name of the questions. Intervals are over
    people (or groups of questions). Writes into `work`: questions.jsonl, what was answered, and
    if the recipe says so answers.jsonl, what an honest model can be taught with. Raises what
    `read_questions`, `reference_of` and `generate` raise.
    """
    parts = read_questions(recipe)
    fits = any(name in HEADS for name in recipe.confidences)
    asked = [
        *parts.measured,
        *(parts.fitted if fits else ()),
        *(parts.taught if recipe.teach else ()),
    ]
    answered = answer(
        checkpoint,
        known,
        mode,
        asked,
        recipe,
        seed=seed,
        precision=precision,
        on_progress=on_progress,
    )
    ends = len(parts.measured), len(parts.measured) + (len(parts.fitted) if fits else 0)
    measured, fitted = answered[: ends[0]], answered[ends[0] : ends[1]]
    reference = reference_of(recipe, measured)
    model = Asked(
        checkpoint=checkpoint,
        known=known,
        taught=taught,
        before=opening(checkpoint, known, mode),
        precision=precision,
    )
    said = confidences(model, measured, fitted, recipe, seed=seed)
    write_records(work / QUESTIONS, measured, {name: list(each) for name, each in said.items()})
    if recipe.teach:
        write_lessons(work / ANSWERS, answered[ends[1] :], recipe)
    _, clusters = np.unique([each.question.group for each in measured], return_inverse=True)
    subject = Subject(
        model=model_name, mode=mode, seed=seed, resamples=resamples, clusters=clusters
    )
    scores = abstentions(measured, reference, clusters, recipe, resamples=resamples, seed=seed)
    policies = policy_scores(
        measured, said, clusters, target=recipe.target, resamples=resamples, seed=seed
    )
    scores |= {f"{name}_policy_score": each for name, each in policies.items()}
    rows = tuple(subject.row(f"{name}@{recipe.name}", each) for name, each in scores.items())
    evidence = evidence_of(_items(measured, recipe), model_name, mode, seed)
    return (
        accuracies(subject, measured, recipe)
        + Findings(rows=rows, evidence=evidence)
        + calibration(
            subject, recipe, said, measured, None if recipe.reference is None else reference
        )
    )


def _items(measured: Sequence[Answered], recipe: KnowingRecipe) -> Iterator[Items]:
    """What the rows of score, abstention and accuracy stand on, question by question."""
    names = [each.question.prompt for each in measured]
    tops = {
        "score": [reward(each.grade, recipe.target) for each in measured],
        "abstention": [float(each.grade == "abstained") for each in measured],
        "accuracy": [float(each.right) for each in measured],
    }
    for metric, values in tops.items():
        # Of a question without an answer none is right or wrong.
        some = [n for n, e in enumerate(measured) if metric != "accuracy" or e.question.answers]
        yield Items(
            metric=f"{metric}@{recipe.name}",
            names=tuple(names[n] for n in some),
            tops=tuple(values[n] for n in some),
            bottoms=(1.0,) * len(some),
            clusters=tuple(measured[n].question.group for n in some),
            failures=len(measured) - len(some),
        )
