"""Segmenters: text in, ascending end offsets out, so that the segments tile the text.

A new one is a function and a line in one of the two tables. Offsets count characters (code
points), and the last end is always the length of the text; the empty text has no segment.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from valence.corpus.sentence import neural_ends, sentence_ends
from valence.corpus.window import token_windows, word_windows
from valence.recipe import SegmentRecipe

Segmenter = Callable[[str], list[int]]

BYTE_ORDER_MARK = "\ufeff"
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


def line_ends(text: str) -> list[int]:
    r"""Ends of the lines, each with its line break, as Python splits its source.

    Only "\n", "\r\n" and "\r" end a line; a form feed or U+2028 does not (Python language
    reference, 2.1.2). The last line may lack its break.
    """
    ends = [match.end() for match in _LINE_BREAK.finditer(text)]
    if text and (not ends or ends[-1] != len(text)):
        ends.append(len(text))
    return ends


def document_ends(text: str) -> list[int]:
    """The whole text as one segment."""
    return [len(text)] if text else []


def _windows(recipe: SegmentRecipe) -> Segmenter:
    if recipe.tokenizer is None:
        return word_windows(recipe.tokens)
    return token_windows(recipe.tokens, recipe.tokenizer)


SEGMENTERS: dict[str, Segmenter] = {
    "line": line_ends,
    "document": document_ends,
}
"""Those without options."""

_BUILDERS: dict[str, Callable[[SegmentRecipe], Segmenter]] = {
    "sentence": lambda recipe: sentence_ends(recipe.language),
    "window": _windows,
    "wtpsplit": lambda recipe: neural_ends(recipe.model),
}


def build_segmenter(recipe: SegmentRecipe) -> Segmenter:
    """The segmenter that a recipe describes; send the recipe, not the segmenter, to a process.

    Raises `RecipeError`, `MissingFileError` for a tokenizer, `MissingExtraError` for an
    optional part.
    """
    if recipe.kind in SEGMENTERS:
        return SEGMENTERS[recipe.kind]
    return _BUILDERS[recipe.kind](recipe)


def source_lines(text: str) -> list[str]:
    r"""The lines that end at `line_ends`, as Python reads its source: for its tokenizer.

    Each line break, also inside a string, becomes "\n"; a byte order mark at the start is
    left out, which shifts the columns of the first line by one.
    """
    return io.StringIO(text.removeprefix(BYTE_ORDER_MARK), newline=None).readlines()
