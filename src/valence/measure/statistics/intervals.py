"""Intervals of a mean or a ratio whose items may be skewed: mostly 0, or with a long tail.

Legend: G items that are drawn whole (samples, or clusters of them), R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.special import stdtrit

from valence.measure.statistics.estimate import CONFIDENCE, UNKNOWN, Floats, Interval

FEWEST_DRAWN = 10
"""Of fewer items no resamples are drawn."""
MOST_DRAWN = 2048
"""With more items than this the correction for skewness does what resampling would."""
DEGENERATE = 0.001
"""Share of resamples without any variance from which on the bootstrap is not used."""
ROUNDING = 1e-12
"""Of what is this much smaller nothing is left but rounding; of squares, its root."""
TAIL = (1 - CONFIDENCE) / 2


Side = tuple[float, Floats, Floats]
"""A ratio in a sum of ratios: its sign, and top and bottom of each item [G]."""


def student_quantile(items: int) -> float:
    """The 97.5% point of Student's t for a mean of so many items."""
    return float(stdtrit(items - 1, 1 - TAIL))


def skewed_interval(value: float, influence_G: Floats) -> Interval:
    """Interval of a statistic from the influence of each item, corrected for skewness.

    `influence_G` [G] sums to 0; the error of `value` is about its mean. Student's t, and
    Hall's transformation, which undoes the skewness of t to the second order. None where no
    item differs.

    Source: Hall 1992, On the Removal of Skewness by Transformation (JRSS B 54).
    """
    count = len(influence_G)
    squares = float((influence_G**2).sum())
    if count < 2 or squares <= 0:
        return UNKNOWN
    error = math.sqrt(squares / (count * (count - 1)))
    skewness = float((influence_G**3).sum()) / squares**1.5
    reach = student_quantile(count)
    return (
        value - error * _unskewed(reach, skewness),
        value - error * _unskewed(-reach, skewness),
    )


def _unskewed(quantile: float, skewness: float) -> float:
    """Inverse of Hall's transformation; `skewness` is that of the items over sqrt(G)."""
    if abs(skewness) < ROUNDING:
        return quantile
    cube = 1 + skewness * (quantile - skewness / 6)
    return 3 * (math.copysign(abs(cube) ** (1 / 3), cube) - 1) / skewness


def ratio_interval(top_G: Floats, bottom_G: Floats, *, resamples: int, seed: int) -> Interval:
    """Bootstrap-t interval of the ratio of the sums of `top_G` and `bottom_G` (positive).

    Resamples whose items are all alike have no t. Where they are more than a few (nearly
    all items are 0), and where there are very many items or a handful (of which a resample
    may be nearly all alike, and its t without bound), `skewed_interval` stands in.

    Source: Efron and Tibshirani 1993, section 12.5; the error of a ratio by linearisation.
    """
    return ratios_interval([(1.0, top_G, bottom_G)], resamples=resamples, seed=seed)


def ratios_interval(sides: Sequence[Side], *, resamples: int, seed: int) -> Interval:
    """`ratio_interval` of a sum of ratios over the same items, each with its sign."""
    count = len(sides[0][1])
    if count < 2:
        return UNKNOWN
    value, moved_G = 0.0, np.zeros(count)
    residuals: list[Side] = []
    size = 0.0
    for sign, top_G, bottom_G in sides:
        ratio = float(top_G.sum() / bottom_G.sum())
        residual_G = top_G - ratio * bottom_G
        value += sign * ratio
        moved_G += sign * residual_G / bottom_G.mean()
        residuals.append((sign, residual_G, bottom_G))
        largest = max(float(np.abs(top_G).max()), abs(ratio) * float(bottom_G.max()))
        size = max(size, largest / float(bottom_G.mean()))
    if float(np.abs(moved_G).max()) <= ROUNDING * size:
        return UNKNOWN
    by_formula = skewed_interval(value, moved_G)
    if not FEWEST_DRAWN <= count <= MOST_DRAWN:
        return by_formula
    shift_R, error_R = _resampled(residuals, resamples, seed)
    error = math.sqrt(float((moved_G**2).sum())) / count
    varied_R = error_R > math.sqrt(ROUNDING) * error
    if np.mean(~varied_R) > DEGENERATE:
        return by_formula
    low, high = np.quantile(shift_R[varied_R] / error_R[varied_R], [TAIL, 1 - TAIL])
    return value - error * float(high), value - error * float(low)


def _resampled(residuals: Sequence[Side], resamples: int, seed: int) -> tuple[Floats, Floats]:
    """How far the value moves in each resample [R], and its standard error there [R]."""
    parts = [each for _, residual_G, bottom_G in residuals for each in (residual_G, bottom_G)]
    pairs = [(one, other) for one in range(len(parts)) for other in range(one + 1)]
    products = [parts[one] * parts[other] for one, other in pairs]
    counts_RG = draws(len(parts[0]), resamples, seed)
    sums_RK = counts_RG @ np.stack([*parts, *products], axis=1)
    squares = {pair: sums_RK[:, len(parts) + number] for number, pair in enumerate(pairs)}
    # What an item moves the value by in a resample: these multiples of its residuals and bottoms.
    weights: list[Floats] = []
    shift_R = np.zeros(resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        for side, (sign, _, _) in enumerate(residuals):
            residual_R, bottom_R = sums_RK[:, 2 * side], sums_RK[:, 2 * side + 1]
            shift_R += sign * residual_R / bottom_R
            weights += [sign / bottom_R, -sign * residual_R / bottom_R**2]
        spread_R = np.zeros(resamples)
        for (one, other), sums_R in squares.items():
            spread_R += (1 if one == other else 2) * weights[one] * weights[other] * sums_R
        error_R = np.sqrt(np.maximum(spread_R, 0))
    # A resample in which all denominators are 0 has no ratio.
    return np.nan_to_num(shift_R), np.nan_to_num(error_R)


@lru_cache(maxsize=2)
def draws(groups: int, resamples: int, seed: int) -> Floats:
    """How often each of G items is drawn in each resample [R, G]. Kept: metrics share it."""
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, groups))
    for row in counts:
        row[:] = np.bincount(rng.integers(0, groups, groups), minlength=groups)
    counts.flags.writeable = False
    return counts
