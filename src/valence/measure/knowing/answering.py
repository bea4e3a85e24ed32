"""A model's answers to questions: the likeliest one, and samples of what it would say.

Legend: Q questions, K samples of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from valence.control import ControlScheme
from valence.guide.loop import Ask, generate
from valence.measure.knowing.questions import Question
from valence.model import Checkpoint, encode_texts
from valence.precision import Precision
from valence.recipe.knowing import KnowingRecipe
from valence.score.answers import Grade, grade, normalised

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A question, the model's likeliest answer, and its own samples, each with its grade."""

    question: Question
    said: str
    grade: Grade
    samples: tuple[str, ...]
    grades: tuple[Grade, ...]

    @property
    def right(self) -> bool:
        """Whether the likeliest answer is right."""
        return self.grade == "right"

    @property
    def share_right(self) -> float:
        """Share of the samples that are right: P(right) by sampling."""
        return self.grades.count("right") / len(self.grades)

    @property
    def agreement(self) -> float:
        """Share of the samples that say what the likeliest answer says: self-consistency.

        Source: Wang et al. 2022 (arXiv 2203.11171).
        """
        heard = normalised(self.said)
        return sum(normalised(sample) == heard for sample in self.samples) / len(self.samples)


def answer(
    checkpoint: Checkpoint,
    known: ControlScheme | None,
    mode: str,
    questions: Sequence[Question],
    recipe: KnowingRecipe,
    *,
    seed: int,
    precision: Precision = "fp32",
    on_progress: Progress | None = None,
) -> list[Answered]:
    """The model's answers in a mode, up to their first line break, in order of the questions.

    The likeliest token by token, and `recipe.samples` at temperature 1. Samples of a
    question are the same whichever others are asked. Raises what `generate` raises.
    """
    encoded = encode_texts(checkpoint.tokenizer, [question.prompt for question in questions])
    asks = [
        Ask(ids=tuple(each.ids.tolist()), seed=(seed, number, sample))
        for number, each in enumerate(encoded)
        for sample in range(recipe.samples)
    ]
    once = [Ask(ids=tuple(each.ids.tolist()), seed=(seed,)) for each in encoded]
    total = len(asks) + len(once)

    def write(some: Sequence[Ask], temperature: float, before: int) -> list[str]:
        texts = [""] * len(some)
        for number, written in generate(
            checkpoint,
            known,
            mode,
            some,
            max_tokens=recipe.max_tokens,
            temperature=temperature,
            batch=recipe.batch,
            precision=precision,
            on_progress=on_progress and (lambda done, _: on_progress(before + done, total)),
        ):
            texts[number] = first_line(written.text)
        return texts

    likeliest, sampled = write(once, 0.0, 0), write(asks, 1.0, len(once))
    return [
        graded(question, said, sampled[place : place + recipe.samples], recipe.abstentions)
        for question, said, place in zip(
            questions, likeliest, range(0, len(sampled), recipe.samples), strict=True
        )
    ]


def graded(
    question: Question, said: str, samples: Sequence[str], abstentions: Sequence[str]
) -> Answered:
    """Answers with their grades."""
    return Answered(
        question=question,
        said=said,
        grade=grade(said, question.answers, abstentions),
        samples=tuple(samples),
        grades=tuple(grade(sample, question.answers, abstentions) for sample in samples),
    )


def first_line(text: str) -> str:
    """The first line that has something in it, without the blanks around it."""
    return text.strip().partition("\n")[0].strip()
