"""Where sentences end: by rules (sentencex) or by a small neural model (wtpsplit).

Both libraries may drop, merge or repeat white space between their sentences; the ends are
derived here from the text itself, so that the segments tile it whatever they do. White space
belongs to the sentence before it, at the start of a text to the first one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from valence.errors import RecipeError, missing_extra

PIECE = 10_000
"""Longest stretch, in characters, that the rules see at once, and so the longest sentence.

Without a limit one stray quotation mark hides the ends of sentences for hundreds of
thousands of characters, and some texts take time that grows with the square of their length.
"""

_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]+)*", re.IGNORECASE)


def sentence_ends(language: str) -> Callable[[str], list[int]]:
    """A segmenter for sentences by sentencex's rules for a language.

    The language is a code such as "en" or "pt-BR"; only its first part counts. For a language
    without rules of its own sentencex takes those of a relative, and in the end English.
    Raises `RecipeError` for what is no such code.
    """
    if _LANGUAGE.fullmatch(language) is None:
        raise RecipeError(
            f"`{language}` is not a language code",
            where="corpus.segmenter.language",
            fix="Give a code of two or three letters (ISO 639), such as en, de or zh.",
        )
    from sentencex import segment

    code = re.split("[-_]", language.lower(), maxsplit=1)[0]

    def ends(text: str) -> list[int]:
        if len(text) <= PIECE:
            return ends_of(segment(code, text), text)
        return _ends_in_pieces(text, lambda piece: ends_of(segment(code, piece), piece))

    return ends


def neural_ends(model: str) -> Callable[[str], list[int]]:
    """A segmenter for sentences by a SaT model (Frohmann et al., 2024, "Segment Any Text").

    `model` is a name such as `sat-3l-sm`, or a directory with the model and, if it has a
    tokenizer.json, its tokenizer. A line break in the text also ends a sentence. Weights are
    read from safetensors only. Raises `MissingExtraError`, and `RecipeError` if the model
    cannot be loaded.
    """
    try:
        from wtpsplit import SaT
    except ImportError:
        raise missing_extra("wtpsplit", "wtpsplit") from None
    options: dict[str, Any] = {"from_pretrained_kwargs": {"use_safetensors": True}}
    if (Path(model) / "tokenizer.json").is_file():
        options["tokenizer_name_or_path"] = model
    try:
        sat = SaT(model, **options)
    except Exception as error:  # Whatever transformers and the hub raise.
        raise RecipeError(
            f"cannot load `{model}` ({type(error).__name__}: {error})",
            where="corpus.segmenter.model",
            fix="Give a SaT model by name (sat-3l-sm) with access to the hub, or its directory.",
        ) from None

    def ends(text: str) -> list[int]:
        return ends_of(sat.split(text), text) if text.strip() else ends_of((), text)

    return ends


def ends_of(pieces: Iterable[str], text: str) -> list[int]:
    """End offsets that tile `text`, from strings that stand in it in this order.

    What stands between two of them goes to the one before; a string that does not occur
    there is passed over.
    """
    ends: list[int] = []
    size, place = len(text), 0
    last = _after_blanks(text, 0)
    for piece in pieces:
        if not text.startswith(piece, place):
            found = text.find(piece, place)
            if found < 0:
                continue
            place = found
        place += len(piece)
        if place > last:
            blank = place < size and text[place].isspace()
            last = _after_blanks(text, place) if blank else place
            ends.append(last)
    if size and (not ends or ends[-1] != size):
        ends.append(size)
    return ends


def _after_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _ends_in_pieces(text: str, ends_in: Callable[[str], list[int]]) -> list[int]:
    """The ends in a long text: a piece ends where a sentence of it does, if there is one."""
    ends: list[int] = []
    start = _after_blanks(text, 0)
    while len(text) - start > PIECE:
        found = ends_in(text[start : start + PIECE])
        # The last sentence may go on after the piece: the next one begins with it.
        found = found[:-1] or [_cut(text, start) - start]
        ends.extend(start + end for end in found)
        ends[-1] = start = _after_blanks(text, ends[-1])
    ends.extend(start + end for end in ends_in(text[start:]))
    return ends or [len(text)]


def _cut(text: str, start: int) -> int:
    """Where to cut a sentence that fills a piece: after its last line break, blank, anywhere."""
    stop = start + PIECE
    for sign in ("\n", " "):
        found = text.rfind(sign, start, stop)
        if found > start:
            return found + 1
    return stop
