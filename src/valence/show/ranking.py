"""How well a number finds what is wanted: exact over ties, with intervals over documents.

A legend: [N] items, [T] distinct rewards in ascending order, [G] groups of documents that
are drawn together, [R] resamples, [K] sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from valence.report.annotation_content import Interval
from valence.show.blocks import Flags, Integers
from valence.show.pairs import Floats

FEWEST = 10
"""An interval over fewer groups of documents would promise too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The area under the ROC curve, average precision, the best F1 and where it is reached.

    What is searched for is the lower band: low rewards should find it. `bound` is the smallest
    reward that is no longer taken for it. None where a band is empty.
    """

    auroc: float | None = None
    average_precision: float | None = None
    f1: float | None = None
    bound: float | None = None


class Ranking:
    """Rewards [N] with who is in the lower band [N], sorted once and weighed many times."""

    def __init__(self, rewards: Floats, lower: Flags) -> None:
        self.order = np.argsort(rewards, kind="stable")
        values = rewards[self.order]
        self.lower = lower[self.order].astype(np.float64)
        self.begins_T = np.flatnonzero(np.diff(values, prepend=-np.inf) > 0)
        self.values_T = values[self.begins_T]

    def measure(self, weights: Floats | None = None) -> Found:
        """With each item [N] weighed, or all alike.

        AUROC is the Mann-Whitney statistic, ties counted half; average precision the sum over
        thresholds of precision times the gain in recall.
        """
        if len(self.order) == 0:
            return Found()
        w = np.ones(len(self.order)) if weights is None else weights[self.order]
        hits_T = np.add.reduceat(w * self.lower, self.begins_T)
        all_T = np.add.reduceat(w, self.begins_T)
        hits, taken = np.cumsum(hits_T), np.cumsum(all_T)
        wanted, total = float(hits[-1]), float(taken[-1])
        if wanted in (0, total):
            return Found()
        above_T = (total - wanted) - np.cumsum(all_T - hits_T)
        auroc = hits_T @ (above_T + 0.5 * (all_T - hits_T)) / (wanted * (total - wanted))
        precision = hits / np.maximum(taken, 1e-300)
        # To take everything for the lower band is no bound.
        f1 = (2 * hits / (taken + wanted))[:-1]
        at = int(np.argmax(f1)) if len(f1) else None
        return Found(
            auroc=float(auroc),
            average_precision=float(hits_T @ precision / wanted),
            f1=None if at is None else float(f1[at]),
            bound=None if at is None else float(self.values_T[at + 1]),
        )


def draws(groups: int, resamples: int, seed: int) -> Floats:
    """How often each group is drawn in each resample [R, G]; none for too few groups."""
    if groups < FEWEST:
        return np.zeros((0, groups))
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(float)


def sums_by(group: Integers, *columns: Floats) -> Floats:
    """Sums [G, K] of columns [N] over groups, those without any item left out."""
    found, numbers = np.unique(group, return_inverse=True)
    return np.stack([np.bincount(numbers, c, minlength=len(found)) for c in columns], axis=1)


def bootstrap(
    sums_GK: Floats, statistic: Callable[[Floats], Floats], *, resamples: int, seed: int
) -> Interval:
    """A statistic of sums [R, K] -> [R] over all groups, and when they are drawn whole."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(sums_GK.sum(axis=0, keepdims=True))[0])
        again = statistic(draws(len(sums_GK), resamples, seed) @ sums_GK)
    return spread(value, again)


def spread(value: float | None, resampled: Floats) -> Interval:
    """The middle 95% of what was resampled; none where a tenth or more came to nothing."""
    if value is None or not np.isfinite(value):
        return Interval(value=None)
    finite = resampled[np.isfinite(resampled)]
    if len(finite) == 0 or len(finite) < 0.9 * len(resampled):
        return Interval(value=value)
    low, high = np.quantile(finite, (0.025, 0.975))
    return Interval(value=value, low=float(low), high=float(high))


def correlation(x: Floats, y: Floats, group: Integers, *, resamples: int, seed: int) -> Interval:
    """Pearson's correlation; None where one of the two does not vary."""
    if len(x) == 0 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Interval(value=None)
    a, b = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    sums = sums_by(group, np.ones(len(x)), a, b, a * a, b * b, a * b)
    return bootstrap(sums, _pearson, resamples=resamples, seed=seed)


def _pearson(sums: Floats) -> Floats:
    n, a, b, aa, bb, ab = sums.T
    spread = np.sqrt((n * aa - a * a) * (n * bb - b * b))
    return np.asarray((n * ab - a * b) / spread, dtype=np.float64)
