"""The training text as tokens on disk, read by memory map; `write_tokens` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from valence.control import Rewards
from valence.errors import StoreError
from valence.objective.protocol import Census
from valence.pack.arrays import MANIFEST, Array, array_path, kinds_of, lengths_of
from valence.pack.ragged import Offsets, bounds_of, spread
from valence.pack.tokenised import Tokenised
from valence.pack.units import mean_rewards
from valence.pack.writing import write_tokens
from valence.store import digest_files, read_json

__all__ = ["TokenStore", "write_tokens"]

DOCUMENTS_AT_ONCE = 1 << 16
"""Documents whose segments are looked at together, so that memory stays flat."""


class TokenStore:
    """The tokens of a corpus in a directory that `write_tokens` made.

    Files are opened when they are first read, so that a data loader's worker opens its own.
    Raises `MissingFileError` where there is no finished store and `StoreError` for one whose
    files do not fit its manifest.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest: dict[str, Any] = read_json(directory / MANIFEST)
        self._arrays: dict[str, Array] = {}
        self._check_sizes()
        self._check_ends()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_arrays": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _check_sizes(self) -> None:
        try:
            counts = {key: int(self.manifest[key]) for key in ("tokens", "documents", "segments")}
            self._kinds = kinds_of(self.manifest["id_bytes"])
            self._lengths = lengths_of(**counts)
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(f"manifest.json is not that of a token store ({error!r})") from None
        for name, kind in self._kinds.items():
            path = array_path(self.directory, name)
            expected = self._lengths[name] * np.dtype(kind).itemsize
            found = path.stat().st_size if path.is_file() else None
            if found != expected:
                size = "is missing" if found is None else f"has {found:,} bytes"
                raise self._damaged(f"{path.name} {size} and should have {expected:,}")

    def _check_ends(self) -> None:
        whole = {"documents": self.tokens, "document_segments": len(self._array("segments"))}
        for name, end in whole.items():
            array = self._array(name)
            if array[0] != 0 or array[-1] != end:
                raise self._damaged(f"{name}.raw does not hold what it should")

    def _damaged(self, what: str) -> StoreError:
        return StoreError(
            what, where=str(self.directory), fix="Delete this directory and run again."
        )

    def verify(self) -> None:
        """Read all files and compare them with the digest; raises `StoreError`."""
        paths = [array_path(self.directory, name) for name in self._kinds]
        if digest_files(paths) != self.manifest["digest"]:
            raise self._damaged("the files are not those that the manifest's digest was made of")

    def _array(self, name: str) -> Array:
        if name not in self._arrays:
            self._arrays[name] = np.memmap(
                array_path(self.directory, name),
                dtype=self._kinds[name],
                mode="r",
                shape=(self._lengths[name],),
            )
        return self._arrays[name]

    @property
    def tokens(self) -> int:
        """Text tokens."""
        return int(self.manifest["tokens"])

    @property
    def documents(self) -> int:
        """Documents."""
        return int(self.manifest["documents"])

    @property
    def digest(self) -> str:
        """SHA-256 of all arrays."""
        return str(self.manifest["digest"])

    @property
    def document_sizes(self) -> Offsets:
        """Text tokens of each document [D]."""
        return np.diff(self._array("documents")).astype(np.int64)

    def take(self, documents: Offsets) -> Tokenised:
        """Some documents [d], in the order given; one may be there more than once."""
        begins, segment_begins = self._array("documents"), self._array("document_segments")
        starts = begins[documents].astype(np.int64)
        bounds = bounds_of(begins[documents + 1] - starts)
        counts = segment_begins[documents + 1] - segment_begins[documents]
        numbers = self.segment_numbers(documents)
        return Tokenised(
            ids=self._array("ids")[spread(starts, np.diff(bounds))].astype(np.int32),
            documents=bounds,
            segments=self._array("segments")[numbers] + np.repeat(bounds[:-1] - starts, counts),
            rewards=self._array("rewards")[numbers].astype(np.float32),
            segment_documents=np.repeat(np.arange(len(documents), dtype=np.int64), counts),
            chars=self._array("chars")[documents].astype(np.int64),
            bytes=self._array("bytes")[documents].astype(np.int64),
        )

    def segment_numbers(self, documents: Offsets) -> Offsets:
        """The place in the store of every segment of some documents, in their order."""
        begins = self._array("document_segments")
        starts = begins[documents].astype(np.int64)
        return spread(starts, begins[documents + 1] - starts)

    def segments_of(self, first: int, last: int) -> tuple[Rewards, Offsets, Offsets]:
        """Rewards, sizes in text tokens, and documents (from 0 on) of the segments of
        documents `first` to `last` - 1.
        """
        begins = self._array("document_segments")[first : last + 1]
        part = slice(int(begins[0]), int(begins[-1]))
        segments = self._array("segments")[part]
        end = int(self._array("documents")[last])
        owners = np.repeat(np.arange(last - first, dtype=np.int64), np.diff(begins))
        sizes = np.diff(segments, append=end).astype(np.int64)
        return self._array("rewards")[part].astype(np.float32), sizes, owners

    def census(self) -> Census:
        """The rewards of all segments and documents, and their sizes in text tokens."""
        sizes, means = [], []
        for first in range(0, self.documents, DOCUMENTS_AT_ONCE):
            last = min(first + DOCUMENTS_AT_ONCE, self.documents)
            rewards, some_sizes, owners = self.segments_of(first, last)
            sizes.append(some_sizes)
            means.append(mean_rewards(rewards, some_sizes, owners, last - first))
        return Census(
            rewards=np.asarray(self._array("rewards")),
            sizes=np.concatenate(sizes),
            document_rewards=np.concatenate(means),
            document_sizes=self.document_sizes,
        )
