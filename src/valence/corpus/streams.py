"""Bytes from files, decompressed on the way, in lines of a bounded length."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import IO, cast

from valence.corpus.rows import unread
from valence.data import Unread

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSED = (".gz", ".zst")
BROKEN = (OSError, EOFError, zlib.error, zstd.ZstdError)
"""What reading a file can raise: the system refuses, or what was compressed is damaged."""
_CHUNK = 2**18
# Archives packed with `zstd --long=31`, as some corpora are, need the largest window.
_LONGEST_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 31}


def is_compressed(path: str) -> bool:
    """Whether a file is compressed, by the end of its name."""
    return path.lower().endswith(COMPRESSED)


def suffix_of(path: str) -> str:
    """The suffix that tells the format, in lower case, without that of the compression."""
    name = PurePath(path.lower())
    return PurePath(name.stem).suffix if name.suffix in COMPRESSED else name.suffix


def opened(path: str) -> IO[bytes]:
    """A file's bytes, decompressed if its name ends in .gz or .zst."""
    if path.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.lower().endswith(".zst"):
        return cast(IO[bytes], zstd.open(path, "rb", options=_LONGEST_WINDOW))
    return open(path, "rb")


def broken(error: Exception, *, place: str, source: str) -> Unread:
    """What stands for the rest of a file that cannot be read: refused, or damaged."""
    refused = isinstance(error, OSError) and error.strerror
    kind = "unreadable" if refused else "damaged"
    return unread(kind, str(refused or error), place=place, source=source)


def bounded_lines(handle: IO[bytes], *, limit: int, stop: int | None) -> Iterator[bytes | int]:
    r"""Lines with their "\n"; of one longer than `limit` bytes only its length.

    `stop` is how many bytes to read: lines that start before it are read whole. Memory is
    bounded by `limit`, whatever the file holds.
    """
    taken = 0
    while stop is None or taken < stop:
        line = handle.readline(limit + 1)
        length = len(line)
        if not line:
            return
        if length <= limit:
            yield line
        else:
            while not line.endswith(b"\n") and (line := handle.readline(_CHUNK)):
                length += len(line)
            yield length
        taken += length


def read_at_most(handle: IO[bytes], limit: int) -> bytes:
    """Up to `limit` bytes, without memory for more than there are."""
    chunks: list[bytes] = []
    while limit > 0 and (chunk := handle.read(min(_CHUNK, limit))):
        chunks.append(chunk)
        limit -= len(chunk)
    return b"".join(chunks)
