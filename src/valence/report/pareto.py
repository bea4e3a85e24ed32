"""Which points no other beats, and what the best is for a price."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
BUDGETS = (1.25, 1.5, 2.0, 3.0, 5.0)
"""Tokens through the model for each token of text within which the best setting is looked for."""


def beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether one point is at least as good in all its values, lower is better, and better in one.

    Source: Pareto dominance, as in Emmerich and Deutz 2018 (Natural Computing 17), section 3.
    """
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def unbeaten(points: Mapping[Key, Sequence[float]]) -> list[Key]:
    """The points that no other beats, in their order: the front. Lower is better in each value."""
    return [key for key, own in points.items() if not any(beats(p, own) for p in points.values())]


def stairs(points: Mapping[Key, tuple[float, float]]) -> list[Key]:
    """Of points (price, value), the cheapest first, those that are better than all cheaper ones.

    Of equal points the first one alone.
    """
    found: list[Key] = []
    for key in sorted(points, key=lambda key: points[key]):
        if not found or points[key][1] < points[found[-1]][1]:
            found.append(key)
    return found


def best_within(points: Mapping[Key, tuple[float, float]], price: float) -> Key | None:
    """The best of the points (price, value) that cost no more; None where all cost more."""
    steps = [key for key in stairs(points) if points[key][0] <= price]
    return steps[-1] if steps else None
