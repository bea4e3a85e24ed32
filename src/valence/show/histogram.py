"""The bins of a histogram that suit skewed rewards, with frequent values standing apart."""

from __future__ import annotations

import numpy as np

from valence.report.annotation_content import Histogram
from valence.show.blocks import Rewards
from valence.show.distribution import Distribution, Floats

BINS = 48
MASS = 0.05
"""A value that at least this share of all segments has is shown by itself."""

LINEAR_SCALE = 0.6
"""How many decades wide the linear part of the axis is, on either side of zero."""


class Binning:
    """Bins over the range of a counted and recounted distribution; then `add` all values."""

    def __init__(self, distribution: Distribution) -> None:
        self.masses = distribution.masses(MASS) if distribution.size else ()
        rest = distribution.size - sum(count for _, count in self.masses)
        self.threshold = None
        self.edges: Floats = np.zeros(0)
        if rest > 0:
            self.threshold = _threshold(distribution, {value for value, _ in self.masses})
            self.edges = _edges(distribution.low, distribution.high, self.threshold)
        self.counts = np.zeros(max(len(self.edges) - 1, 0), dtype=np.int64)
        self._alone = np.array([value for value, _ in self.masses], dtype=np.float32)

    def add(self, rewards: Rewards) -> None:
        """Rewards [S] of one more shard."""
        if len(self.counts) == 0:
            return
        kept = rewards[~np.isnan(rewards) & ~np.isin(rewards, self._alone)]
        at = np.searchsorted(self.edges, kept.astype(np.float64), side="right") - 1
        at = np.clip(at, 0, len(self.counts) - 1)
        self.counts += np.bincount(at, minlength=len(self.counts))

    def histogram(self) -> Histogram:
        """What was counted."""
        return Histogram(
            edges=tuple(self.edges.tolist()),
            counts=tuple(self.counts.tolist()),
            masses=self.masses,
            threshold=self.threshold,
        )


def _threshold(distribution: Distribution, masses: set[float]) -> float | None:
    """Where the axis turns linear: skewed as in `report.drawing.symlog_threshold`."""
    values, counts = distribution.coarse_values()
    cells = {np.float32(value).view(np.uint32) >> 16 for value in masses}
    single = [np.float32(value).view(np.uint32) >> 16 not in cells for value in values]
    kept = np.array(single) & (values != 0)
    sizes, weights = np.abs(values[kept]), counts[kept]
    if len(sizes) == 0:
        return None
    order = np.argsort(sizes)
    sizes, cumulated = sizes[order], np.cumsum(weights[order])
    median, low = (sizes[np.searchsorted(cumulated, share * cumulated[-1])] for share in (0.5, 0.1))
    if sizes[-1] < 15 * median or low == 0:
        return None
    # More than eight decades would leave no room for what there is to see.
    return float(10 ** np.floor(np.log10(max(low, sizes[-1] * 1e-8))))


def _edges(low: float, high: float, threshold: float | None) -> Floats:
    if low == high:
        return np.array([low, high])
    if threshold is None:
        return np.linspace(low, high, BINS + 1)
    first, last = _bend(low, threshold), _bend(high, threshold)
    inner = [_unbend(end, threshold) for end in np.linspace(first, last, BINS + 1)[1:-1]]
    return np.array([low, *inner, high])


def _bend(value: float, threshold: float) -> float:
    size = abs(value) / threshold
    bent = size * LINEAR_SCALE if size <= 1 else LINEAR_SCALE + np.log10(size)
    return float(np.copysign(bent, value))


def _unbend(place: float, threshold: float) -> float:
    size = abs(place)
    value = size / LINEAR_SCALE if size <= LINEAR_SCALE else 10 ** (size - LINEAR_SCALE)
    return float(np.copysign(value * threshold, place))
