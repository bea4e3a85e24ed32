"""Writing a token store by appending, in flat memory, so that a killed write goes on."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from valence.annotate.read import Annotated
from valence.errors import CorpusError
from valence.pack.arrays import MANIFEST, Array, array_path, kinds_of, lengths_of
from valence.pack.encoding import Encoded, encode
from valence.store import digest_files, read_json, storage, write_json

PROGRESS = "progress.json"
FLUSH_TOKENS = 1 << 20
"""Text tokens after which all files are brought to disk: what a killed write loses at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What is on disk, and of how many documents `read` it was made."""

    read: int = 0
    documents: int = 0
    segments: int = 0
    tokens: int = 0
    chars: int = 0
    bytes: int = 0
    straddling_tokens: int = 0


def write_tokens(
    directory: Path,
    annotated: Iterable[Annotated],
    tokenizer: PreTrainedTokenizerFast,
    *,
    expected: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Tokenise documents into a token store; returns its manifest.

    Documents without any reward, or of which no token comes, are left out. What a killed
    write with the same tokenizer left in the directory is kept, so `annotated` must be the
    same documents in the same order. `on_progress` is called with the documents read and
    those `expected`. Raises `CorpusError` if nothing is left and `StoreError` when the disk
    refuses.
    """
    ids = tokenizer.get_vocab().values()
    writer = _Writer(directory, 2 if max(ids) < 2**16 else 4, _key(tokenizer))
    with storage(directory):
        writer.open()
        try:
            for read, encoded in _numbered(annotated, tokenizer, writer.counts.read):
                writer.add(read, encoded)
                if writer.waiting >= FLUSH_TOKENS:
                    writer.flush()
                    if on_progress is not None:
                        on_progress(read, max(expected, read))
            writer.flush()
        finally:
            writer.close()
        return writer.finish()


def _key(tokenizer: PreTrainedTokenizerFast) -> str:
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return hashlib.sha256(backend.to_str().encode()).hexdigest()


def _numbered(
    annotated: Iterable[Annotated], tokenizer: PreTrainedTokenizerFast, done: int
) -> Iterator[tuple[int, Encoded]]:
    """Each encoded document, and how many documents were read up to it."""
    numbers: deque[int] = deque()

    def usable() -> Iterator[Annotated]:
        for number, item in enumerate(islice(annotated, done, None), start=done + 1):
            if not np.isnan(item.rewards).all():
                numbers.append(number)
                yield item

    for encoded in encode(usable(), tokenizer):
        yield numbers.popleft(), encoded


class _Writer:
    """Arrays that grow at their ends, all brought to disk together."""

    def __init__(self, directory: Path, id_bytes: int, key: str) -> None:
        self.directory, self.id_bytes, self.key = directory, id_bytes, key
        self.kinds = kinds_of(id_bytes)
        self.counts = Counts()
        self.waiting = 0
        self._chunks: dict[str, list[Array]] = {name: [] for name in self.kinds}

    def open(self) -> None:
        """Take up what an earlier write brought to disk, or begin."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # A finished store is written anew: its text may be another now.
        begun = not (self.directory / MANIFEST).is_file() and self._known()
        (self.directory / MANIFEST).unlink(missing_ok=True)
        self._files = {
            name: array_path(self.directory, name).open("r+b" if begun else "w+b")
            for name in self.kinds
        }
        if not begun:
            self.counts = Counts()
            for name in ("documents", "document_segments"):
                self._chunks[name].append(np.zeros(1, dtype=np.int64))
        for name, length in self._lengths().items():
            size = length * np.dtype(self.kinds[name]).itemsize if begun else 0
            self._files[name].truncate(size)
            self._files[name].seek(size)

    def _lengths(self) -> dict[str, int]:
        return lengths_of(self.counts.tokens, self.counts.documents, self.counts.segments)

    def _known(self) -> bool:
        """Whether there is a write to go on with; then `counts` are those of its files."""
        if not (self.directory / PROGRESS).is_file():
            return False
        progress = read_json(self.directory / PROGRESS)
        try:
            self.counts = Counts(**progress["counts"])
        except (KeyError, TypeError):
            return False
        if progress.get("key") != self.key:
            return False
        return all(
            array_path(self.directory, name).is_file()
            and array_path(self.directory, name).stat().st_size
            >= length * np.dtype(self.kinds[name]).itemsize
            for name, length in self._lengths().items()
        )

    def add(self, read: int, encoded: Encoded) -> None:
        """One more document; it is on disk after the next `flush`."""
        size, before = len(encoded.ids), self.counts
        if size == 0:
            self.counts = replace(before, read=read)
            return
        text = encoded.item.document.text
        self.counts = Counts(
            read=read,
            documents=before.documents + 1,
            segments=before.segments + len(encoded.starts),
            tokens=before.tokens + size,
            chars=before.chars + len(text),
            bytes=before.bytes + len(text.encode()),
            straddling_tokens=before.straddling_tokens + encoded.straddling,
        )
        self._put("ids", encoded.ids)
        self._put("documents", [self.counts.tokens])
        self._put("document_segments", [self.counts.segments])
        self._put("segments", encoded.starts + before.tokens)
        self._put("rewards", encoded.item.rewards)
        self._put("chars", [len(text)])
        self._put("bytes", [self.counts.bytes - before.bytes])
        self.waiting += size

    def _put(self, name: str, values: Any) -> None:
        self._chunks[name].append(np.asarray(values).astype(self.kinds[name]))

    def flush(self) -> None:
        """Bring all files to disk, then say so."""
        for name, chunks in self._chunks.items():
            for chunk in chunks:
                self._files[name].write(chunk.tobytes())
            chunks.clear()
            self._files[name].flush()
            os.fsync(self._files[name].fileno())
        self.waiting = 0
        progress = {"key": self.key, "counts": asdict(self.counts)}
        write_json(self.directory / PROGRESS, progress)

    def close(self) -> None:
        """Close the files; what was not flushed is lost."""
        for file in self._files.values():
            file.close()

    def finish(self) -> dict[str, Any]:
        """Write the manifest of a whole store and return it."""
        if not self.counts.tokens:
            raise CorpusError(
                "no document has both a reward and a token",
                where="pack",
                fix="See the failures of the annotation.",
            )
        counts = asdict(self.counts)
        manifest: dict[str, Any] = {
            **counts,
            "left_out": counts.pop("read") - counts["documents"],
            "id_bytes": self.id_bytes,
            "digest": digest_files([array_path(self.directory, name) for name in self.kinds]),
        }
        write_json(self.directory / MANIFEST, manifest)
        (self.directory / PROGRESS).unlink()
        return manifest
