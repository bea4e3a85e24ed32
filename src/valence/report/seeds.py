"""Several trainings of one model: their mean, and two kinds of variance kept apart.

Between seeds: what another training would change, by Student's t over the seeds, and never less
than what other samples would. Within a seed: what other samples would change, from the intervals
of each measurement. A bootstrap of seeds and then of samples in them is not used: of 3 seeds it
covers far too little, as resamples of 3 hold about 2 (`tests/measure/test_coverage.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

from scipy.special import stdtrit

from valence.data import Measurement

CONFIDENCE = 0.95
SHARES = (
    "auroc",
    "accuracy",
    "_at_95",
    "_brier",
    "_ece",
    "_share",
    "_hits",
    "distinct_2",
    "ends_in_loop",
)
"""Endings of metrics that are at most 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One metric of one model and mode, over its seeds.

    `value` is the mean over the `seeds` that have a value, None if there is none; `missing`
    have none. `low` and `high` are the 95% interval: with several seeds that of the mean over
    seeds (`over_seeds`), with one that over its samples.
    `deviation` is the standard deviation between seeds (n - 1), None for fewer than two.
    `sample` is the mean half-width of the intervals within seeds, None if they have none.
    `failures` are items left out, in all seeds together.
    """

    value: float | None
    low: float | None
    high: float | None
    seeds: int
    missing: int
    deviation: float | None
    sample: float | None
    failures: int


def summarise(rows: Sequence[Measurement]) -> Summary:
    """One metric of one model and mode over its seeds, one row a seed."""
    found = [row for row in rows if row.value is not None]
    values = [row.value for row in found if row.value is not None]
    ends = [(r.low, r.high) for r in found if r.low is not None and r.high is not None]
    widths = [(high - low) / 2 for low, high in ends]
    low = high = deviation = None
    if len(values) == 1:
        low, high = found[0].low, found[0].high
    elif values:
        deviation = standard_deviation(values)
        low, high = _possible(found, *over_seeds(values, [(r.low, r.high) for r in found]))
    return Summary(
        value=sum(values) / len(values) if values else None,
        low=low,
        high=high,
        seeds=len(values),
        missing=len(rows) - len(values),
        deviation=deviation,
        sample=sum(widths) / len(widths) if widths else None,
        failures=sum(row.failures for row in rows),
    )


def _possible(rows: Sequence[Measurement], low: float, high: float) -> tuple[float, float]:
    """An interval over seeds within what the metric can be: of two seeds t reaches far.

    A difference of modes (`good-bad`) can be anything.
    """
    if "-" in rows[0].mode or any(row.low is None or row.low < 0 for row in rows):
        return low, high
    base = rows[0].metric.partition("@")[0]
    share = base.endswith(SHARES) and all(row.high is not None and row.high <= 1 for row in rows)
    return max(low, 0.0), min(high, 1.0) if share else high


def standard_deviation(values: Sequence[float]) -> float:
    """Of two values or more, with n - 1."""
    mean = sum(values) / len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the mean of two values or more, by Student's t with n - 1 degrees."""
    count = len(values)
    mean = sum(values) / count
    reach = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * standard_deviation(values)
    return mean - reach / sqrt(count), mean + reach / sqrt(count)


def over_seeds(
    values: Sequence[float], within: Sequence[tuple[float | None, float | None]]
) -> tuple[float, float]:
    """`mean_interval` of two seeds or more, never narrower than over samples.

    Seeds may agree by chance, and two often do. `within` are the intervals of the seeds, whose
    samples are independent, so their reaches add as variances do; a seed without one adds none.
    """
    mean = sum(values) / len(values)
    known = [
        (value - low, high - value)
        for value, (low, high) in zip(values, within, strict=True)
        if low is not None and high is not None
    ]
    down, up = (hypot(*(reach[side] for reach in known)) / len(values) for side in (0, 1))
    low, high = mean_interval(values)
    return min(low, mean - down), max(high, mean + up)


def by_seed(
    rows: Sequence[Measurement],
) -> dict[tuple[str, str, str], list[Measurement]]:
    """Rows of results by (model, mode, metric), in the order of the rows."""
    found: dict[tuple[str, str, str], list[Measurement]] = {}
    for row in rows:
        found.setdefault((row.model, row.mode, row.metric), []).append(row)
    return found
