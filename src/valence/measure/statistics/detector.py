"""Correction for an imperfect detector, whose mistakes were counted on labelled text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from valence.measure.statistics.estimate import (
    CONFIDENCE,
    Estimate,
    Floats,
    Integers,
    estimated,
    nothing,
)
from valence.measure.statistics.intervals import skewed_interval
from valence.measure.statistics.shares import effective_count


def corrected_rate(
    flags: Sequence[float] | Floats,
    *,
    clusters: Sequence[int] | Integers | None = None,
    true_positives: int,
    false_negatives: int,
    false_positives: int,
    true_negatives: int,
) -> Estimate:
    """Rate of what a detector looks for, from its flags [N] of samples (1, or 0 for none).

    The four counts are those of labelled text: what is true, and whether it was flagged. They
    give the detector's sensitivity and specificity, which must be the same on the samples.
    The rate is kept within 0 and 1; its interval holds the variance of the samples and that
    of the labelled text, in closed form; with clusters [N] of samples that of their effective
    number, as in `share_of`. None where `uncorrectable` gives a reason, and where far fewer (or
    more) samples are flagged than the detector's errors alone would flag: then the labelled text
    is not like the samples, and to call the rate 0 with certainty would be wrong.

    Source: Rogan and Gladen 1978; the interval of Lang and Reiczigel 2014 (Preventive
    Veterinary Medicine 113).
    """
    positives, negatives = true_positives + false_negatives, true_negatives + false_positives
    reason = uncorrectable(
        true_positives=true_positives,
        false_negatives=false_negatives,
        false_positives=false_positives,
        true_negatives=true_negatives,
    )
    values = np.asarray(flags, np.float64)
    count = len(values)
    if count == 0 or reason is not None:
        return nothing(count)
    sensitivity, specificity = true_positives / positives, true_negatives / negatives
    flagged, effective = float(values.mean()), effective_count(values, clusters)
    rate = (flagged + specificity - 1) / (sensitivity + specificity - 1)
    interval = _lang_reiczigel(
        flagged * effective, effective, true_positives, positives, true_negatives, negatives
    )
    if interval[0] == interval[1]:
        return nothing(count)
    return estimated(_clipped(rate), interval, count)


def uncorrectable(
    *, true_positives: int, false_negatives: int, false_positives: int, true_negatives: int
) -> str | None:
    """Why a detector with these counts on labelled text corrects nothing; None if it can."""
    positives, negatives = true_positives + false_negatives, true_negatives + false_positives
    if not positives or not negatives:
        return f"the labelled text has no {'negative' if positives else 'positive'} examples"
    if true_positives * negatives + true_negatives * positives <= positives * negatives:
        return "on the labelled text the detector is no better than chance"
    return None


def _lang_reiczigel(
    hits: float,
    count: float,
    true_positives: int,
    positives: int,
    true_negatives: int,
    negatives: int,
) -> tuple[float, float]:
    """Successes and failures are added to all three samples, as Agresti and Coull do to one."""
    normal = float(ndtri((1 + CONFIDENCE) / 2))
    tried = count + normal**2
    flagged = (hits + normal**2 / 2) / tried
    sensitivity = (true_positives + 1) / (positives + 2)
    specificity = (true_negatives + 1) / (negatives + 2)
    power = sensitivity + specificity - 1
    missed = sensitivity * (1 - sensitivity) / (positives + 2)
    wrong = specificity * (1 - specificity) / (negatives + 2)
    if power <= 0:
        return 0.0, 1.0
    rate = (flagged + specificity - 1) / power
    variance = flagged * (1 - flagged) / tried + (1 - rate) ** 2 * wrong + rate**2 * missed
    reach = normal * math.sqrt(variance) / power
    # The mean of a ratio is not the ratio of means.
    centre = rate + 2 * normal**2 * (rate * missed - (1 - rate) * wrong)
    return _clipped(centre - reach), _clipped(centre + reach)


def _clipped(rate: float) -> float:
    return min(max(rate, 0.0), 1.0)


def prediction_powered(
    predicted: Sequence[float] | Floats,
    labelled_predictions: Sequence[float] | Floats,
    labels: Sequence[float] | Floats,
) -> Estimate:
    """Mean label of a population, from predictions of many items [N] and labels of some [n].

    `predicted` are items without labels; `labelled_predictions` and `labels` [n] are of items
    drawn at random from the same population. Predictions count as much as they help: with
    useless ones this is the mean label. `count` is N + n; None without labelled items.
    Raises ValueError where predictions and labels are not as many.

    Source: Angelopoulos et al. 2023, PPI++ (arXiv 2311.01453), section 6.
    """
    many = np.asarray(predicted, np.float64)
    some, truth = np.asarray(labelled_predictions, np.float64), np.asarray(labels, np.float64)
    if len(some) != len(truth):
        raise ValueError(f"{len(some)} predictions for {len(truth)} labels")
    if len(truth) == 0:
        return nothing(len(many))
    if len(truth) == 1 or len(many) == 0:
        value = float(truth.mean())
        return estimated(value, skewed_interval(value, truth - value), len(truth) + len(many))
    every = np.concatenate([many, some])
    spread = float(every.var()) * (1 + len(truth) / len(many))
    shared = float(((some - some.mean()) * (truth - truth.mean())).mean())
    trust = shared / spread if spread > 0 else 0.0
    value = float(trust * many.mean() + (truth - trust * some).mean())
    # Each kind of item moves the value by its mean; scaled so that all have one mean.
    total = len(every)
    errors = truth - trust * some
    influence = np.concatenate(
        [
            (errors - errors.mean()) * total / len(truth),
            trust * (many - many.mean()) * total / len(many),
        ]
    )
    return estimated(value, skewed_interval(value, influence), total)
