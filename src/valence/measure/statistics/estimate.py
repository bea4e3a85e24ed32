"""A number with its 95% interval, and what it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from valence.data import Measurement, Series

CONFIDENCE = 0.95

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Interval = tuple[float, float] | tuple[None, None]
UNKNOWN: Interval = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95% interval and the number of items; None where there is none.

    A value without an interval stands on items that say nothing of how it varies: a single
    one, or many that are all equal.
    """

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


def line(
    kind: str,
    name: str,
    x: Sequence[float],
    estimates: Sequence[Estimate],
    *,
    model: str,
    mode: str,
    seed: int,
) -> Series:
    """Estimates at places `x` as a line to draw; see `valence.data.Series`."""
    return Series(
        kind=kind,
        name=name,
        model=model,
        mode=mode,
        seed=seed,
        x=tuple(x),
        y=tuple(each.value for each in estimates),
        low=tuple(each.low for each in estimates),
        high=tuple(each.high for each in estimates),
        count=tuple(each.count for each in estimates),
    )


def nothing(count: int = 0) -> Estimate:
    """No value, of so many items."""
    return Estimate(value=None, low=None, high=None, count=count)


def estimated(value: float, interval: Interval, count: int) -> Estimate:
    """A value and its interval."""
    return Estimate(value=value, low=interval[0], high=interval[1], count=count)


def sums_by(numbers: Integers, values: Floats, groups: int) -> Floats:
    """Sums [G] of values [N] over numbered clusters."""
    return np.bincount(numbers, values, groups).astype(np.float64)


def numbered(clusters: Sequence[int] | Integers | None, count: int) -> tuple[Integers, int]:
    """Each item's cluster as a number from 0 on [N], and how many clusters there are.

    Without clusters every item is its own. Raises ValueError where not every item has one.
    """
    if clusters is None:
        return np.arange(count), count
    if len(clusters) != count:
        raise ValueError(f"{len(clusters)} clusters for {count} items")
    names, numbers = np.unique(np.asarray(clusters), return_inverse=True)
    return numbers.astype(np.int64), len(names)
