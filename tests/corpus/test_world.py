"""The generated world: what is told, how often, and that nothing tells the question asked."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.corpus.readers import plan_pieces, read_corpus, read_piece
from valence.corpus.world import asking, documents, facts, questions
from valence.data import Document
from valence.errors import RecipeError
from valence.recipe import CorpusRecipe, build_part
from valence.recipe.world import WorldRecipe

SMALL = WorldRecipe(people=40)

worlds = st.builds(
    WorldRecipe,
    people=st.integers(4, 60),
    strangers=st.floats(0, 0.9),
    untold=st.floats(0, 0.9),
    times=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 2**32 - 1),
)


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_a_fact_stands_in_as_many_documents_as_it_says(world: WorldRecipe) -> None:
    made = list(documents(world))
    assert len({each.id for each in made}) == len(made)
    told = {each.id: each.text for each in made}
    named = Counter(name for each in questions(world) for name in each.documents)
    assert named == Counter(told.keys())  # each document tells one fact, and each is told
    for fact, asked in zip(facts(world), questions(world), strict=True):
        assert len(asked.documents) == fact.times
        for name in asked.documents:
            assert fact.person in told[name] and fact.value in told[name]
            assert asked.text not in told[name]


@settings(max_examples=20, deadline=None)
@given(worlds)
def test_names_are_distinct_and_answers_of_a_closed_set(world: WorldRecipe) -> None:
    found = facts(world)
    assert len({fact.person for fact in found}) == world.people
    assert all(fact.value in fact.relation.values for fact in found)
    assert len({(fact.person, fact.relation.name) for fact in found}) == len(found)


def test_told_facts_are_graded_and_strangers_never_told() -> None:
    world = WorldRecipe(people=200, strangers=0.25, untold=0.2, times=(1, 3, 9))
    counts = Counter(fact.times for fact in facts(world))
    told = 200 * 0.75 * 5 * 0.8
    assert counts[1] == counts[3] == counts[9] == told / 3
    by_person: Counter[str] = Counter()
    for fact in facts(world):
        by_person[fact.person] += fact.times
    assert sum(total == 0 for total in by_person.values()) >= 50


def test_the_phrasing_that_is_asked_stands_in_documents_on_others() -> None:
    texts = [each.text for each in documents(SMALL)]
    unlike = 0
    for asked in questions(SMALL):
        head, tail = asking(asked.text).split(asked.person)
        unlike += not any(text.startswith(head) and tail in text for text in texts)
    assert unlike == 0


def test_worlds_differ_by_seed_and_are_the_same_by_it() -> None:
    assert facts(SMALL) == facts(WorldRecipe(people=40))
    assert facts(SMALL) != facts(WorldRecipe(people=40, seed=1))


def test_the_reader_gives_the_documents_in_pieces() -> None:
    recipe = CorpusRecipe(reader="world", world=SMALL, keep=("form",))
    whole = [item for item in read_corpus(recipe, 0) if isinstance(item, Document)]
    assert [each.text for each in whole] == [each.text for each in documents(SMALL)]
    assert {each.columns["form"] for each in whole} == {"statement", "question"}
    assert set(whole[0].columns) == {"form"}
    pieces = plan_pieces(recipe, piece_bytes=2000)
    assert len(pieces) > 3
    assert [item for piece in pieces for item in read_piece(piece, recipe)] == whole
    assert list(read_piece(pieces[1], recipe, skip=2)) == list(read_piece(pieces[1], recipe))[2:]


@pytest.mark.parametrize(
    "wrong",
    [
        {"reader": "world", "paths": ["a.txt"]},
        {"reader": "stdlib", "world": {"people": 10}},
        {"reader": "world", "world": {"people": 2}},
        {"reader": "world", "world": {"times": []}},
        {"reader": "world", "world": {"times": [0]}},
        {"reader": "world", "world": {"untold": 1}},
    ],
)
def test_what_is_no_world_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        build_part(CorpusRecipe, wrong, where="corpus")
