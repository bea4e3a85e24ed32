"""What a model answered, kept: to read, and to compare other models with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from valence.errors import CorpusError
from valence.measure.knowing.answering import Answered, graded
from valence.measure.knowing.questions import Question
from valence.store import writing

QUESTIONS = "questions.jsonl"


def write_records(
    path: Path, answered: Sequence[Answered], confidences: Mapping[str, Sequence[float]]
) -> None:
    """Every question with its answers, grades and confidences, a line each."""
    write_lines(
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


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Each row as JSON, a line each, all of them or none."""
    with writing(path) as beside:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        beside.write_text("".join(lines), encoding="utf-8", newline="")
