"""Questions: halves without a person in common, times as they were taught, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knowing_models import WORLD

from valence.corpus.readers import is_held_out
from valence.corpus.world import documents
from valence.errors import CorpusError, MissingFileError, RecipeError
from valence.measure.knowing import Question, read_questions
from valence.recipe import build_part
from valence.recipe.knowing import KnowingRecipe
from valence.recipe.world import WorldRecipe

SELFAWARE = Path(__file__).parents[4] / "shared" / "data" / "selfaware" / "SelfAware.json"


def of_file(path: Path, **options: Any) -> list[Question]:
    halves = read_questions(KnowingRecipe(path=str(path), **{"fit": 0.0, **options}))
    return [*halves.fitted, *halves.measured]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0, 0.9), st.sampled_from([None, 5, 50]), st.integers(0, 3))
def test_halves_share_no_person_and_shots_are_none_of_them(
    seed: int, fit: float, count: int | None, shots: int
) -> None:
    recipe = KnowingRecipe(
        world=WorldRecipe(people=30, seed=seed), fit=fit, questions=count, shots=shots
    )
    try:
        halves = read_questions(recipe)
    except (RecipeError, CorpusError):  # Too few for so many shots, or none to measure.
        return
    assert not {each.group for each in halves.fitted} & {each.group for each in halves.measured}
    assert count is None or max(len(halves.fitted), len(halves.measured)) <= count
    for each in (*halves.fitted, *halves.measured):
        assert each.prompt.endswith(f"Q: {each.text}\nA:")
        assert each.prompt.count("Q: ") == shots + 1
        assert each.prompt.count(each.text) == 1


def test_times_are_those_of_training() -> None:
    """By counting texts, which is not how they are made."""
    recipe = KnowingRecipe(world=WORLD, held_out=0.3, held_out_seed=5)
    halves = read_questions(recipe)
    taught = [
        document.text
        for document in documents(WORLD)
        if not is_held_out(document.id, share=0.3, seed=5)
    ]
    values = {each.answers[0] for each in (*halves.fitted, *halves.measured)}
    seen = 0
    for each in (*halves.fitted, *halves.measured):
        # No two relations share a value, and nobody has two facts of one.
        assert len(values & set(each.answers)) == 1
        told = sum(each.group in text and each.answers[0] in text for text in taught)
        assert each.times == told
        seen += told
    assert 0 < seen == len(taught) < len(list(documents(WORLD)))


def test_files_of_questions(tmp_path: Path) -> None:
    lines = [
        {"question": "Who?", "answers": ["A", "B"]},
        {"question": "What?", "answer": "C", "group": "x"},
        {"question": "Why?", "answerable": False},
    ]
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    found = {each.text: each for each in of_file(path)}
    assert found["Who?"].answers == ("A", "B") and found["Who?"].times is None
    assert found["What?"].answers == ("C",) and found["What?"].group == "x"
    assert found["Why?"].answers == ()
    array = tmp_path / "some.json"
    array.write_text(json.dumps({"example": lines}))
    assert of_file(array) == of_file(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '{"question": 3}', '{"question": "Who?"}', '{"question": "W", "answers": 3}'],
)
def test_what_is_no_file_of_questions_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text(text)
    with pytest.raises(CorpusError):
        of_file(path)


def test_a_missing_file_and_too_many_shots_are_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        of_file(tmp_path / "none.jsonl")
    with pytest.raises(RecipeError, match="shots"):
        read_questions(KnowingRecipe(world=WORLD, shots=1000))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"world": {}, "path": "x"},
        {"world": {}, "samples": 3, "shown": 4},
        {"world": {}, "k": 1},
    ],
)
def test_recipes_that_contradict_themselves_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        build_part(KnowingRecipe, wrong, where="measure.knowing")


@pytest.mark.skipif(not SELFAWARE.is_file(), reason="needs ../shared/data/selfaware")
def test_selfaware_is_read_whole() -> None:
    found = of_file(SELFAWARE, shots=4, fit=0.5)
    # The published counts: 2,337 with an answer, 1,032 without; four are shots.
    assert len(found) == 2337 + 1032 - 4
    assert sum(not each.answers for each in found) in range(1028, 1033)
