"""What is on disk, file by file: written whole or not at all, read with errors that name it.

A file is written beside its place and renamed into it, so that a reader sees the whole
of it or nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from valence.errors import MissingFileError, StoreError, ValenceError

PARTIAL = ".partial"
"""How the name of a file ends that is still being written."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; renamed into place when the block ends without error.

    Raises `StoreError` when the system refuses, with what to do about a full disk.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            with beside.open("rb") as handle:
                os.fsync(handle.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turns the system's refusals inside the block into `StoreError` for `path`."""
    try:
        yield
    except ValenceError:
        raise
    except OSError as error:
        raise storage_error(error, path) from error
    except Exception as error:
        refusal = _refusal_in_words(error)
        if refusal is None:
            raise
        raise storage_error(refusal, path) from error


def _refusal_in_words(error: Exception) -> OSError | None:
    """The system's refusal, where a library in Rust or C++ has made mere text of it."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    if told is not None:
        return OSError(int(told[1]), os.strerror(int(told[1])))
    # torch.save does not say why a write failed; a full disk is what makes it.
    full = re.search(r"file write failed|inline_container.*unexpected pos", str(error))
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if full else None


def storage_error(error: OSError, path: Path) -> StoreError:
    """The system's refusal as an error that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            "the disk is full",
            where=str(path),
            fix="Free some room and start again: finished parts are kept.",
        )
    return StoreError(
        f"the system refuses ({error.strerror or error})",
        where=str(path),
        fix="Check that the place exists and that you may read and write there.",
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; newlines stay as they are."""
    with writing(path) as beside:
        beside.write_bytes(text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write JSON whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; raises `MissingFileError` or `StoreError` that name the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError("no such file", where=str(path)) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise StoreError(
            f"not valid JSON ({error})", where=str(path), fix="Delete it and run again."
        ) from None


def digest(value: object) -> str:
    """SHA-256 of plain data in canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def digest_files(paths: Iterable[Path]) -> str:
    """SHA-256 over names and contents of files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as handle:
            inner = hashlib.file_digest(handle, "sha256")
        total.update(f"{path.name}:{inner.hexdigest()}\n".encode())
    return total.hexdigest()


def write_parquet(path: Path, table: pa.Table) -> str:
    """Write one Parquet shard whole or not at all; returns its SHA-256.

    Equal tables give equal bytes.
    """
    with writing(path) as beside:
        pq.write_table(table, beside, compression="zstd")
        with beside.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read one Parquet shard; raises `StoreError` that names a damaged one."""
    try:
        return pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise MissingFileError("no such file", where=str(path)) from None
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"damaged Parquet file ({error})",
            where=str(path),
            fix="Delete the run directory, or run again with --overwrite.",
        ) from None
