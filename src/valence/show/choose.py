"""Which segments to show, and their text. Chosen in one pass; only their shards are read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from valence.annotate.read import Annotation
from valence.data import Mark
from valence.report.annotation_content import Example
from valence.show.blocks import Flags, Integers, Rewards, flat, scattered
from valence.store import read_parquet

CONTEXT = 160
"""Characters shown before and after a segment."""

LONGEST = 700
"""Characters of a segment shown; what is left out is said."""

SPARE = 4
"""So many candidates are kept for each example, to show different documents if there are."""


@dataclass(slots=True, kw_only=True)
class Target:
    """Segments wanted: those nearest to a reward, on one side of it or on either.

    What is equally near is drawn by lot, with the seed.
    """

    title: str
    value: float
    side: Literal["either", "at or above", "below"] = "either"
    keep: int
    seed: int
    found: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _distance: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def add(self, first: int, rewards: Rewards) -> None:
        """One more shard's rewards [S]; `first` is the number of its first segment."""
        distance = np.abs(rewards.astype(np.float64) - self.value)
        wanted: Flags = ~np.isnan(rewards)
        if self.side != "either":
            above = rewards >= self.value
            wanted &= above if self.side == "at or above" else ~above
        local = np.flatnonzero(wanted)
        if len(local) > self.keep:
            limit = np.partition(distance[local], self.keep - 1)[self.keep - 1]
            local = local[distance[local] <= limit]
        indices = np.concatenate((self.found, first + local))
        distances = np.concatenate((self._distance, distance[local]))
        order = np.lexsort((scattered(indices, self.seed), distances))[: self.keep]
        self.found, self._distance = indices[order], distances[order]


def read_examples(
    annotation: Annotation, names: Sequence[str], wanted: Iterable[int], firsts: Sequence[int]
) -> dict[int, Example]:
    """The segments with these numbers; `firsts` has the number of each shard's first segment."""
    by_shard: dict[int, list[int]] = {}
    for index in sorted(set(wanted)):
        at = int(np.searchsorted(firsts, index, side="right")) - 1
        by_shard.setdefault(at, []).append(index)
    found = {}
    for at, indices in by_shard.items():
        shard = annotation.shards[at]
        columns = ["id", "text", "ends"]
        texts = read_parquet(annotation.path / "documents" / f"{shard}.parquet", columns)
        folder = annotation.path / "rewards"
        scores = {name: read_parquet(folder / name / f"{shard}.parquet") for name in names}
        ends, segments = flat(texts["ends"])
        beyond = np.cumsum(segments)
        values = {name: flat(table["rewards"])[0] for name, table in scores.items()}
        for index in indices:
            local = index - firsts[at]
            row = int(np.searchsorted(beyond, local, side="right"))
            start = 0 if local == beyond[row] - segments[row] else int(ends[local - 1])
            found[index] = _example(
                id=texts["id"][row].as_py(),
                document=texts["text"][row].as_py(),
                start=start,
                end=int(ends[local]),
                rewards={name: float(value[local]) for name, value in values.items()},
                marks=_marks(scores, row),
            )
    return found


def shown(
    candidates: Sequence[int], found: Mapping[int, Example], most: int
) -> tuple[Example, ...]:
    """The first of the candidates, rather from different documents and with different text."""
    documents: set[str] = set()
    texts: set[str] = set()
    first: list[Example] = []
    later: list[Example] = []
    for index in candidates:
        example = found[index]
        seen = example.document in documents or example.text.strip() in texts
        (later if seen else first).append(example)
        documents.add(example.document)
        texts.add(example.text.strip())
    return tuple((first + later)[:most])


def _marks(scores: Mapping[str, pa.Table], row: int) -> list[Mark]:
    return [
        Mark(start=mark["start"], end=mark["end"], code=mark["code"], message=mark["message"])
        for table in scores.values()
        if "marks" in table.column_names
        for mark in table["marks"][row].as_py() or ()
    ]


def _example(
    *,
    id: str,
    document: str,
    start: int,
    end: int,
    rewards: Mapping[str, float],
    marks: Sequence[Mark],
) -> Example:
    inside = [mark for mark in marks if mark.start < end and mark.end > start]
    begin = start
    if end - start > LONGEST and inside:
        # What is pointed at should be seen, also where it stands late in a long segment.
        begin = min(max(start, min(mark.start for mark in inside) - CONTEXT), end - LONGEST)
    stop = min(end, begin + LONGEST)
    return Example(
        document=id,
        start=start,
        end=end,
        rewards=tuple((name, None if np.isnan(v) else v) for name, v in rewards.items()),
        before=document[max(0, start - CONTEXT) : start] if begin == start else "",
        text=document[begin:stop],
        after=document[end : end + CONTEXT] if stop == end else "",
        goes_on=end + CONTEXT < len(document),
        left_out=(begin - start, end - stop),
        marks=tuple(
            Mark(
                start=max(mark.start, begin) - begin,
                end=min(mark.end, stop) - begin,
                code=mark.code,
                message=mark.message,
            )
            for mark in inside
            if mark.start < stop and mark.end > begin
        ),
    )
