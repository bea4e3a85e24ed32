"""Whether probabilities are what they say: Brier score, calibration error, reliability.

Legend: N items, B bins, G clusters. Probabilities are those of `truth` being true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from valence.data import Series
from valence.measure.ranking import (
    Alarm,
    auroc,
    auroc_difference,
    auroc_value,
    pairwise_accuracy,
    threshold_at_false_alarm,
)
from valence.measure.selective import Selective, selective, selective_series
from valence.measure.statistics import Estimate, line, mean, share_of
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
from valence.measure.statistics.intervals import ROUNDING, TAIL

__all__ = [
    "Alarm",
    "Bin",
    "Selective",
    "auroc",
    "auroc_difference",
    "auroc_value",
    "brier",
    "calibration_error",
    "ece",
    "pairwise_accuracy",
    "reliability",
    "reliability_series",
    "selective",
    "selective_series",
    "threshold_at_false_alarm",
]

BINS = 15
FEWEST_IN_BIN = 12
"""Clusters (or items) from which on a bin of the calibration error shows its noise."""
DRAWN = 2000
"""Draws of the bins' noise."""
FARTHEST = 4.0
"""How many times larger than the plain error a true error is looked for."""

Truth = Sequence[bool] | Sequence[int] | npt.NDArray[np.bool_] | Integers
Clusters = Sequence[int] | Integers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Items of similar probability: its mean, and how often they are true."""

    probability: float
    observed: Estimate


def brier(
    probabilities: Sequence[float] | Floats,
    truth: Truth,
    *,
    clusters: Clusters = None,
    resamples: int,
    seed: int,
) -> Estimate:
    """Mean squared distance of probabilities [N] from the truth (0 or 1); lower is better.

    0.25 is what 0.5 everywhere gets. None without items or where one is missing (NaN).
    Source: Brier 1950.
    """
    said, true = _checked(probabilities, truth)
    if len(said) == 0 or np.isnan(said).any():
        return nothing()
    found = mean((said - true) ** 2, clusters=clusters, resamples=resamples, seed=seed)
    # Of a few clusters an interval may reach beyond what there can be.
    return found if found.high is None else replace(found, high=min(found.high, 1.0))


def calibration_error(
    probabilities: Sequence[float] | Floats, truth: Truth, *, bins: int = BINS
) -> float | None:
    """Plain expected calibration error over bins of equal mass; biased upwards.

    The mean over items of their bin's |mean probability - observed frequency|. It is above 0
    for a perfectly calibrated model, by about sqrt(B / N) / 2: `ece` corrects that.
    Source: Naeini et al. 2015; Guo et al. 2017 (arXiv 1706.04599), equation 3.
    """
    said, true = _checked(probabilities, truth)
    if len(said) == 0 or np.isnan(said).any():
        return None
    numbers, filled = equal_mass(said, bins)
    return float(np.abs(sums_by(numbers, said - true, filled)).sum() / len(said))


def ece(
    probabilities: Sequence[float] | Floats,
    truth: Truth,
    *,
    bins: int = BINS,
    clusters: Clusters = None,
    seed: int,
) -> Estimate:
    """Expected calibration error over bins of equal mass, without its bias, with an interval.

    The plain error is what sampling noise leaves of a model without any. So the true error is
    looked for among multiples of the gaps seen (0 times, to 4 times): the value is that at
    which half of the noisy errors would be smaller than the plain one, the interval those at
    which 2.5% to 97.5% would. The noise of the bins is normal, with the covariance of their
    sums over items or clusters [N]. A debiased estimate in the sense of Kumar et al. 2019
    (arXiv 1909.10155); a bootstrap would be biased twice.

    There are at most `bins`, and fewer where a bin would have items of fewer clusters than tell
    how noisy it is (`FEWEST_IN_BIN`); where not even two bins have, the error is not known and
    there is no value, as without items and where one is missing (NaN). There is no interval where
    nothing varies within any bin.
    """
    said, true = _checked(probabilities, truth)
    if len(said) == 0 or np.isnan(said).any():
        return nothing()
    count = len(said)
    owners, groups = numbered(clusters, count)
    found = _known_bins(said, owners, groups, bins)
    if found is None:
        return nothing(count)
    numbers, filled, having_B = found
    gaps_B = sums_by(numbers, said - true, filled) / count
    # A gap is a mean over its bin's items, so what an item adds is counted from that mean.
    sizes_B = np.bincount(numbers, minlength=filled)
    residual_N = (said - true) - (gaps_B * count / sizes_B)[numbers]
    sums_GB = sums_by(owners * filled + numbers, residual_N, groups * filled)
    sums_GB = sums_GB.reshape(groups, filled) / count * np.sqrt(having_B / (having_B - 1))
    covariance_BB = sums_GB.T @ sums_GB
    if np.trace(covariance_BB) <= ROUNDING**2:
        return estimated(float(np.abs(gaps_B).sum()), UNKNOWN, count)
    value, interval = _inverted(gaps_B, covariance_BB, seed)
    return estimated(value, interval, count)


def _known_bins(
    said: Floats, owners: Integers, groups: int, most: int
) -> tuple[Integers, int, Integers] | None:
    """Bins [N], their number, and the clusters in each [B]: as many as have enough clusters."""
    for bins in range(most, 1, -1):
        numbers, filled = equal_mass(said, bins)
        pairs = np.unique(owners * filled + numbers)
        having_B = np.bincount(pairs % filled, minlength=filled)
        if having_B.min() >= FEWEST_IN_BIN:
            return numbers, filled, having_B
    return None


def _inverted(gaps_B: Floats, covariance_BB: Floats, seed: int) -> tuple[float, Interval]:
    """Median-unbiased error and interval, by the noise that multiples of the gaps would have."""
    plain = float(np.abs(gaps_B).sum())
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eigh(covariance_BB)
    noise_RB = rng.normal(size=(DRAWN, len(gaps_B))) * np.sqrt(np.maximum(values, 0)) @ vectors.T

    def at(quantile: float) -> float:
        """The multiple at which this share of noisy errors is below the plain one."""
        low, high = 0.0, FARTHEST
        for _ in range(30):
            middle = (low + high) / 2
            noisy = np.abs(middle * gaps_B + noise_RB).sum(axis=1)
            low, high = (middle, high) if np.mean(noisy < plain) > quantile else (low, middle)
        return low

    return plain * at(0.5), (plain * at(1 - TAIL), plain * at(TAIL))


def reliability(
    probabilities: Sequence[float] | Floats,
    truth: Truth,
    *,
    bins: int = BINS,
    clusters: Clusters = None,
) -> list[Bin]:
    """Bins of equal mass [B] of probabilities [N]; fewer where many items tie.

    The interval of the observed frequency is exact, over clusters [N] that of `share_of`.
    Raises ValueError where a probability is missing (NaN).
    """
    said, true = _checked(probabilities, truth)
    if np.isnan(said).any():
        raise ValueError("a probability is missing (NaN)")
    numbers, filled = equal_mass(said, bins)
    owners = None if clusters is None else np.asarray(clusters)
    return [
        Bin(
            probability=float(said[inside].mean()),
            observed=share_of(true[inside], clusters=None if owners is None else owners[inside]),
        )
        for inside in (numbers == number for number in range(filled))
    ]


def reliability_series(
    probabilities: Sequence[float] | Floats,
    truth: Truth,
    *,
    name: str,
    model: str,
    mode: str,
    seed: int,
    bins: int = BINS,
    clusters: Clusters = None,
) -> Series:
    """A reliability plot: observed frequency (y) by mean probability (x) of each bin."""
    found = reliability(probabilities, truth, bins=bins, clusters=clusters)
    places, estimates = [each.probability for each in found], [each.observed for each in found]
    return line("reliability", name, places, estimates, model=model, mode=mode, seed=seed)


def equal_mass(scores: Floats, bins: int) -> tuple[Integers, int]:
    """Each item's bin [N] of about as many items each, ties together, numbered from 0 without
    gaps; and how many bins have items."""
    if len(scores) == 0:
        return np.zeros(0, np.int64), 0
    place = (rankdata(scores) - 0.5) / len(scores)
    coarse = np.floor(place * bins).astype(np.int64)
    names, numbers = np.unique(coarse, return_inverse=True)
    return numbers.astype(np.int64), len(names)


def _checked(probabilities: Sequence[float] | Floats, truth: Truth) -> tuple[Floats, Floats]:
    said, true = np.asarray(probabilities, np.float64), np.asarray(truth, np.float64)
    if len(said) != len(true):
        raise ValueError(f"{len(said)} probabilities for {len(true)} truths")
    return said, true
