"""Estimates with 95% intervals. Nothing measured is None, never 0.

Intervals are over the items given (samples or documents); they hold no variance between
training seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from valence.data import Measurement

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95% interval and the number of items; None where there is none."""

    value: float | None
    low: float | None
    high: float | None
    count: int

    def measurement(
        self, *, model: str, mode: str, metric: str, failures: int, seed: int
    ) -> Measurement:
        """The estimate as a row of results."""
        return Measurement(
            model=model,
            mode=mode,
            metric=metric,
            value=self.value,
            low=self.low,
            high=self.high,
            count=self.count,
            failures=failures,
            seed=seed,
        )


def ratio(
    numerators: Sequence[float], denominators: Sequence[float], *, resamples: int, seed: int
) -> Estimate:
    """Ratio of sums over items [N], with a percentile bootstrap interval over items.

    For instance violations per character over samples of different lengths. Items are
    drawn whole. None without items or with a denominator that sums to 0.
    """
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.asarray(denominators, dtype=np.float64)
    count = len(top)
    if count == 0 or bottom.sum() == 0:
        return Estimate(value=None, low=None, high=None, count=count)
    value = float(top.sum() / bottom.sum())
    if count == 1:
        return Estimate(value=value, low=None, high=None, count=count)

    def statistic(x: Any, y: Any, axis: int = -1) -> npt.NDArray[np.float64]:
        quotient: npt.NDArray[np.float64] = x.sum(axis=axis) / y.sum(axis=axis)
        return quotient

    interval = stats.bootstrap(
        (top, bottom),
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        confidence_level=CONFIDENCE,
        method="percentile",
        batch=250,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value=value, low=float(interval.low), high=float(interval.high), count=count)


def mean(values: Sequence[float], *, resamples: int, seed: int) -> Estimate:
    """Mean over items [N] with a percentile bootstrap interval."""
    return ratio(values, [1.0] * len(values), resamples=resamples, seed=seed)


def clustered(
    statistic: Callable[[npt.NDArray[np.int64]], float | None],
    clusters: npt.NDArray[np.int64],
    *,
    resamples: int,
    seed: int,
) -> Estimate:
    """Any statistic of items with a percentile bootstrap interval over clusters of them.

    `clusters` [N] names each item's cluster, for instance its document; `statistic` takes
    the numbers of items, some of them several times. `count` is that of the items.
    """
    count = len(clusters)
    value = statistic(np.arange(count)) if count else None
    names = np.unique(clusters)
    if value is None or len(names) < 2:
        return Estimate(value=value, low=None, high=None, count=count)
    order = np.argsort(clusters, kind="stable")
    members = np.split(order, np.searchsorted(clusters[order], names[1:]))
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(resamples):
        drawn = rng.integers(0, len(names), len(names))
        one = statistic(np.concatenate([members[index] for index in drawn]))
        if one is not None:
            seen.append(one)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(seen, [tail, 1 - tail]) if seen else (None, None)
    return Estimate(
        value=value,
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        count=count,
    )


def share(hits: int, count: int) -> Estimate:
    """Share of hits with the exact binomial interval (Clopper and Pearson 1934).

    A bootstrap of 0 hits would claim certainty; the exact interval does not.
    """
    if count == 0:
        return Estimate(value=None, low=None, high=None, count=0)
    interval = stats.binomtest(hits, count).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(
        value=hits / count, low=float(interval.low), high=float(interval.high), count=count
    )
