"""Questions to put to a model: of a generated world, or of a file, in three parts.

One is to be taught, with a model's own answers; one is for fitting read-outs; the rest is
measured. They share no person (or group), by a hash of its name that nothing else uses: what
training holds out of those who are taught says nothing of the parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valence.corpus import world
from valence.corpus.readers import is_held_out, rank
from valence.errors import CorpusError, MissingFileError, RecipeError
from valence.recipe.knowing import KnowingRecipe

SPLIT = 7
"""Seed of the parts, so that they are the same in every run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question as the model reads it.

    `prompt` ends where the answer begins. `answers` are aliases of the right one; none where
    there is no answer. `times` is in how many training documents the answer stood, None where
    nobody knows. `group` is what the parts keep together.
    """

    text: str
    prompt: str
    answers: tuple[str, ...]
    times: int | None
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The questions to teach with, those that read-outs are fitted on, and those measured."""

    taught: tuple[Question, ...]
    fitted: tuple[Question, ...]
    measured: tuple[Question, ...]


def read_questions(recipe: KnowingRecipe) -> Parts:
    """The questions of a recipe; with `shots`, answered ones of the fitted part before each.

    Raises `CorpusError` if there is nothing to measure, and what reading the file raises.
    """
    found = _of_world(recipe) if recipe.path is None else _of_file(Path(recipe.path))
    taught: list[Question] = []
    fitted: list[Question] = []
    measured: list[Question] = []
    for question in found:
        # A name of its own, so that no other hash of the group goes with this one.
        place = rank(f"knowing/{question.group}", SPLIT)
        fits = place < recipe.taught + recipe.fit
        (taught if place < recipe.taught else fitted if fits else measured).append(question)
    if not measured:
        raise CorpusError(
            f"none of {len(found)} questions is left to measure",
            where="measure.knowing",
            fix="Lower measure.knowing.fit or taught, or give more questions.",
        )
    examples = _some(fitted, recipe.shots)
    if len(examples) < recipe.shots:
        raise RecipeError(
            f"asks for {recipe.shots} shots, and the fitted part has {len(fitted)} questions",
            where="measure.knowing.shots",
            fix="Ask for fewer, or raise measure.knowing.fit.",
        )
    head = "".join(_shot(each, recipe.abstentions[0]) for each in examples)
    rest = [question for question in fitted if question not in examples]
    return Parts(
        taught=_asked(taught, head, recipe.questions),
        fitted=_asked(rest, head, recipe.questions),
        measured=_asked(measured, head, recipe.questions),
    )


def _of_world(recipe: KnowingRecipe) -> list[Question]:
    assert recipe.world is not None
    share, seed = recipe.held_out, recipe.held_out_seed
    return [
        Question(
            text=each.text,
            prompt=world.asking(each.text),
            answers=(each.answer,),
            times=sum(not is_held_out(name, share=share, seed=seed) for name in each.documents),
            group=each.person,
        )
        for each in world.questions(recipe.world)
    ]


def _of_file(path: Path) -> list[Question]:
    return [_in_row(row, f"{path}, question {n}") for n, row in enumerate(_rows(path), start=1)]


def _rows(path: Path) -> Sequence[Any]:
    """Objects of a .jsonl file, or of a .json file: a list, or SelfAware's `example`."""
    if not path.is_file():
        raise MissingFileError(
            "no such file", where=str(path), fix="Set measure.knowing.path to a file of questions."
        )
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"is not JSON ({error})", where=str(path), fix="Give one object with a question a line."
        ) from None
    rows = whole.get("example") if isinstance(whole, dict) else whole
    if not isinstance(rows, list):
        raise CorpusError(
            "holds no list of questions",
            where=str(path),
            fix="Give a list of objects, or an object with such a list under `example`.",
        )
    return rows


def _in_row(row: object, where: str) -> Question:
    text = row.get("question") if isinstance(row, Mapping) else None
    if not isinstance(row, Mapping) or not isinstance(text, str) or not text.strip():
        raise CorpusError("has no string `question`", where=where, fix="Mend or remove it.")
    given = row.get("answers", row.get("answer"))
    answers = [given] if isinstance(given, str) else given or []
    if not isinstance(answers, list) or not all(isinstance(each, str) for each in answers):
        raise CorpusError(
            "`answers` is neither a string nor a list of them", where=where, fix="Mend it."
        )
    answerable = row.get("answerable", True) is not False
    if answerable and not answers:
        raise CorpusError(
            "has no `answers`", where=where, fix="Add them, or `answerable: false` if it has none."
        )
    group = row.get("group", text)
    return Question(
        text=text,
        prompt=world.asking(text),
        answers=tuple(answers) if answerable else (),
        times=None,
        group=str(group),
    )


def _shot(question: Question, abstention: str) -> str:
    answer = question.answers[0] if question.answers else abstention
    return f"{question.prompt} {answer}\n"


def _asked(questions: Sequence[Question], head: str, count: int | None) -> tuple[Question, ...]:
    chosen = questions if count is None else _some(questions, count)
    return tuple(
        Question(
            text=each.text,
            prompt=head + each.prompt,
            answers=each.answers,
            times=each.times,
            group=each.group,
        )
        for each in chosen
    )


def _some(questions: Sequence[Question], count: int) -> list[Question]:
    """A random part, always the same, in the order of the whole."""
    order = sorted(range(len(questions)), key=lambda place: rank(questions[place].prompt, SPLIT))
    return [questions[place] for place in sorted(order[:count])]
