"""The order in which documents are trained on: a seeded permutation for every epoch."""

from __future__ import annotations

import numpy as np

from valence.pack.draws import Purpose, generator
from valence.pack.ragged import Offsets, spread

MAX_RUNS = 2**20


class Order:
    """Seeded permutations of documents, of which any part can be asked for.

    Where there are more than `runs` documents, runs of consecutive ones stay together, so
    that memory does not grow with the corpus.
    """

    def __init__(self, documents: int, seed: int, *, runs: int = MAX_RUNS) -> None:
        self.count, self.seed = documents, seed
        self.length = -(-documents // runs)
        self._known: dict[int, tuple[Offsets, Offsets]] = {}

    def _runs(self, epoch: int) -> tuple[Offsets, Offsets]:
        if epoch not in self._known:
            # Two epochs may meet in a group, and no more are needed.
            self._known = {e: runs for e, runs in self._known.items() if e == epoch - 1}
            self._known[epoch] = self._permuted(epoch)
        return self._known[epoch]

    def _permuted(self, epoch: int) -> tuple[Offsets, Offsets]:
        """Runs in the order of an epoch, and the positions at which they end."""
        runs = generator(self.seed, Purpose.ORDER, epoch).permutation(-(-self.count // self.length))
        sizes = np.minimum(self.length, self.count - runs * self.length)
        return runs.astype(np.int64), np.cumsum(sizes).astype(np.int64)

    def documents(self, epoch: int, start: int, stop: int) -> Offsets:
        """The documents at positions `start` to `stop` - 1 of an epoch."""
        runs, ends = self._runs(epoch)
        first = int(np.searchsorted(ends, start, side="right"))
        last = int(np.searchsorted(ends, stop, side="left")) + 1
        some = runs[first:last]
        found = spread(some * self.length, np.minimum(self.length, self.count - some * self.length))
        skipped = start - (int(ends[first - 1]) if first else 0)
        return found[skipped : skipped + stop - start]

    def span(self, epoch: int, start: int, count: int) -> Offsets:
        """`count` documents from a position on, through as many epochs as it takes."""
        parts = []
        while count:
            some = self.documents(epoch, start, min(start + count, self.count))
            parts.append(some)
            count -= len(some)
            epoch, start = epoch + 1, 0
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
