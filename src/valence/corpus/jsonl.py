"""JSON lines: one object a line. A big file is cut into ranges of bytes, at line starts."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from valence.corpus.piece import Format, Item, Piece, shown, size_on_disk
from valence.corpus.rows import OTHER_BYTES, UTF_8_BYTES, document_in, too_long, unread
from valence.corpus.streams import BROKEN, bounded_lines, broken, is_compressed, opened
from valence.data import Unread
from valence.recipe import CorpusRecipe

_CHUNK = 2**22


def _plan(path: str, recipe: CorpusRecipe, piece_bytes: int) -> Iterator[Piece]:
    size = size_on_disk(path)
    pieces = []
    if size > piece_bytes and not is_compressed(path):
        try:
            pieces = list(_cut(path, piece_bytes))
        except OSError:
            pieces = []  # reading it says why
    yield from pieces or [Piece(format="jsonl", paths=(path,), size=size)]


def _cut(path: str, piece_bytes: int) -> Iterator[Piece]:
    """Ranges of at least `piece_bytes` bytes that end after a line, with their line numbers."""
    start = position = 0
    first = number = 1

    def piece(stop: int) -> Piece:
        return Piece(
            format="jsonl", paths=(path,), start=start, stop=stop, first=first, size=stop - start
        )

    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            counted = 0
            earliest = max(0, start + piece_bytes - 1 - position)
            while (found := chunk.find(b"\n", earliest)) >= 0:
                number += chunk.count(b"\n", counted, found + 1)
                counted = found + 1
                yield piece(position + counted)
                start, first = position + counted, number
                earliest = counted + piece_bytes - 1
            number += chunk.count(b"\n", counted)
            position += len(chunk)
    if position > start:
        yield piece(position)


def _read(piece: Piece, recipe: CorpusRecipe, skip: int) -> Iterator[Item]:
    source = shown(piece.paths[0])
    for number, line in islice(_lines(piece, recipe, source), skip, None):
        if isinstance(line, Unread):
            yield line
        else:
            yield _parse(line, recipe, place=f"{source}:{number}", source=source)


def _lines(piece: Piece, recipe: CorpusRecipe, source: str) -> Iterator[tuple[int, bytes | Unread]]:
    """Lines that are not blank, with their numbers; what cannot be a line as `Unread`."""
    number = piece.first - 1
    limit = recipe.max_document_chars * UTF_8_BYTES + OTHER_BYTES
    stop = None if piece.stop is None else piece.stop - piece.start
    try:
        with opened(piece.paths[0]) as handle:
            handle.seek(piece.start)
            for line in bounded_lines(handle, limit=limit, stop=stop):
                number += 1
                if isinstance(line, int):
                    what = f"a line of {line:,} bytes"
                    place = f"{source}:{number}"
                    yield number, too_long(what, f"{limit:,}", place=place, source=source)
                    continue
                line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if not line.isspace() and line:
                    yield number, line
    except BROKEN as error:
        yield number + 1, broken(error, place=f"{source}:{number + 1}", source=source)


def _parse(line: bytes, recipe: CorpusRecipe, *, place: str, source: str) -> Item:
    try:
        row: Any = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return unread("not-utf-8", str(error), place=place, source=source)
    except (ValueError, RecursionError) as error:
        return unread("not-json", str(error), place=place, source=source)
    if not isinstance(row, dict):
        message = f"no string `{recipe.text_column}` (the line is not an object)"
        return unread("no-text", message, place=place, source=source)
    return document_in(row, recipe, place=place, source=source)


JSONL = Format(plan=_plan, read=_read)
