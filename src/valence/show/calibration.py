"""A scorer against labels: what a reward is worth, and where a bound would stand best."""

from __future__ import annotations

import numpy as np

from valence.annotate.read import Annotation
from valence.report.annotation_content import Calibration, Detection, Interval, Reliability
from valence.report.bound import Bound
from valence.show.blocks import Flags, Integers
from valence.show.bounds import resolve_bound
from valence.show.pairs import Floats, Pairs, read_pairs
from valence.show.ranking import Ranking, bootstrap, draws, spread, sums_by

RESAMPLES = 200
BINS = 10


def calibrate(
    annotation: Annotation,
    name: str,
    labels: str,
    *,
    bound: Bound | None = None,
    seed: int = 0,
) -> Calibration:
    """One scorer's rewards against labels, which are the rewards of another.

    `bound` parts the labels into two bands; by default their highest value is the upper one
    if there are but two, and otherwise the better half. Detection is measured on all segments,
    and on those held out if there are both. From a seeded sample where there are more than
    `pairs.SAMPLE`. Raises `MissingFileError` and `BoundError`.
    """
    pairs = read_pairs(annotation, name, labels, seed=seed)
    if bound is None:
        values = np.unique(pairs.y)
        two = len(values) == 2
        bound = Bound(reward=float(values[1])) if two else Bound(best=0.5)
    at = resolve_bound(annotation, labels, bound)
    splits = {"all": np.ones(len(pairs.x), dtype=np.bool_)}
    if 0 < pairs.held_out.sum() < len(pairs.held_out):
        splits["held out"] = pairs.held_out
    return Calibration(
        name=name,
        labels=labels,
        bound=at,
        sampled=pairs.sampled,
        reliability=_reliability(pairs, seed),
        detection=tuple(_detection(split, pairs, kept, at, seed) for split, kept in splits.items()),
    )


def _detection(split: str, pairs: Pairs, kept: Flags, bound: float, seed: int) -> Detection:
    x, lower, group = pairs.x[kept], pairs.y[kept] < bound, pairs.group[kept]
    ranking = Ranking(x, lower)
    found = ranking.measure()
    numbers = np.unique(group, return_inverse=True)[1]
    drawn = draws(int(numbers.max(initial=-1)) + 1, RESAMPLES, seed)
    again = [ranking.measure(weights[numbers]) for weights in drawn]

    def interval(field: str) -> Interval:
        values = [getattr(result, field) for result in again]
        resampled = np.array([np.nan if value is None else value for value in values])
        return spread(getattr(found, field), resampled)

    return Detection(
        split=split,
        segments=len(x),
        lower=int(lower.sum()),
        auroc=interval("auroc"),
        average_precision=interval("average_precision"),
        f1=interval("f1"),
        bound=interval("bound"),
    )


def _reliability(pairs: Pairs, seed: int) -> tuple[Reliability, ...]:
    """Up to ten bins of about as many segments each; equal rewards are never parted."""
    order = np.argsort(pairs.x, kind="stable")
    x, y, group = pairs.x[order], pairs.y[order], pairs.group[order]
    found = []
    for part in np.split(np.arange(len(x)), _cuts(x)):
        if len(part) == 0:
            continue
        sums = sums_by(group[part], np.ones(len(part)), y[part])
        found.append(
            Reliability(
                low=float(x[part[0]]),
                high=float(x[part[-1]]),
                mean=float(x[part].mean()),
                count=len(part),
                label=bootstrap(sums, _mean, resamples=RESAMPLES, seed=seed),
            )
        )
    return tuple(found)


def _cuts(x: Floats) -> Integers:
    """Where bins begin: at tenths, moved to where the equal rewards there begin."""
    tenths = (np.arange(1, BINS) * len(x)) // BINS
    return np.unique(np.searchsorted(x, x[tenths], side="left")) if len(x) else tenths[:0]


def _mean(sums: Floats) -> Floats:
    return np.asarray(sums[:, 1] / sums[:, 0], dtype=np.float64)
