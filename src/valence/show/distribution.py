"""Exact quantiles of any number of rewards, in two passes and a fixed amount of memory.

The bits of a 32-bit number, read as an integer, are in its order (after two flips for the
sign). The first pass counts by the upper 16 bits; the second counts by the lower 16, but
only in those few cells where a quantile or a frequent value lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import numpy.typing as npt

from valence.show.blocks import Integers, Rewards

_CELLS = 1 << 16
Keys = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]


def ordered_keys(values: Rewards) -> Keys:
    """Unsigned integers in the order of the values; minus zero counts as zero."""
    bits = (values + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32)


def value_of(key: int) -> float:
    """The value that has this key."""
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))


class Distribution:
    """`count` all values, then `settle` what will be asked, then `recount` them all.

    NaN is left out. `quantile` is NumPy's method "higher": always an observed value.
    """

    def __init__(self) -> None:
        self.coarse = np.zeros(_CELLS, dtype=np.int64)
        self.total = 0.0
        self.low, self.high = float("inf"), float("-inf")
        self._slots = np.full(_CELLS, -1, dtype=np.int64)
        self._fine = np.zeros((0, _CELLS), dtype=np.int64)

    def count(self, values: Rewards) -> None:
        """First pass: values of any shape and order."""
        kept = values[~np.isnan(values)]
        if len(kept) == 0:
            return
        self.coarse += np.bincount(ordered_keys(kept) >> 16, minlength=_CELLS)
        self.total += float(kept.sum(dtype=np.float64))
        self.low, self.high = min(self.low, float(kept.min())), max(self.high, float(kept.max()))

    @property
    def size(self) -> int:
        """How many values there are."""
        return int(self.coarse.sum())

    @property
    def mean(self) -> float | None:
        """None without values."""
        return self.total / self.size if self.size else None

    def settle(self, shares: Sequence[float], *, frequent: float = 1.0) -> None:
        """Say which quantiles will be asked for, and from which share a value is frequent."""
        if self.size == 0:
            return
        cells = {self._cell(self._rank(share)) for share in shares}
        cells |= set(np.flatnonzero(self.coarse >= max(frequent * self.size, 1)).tolist())
        for slot, cell in enumerate(sorted(cells)):
            self._slots[cell] = slot
        self._fine = np.zeros((len(cells), _CELLS), dtype=np.int64)

    def recount(self, values: Rewards) -> None:
        """Second pass: the same values again."""
        keys = ordered_keys(values[~np.isnan(values)])
        slots = self._slots[keys >> 16]
        kept = slots >= 0
        np.add.at(self._fine, (slots[kept], keys[kept] & 0xFFFF), 1)

    def quantile(self, share: float) -> float:
        """The smallest value that `share` of all lie at or below; one of those settled."""
        rank = self._rank(share)
        cell = self._cell(rank)
        inside = rank - int(self.coarse[:cell].sum())
        fine = self._fine[self._slots[cell]]
        low = int(np.searchsorted(np.cumsum(fine), inside, side="right"))
        return value_of(cell << 16 | low)

    def masses(self, share: float, *, least: int = 5) -> tuple[tuple[float, int], ...]:
        """The values that hold at least this share (as settled) alone, with their counts."""
        needed = max(share * self.size, least)
        found = [
            (value_of(int(cell) << 16 | int(low)), int(self._fine[self._slots[cell], low]))
            for cell in np.flatnonzero(self._slots >= 0)
            for low in np.flatnonzero(self._fine[self._slots[cell]] >= needed)
        ]
        return tuple(found)

    def coarse_values(self) -> tuple[Floats, Integers]:
        """Values to within 1%, ascending, and how many there are of each."""
        cells = np.flatnonzero(self.coarse)
        values = np.array([value_of(int(cell) << 16) for cell in cells], dtype=np.float64)
        return values, self.coarse[cells]

    def _rank(self, share: float) -> int:
        return ceil((self.size - 1) * share)

    def _cell(self, rank: int) -> int:
        return int(np.searchsorted(np.cumsum(self.coarse), rank, side="right"))
