"""A generated world of facts, of which a known part is told: what a model can know is known.

People have invented names and one right answer in each relation. Every fact that is told
stands in so many documents, each a statement or a question with its answer. A fact has one
phrasing of its question that no document uses for it, though others use it for theirs: that
one is asked, so that the answer is knowledge and no echo. Source of the idea: Allen-Zhu & Li
2023 (arXiv 2309.14316), knowledge stored and extracted on synthetic biographies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np

from valence.corpus.piece import Format, Item, Piece
from valence.corpus.relations import CODAS, ONSETS, RELATIONS, VOWELS, Relation
from valence.corpus.rows import checked
from valence.data import Document
from valence.recipe import CorpusRecipe
from valence.recipe.world import WorldRecipe

SOURCE = "world"
LINE_BYTES = 64
"""About what one document takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One answer about one person, and in how many documents it stands (0: never).

    `asked` is the phrasing of its question that none of them uses.
    """

    person: str
    relation: Relation
    value: str
    times: int
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question as it is put to a model, its right answer, and the documents that hold it.

    `documents` are ids: those that were held out did not teach it.
    """

    person: str
    relation: str
    text: str
    answer: str
    documents: tuple[str, ...]


@lru_cache(maxsize=4)
def facts(world: WorldRecipe) -> tuple[Fact, ...]:
    """All facts of a world, the told and the untold, people in order of their making.

    Of the facts that are told equally many have each of `world.times`, but for a remainder.
    """
    rng = np.random.default_rng(world.seed)
    people = _people(world.people, rng)
    strangers = set(rng.permutation(len(people))[: round(world.strangers * len(people))].tolist())
    pairs = [
        (p, r) for p in range(len(people)) if p not in strangers for r in range(len(RELATIONS))
    ]
    order = rng.permutation(len(pairs))[round(world.untold * len(pairs)) :]
    times = {pairs[place]: world.times[n % len(world.times)] for n, place in enumerate(order)}
    return tuple(
        Fact(
            person=person,
            relation=relation,
            value=relation.values[rng.integers(len(relation.values))],
            times=times.get((p, r), 0),
            asked=int(rng.integers(len(relation.questions))),
        )
        for p, person in enumerate(people)
        for r, relation in enumerate(RELATIONS)
    )


def questions(world: WorldRecipe) -> list[Question]:
    """A question on every fact of a world, in the phrasing that its documents do not use."""
    return [
        Question(
            person=fact.person,
            relation=fact.relation.name,
            text=fact.relation.questions[fact.asked].format(person=fact.person),
            answer=fact.value,
            documents=tuple(_name(fact, number) for number in range(fact.times)),
        )
        for fact in facts(world)
    ]


def asking(question: str) -> str:
    """A question in the form that the documents have, up to where the answer begins."""
    return f"Q: {question}\nA:"


def documents(world: WorldRecipe) -> Iterator[Document]:
    """The documents that tell the facts of a world, fact by fact.

    The column `form` says whether one is a `statement` or a `question` with its answer.
    """
    for number, fact in enumerate(facts(world)):
        # Its own order of phrasings, so that rare facts are told in all of them.
        forms = _forms(fact)
        order = np.random.default_rng([world.seed, 1, number]).permutation(len(forms))
        for time in range(fact.times):
            form, text = forms[order[time % len(forms)]]
            yield Document(
                id=_name(fact, time),
                text=text,
                source=SOURCE,
                columns={"person": fact.person, "relation": fact.relation.name, "form": form},
            )


def _forms(fact: Fact) -> list[tuple[str, str]]:
    """All that a document may say of a fact, each with its kind, but for the asked question."""
    relation, names = fact.relation, {"person": fact.person, "value": fact.value}
    told = [("statement", form.format(**names) + "\n") for form in relation.statements]
    return told + [
        ("question", f"{asking(form.format(**names))} {fact.value}\n")
        for place, form in enumerate(relation.questions)
        if place != fact.asked
    ]


def _name(fact: Fact, time: int) -> str:
    return f"{SOURCE}/{fact.person}/{fact.relation.name}/{time}"


def _people(count: int, rng: np.random.Generator) -> list[str]:
    """Distinct names; several people share a first name, others a last name."""
    pool = max(8, int(np.ceil(3 * np.sqrt(count))))
    firsts, lasts = _syllables(pool, rng), _syllables(pool, rng)
    places = rng.choice(pool * pool, size=count, replace=False)
    return [f"{firsts[place // pool]} {lasts[place % pool]}" for place in places.tolist()]


def _syllables(count: int, rng: np.random.Generator) -> list[str]:
    """Distinct invented names of two or three syllables."""
    found: dict[str, None] = {}
    while len(found) < count:
        size = 2 if len(found) < count // 2 else 3
        parts = (
            rng.choice(ONSETS) + rng.choice(VOWELS) + (rng.choice(CODAS) if last else "")
            for last in [False] * (size - 1) + [True]
        )
        found["".join(parts).capitalize()] = None
    return list(found)


def _plan(path: str, recipe: CorpusRecipe, piece_bytes: int) -> Iterable[Piece]:
    count = sum(fact.times for fact in facts(_world(recipe)))
    step = max(1, piece_bytes // LINE_BYTES)
    for start in range(0, count, step):
        stop = min(start + step, count)
        yield Piece(format=SOURCE, start=start, stop=stop, size=(stop - start) * LINE_BYTES)


def _read(piece: Piece, recipe: CorpusRecipe, skip: int) -> Iterator[Item]:
    for document in islice(documents(_world(recipe)), piece.start + skip, piece.stop):
        kept = document.columns
        if recipe.keep is not None:
            kept = {name: value for name, value in kept.items() if name in recipe.keep}
        own = Document(id=document.id, text=document.text, source=SOURCE, columns=kept)
        yield checked(own, recipe, place=own.id)


def _world(recipe: CorpusRecipe) -> WorldRecipe:
    return recipe.world or WorldRecipe()


WORLD = Format(plan=_plan, read=_read)
