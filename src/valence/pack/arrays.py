"""The files of a token store: names, types and lengths of its arrays.

On disk, in one directory, flat and raw (little-endian):

    ids.raw                uint16 or uint32 [N], text tokens of all documents
    documents.raw          int64 [D + 1], where each document begins in ids
    document_segments.raw  int64 [D + 1], where each document begins in segments
    segments.raw           int64 [S], where each segment begins in ids
    rewards.raw            float32 [S], NaN where there is none
    chars.raw, bytes.raw   int64 [D], size of each document's text
    manifest.json          counts, digest; written last

While it is written, progress.json says up to where all files are whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

MANIFEST = "manifest.json"
ID_KINDS = {2: "<u2", 4: "<u4"}
KINDS = {
    "documents": "<i8",
    "document_segments": "<i8",
    "segments": "<i8",
    "rewards": "<f4",
    "chars": "<i8",
    "bytes": "<i8",
}
"""Type of each array but the ids, whose type depends on the vocabulary."""

Array = npt.NDArray[Any]


def array_path(directory: Path, name: str) -> Path:
    """The file of one array."""
    return directory / f"{name}.raw"


def kinds_of(id_bytes: int) -> dict[str, str]:
    """Type of every array, by name."""
    return {"ids": ID_KINDS[id_bytes], **KINDS}


def lengths_of(tokens: int, documents: int, segments: int) -> dict[str, int]:
    """Number of items of every array, by name."""
    return {
        "ids": tokens,
        "documents": documents + 1,
        "document_segments": documents + 1,
        "segments": segments,
        "rewards": segments,
        "chars": documents,
        "bytes": documents,
    }
