"""What a model answered, kept: to read, to compare other models with, and to train on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from valence.errors import CorpusError
from valence.measure.knowing.answering import Answered, graded
from valence.measure.knowing.questions import Question
from valence.recipe.knowing import KnowingRecipe
from valence.store import writing

QUESTIONS, ANSWERS = "questions.jsonl", "answers.jsonl"


def write_records(
    path: Path, answered: Sequence[Answered], confidences: Mapping[str, Sequence[float]]
) -> None:
    """Every question with its answers, grades and confidences, a line each."""
    _write(
        path,
        (
            {
                "question": each.question.text,
                "prompt": each.question.prompt,
                "answers": list(each.question.answers),
                "times": each.question.times,
                "group": each.question.group,
                "said": each.said,
                "grade": each.grade,
                "samples": list(each.samples),
                "share_right": each.share_right,
                "confidences": {name: float(values[n]) for name, values in confidences.items()},
            }
            for n, each in enumerate(answered)
        ),
    )


def read_records(path: Path, abstentions: Sequence[str]) -> list[Answered]:
    """What `write_records` wrote, graded anew; raises `CorpusError` for anything else."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [
            graded(
                Question(
                    text=row["question"],
                    prompt=row["prompt"],
                    answers=tuple(row["answers"]),
                    times=row["times"],
                    group=row["group"],
                ),
                row["said"],
                row["samples"],
                abstentions,
            )
            for row in rows
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(
            f"is no record of answers ({type(error).__name__}: {error})",
            where=str(path),
            fix=f"Give a {QUESTIONS} that `measure.knowing` wrote.",
        ) from None


def write_lessons(path: Path, answered: Sequence[Answered], recipe: KnowingRecipe) -> None:
    """Documents to train on: each question with the model's own samples, and with abstaining.

    `text` is question and answer; `prompt` and `answers` are what the scorer `answers` reads.
    """
    _write(path, _lessons(answered, recipe))


def _lessons(answered: Sequence[Answered], recipe: KnowingRecipe) -> Iterable[dict[str, Any]]:
    for number, each in enumerate(answered):
        taught = [recipe.abstentions[0]] * recipe.taught_abstentions
        # A sample that says nothing is no answer to learn from.
        said = [sample for sample in each.samples if sample]
        for place, text in enumerate([*said, *taught]):
            yield {
                "id": f"{recipe.name}/{number}/{place}",
                "text": f"{each.question.prompt} {text}\n",
                "prompt": each.question.prompt,
                "answers": list(each.question.answers),
                "said": text,
                "group": each.question.group,
                "times": each.question.times,
            }


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with writing(path) as beside:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        beside.write_text("".join(lines), encoding="utf-8", newline="")
