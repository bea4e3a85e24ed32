"""What can be known of a person in a generated world: relations, answers, ways to say them.

Towns and names are invented, so that no model has read of them elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One thing that everybody has exactly one of.

    `values` are all answers there are; `statements` and `questions` are phrasings that hold
    `{person}`, statements also `{value}`.
    """

    name: str
    values: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


RELATIONS = (
    Relation(
        name="town",
        values=_words(
            "Karsen Velmor Odrith Tansey Brunholt Ilvane Marrick Pellworth Sorvik Dunmere Halvik"
            " Quorn Estrin Lowick Narvath Ruskel Thornby Ulmar Wexford Yarrin"
        ),
        statements=(
            "{person} was born in {value}.",
            "{person} comes from {value}.",
            "The town of {value} is where {person} was born.",
        ),
        questions=(
            "Where was {person} born?",
            "Which town does {person} come from?",
            "What is the town of birth of {person}?",
        ),
    ),
    Relation(
        name="craft",
        values=_words(
            "baker smith weaver potter tailor cooper mason glazier tanner miller saddler printer"
            " carpenter brewer dyer roofer joiner chandler cutler farrier"
        ),
        statements=(
            "{person} works as a {value}.",
            "{person} is a {value} by trade.",
            "The trade of {value} is what {person} learned.",
        ),
        questions=(
            "What does {person} work as?",
            "What is the trade of {person}?",
            "Which craft did {person} learn?",
        ),
    ),
    Relation(
        name="instrument",
        values=_words(
            "flute harp lute fiddle drum horn organ oboe cello trumpet zither bagpipe piano"
            " clarinet mandolin accordion"
        ),
        statements=(
            "{person} plays the {value}.",
            "{person} practises the {value} every day.",
            "The {value} is the instrument of {person}.",
        ),
        questions=(
            "What does {person} play?",
            "Which instrument does {person} practise?",
            "What is the instrument of {person}?",
        ),
    ),
    Relation(
        name="year",
        values=tuple(str(year) for year in range(1801, 1881, 4)),
        statements=(
            "{person} was born in the year {value}.",
            "The year of birth of {person} is {value}.",
            "In {value} {person} came into the world.",
        ),
        questions=(
            "When was {person} born?",
            "In which year was {person} born?",
            "What is the year of birth of {person}?",
        ),
    ),
    Relation(
        name="animal",
        values=_words(
            "cat dog goat horse parrot rabbit tortoise goose donkey ferret hedgehog pony raven"
            " sheep pigeon hamster"
        ),
        statements=(
            "{person} keeps a {value}.",
            "{person} has a {value} at home.",
            "A {value} lives with {person}.",
        ),
        questions=(
            "Which animal does {person} keep?",
            "What animal lives with {person}?",
            "What does {person} have at home?",
        ),
    ),
)

ONSETS = _words("b br d dr f g gr h j k kl l m n p r s st t tr v w z")
VOWELS = _words("a e i o u ai ei ou")
CODAS = ("", "l", "n", "r", "s", "m", "rn", "ld")
