"""How faithful a student is to its teacher, on documents that neither fit nor calibration saw.

All intervals are 95% percentile bootstraps over documents, drawn whole. "Below" means a
reward below the bound: the band that the student must find.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from valence.data import Measurement
from valence.distill.examples import Split
from valence.show.ranking import Ranking, draws, spread

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

RESAMPLES = 300
BINS = 10

METRICS = {
    "auroc_at_bound": "AUROC of the student's number for the teacher's lower band",
    "spearman": "Spearman's correlation with the teacher",
    "precision": "of the student's lower band, the share that is in the teacher's",
    "recall": "of the teacher's lower band, the share that is in the student's",
    "f1": "harmonic mean of precision and recall",
    "precision_matched": "precision, with the student's bound where its band is as large as"
    " the teacher's was on the calibration split",
    "recall_matched": "recall, with that bound",
    "f1_matched": "F1, with that bound",
    "share_below_teacher": "share of segments below the bound, by the teacher",
    "share_below_student": "share of segments below the bound, by the student",
    "squared_error": "mean squared difference of the rewards; the Brier score where the teacher"
    " says 0 or -1",
    "calibration_error": "mean distance of predicted and actual mean reward over ten bins",
}
"""Every metric, and what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Segments whose predictions are next to each other: their range, means and number."""

    low: float
    high: float
    predicted: float
    teacher: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """How the student's rewards spread: counts between `edges` by the teacher's band."""

    edges: tuple[float, ...]
    below: tuple[int, ...]
    others: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A student's rewards [N] and its teacher's [N], with the document of each segment [N]."""

    student: Floats
    teacher: Floats
    documents: Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Megabytes (1e6 bytes of UTF-8) per core-second; None where it is not known."""

    student: float | None
    teacher: float | None

    @property
    def ratio(self) -> float | None:
        """How many times faster the student is."""
        if self.student is None or not self.teacher:
            return None
        return self.student / self.teacher


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """A student's fidelity. `segments`, `documents` and `failures` are by split; failures are
    the segments without a teacher's reward, which were left out.
    """

    student: str
    teacher: str
    name: str
    meaning: str
    kind: str
    bound: float
    matched_bound: float
    seed: int
    measurements: tuple[Measurement, ...]
    reliability: tuple[Bin, ...]
    bands: Bands
    segments: dict[Split, int]
    documents: dict[Split, int]
    failures: dict[Split, int]
    throughput: Throughput
    facts: dict[str, Any]

    def value(self, metric: str) -> float | None:
        """One metric's value; None where it could not be measured."""
        return next(m.value for m in self.measurements if m.metric == metric)

    def plain(self) -> dict[str, Any]:
        """The whole of it as plain data, for JSON."""
        found = asdict(self)
        found["throughput"]["ratio"] = self.throughput.ratio
        found["metrics"] = METRICS
        return found


Metric = Callable[[Floats], float | None]
"""From the weight of each segment [N] to a number."""


def compare(
    compared: Compared,
    *,
    bound: float,
    matched_bound: float,
    failures: int,
    seed: int,
    mode: str,
    resamples: int = RESAMPLES,
) -> tuple[Measurement, ...]:
    """Every metric of `METRICS` with its interval; None for what cannot be measured."""
    numbers = np.unique(compared.documents, return_inverse=True)[1]
    drawn = draws(int(numbers.max(initial=-1)) + 1, resamples, seed)
    found = []
    for name, metric in _metrics(compared, bound, matched_bound).items():
        value = metric(np.ones(len(numbers)))
        again = [metric(weights[numbers]) for weights in drawn]
        interval = spread(value, np.array([np.nan if one is None else one for one in again]))
        found.append(
            Measurement(
                model="student",
                mode=mode,
                metric=name,
                value=interval.value,
                low=interval.low,
                high=interval.high,
                count=len(numbers),
                failures=failures,
                seed=seed,
            )
        )
    return tuple(found)


def _metrics(compared: Compared, bound: float, matched: float) -> dict[str, Metric]:
    x, y = compared.student, compared.teacher
    lower = y < bound
    ranking = Ranking(x, lower)
    error = (x - y) ** 2
    bins = _bins(x)
    at_bound = _detection(x < bound, lower)
    at_matched = _detection(x < matched, lower)
    return {
        "auroc_at_bound": lambda w: ranking.measure(w).auroc,
        "spearman": _correlation(rankdata(x), rankdata(y)),
        **at_bound,
        **{f"{name}_matched": metric for name, metric in at_matched.items()},
        "share_below_teacher": lambda w: _mean(lower, w),
        "share_below_student": lambda w: _mean(x < bound, w),
        "squared_error": lambda w: _mean(error, w),
        "calibration_error": lambda w: _calibration_error(x, y, bins, w),
    }


def _mean(values: npt.NDArray[Any], weights: Floats) -> float | None:
    total = weights.sum()
    return float(values @ weights / total) if total else None


def _detection(said: Flags, true: Flags) -> dict[str, Metric]:
    both = said & true

    def precision(w: Floats) -> float | None:
        return _ratio(w[both].sum(), w[said].sum())

    def recall(w: Floats) -> float | None:
        return _ratio(w[both].sum(), w[true].sum())

    def f1(w: Floats) -> float | None:
        return _ratio(2 * w[both].sum(), w[said].sum() + w[true].sum())

    return {"precision": precision, "recall": recall, "f1": f1}


def _ratio(top: float, bottom: float) -> float | None:
    return float(top / bottom) if bottom else None


def _correlation(x: Floats, y: Floats) -> Metric:
    """Weighted correlation of ranks among all segments; the ranks stay as a resample is drawn."""

    def metric(w: Floats) -> float | None:
        total = w.sum()
        if total == 0:
            return None
        a, b = x - x @ w / total, y - y @ w / total
        size = np.sqrt((w @ (a * a)) * (w @ (b * b)))
        return float(w @ (a * b) / size) if size > 0 else None

    return metric


def _bins(x: Floats) -> Integers:
    """The bin of each segment [N]: ten of equal count; equal numbers are never parted."""
    edges = np.unique(np.quantile(x, np.arange(1, BINS) / BINS))
    return np.searchsorted(edges, x, side="right")


def _calibration_error(x: Floats, y: Floats, bins: Integers, w: Floats) -> float | None:
    total = w.sum()
    if total == 0:
        return None
    return float(np.abs(np.bincount(bins, w * (x - y))).sum() / total)


def reliability(compared: Compared) -> tuple[Bin, ...]:
    """Predicted against actual mean rewards, over up to ten bins of about equal count."""
    bins = _bins(compared.student)
    found = []
    for number in np.unique(bins):
        x, y = compared.student[bins == number], compared.teacher[bins == number]
        found.append(
            Bin(
                low=float(x.min()),
                high=float(x.max()),
                predicted=float(x.mean()),
                teacher=float(y.mean()),
                count=len(x),
            )
        )
    return tuple(found)


def bands(compared: Compared, bound: float) -> Bands:
    """The student's rewards in 40 equal steps, by the teacher's band."""
    edges = np.histogram_bin_edges(compared.student, bins=40)
    lower = compared.teacher < bound
    counts = [np.histogram(compared.student[side], edges)[0] for side in (lower, ~lower)]
    return Bands(
        edges=tuple(edges.tolist()),
        below=tuple(counts[0].tolist()),
        others=tuple(counts[1].tolist()),
    )
