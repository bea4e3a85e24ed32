"""Readers: documents from places, as a stream. What cannot be read is `Unread`, counted.

`plan_pieces` cuts the input into pieces that depend on nothing else; `read_piece` reads one,
in memory that does not grow with the input, and never changes a byte of the text. A new
format is one file and one line in `FORMATS`, with its suffixes in `SUFFIXES`.
"""

from __future__ import annotations

import glob
import hashlib
import heapq
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from valence.corpus.delimited import CSV
from valence.corpus.hub import DATASET
from valence.corpus.jsonarray import JSON
from valence.corpus.jsonl import JSONL
from valence.corpus.pairs import in_pairs, row_of, row_recipe
from valence.corpus.parquet import PARQUET
from valence.corpus.piece import PIECE_BYTES, Format, Item, Piece
from valence.corpus.plaintext import TEXT, joined
from valence.corpus.rows import checked
from valence.corpus.stdlib import read_stdlib, stdlib_root, stdlib_sources
from valence.corpus.streams import suffix_of
from valence.corpus.unformat import file_share, unformat
from valence.corpus.world import WORLD
from valence.data import Document
from valence.errors import CorpusError, MissingFileError
from valence.recipe import CorpusRecipe
from valence.store import digest

__all__ = [
    "FORMATS",
    "PIECE_BYTES",
    "Item",
    "Piece",
    "corpus_stamp",
    "highest_rank",
    "input_files",
    "is_held_out",
    "plan_pieces",
    "rank",
    "read_corpus",
    "read_piece",
    "unformatted",
]


def _plan_stdlib(path: str, recipe: CorpusRecipe, piece_bytes: int) -> Iterator[Piece]:
    sizes = [size for _, size, _ in _stats(_stdlib_files())]
    start = size = 0
    for index, own in enumerate(sizes):
        if index > start and size + own > piece_bytes:
            yield Piece(format="stdlib", start=start, stop=index, size=size)
            start, size = index, 0
        size += own
    yield Piece(format="stdlib", start=start, stop=len(sizes), size=size)


def _read_stdlib(piece: Piece, recipe: CorpusRecipe, skip: int) -> Iterator[Item]:
    for item in read_stdlib(start=piece.start + skip, stop=piece.stop):
        yield checked(item, recipe, place=item.id) if isinstance(item, Document) else item


FORMATS: dict[str, Format] = {
    "text": TEXT,
    "jsonl": JSONL,
    "json": JSON,
    "csv": CSV,
    "parquet": PARQUET,
    "dataset": DATASET,
    "stdlib": Format(plan=_plan_stdlib, read=_read_stdlib),
    "world": WORLD,
}

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
"""The format of a file, by its suffix (before .gz or .zst); any other is text."""


def plan_pieces(recipe: CorpusRecipe, *, piece_bytes: int = PIECE_BYTES) -> list[Piece]:
    """The input as pieces of about `piece_bytes` on disk, in order; the same for the same input.

    Compressed files and CSV are not cut. Raises `MissingFileError` for a path that matches
    nothing, `RecipeError` for a table without a column that the recipe names.
    """
    return list(joined(_pieces(row_recipe(recipe), piece_bytes), piece_bytes))


def read_piece(piece: Piece, recipe: CorpusRecipe, *, skip: int = 0) -> Iterator[Item]:
    """The documents of a piece in input order, as they are: see `unformatted`.

    The first `skip` items are passed over as cheaply as the format allows; item i is the same
    whatever `skip` is. Raises `RecipeError` like `plan_pieces`.
    """
    read = FORMATS[piece.format].read
    if recipe.pair is None:
        yield from read(piece, recipe, skip)
    else:
        # How many items a row makes is known once it is read.
        yield from islice(in_pairs(read(piece, row_recipe(recipe), 0), recipe), skip, None)


def read_corpus(recipe: CorpusRecipe, seed: int) -> Iterator[Item]:
    """All pieces one after the other, style noise added if the recipe asks for that.

    Raises what `plan_pieces` raises, and `CorpusError` at the end if nothing had text.
    """
    found = False
    dropped: Counter[str] = Counter()
    for piece in plan_pieces(recipe):
        for item in read_piece(piece, recipe):
            if isinstance(item, Document):
                found = True
                yield unformatted(item, recipe, seed)
            else:
                dropped[item.failure.kind] += 1
                yield item
    if not found:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in dropped.items())
        raise CorpusError(
            f"there is no document with text in it ({kinds or 'no row'})",
            where=", ".join(recipe.paths) or recipe.reader,
            fix="Check corpus.paths and corpus.text_column.",
        )


def corpus_stamp(recipe: CorpusRecipe) -> str:
    """A digest of the names, sizes and times of the input: it changes when they do.

    Of a data set on the hub only what the recipe says of it; give its `revision` for input
    that stays the same.
    """
    named: list[object] = []
    if recipe.reader == "stdlib":
        files = _stdlib_files()
    elif recipe.reader == "datasets":
        named = [recipe.paths[0], recipe.config, recipe.split, recipe.revision]
        files = sorted(_expand(recipe.paths[0]))
    else:
        files = sorted({path for pattern in recipe.paths for path in _expand(pattern)})
    return digest([*named, *_stats(files)])


def is_held_out(document_id: str, *, share: float, seed: int) -> bool:
    """Whether a document belongs to the held-out split: by a hash of its id alone.

    The two of a pair have one id here, that of their row.
    """
    return _hashed(document_id, seed, salt="split") < share


def rank(document_id: str, seed: int) -> float:
    """A seeded number in [0, 1) that depends on the id alone: its place in a random order."""
    return _hashed(document_id, seed, salt="order")


def highest_rank(recipe: CorpusRecipe, seed: int) -> float | None:
    """Up to which `rank` documents are taken for `recipe.max_chars`; None: all of them.

    In ascending rank, documents are taken while the characters so far are fewer than
    `max_chars`, counted after unformatting; documents of one id have one rank and are taken
    together. Reads the input once, in memory for the ranks of the documents taken. Raises
    what `plan_pieces` raises.
    """
    if recipe.max_chars is None:
        return None
    text_alone = recipe.model_copy(update={"keep": ()})
    taken: list[tuple[float, int]] = []  # minus the rank, characters: the highest rank first
    chars = 0
    for piece in plan_pieces(recipe):
        for item in read_piece(piece, text_alone):
            if not isinstance(item, Document):
                continue
            own = rank(item.id, seed)
            # Before the text is made, which is the costly part.
            if chars >= recipe.max_chars and own >= -taken[0][0]:
                continue
            length = len(unformatted(item, recipe, seed).text)
            heapq.heappush(taken, (-own, length))
            chars += length
            while chars - taken[0][1] >= recipe.max_chars:
                chars -= heapq.heappop(taken)[1]
    return -taken[0][0] if chars >= recipe.max_chars else None


def unformatted(document: Document, recipe: CorpusRecipe, seed: int) -> Document:
    """A document with style noise, if the recipe asks for that. Costs far more than reading."""
    if recipe.unformat is None:
        return document
    share = file_share(document.id, shares=recipe.unformat.shares, seed=seed)
    return replace(document, text=unformat(document.text, share=share, seed=seed))


def _hashed(document_id: str, seed: int, *, salt: str) -> float:
    named = f"{salt}:{seed}:{row_of(document_id)}"
    mixed = hashlib.sha256(named.encode("utf-8", "surrogatepass"))
    return int.from_bytes(mixed.digest()[:7], "big") / 2**56


def _pieces(recipe: CorpusRecipe, piece_bytes: int) -> Iterator[Piece]:
    if recipe.reader in ("stdlib", "world"):
        yield from FORMATS[recipe.reader].plan("", recipe, piece_bytes)
    elif recipe.reader == "datasets":
        yield from DATASET.plan(recipe.paths[0], recipe, piece_bytes)
    else:
        for path in input_files(recipe.paths):
            form = SUFFIXES.get(suffix_of(path), "text")
            yield from FORMATS[form].plan(path, recipe, piece_bytes)


def input_files(patterns: Iterable[str]) -> Iterator[str]:
    """The files of paths, folders and globs: sorted within each, each file once.

    Raises `MissingFileError` for one that matches nothing.
    """
    seen: set[str] = set()
    for pattern in patterns:
        matches = sorted(_expand(pattern))
        if not matches:
            raise MissingFileError(
                "the folder holds no file"
                if Path(pattern).is_dir()
                else "no such file, and nothing matches",
                where=pattern,
                fix="Give a file, a folder, or a glob such as 'texts/**/*.txt'.",
            )
        for path in matches:
            if (absolute := os.path.abspath(path)) not in seen:
                seen.add(absolute)
                yield path.as_posix()


def _expand(pattern: str) -> Iterator[Path]:
    path = Path(pattern)
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (
            inner
            for inner in path.rglob("*")
            if inner.is_file()
            and not any(part.startswith(".") for part in inner.relative_to(path).parts)
        )
    else:
        yield from (
            Path(match) for match in glob.glob(pattern, recursive=True) if Path(match).is_file()
        )


def _stdlib_files() -> list[Path]:
    root = stdlib_root()
    return [root / source for source in stdlib_sources(root)]


def _stats(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each file; zeros where the system does not tell."""
    found = []
    for path in paths:
        try:
            stat = path.stat()
            found.append((path.as_posix(), stat.st_size, stat.st_mtime_ns))
        except OSError:
            found.append((path.as_posix(), 0, 0))
    return found
