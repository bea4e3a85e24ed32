"""The features of many segments as sparse matrices: each distinct token is stored once.

Legend: [N] segments, [T] tokens of all segments, [U] distinct tokens, [F] buckets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from valence.distill.examples import Ranges
from valence.score.features import Grams, chunks, grams

Integers = npt.NDArray[np.int64]
Signs = npt.NDArray[np.int8]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Design:
    """`tokens` [U, F] counts the buckets of each distinct token (itself and its parts).

    `kinds` [T] says which distinct token each token is, `pairs` [T] the bucket of it and the
    token before it (0: none), `first` [N] where each segment's tokens begin.
    """

    tokens: csr_matrix
    kinds: Integers
    pairs: Integers
    first: Integers
    marked: Signs

    @property
    def lengths(self) -> Integers:
        """How many tokens each segment has [N]."""
        return np.diff(self.first, append=len(self.kinds))

    @property
    def segments(self) -> Integers:
        """The segment of each token [T]."""
        return np.repeat(np.arange(len(self.first)), self.lengths)


def design(
    texts: Sequence[bytes], bits: int, marks: Sequence[Ranges | None] | None = None
) -> Design:
    """The features that scoring would give the texts."""
    keys: list[Keys] = []
    pairs: list[Integers] = []
    first: list[Integers] = []
    marked: list[Signs] = []
    begin = done = 0
    for part in chunks(texts):
        found = grams(part, bits)
        marked.append(_marked(found, marks[done : done + len(part)] if marks else ()))
        done += len(part)
        keys.append(_keys(found))
        pairs.append(found.pairs.astype(np.int64))
        first.append(found.first + begin)
        begin += len(found.starts)
    every = np.concatenate(keys)
    _, at, kinds = np.unique(every, return_index=True, return_inverse=True)
    return Design(
        _distinct(texts, bits, at, [len(part) for part in keys]),
        kinds.astype(np.int64),
        np.concatenate(pairs),
        np.concatenate(first),
        np.concatenate(marked),
    )


def _marked(found: Grams, marks: Sequence[Ranges | None]) -> Signs:
    signs = np.full(len(found.starts), -1, dtype=np.int8)
    bounds = [*found.first.tolist(), len(found.starts)]
    for ranges, begin, end in zip(marks, bounds[:-1], bounds[1:], strict=False):
        if ranges is None:
            continue
        signs[begin:end] = 0
        places = found.starts[begin + 1 : end] - found.starts[begin] - 1
        for low, high in ranges:
            inside = slice(
                max(int(np.searchsorted(places, low, side="right")) - 1, 0),
                int(np.searchsorted(places, high, side="left")),
            )
            signs[begin + 1 : end][inside] = 1
    return signs


def _keys(found: Grams) -> Keys:
    """64 bits for each token that are the same for the same token: its bucket and its parts."""
    sums = np.zeros(len(found.starts), dtype=np.uint64)
    for at, part in enumerate(found.parts):
        mixed = part.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15 + 2 * at)
        sums += np.add.reduceat(mixed ^ (mixed >> np.uint64(29)), found.starts - 1)
    return sums * np.uint64(0xBF58476D1CE4E5B9) + found.words.astype(np.uint64)


def _distinct(texts: Sequence[bytes], bits: int, at: Integers, sizes: Sequence[int]) -> csr_matrix:
    """The rows of the tokens with the numbers `at` [U], which are in order of their keys."""
    row_of = np.full(sum(sizes), -1, dtype=np.int64)
    row_of[at] = np.arange(len(at))
    rows: list[Integers] = []
    columns: list[Integers] = []
    begin = 0
    for part in chunks(texts):
        found = grams(part, bits)
        mine = row_of[begin : begin + len(found.starts)]
        begin += len(found.starts)
        places = np.diff(found.starts - 1, append=len(found.parts[0]))
        by_place = np.repeat(mine, places)
        for owner, buckets in (
            (mine, found.words),
            *((by_place, buckets) for buckets in found.parts),
        ):
            kept = (owner >= 0) & (buckets > 0)
            rows.append(owner[kept])
            columns.append(buckets[kept].astype(np.int64))
    row, column = np.concatenate(rows), np.concatenate(columns)
    shape = (len(at), 1 << bits)
    return csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape)
