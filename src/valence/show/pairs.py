"""The rewards of two scorers on the same segments; of very many, a seeded sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from valence.annotate.read import Annotation
from valence.show.blocks import Block, Flags, Integers, Rewards, blocks, scattered

Floats = npt.NDArray[np.float64]

SAMPLE = 500_000
"""Pairs kept at the most. The correlation of so many is known to about 0.003."""

GROUPS = 2048
"""Documents are drawn in so many groups at the most for an interval: one over a billion
documents then costs no more than one over a thousand."""


class Pairs:
    """Pairs of rewards, both of them numbers, with the segment's number and its group.

    `x`, `y`, `index`, `group`, `held_out` [N] are the sample, in corpus order: those with the
    smallest pseudo-random number, so that it depends on the seed and the corpus alone.
    """

    def __init__(self, seed: int, *, most: int = SAMPLE) -> None:
        self.seed, self.most = seed, most
        self.total = self.left_out = self.documents = 0
        self.firsts: list[int] = []
        self.x: Floats = np.zeros(0)
        self.y: Floats = np.zeros(0)
        self.index: Integers = np.zeros(0, dtype=np.int64)
        self.group: Integers = np.zeros(0, dtype=np.int64)
        self.held_out: Flags = np.zeros(0, dtype=np.bool_)

    def add(self, block: Block, x: Rewards, y: Rewards) -> tuple[Flags, Integers]:
        """One more shard; returns which segments have both, and the groups of those."""
        both = ~(np.isnan(x) | np.isnan(y))
        document = block.document[both]
        group = (block.first_document + document) % GROUPS
        self.firsts.append(block.first)
        self.total += int(both.sum())
        self.left_out += int((~both).sum())
        self.documents += len(np.unique(document))
        self.x = np.concatenate((self.x, x[both]))
        self.y = np.concatenate((self.y, y[both]))
        self.index = np.concatenate((self.index, block.first + np.flatnonzero(both)))
        self.group = np.concatenate((self.group, group))
        self.held_out = np.concatenate((self.held_out, block.held_out[document]))
        if len(self.x) > 2 * self.most:
            self.shrink()
        return both, group

    def shrink(self) -> None:
        """Keep no more than `most`."""
        if len(self.x) <= self.most:
            return
        numbers = scattered(self.index, self.seed)
        kept = np.sort(np.argpartition(numbers, self.most)[: self.most])
        self.x, self.y, self.index = self.x[kept], self.y[kept], self.index[kept]
        self.group, self.held_out = self.group[kept], self.held_out[kept]

    @property
    def sampled(self) -> int | None:
        """How many are in the sample; None where all are."""
        return len(self.x) if len(self.x) < self.total else None


def read_pairs(annotation: Annotation, first: str, second: str, *, seed: int) -> Pairs:
    """All pairs of an annotation, sampled where there are too many."""
    pairs = Pairs(seed)
    for block in blocks(annotation, [first, second]):
        pairs.add(block, block.rewards[first], block.rewards[second])
    pairs.shrink()
    return pairs
