"""Segmenters tile any text, and lines end where Python's own lines end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valence.corpus.segment import SEGMENTERS, line_ends, source_lines
from valence.data import tile

AWKWARD = st.text(
    alphabet=st.one_of(
        st.sampled_from("a \t\r\n\f\v\x1c\x85\u2028\u2029\ufeff\0'\\#"), st.characters()
    )
)


def pieces(text: str, ends: list[int]) -> list[str]:
    return [text[start:end] for start, end in pairwise([0, *ends])]


@pytest.mark.parametrize("name", sorted(SEGMENTERS))
@given(text=AWKWARD)
def test_segments_tile_the_text(name: str, text: str) -> None:
    segments = tile(SEGMENTERS[name](text))
    assert "".join(text[segment.start : segment.end] for segment in segments) == text
    assert all(segment.start < segment.end for segment in segments)


@given(text=AWKWARD)
def test_a_line_has_its_break_at_its_end_only(text: str) -> None:
    lines = pieces(text, line_ends(text))
    for line in lines:
        body = line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
        assert not set(body.removesuffix("\r")) & set("\r\n")
    assert all(line.endswith(("\r", "\n")) for line in lines[:-1])


@given(text=AWKWARD)
def test_source_lines_are_the_lines_with_breaks_translated(text: str) -> None:
    bare = text.removeprefix("\ufeff")
    expected = [
        line.removesuffix("\n").removesuffix("\r") + "\n" if line.endswith(("\r", "\n")) else line
        for line in pieces(bare, line_ends(bare))
    ]
    assert source_lines(text) == expected


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("", []),
        ("a", [1]),
        ("a\n", [2]),
        ("a\r\nb\rc\n\n", [3, 5, 7, 8]),
        ("a\x0cb\u2028c\x85d", [7]),
        ("\ufeffa\n", [3]),
        ("\n\r", [1, 2]),
    ],
)
def test_line_ends(text: str, ends: list[int]) -> None:
    assert line_ends(text) == ends
