"""What a reward points at, as ranges of text tokens: the words that raters marked, for instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from valence.annotate.read import Annotation
from valence.data import Mark
from valence.pack.ragged import Offsets

Marks = Mapping[tuple[str, str], Sequence[Mark]]
"""Marks in characters, by the id and the text of their document: ids may stand twice."""


def read_marks(annotation: Annotation, name: str, *, held_out: bool | None = True) -> Marks | None:
    """The marks that one scorer kept beside its rewards, of one split, or both for None.

    None if it keeps none. Raises `MissingFileError` where there are no such rewards.
    """
    found: dict[tuple[str, str], tuple[Mark, ...]] = {}
    for texts, scores in annotation.tables(name):
        if "marks" not in scores.column_names:
            return None
        for row, scored in zip(
            texts.select(["id", "text", "held_out"]).to_pylist(),
            scores["marks"].to_pylist(),
            strict=True,
        ):
            if scored and held_out in (None, row["held_out"]):
                found[row["id"], row["text"]] = tuple(Mark(**mark) for mark in scored)
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
