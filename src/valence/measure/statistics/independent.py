"""The difference of two numbers that were measured apart, from their intervals alone."""

from __future__ import annotations

from math import hypot
from typing import Protocol

from valence.measure.statistics.estimate import UNKNOWN, Estimate, Interval


class Valued(Protocol):
    """A value with its 95% interval: an `Estimate`, or a row of results."""

    @property
    def value(self) -> float | None: ...

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...

    @property
    def count(self) -> int: ...


def independent_difference(one: Valued, other: Valued) -> Estimate:
    """`one` less `other`, its interval from both of theirs: the reaches add as variances do.

    So a skewed interval stays skewed, and that of a share of 0 says what it can. Without an
    interval where one of them has none, without a value where one has none. Of two numbers
    that stand on the same items, and so vary together, it is too wide: `paired_ratios` knows.

    Source: Zou and Donner 2008 (Statistics in Medicine 27, MOVER); of two shares Newcombe 1998
    (Statistics in Medicine 17), method 10.
    """
    count = one.count + other.count
    if one.value is None or other.value is None:
        return Estimate(value=None, low=None, high=None, count=count)
    gap = one.value - other.value
    low, high = _moved(one, other, gap)
    return Estimate(value=gap, low=low, high=high, count=count)


def _moved(one: Valued, other: Valued, gap: float) -> Interval:
    if one.value is None or one.low is None or one.high is None:
        return UNKNOWN
    if other.value is None or other.low is None or other.high is None:
        return UNKNOWN
    low = gap - hypot(one.value - one.low, other.high - other.value)
    high = gap + hypot(one.high - one.value, other.value - other.low)
    return low, high
