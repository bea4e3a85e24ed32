"""Regex and Lexicon against plain searches, and where their finds count."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.data import Document, Mark, Result, Score, Segment, tile
from valence.errors import MissingFileError, ScorerError
from valence.score.density import per_character
from valence.score.lexicon import Lexicon, Regex
from valence.score.protocol import Marker, traits
from valence.score.table import build_scorer


def values(scorer: Regex | Lexicon, text: str, ends: list[int] | None = None) -> list[float]:
    document = Document(id="x", text=text, source="x")
    results = scorer.score(document, tile(ends or [len(text)]))
    assert all(isinstance(result, Score) for result in results)
    return [result.value for result in results if isinstance(result, Score)]


def found(scorer: Regex | Lexicon, text: str) -> list[str]:
    return [text[mark.start : mark.end] for mark in scorer.marks(text)]


def test_matches_per_character() -> None:
    scorer = Regex(["o+", "[0-9]"])
    text = "foo 12\nboom\n"
    assert values(scorer, text, [7, 12]) == [-3 / 7, -1 / 5]
    assert [(mark.start, mark.end, mark.code) for mark in scorer.marks(text)] == [
        (1, 3, "o+"),
        (4, 5, "[0-9]"),
        (5, 6, "[0-9]"),
        (8, 10, "o+"),
    ]
    assert values(Regex(["O"]), text) == [0]
    assert values(Regex(["O"], ignore_case=True), text) == [-4 / 12]
    assert values(Regex(["x*"]), "axa") == [-1 / 3]  # empty matches are none


def test_a_match_counts_where_it_begins() -> None:
    scorer = Regex(["a+"])
    document = Document(id="x", text="baaab", source="x")
    first, second = scorer.score(document, tile([2, 5]))
    assert isinstance(first, Score)
    assert isinstance(second, Score)
    assert (first.value, second.value) == (-1 / 2, 0)
    assert [(mark.start, mark.end) for mark in first.marks] == [(1, 2)]
    assert second.marks == ()


@given(text=st.text(alphabet="ab ", min_size=1, max_size=30), cuts=st.sets(st.integers(1, 29)))
def test_segments_share_what_the_document_has(text: str, cuts: set[int]) -> None:
    ends = [*sorted(cut for cut in cuts if cut < len(text)), len(text)]
    scorer = Regex({"a": 1.0, "ab": 0.5})
    parts = values(scorer, text, ends)
    sizes = [segment.end - segment.start for segment in tile(ends)]
    total = sum(value * size for value, size in zip(parts, sizes, strict=True))
    assert total == pytest.approx(-text.count("a") - 0.5 * text.count("ab"))


def test_what_begins_outside_of_the_segments_does_not_count() -> None:
    marks = [Mark(start=place, end=place + 2, code="x", message="") for place in (0, 3, 8)]
    asked = [Segment(start=2, end=4), Segment(start=6, end=8)]
    results: list[Result] = per_character(marks, asked)
    assert [result.value for result in results if isinstance(result, Score)] == [-1 / 2, 0]


WORDS = {"hell": 1.0, "white trash": 2.0, "a$$": 1.0, "straße": 1.0, "good": -1.0, "trash": 1.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hell, hello HELL shell", ["Hell", "HELL"]),
        ("white  Trash\ntrash white\ntrash", ["white  Trash", "trash", "white\ntrash"]),
        ("a$$ a $$ a$$et ca$$ A$$.", ["a$$", "A$$"]),
        ("STRASSE Straße strasse", ["STRASSE", "Straße", "strasse"]),
        ("ｈｅｌｌ he\u0301ll hell_ hell-bent", ["ｈｅｌｌ", "hell"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert found(Lexicon(WORDS), text) == expected


def test_weights_case_and_parts_of_words() -> None:
    assert values(Lexicon(WORDS), "white trash") == [-2 / 11]
    assert values(Lexicon(WORDS), "trash good") == [0]
    assert values(Lexicon(WORDS), "good") == [1 / 4]
    assert found(Lexicon(["Hell"], ignore_case=False), "hell Hell") == ["Hell"]
    parts = Lexicon(["hell", "hello", "中文"], whole_words=False)
    assert found(parts, "shells HELLO 我说中文吧") == ["hell", "HELLO", "中文"]


ENTRIES = st.lists(
    st.text(alphabet="ab é-$", min_size=1, max_size=4).map(lambda s: " ".join(s.split())),
    min_size=1,
    max_size=6,
).map(lambda entries: [entry for entry in entries if entry] or ["a"])


@settings(deadline=None)
@given(entries=ENTRIES, text=st.text(alphabet="abAB é-$\n", max_size=20), whole_words=st.booleans())
def test_finds_are_those_of_a_plain_search(
    entries: list[str], text: str, whole_words: bool
) -> None:
    expected, last = [], 0
    for start in range(len(text)):
        ends = [end for end in range(start + 1, len(text) + 1) if fits(text, start, end, entries)]
        if whole_words:
            ends = [end for end in ends if stands_alone(text, start, end)]
        if ends and start >= last:
            last = max(ends)
            expected.append((start, last))
    marks = Lexicon(entries, whole_words=whole_words).marks(text)
    assert [(mark.start, mark.end) for mark in marks] == expected


def fits(text: str, start: int, end: int, entries: list[str]) -> bool:
    piece = text[start:end]
    return piece == piece.strip() and re.sub(r"\s+", " ", piece).casefold() in entries


def stands_alone(text: str, start: int, end: int) -> bool:
    around = text[start - 1 : start] if start else ""
    return not re.search(r"\w", around) and not re.match(r"\w", text[end : end + 1])


def test_combining_marks_belong_to_the_word() -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    assert found(Lexicon(["café"]), f"{decomposed} cafe") == [decomposed]
    assert found(Lexicon(["हिन्द"]), "हिन्दी हिन्द") == ["हिन्द"]


def test_many_words_are_fast_and_long_ones_no_trouble() -> None:
    many = Lexicon([f"word{number} x{number}" for number in range(5000)] + ["y" * 3000])
    assert found(many, "a word4999 x4999 " + "y" * 3000) == ["word4999 x4999", "y" * 3000]
    assert found(Lexicon(["- " + "z" * 2000]), "- " + "z" * 2000) == ["- " + "z" * 2000]


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes("\ufeff# a comment\nhell\t2.5\r\n\nwhite trash\n  damn\t \n".encode())
    scorer = Lexicon(file=file, words=["heck"])
    text = "hell heck white trash damn"
    assert values(scorer, text) == [-5.5 / len(text)]
    assert scorer.id == Lexicon({"hell": 2.5, "white trash": 1, "damn": 1, "heck": 1}).id
    built = build_scorer({"regex": {"file": str(file)}})
    assert isinstance(built, Regex)
    assert values(built, "hell") == [-2.5 / 4]
    file.write_text("a\tmuch\n")
    with pytest.raises(ScorerError, match=r"list\.txt, line 1: the weight 'much'"):
        Lexicon(file=file)
    file.write_bytes(b"\xff")
    with pytest.raises(ScorerError, match="cannot be read as text"):
        Lexicon(file=file)
    with pytest.raises(MissingFileError):
        Regex(file=tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"regex": {"patterns": ["(a"]}}, r"`\(a` is not a regular expression"),
        ({"regex": None}, "nothing to look for"),
        ({"lexicon": {"words": []}}, "nothing to look for"),
        ({"lexicon": {"words": ["a", " "]}}, "an entry is empty"),
        ({"lexicon": {"words": 3}}, "words"),
        ({"lexicon": {"words": ["a"], "whole_word": True}}, "did you mean `whole_words`"),
    ],
)
def test_mistakes(spec: dict[str, dict[str, object] | None], told: str) -> None:
    with pytest.raises(ScorerError, match=told):
        build_scorer(spec)


def test_identity() -> None:
    scorers = [
        Regex(["a"]),
        Regex(["b"]),
        Regex(["a"], ignore_case=True),
        Regex({"a": 2}),
        Lexicon(["a"]),
        Lexicon(["a"], whole_words=False),
        Lexicon(["a"], ignore_case=False),
    ]
    assert len({scorer.id.digest for scorer in scorers}) == len(scorers)
    for scorer in scorers:
        assert traits(scorer).keeps_marks
        assert isinstance(scorer, Marker)
        assert "0 is none" in scorer.meaning
