"""Files of every format for the tests of readers, and what reading them gives."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backports import zstd

from valence.corpus.readers import Item, plan_pieces, read_piece
from valence.data import Document
from valence.recipe import CorpusRecipe

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": zstd.compress,
}


def recipe_for(path: Path, **changes: Any) -> CorpusRecipe:
    return CorpusRecipe(reader="files", paths=(str(path),), **changes)


def read(path: Path, **changes: Any) -> list[Item]:
    recipe = recipe_for(path, **changes)
    return [i for piece in plan_pieces(recipe) for i in read_piece(piece, recipe)]


def outcomes(items: list[Item]) -> list[str]:
    """The text of a document, the kind of a failure."""
    return [item.text if isinstance(item, Document) else item.failure.kind for item in items]


def as_jsonl(rows: list[dict[str, Any]], *, ascii_only: bool) -> bytes:
    lines = (json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    return "".join(lines).encode()


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",", end: str = "\r\n") -> bytes:
    out = io.StringIO(newline="")
    # Quoted, because Python 3.11 leaves a bare "\r" without quotes where rows end with "\n".
    quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL
    writer = csv.DictWriter(
        out, list(rows[0]), delimiter=delimiter, lineterminator=end, quoting=quoting
    )
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
