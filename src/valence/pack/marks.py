"""What a reward points at, as ranges of text tokens: the words that raters marked, for instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from valence.annotate.read import Annotation
from valence.data import Mark
from valence.pack.ragged import Offsets

Marks = Mapping[str, Sequence[Mark]]
"""Marks in characters, by the id of their document."""


def read_marks(annotation: Annotation, name: str) -> Marks | None:
    """The marks that one scorer kept beside its rewards; None if it keeps none.

    An id that several documents have is left out: nothing tells whose its marks are. Raises
    `MissingFileError` where there are no such rewards.
    """
    found: dict[str, tuple[Mark, ...]] = {}
    seen: set[str] = set()
    for _, scores in annotation.tables(name):
        if "marks" not in scores.column_names:
            return None
        for row in scores.select(["id", "marks"]).to_pylist():
            key, marks = row["id"], row["marks"]
            if key not in seen and marks:
                found[key] = tuple(Mark(**mark) for mark in marks)
            elif key in seen:
                found.pop(key, None)
            seen.add(key)
    return found


def in_tokens(marks: Sequence[Mark], offsets: Offsets) -> Offsets:
    """Marks as half-open ranges [M, 2] of tokens whose characters are `offsets` [N, 2].

    A token that a mark touches is in it; ranges that meet are one. In ascending order.
    """
    inside = np.zeros(len(offsets), dtype=np.bool_)
    for mark in marks:
        first = int(np.searchsorted(offsets[:, 1], mark.start, side="right"))
        last = int(np.searchsorted(offsets[:, 0], mark.end, side="left"))
        inside[first:last] = True
    runs, at = [], 0
    for value, run in groupby(inside.tolist()):
        size = len(list(run))
        if value:
            runs.append((at, at + size))
        at += size
    return np.array(runs, dtype=np.int64).reshape(-1, 2)
