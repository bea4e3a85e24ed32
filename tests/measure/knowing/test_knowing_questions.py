"""Questions: parts without a person in common, times as they were taught, files."""

from __future__ import annotations

import itertools
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
    parts = read_questions(KnowingRecipe(path=str(path), **{"fit": 0.0, **options}))
    return [*parts.taught, *parts.fitted, *parts.measured]


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 99),
    st.floats(0, 0.6),
    st.floats(0, 0.3),
    st.sampled_from([None, 5, 50]),
    st.integers(0, 3),
)
def test_parts_share_no_person_and_shots_are_none_of_them(
    seed: int, fit: float, taught: float, count: int | None, shots: int
) -> None:
    recipe = KnowingRecipe(
        world=WorldRecipe(people=30, seed=seed),
        fit=fit,
        taught=taught,
        questions=count,
        shots=shots,
    )
    try:
        parts = read_questions(recipe)
    except (RecipeError, CorpusError):  # Too few for so many shots, or none to measure.
        return
    every = [parts.taught, parts.fitted, parts.measured]
    for one, other in itertools.combinations(every, 2):
        assert not {each.group for each in one} & {each.group for each in other}
    assert count is None or max(map(len, every)) <= count
    for each in itertools.chain(*every):
        assert each.prompt.endswith(f"Q: {each.text}\nA:")
        assert each.prompt.count("Q: ") == shots + 1
        assert each.prompt.count(each.text) == 1


@pytest.mark.parametrize("seed", [0, 7])
def test_parts_say_nothing_of_what_training_holds_out(seed: int) -> None:
    """Training holds people out by a hash of the same names, also with the parts' own seed."""
    world = WorldRecipe(people=1000)
    parts = read_questions(KnowingRecipe(world=world, taught=0.4, fit=0.2))
    for part, share in ((parts.taught, 0.4), (parts.fitted, 0.2), (parts.measured, 0.4)):
        people = {each.group for each in part}
        assert len(people) / 1000 == pytest.approx(share, abs=0.05)
        held = sum(is_held_out(person, share=0.2, seed=seed) for person in people)
        assert held / len(people) == pytest.approx(0.2, abs=0.08)


def test_times_are_those_of_training() -> None:
    """By counting texts, which is not how they are made."""
    recipe = KnowingRecipe(world=WORLD, held_out=0.3, held_out_seed=5, taught=0.2)
    parts = read_questions(recipe)
    every = [*parts.taught, *parts.fitted, *parts.measured]
    taught = [
        document.text
        for document in documents(WORLD)
        if not is_held_out(document.id, share=0.3, seed=5)
    ]
    values = {each.answers[0] for each in every}
    seen = 0
    for each in every:
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
        {"world": {}, "teach": True},
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
