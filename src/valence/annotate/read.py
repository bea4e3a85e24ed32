"""Reading an annotation: text and rewards, shard by shard, whoever wrote them.

On disk, in one directory:

    corpus.yaml                    what was read, and how it was cut
    documents/<shard>.parquet      id, source, held_out, text, ends (of segments), columns
                                   (the rest of the row, as JSON), failure (unread: no text)
    documents/manifest.json        counts, failures by kind, shards in order, digest
    rewards/<name>/<shard>.parquet id, rewards (null where it failed), failures; where the
                                   scorer has them, part.<name> and marks
    rewards/<name>/manifest.json   digest of the text, scorer id, counts, failures by kind,
                                   the ledger

Rewards of a second scorer are new files; neither the text nor the first is touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from valence.data import Document
from valence.errors import MissingFileError
from valence.store import read_json, read_parquet

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """One document with its rewards [S]; NaN where the scorer failed for a segment."""

    document: Document
    ends: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    held_out: bool = False


class Annotation:
    """A finished annotation in a directory, or the one in a run's directory.

    Raises `MissingFileError` where there is none.
    """

    def __init__(self, path: Path) -> None:
        inner = path / "annotation"
        self.path = inner if (inner / "documents" / MANIFEST).is_file() else path
        if not (self.path / "documents" / MANIFEST).is_file():
            raise MissingFileError(
                "not a finished annotation (no documents/manifest.json)",
                where=str(path),
                fix="Make one first: valence annotate FILES --scorer NAME --out DIR.",
            )

    @cached_property
    def documents(self) -> dict[str, Any]:
        """The manifest of the documents."""
        found: dict[str, Any] = read_json(self.path / "documents" / MANIFEST)
        return found

    @property
    def shards(self) -> list[str]:
        """Names of the shards in corpus order."""
        return [str(name) for name in self.documents["shards"]]

    @property
    def scorers(self) -> list[str]:
        """Names of the finished rewards, sorted."""
        return [name for name, text in self._texts().items() if text == self.documents["digest"]]

    @property
    def stale(self) -> list[str]:
        """Names of rewards of a text that is no longer there."""
        return [name for name, text in self._texts().items() if text != self.documents["digest"]]

    def _texts(self) -> dict[str, str | None]:
        """The digest of the text that each scorer's rewards belong to."""
        found = sorted((self.path / "rewards").glob(f"*/{MANIFEST}"))
        return {
            path.parent.name: read_json(path).get("text")
            for path in found
            if not path.parent.name.startswith(".")
        }

    def rewards(self, name: str) -> dict[str, Any]:
        """The manifest of one scorer's rewards; raises `MissingFileError` if there is none."""
        if name not in self.scorers:
            raise MissingFileError(
                f"there are no finished rewards `{name}`",
                where=str(self.path),
                fix=f"There are: {', '.join(self.scorers) or 'none'}.",
            )
        found: dict[str, Any] = read_json(self.path / "rewards" / name / MANIFEST)
        return found

    def tables(self, *names: str) -> Iterator[tuple[pa.Table, ...]]:
        """Shard by shard: the table of documents, then one of rewards per name, row by row
        about the same documents.
        """
        for name in names:
            self.rewards(name)
        folders = [self.path / "documents", *(self.path / "rewards" / name for name in names)]
        for shard in self.shards:
            yield tuple(read_parquet(folder / f"{shard}.parquet") for folder in folders)

    def read(self, name: str, *, held_out: bool | None = None) -> Iterator[Annotated]:
        """Documents with one scorer's rewards, in corpus order; one split, or both for None.

        Documents that could not be read are left out: they have no text.
        """
        for texts, scores in self.tables(name):
            for row, scored in zip(texts.to_pylist(), scores["rewards"], strict=True):
                if row["failure"] is not None or held_out not in (None, row["held_out"]):
                    continue
                values = scored.values.to_numpy(zero_copy_only=False)
                yield Annotated(
                    document=document_in(row),
                    ends=np.asarray(row["ends"], dtype=np.int64),
                    rewards=values.astype(np.float32),
                    held_out=row["held_out"],
                )


def document_in(row: dict[str, Any]) -> Document:
    """The document in one row of a documents shard."""
    return Document(
        id=row["id"], text=row["text"], source=row["source"], columns=json.loads(row["columns"])
    )
