"""Files of text: one document each, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

from valence.corpus.piece import Format, Item, Piece, shown, size_on_disk
from valence.corpus.rows import UTF_8_BYTES, checked, too_long, unread
from valence.corpus.streams import BROKEN, broken, is_compressed, opened, read_at_most
from valence.data import Document
from valence.recipe import CorpusRecipe

MOST_FILES = 4096
"""Files in one piece: its list of names stays small."""


def _plan(path: str, recipe: CorpusRecipe, piece_bytes: int) -> Iterator[Piece]:
    yield Piece(format="text", paths=(path,), size=size_on_disk(path))


def joined(pieces: Iterator[Piece], piece_bytes: int) -> Iterator[Piece]:
    """The same pieces in the same order, files of text that follow each other as one."""
    waiting: list[Piece] = []
    size = 0
    for piece in pieces:
        full = size + piece.size > piece_bytes or len(waiting) >= MOST_FILES
        if waiting and (full or piece.format != "text"):
            yield _one(waiting)
            waiting, size = [], 0
        if piece.format == "text":
            waiting.append(piece)
            size += piece.size
        else:
            yield piece
    if waiting:
        yield _one(waiting)


def _one(pieces: list[Piece]) -> Piece:
    paths = tuple(path for piece in pieces for path in piece.paths)
    return Piece(format="text", paths=paths, size=sum(piece.size for piece in pieces))


def _read(piece: Piece, recipe: CorpusRecipe, skip: int) -> Iterator[Item]:
    for path in piece.paths[skip:]:
        yield _read_file(path, recipe)


def _read_file(path: str, recipe: CorpusRecipe) -> Item:
    source = shown(path)
    limit = recipe.max_document_chars * UTF_8_BYTES
    try:
        size = 0 if is_compressed(path) else size_on_disk(path)
        with opened(path) as handle:
            data = b"" if size > limit else read_at_most(handle, limit + 1)
        if max(size, len(data)) > limit:
            what = f"more than {limit:,} bytes"
            characters = f"{recipe.max_document_chars:,} characters"
            return too_long(what, characters, place=source, source=source)
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return unread("not-utf-8", str(error), place=source, source=source)
    except BROKEN as error:
        return broken(error, place=source, source=source)
    return checked(Document(id=source, text=text, source=source), recipe, place=source)


TEXT = Format(plan=_plan, read=_read)
