"""How well scores tell true from false: AUROC, pairs, and a threshold for an alarm.

Legend: N items, P positive and M negative ones among them, G clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri, stdtrit
from scipy.stats import rankdata

from valence.measure.statistics import Estimate, share_of
from valence.measure.statistics.estimate import (
    UNKNOWN,
    Floats,
    Integers,
    Interval,
    estimated,
    nothing,
    numbered,
    sums_by,
)
from valence.measure.statistics.intervals import TAIL

Scores = Sequence[float] | Floats
Truth = Sequence[bool] | Sequence[int] | npt.NDArray[np.bool_] | Integers
Clusters = Sequence[int] | Integers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A threshold: items with at least that score are flagged.

    `false_alarms` is the share of negatives flagged, `detected` that of positives.
    """

    threshold: float
    false_alarms: Estimate
    detected: Estimate


def auroc_value(scores: Scores, truth: Truth) -> float | None:
    """Chance that a positive item scores above a negative one, ties by half.

    None where only one kind is there, or where a score is missing (NaN).
    """
    found = _places(scores, truth)
    return None if found is None else _area(*found)


def auroc(scores: Scores, truth: Truth, *, clusters: Clusters = None) -> Estimate:
    """Area under the ROC curve of `scores` [N] for `truth` [N], with an interval.

    The interval is over items or, with `clusters` [N] such as documents, over those: the
    variance by structural components, on the logit scale, without resampling. Where
    scores separate perfectly nothing varies; the interval is then the parametric one of
    Newcombe, with clusters in the place of items. There is none where all scores tie, and where
    all items of a kind are of one cluster (or are one): how others would vary, nothing tells.
    None as in `auroc_value`, and then of 0 items.

    Source: DeLong et al. 1988; clusters as in Obuchowski 1997 (Biometrics 53); Newcombe 2006
    (Statistics in Medicine 25), method 5.
    """
    found = _places(scores, truth)
    if found is None:
        return nothing()
    value, (true, above_N) = _area(*found), found
    numbers, groups = numbered(clusters, len(true))
    kinds = len(np.unique(numbers[true])), len(np.unique(numbers[~true]))
    if min(kinds) < 2:
        return estimated(value, UNKNOWN, len(true))
    error, reach = _error(value, true, above_N, numbers, groups)
    if error > 0 and 0 < value < 1:
        away = reach * error / (value * (1 - value))
        low, high = expit(logit(value) - away), expit(logit(value) + away)
        return estimated(value, (float(low), float(high)), len(true))
    return estimated(value, _newcombe(value, *kinds), len(true))


def auroc_difference(
    scores: Scores, other: Scores, truth: Truth, *, clusters: Clusters = None
) -> Estimate:
    """AUROC of `scores` [N] less that of `other` [N], of the same items.

    The interval is over items or `clusters` [N], by structural components of both: what makes
    an item hard for both judges is no part of it. None as in `auroc`; without an interval
    where both rank alike.

    Source: DeLong et al. 1988 (Biometrics 44), equation 6; clusters as in Obuchowski 1997.
    """
    one, two = _places(scores, truth), _places(other, truth)
    if one is None or two is None:
        return nothing()
    true, beaten_N = one[0], one[1] - two[1]
    value = _area(true, beaten_N)
    numbers, groups = numbered(clusters, len(true))
    if min(len(np.unique(numbers[kind])) for kind in (true, ~true)) < 2:
        return estimated(value, UNKNOWN, len(true))
    error, reach = _error(value, true, beaten_N, numbers, groups)
    ends = (max(value - reach * error, -1.0), min(value + reach * error, 1.0))
    return estimated(value, ends if error > 0 else UNKNOWN, len(true))


def _places(scores: Scores, truth: Truth) -> tuple[npt.NDArray[np.bool_], Floats] | None:
    """Truth, and the share of the other kind that each item beats [N]: positives above it."""
    values, true = np.asarray(scores, np.float64), np.asarray(truth, np.bool_)
    if len(values) != len(true):
        raise ValueError(f"{len(values)} scores for {len(true)} truths")
    positives = int(true.sum())
    if positives in (0, len(true)) or np.isnan(values).any():
        return None
    ranks = rankdata(values)
    beaten = np.empty(len(values))
    beaten[true] = (ranks[true] - rankdata(values[true])) / (len(true) - positives)
    beaten[~true] = 1 - (ranks[~true] - rankdata(values[~true])) / positives
    return true, beaten


def _area(true: npt.NDArray[np.bool_], beaten: Floats) -> float:
    return float(beaten[true].mean())


def _error(
    value: float,
    true: npt.NDArray[np.bool_],
    above_N: Floats,
    numbers: Integers,
    groups: int,
) -> tuple[float, float]:
    """Standard error of an area, and its quantile of t by Satterthwaite's degrees of freedom.

    Both kinds have two clusters or more.
    """
    parts, variances, degrees = [], [], []
    for kind in (true, ~true):
        part_N = np.where(kind, (above_N - value) / int(kind.sum()), 0.0)
        having = len(np.unique(numbers[kind]))
        parts.append(sums_by(numbers, part_N, groups) * math.sqrt(having / (having - 1)))
        variances.append(float((parts[-1] ** 2).sum()))
        degrees.append(having - 1)
    total = float(((parts[0] + parts[1]) ** 2).sum())
    if total <= 0:
        return 0.0, 0.0
    uncertain = sum(v**2 / d for v, d in zip(variances, degrees, strict=True))
    freedom = min(max(sum(variances) ** 2 / uncertain, 1.0), groups - 1.0)
    return math.sqrt(total), float(stdtrit(freedom, 1 - TAIL))


def _newcombe(value: float, positives: int, negatives: int) -> Interval:
    """The interval of an area of 1 (or 0): to where its standard error would explain 1."""
    reach = float(ndtri(1 - TAIL))
    others = (positives + negatives) / 2 - 1

    def too_low(area: float) -> bool:
        both = area / (2 - area) + 2 * area**2 / (1 + area) - 2 * area**2
        variance = (area * (1 - area) + others * both) / (positives * negatives)
        return 1 - area > reach * math.sqrt(variance)

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if too_low(middle) else (low, middle)
    if 0 < value < 1:
        return UNKNOWN  # All items tie, or such: nothing varies.
    return (low, 1.0) if value == 1 else (0.0, 1 - low)


def pairwise_accuracy(preferred: Scores, other: Scores, *, clusters: Clusters = None) -> Estimate:
    """Share of pairs [N] in which the preferred text scores higher, ties by half.

    The interval is the exact binomial one, with `clusters` [N] (such as one prompt's pairs)
    that of `share_of`. Pairs with a missing score (NaN) are left out of the count.
    """
    first, second = np.asarray(preferred, np.float64), np.asarray(other, np.float64)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} scores and {len(second)} are no pairs")
    known = ~(np.isnan(first) | np.isnan(second))
    wins = (np.sign(first[known] - second[known]) + 1) / 2
    numbers = None if clusters is None else np.asarray(clusters)[known]
    return share_of(wins, clusters=numbers)


def threshold_at_false_alarm(
    scores: Scores, truth: Truth, rate: float, *, clusters: Clusters = None
) -> Alarm | None:
    """The lowest threshold at which at most `rate` of the negatives are flagged.

    It may be infinite, and then nothing is flagged. None without negatives, or where a score
    is missing (NaN). On the text it was chosen on, `false_alarms` is at most `rate` by
    construction: apply the threshold to other text to know its rate.
    """
    values, true = np.asarray(scores, np.float64), np.asarray(truth, np.bool_)
    if true.all() or np.isnan(values).any():
        return None
    negatives = np.sort(values[~true])[::-1]
    # The first negative that may not be flagged; an equal score would flag it too.
    allowed = int(rate * len(negatives) + 1e-9)
    bound = negatives[allowed] if allowed < len(negatives) else -np.inf
    above = values[values > bound]
    flagged = values > bound
    groups = None if clusters is None else np.asarray(clusters)
    kinds = [
        share_of(
            flagged[kind].astype(np.float64), clusters=None if groups is None else groups[kind]
        )
        for kind in (~true, true)
    ]
    return Alarm(
        threshold=float(above.min()) if len(above) else math.inf,
        false_alarms=kinds[0],
        detected=kinds[1],
    )
