"""A JSON file that holds a list of objects: one object a document, read one after the other.

A .json file that does not begin with "[" holds no list, and is one document of text.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

from valence.corpus.piece import Format, Item, Piece, shown, size_on_disk
from valence.corpus.plaintext import TEXT
from valence.corpus.rows import OTHER_BYTES, document_in, too_long, unread
from valence.corpus.streams import BROKEN, broken, opened
from valence.data import Unread
from valence.recipe import CorpusRecipe

_CHUNK = 2**18
_BLANKS = " \t\n\r"
TAIL = 32
"""A decoder that says what is wrong so near to the end of what was read may need more of it."""
_DECODER = json.JSONDecoder()


def _plan(path: str, recipe: CorpusRecipe, piece_bytes: int) -> Iterator[Piece]:
    if _holds_a_list(path):
        yield Piece(format="json", paths=(path,), size=size_on_disk(path))
    else:
        yield from TEXT.plan(path, recipe, piece_bytes)


def _holds_a_list(path: str) -> bool:
    try:
        with opened(path) as handle:
            head = handle.read(_CHUNK).removeprefix(codecs.BOM_UTF8)
    except BROKEN:
        return False  # Reading it says why.
    return head.lstrip(_BLANKS.encode()).startswith(b"[")


def _read(piece: Piece, recipe: CorpusRecipe, skip: int) -> Iterator[Item]:
    source = shown(piece.paths[0])
    for number, row in islice(_elements(piece.paths[0], recipe, source), skip, None):
        place = f"{source}:{number}"
        if isinstance(row, Unread):
            yield row
        elif isinstance(row, dict):
            yield document_in(row, recipe, place=place, source=source)
        else:
            message = f"no string `{recipe.text_column}` (the element is not an object)"
            yield unread("no-text", message, place=place, source=source)


def _elements(path: str, recipe: CorpusRecipe, source: str) -> Iterator[tuple[int, Any]]:
    """The elements with their numbers from 1 on; what ends the reading early as `Unread`."""
    limit = 2 * recipe.max_document_chars + OTHER_BYTES
    number = 1
    try:
        with opened(path) as handle:
            text = _Text(handle)
            more = text.take("[") and not text.take("]")
            while more:
                yield number, text.element(limit)
                number += 1
                more = text.take(",")
                if not more and not text.take("]"):
                    raise json.JSONDecodeError("there is no `,` or `]`", text.next, 0)
    except _TooLong:
        place = f"{source}:{number}"
        what = "an element that does not end before the limit, and all that follow it"
        yield number, too_long(what, f"{limit:,}", place=place, source=source)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        kind = "not-utf-8" if isinstance(error, UnicodeDecodeError) else "not-json"
        yield number, unread(kind, str(error), place=f"{source}:{number}", source=source)
    except BROKEN as error:
        yield number, broken(error, place=f"{source}:{number}", source=source)


class _TooLong(Exception):
    """The element at hand takes more characters than a row may."""


class _Text:
    """Text that is read as far as the next element needs."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._ended = False
        self._text, self._at = "", 0

    @property
    def next(self) -> str:
        """The first of what comes next, for messages."""
        return self._text[self._at : self._at + 20]

    def _more(self, size: int) -> bool:
        """Read on; whether there was anything left."""
        if self._ended:
            return False
        data = self._handle.read(max(size, _CHUNK))
        self._ended = not data
        self._text = self._text[self._at :] + self._decoder.decode(data, final=self._ended)
        self._at = 0
        return True

    def take(self, sign: str) -> bool:
        """Pass over blanks, and over `sign` if it comes next; whether it did."""
        while True:
            self._at = _blanks(self._text, self._at)
            if self._at < len(self._text) or not self._more(_CHUNK):
                break
        found = self._text.startswith(sign, self._at)
        self._at += len(sign) if found else 0
        return found

    def element(self, limit: int) -> Any:
        """The value that comes next; raises `ValueError` where there is none."""
        self.take("")
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                # A number at the end of what was read may go on.
                if end < len(self._text) or not self._more(_CHUNK):
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                waiting = len(self._text) - self._at
                if not error.msg.startswith("Unterminated") and len(self._text) > error.pos + TAIL:
                    raise
                if waiting > limit:
                    raise _TooLong from None
                # Twice as much each time: what was read is read again.
                if not self._more(waiting):
                    raise


def _blanks(text: str, start: int) -> int:
    while start < len(text) and text[start] in _BLANKS:
        start += 1
    return start


JSON = Format(plan=_plan, read=_read)
