"""A piece of the input: what one job reads, small and plain, the same on every machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from valence.data import Document, Unread
from valence.recipe import CorpusRecipe

PIECE_BYTES = 64 * 2**20
"""About how much of the input one piece covers, as it is on disk."""

Item = Document | Unread


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one job reads: a file, a part of one, or several small ones.

    `format` is a key of `readers.FORMATS`; `paths` has several only for files of text.
    `start` and `stop` (half-open; None: to the end) count bytes of .jsonl, row groups of
    Parquet, files of the standard library, shards of a data set. `first` is the number of
    the first line or row in its file, counted from 1; `size` the bytes on disk, 0 if unknown.
    """

    format: str
    paths: tuple[str, ...] = ()
    start: int = 0
    stop: int | None = None
    first: int = 1
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a kind of input is cut and read.

    `plan(path, recipe, piece_bytes)` cuts what is at `path` into pieces. `read(piece, recipe,
    skip)` yields the items of a piece but for the first `skip`; item i is the same whatever
    `skip` is.
    """

    plan: Callable[[str, CorpusRecipe, int], Iterable[Piece]]
    read: Callable[[Piece, CorpusRecipe, int], Iterator[Item]]


def size_on_disk(path: str) -> int:
    """Bytes of a file; 0 where the system does not tell."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def shown(path: str) -> str:
    """A path as text for ids and messages; bytes that are not UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
