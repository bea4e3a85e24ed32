"""The teacher: one scorer's rewards in one or more annotations."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from valence.annotate.read import Annotated, Annotation
from valence.data import ScorerId
from valence.score.protocol import ArrayScorer

SPEED_BYTES = 8_000_000
"""Held-out text on which the student's speed is measured, at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """The rewards `name` of every annotation, taken together."""

    annotations: tuple[Annotation, ...]
    name: str

    @classmethod
    def of(cls, annotations: Sequence[Path | Annotation], name: str) -> Teacher:
        """From directories; raises `MissingFileError` where there are no such rewards."""
        opened = [a if isinstance(a, Annotation) else Annotation(a) for a in annotations]
        for annotation in opened:
            annotation.rewards(name)
        return cls(annotations=tuple(opened), name=name)

    @property
    def id(self) -> str:
        """The ids of the scorers, each once."""
        found = []
        for annotation in self.annotations:
            scorer = annotation.rewards(self.name)["scorer"]
            known = {key: str(scorer[key]) for key in ("name", "version", "digest")}
            found.append(str(ScorerId(**known)))
        return ", ".join(dict.fromkeys(found))

    @property
    def meaning(self) -> str:
        """What the rewards mean, each meaning once."""
        found = (str(a.rewards(self.name)["scorer"]["meaning"]) for a in self.annotations)
        return "; ".join(dict.fromkeys(found))

    @property
    def speed(self) -> float | None:
        """MB of text a core-second, from the ledgers; None if they do not say."""
        size = seconds = 0.0
        for annotation in self.annotations:
            ledger = annotation.rewards(self.name)
            size += float(ledger.get("bytes") or 0)
            seconds += float(ledger.get("core_seconds") or 0)
        return size / 1e6 / seconds if size and seconds else None

    def held_out(self) -> Iterator[Annotated]:
        """The held-out documents of all annotations."""
        for annotation in self.annotations:
            yield from annotation.read(self.name, held_out=True)


def student_speed(scorer: ArrayScorer, teacher: Teacher) -> float | None:
    """MB of held-out text a core-second in this process, the best of three rounds."""
    documents = []
    size = 0
    for document in teacher.held_out():
        documents.append(document)
        size += len(document.document.text.encode("utf-8", "surrogatepass"))
        if size >= SPEED_BYTES:
            break
    step = scorer.batch
    batches = [documents[at : at + step] for at in range(0, len(documents), step)]
    best = None
    for _ in range(3):
        started = time.process_time()
        for batch in batches:
            scorer.score_arrays([d.document.text for d in batch], [d.ends for d in batch])
        taken = time.process_time() - started
        best = taken if best is None else min(best, taken)
    return size / 1e6 / best if size and best else None
