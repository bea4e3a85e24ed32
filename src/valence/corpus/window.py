"""Windows of a fixed number of tokens: by a tokenizer's own file, or by words and signs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from valence.errors import MissingFileError, RecipeError

PIECE = 100_000
"""Characters that are tokenised at once, so that memory stays small for a document of any size."""


def word_windows(tokens: int) -> Callable[[str], list[int]]:
    r"""A segmenter for windows of `tokens` words and signs (`\w+` and `[^\w\s]`).

    White space goes with what stands before it, at the start of a text with what follows.
    """
    # Possessive: a window never gives back what it has taken, so time stays linear.
    window = re.compile(rf"(?:(?:\w++|[^\w\s])\s*+){{1,{tokens}}}+")

    def ends(text: str) -> list[int]:
        found = [match.end() for match in window.finditer(text)]
        return found or ([len(text)] if text else [])  # Nothing but blanks is one window.

    return ends


def token_windows(tokens: int, tokenizer: str) -> Callable[[str], list[int]]:
    """A segmenter for windows of `tokens` tokens of a tokenizer.json, or of its directory.

    A window begins where its first token does; what a tokenizer drops between two tokens
    goes goes with the first. Windows end between characters, also where tokens do not. Special
    tokens are not added, and text that looks like one is text. Long texts are tokenised in
    pieces of up to `PIECE` characters, cut at a line break or a blank if there is one; there
    a token may differ from those of the whole. Raises `MissingFileError` and `RecipeError`.
    """
    encode = _encoder(Path(tokenizer))

    def ends(text: str) -> list[int]:
        starts: list[int] = []
        taken = 0
        for start, stop in pieces(text):
            offsets = encode(text[start:stop]).offsets
            starts.extend(start + offset for offset, _ in offsets[-taken % tokens :: tokens])
            taken += len(offsets)
        inner = {start for start in starts[1:] if 0 < start < len(text)}
        return [*sorted(inner), len(text)] if text else []

    return ends


def _encoder(path: Path) -> Callable[[str], Any]:
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise MissingFileError(
            "no such file",
            where=str(file),
            fix="corpus.segmenter.tokenizer names a tokenizer.json or the directory of one.",
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # The library raises nothing narrower.
        raise RecipeError(
            f"not a tokenizer of the tokenizers library ({error})",
            where=str(file),
            fix="Give a tokenizer.json as `Tokenizer.save` writes it.",
        ) from None
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(text: str) -> Any:
        return tokenizer.encode(text, add_special_tokens=False)

    return encode


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Ranges that tile a text, of up to `PIECE` characters, cut at line breaks if they can be."""
    start = 0
    while len(text) - start > PIECE:
        stop = start + PIECE
        cut = text.rfind("\n", start, stop) + 1
        if cut <= start:
            cut = text.rfind(" ", start, stop)
        start, before = (cut if cut > start else stop), start
        yield before, start
    if start < len(text):
        yield start, len(text)
