"""Readers: documents from places. A document that cannot be read is a Failure, counted.

A reader is a function that returns a generator; it never changes a byte of the text.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from valence.corpus.stdlib import read_stdlib
from valence.corpus.unformat import file_share, unformat
from valence.data import Document, Failure
from valence.errors import CorpusError, MissingFileError
from valence.recipe import CorpusRecipe
from valence.store import digest

READ = "read"


def read_corpus(recipe: CorpusRecipe, seed: int) -> Iterator[Document | Failure]:
    """The documents of a recipe in seeded order, style noise added if it asks for that.

    Raises `MissingFileError` for a path that matches nothing and `CorpusError` for an
    empty corpus. Files that cannot be read come out as `Failure`.
    """
    if recipe.reader == "stdlib":
        found: Iterable[Document | Failure] = read_stdlib()
    else:
        found = read_files(recipe.paths, text_column=recipe.text_column)
    documents = []
    dropped: Counter[str] = Counter()
    for item in found:
        if isinstance(item, Document) and item.text:
            documents.append(item)
            continue
        if isinstance(item, Document):
            item = Failure(stage=READ, kind="empty", message=item.source)
        dropped[item.kind] += 1
        yield item
    if not documents:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in dropped.items())
        raise CorpusError(
            f"there is no document with text in it ({kinds or 'no file'})",
            where=", ".join(recipe.paths) or recipe.reader,
            fix="Check corpus.paths and corpus.text_column.",
        )
    documents.sort(key=lambda document: _rank(document.id, seed))
    for document in documents:
        if recipe.unformat is None:
            yield document
            continue
        share = file_share(document.id, shares=recipe.unformat.shares, seed=seed)
        text = unformat(document.text, share=share, seed=seed)
        yield Document(id=document.id, text=text, source=document.source)


def corpus_stamp(recipe: CorpusRecipe) -> str:
    """A digest of the names, sizes and times of a recipe's files: it changes when they do."""
    paths = sorted({path for pattern in recipe.paths for path in _expand(pattern)})
    stats = [(path.as_posix(), path.stat()) for path in paths]
    return digest([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def is_held_out(document_id: str, *, share: float, seed: int) -> bool:
    """Whether a document belongs to the held-out split: by a hash of its id alone."""
    return _rank(document_id, seed, salt="split") < share


def read_files(paths: Iterable[str], *, text_column: str) -> Iterator[Document | Failure]:
    """Documents from files, folders and globs: text (one a file) or .jsonl (one a line)."""
    seen: set[Path] = set()
    for pattern in paths:
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
            if path in seen:
                continue
            seen.add(path)
            if path.suffix == ".jsonl":
                yield from _read_jsonl(path, text_column)
            else:
                yield _read_text(path)


def _rank(document_id: str, seed: int, salt: str = "order") -> float:
    """A seeded number in [0, 1) that depends on the id alone."""
    mixed = hashlib.sha256(f"{salt}:{seed}:{document_id}".encode("utf-8", "surrogatepass"))
    return int.from_bytes(mixed.digest()[:7], "big") / 2**56


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


def _read_text(path: Path) -> Document | Failure:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return Failure(stage=READ, kind="not-utf-8", message=f"{path}: {error}")
    except OSError as error:
        return Failure(stage=READ, kind="unreadable", message=f"{path}: {error.strerror}")
    return Document(id=path.as_posix(), text=text, source=path.as_posix())


def _read_jsonl(path: Path, text_column: str) -> Iterator[Document | Failure]:
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if raw.strip():
                yield _read_row(raw, text_column, f"{path.as_posix()}:{number}")


def _read_row(raw: bytes, text_column: str, place: str) -> Document | Failure:
    try:
        row: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return Failure(stage=READ, kind="not-json", message=f"{place}: {error}")
    text = row.get(text_column) if isinstance(row, dict) else None
    if not isinstance(text, str):
        return Failure(stage=READ, kind="no-text", message=f"{place}: no string `{text_column}`")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # JSON can spell half of a surrogate pair, which is not text in any encoding.
        return Failure(stage=READ, kind="not-unicode", message=f"{place}: lone surrogate")
    return Document(id=place, text=text, source=place.rpartition(":")[0])
