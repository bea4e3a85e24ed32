"""Conclusions, computed from measurements: what is different, by how much, and is it shown.

A difference is claimed only where the 95% intervals of the two are disjoint, in every
seed. Feedback is credited only where the conditional model beats the placebo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from valence.data import Measurement

Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of one model and mode against another, over all seeds.

    `ratio` is the mean over seeds divided by the other's mean, None if that is 0.
    `lower` and `higher` tell whether the intervals are disjoint that way in every seed.
    """

    metric: str
    left: str
    right: str
    left_value: float
    right_value: float
    ratio: float | None
    lower: bool
    higher: bool
    seeds: int


def compare(
    rows: Iterable[Measurement], metric: str, left: tuple[str, str], right: tuple[str, str]
) -> Comparison | None:
    """Compare (model, mode) with (model, mode); None where one of them was not measured."""
    found: dict[tuple[tuple[str, str], int], Measurement] = {}
    for row in rows:
        if row.metric == metric and (row.model, row.mode) in (left, right):
            found[(row.model, row.mode), row.seed] = row
    seeds = sorted({seed for _, seed in found})
    pairs = [(found.get((left, seed)), found.get((right, seed))) for seed in seeds]
    values = [
        (a.value, b.value, a, b)
        for a, b in pairs
        if a is not None and b is not None and a.value is not None and b.value is not None
    ]
    if not values:
        return None
    left_mean = sum(a for a, _, _, _ in values) / len(values)
    right_mean = sum(b for _, b, _, _ in values) / len(values)
    return Comparison(
        metric=metric,
        left=_who(*left),
        right=_who(*right),
        left_value=left_mean,
        right_value=right_mean,
        ratio=left_mean / right_mean if right_mean else None,
        lower=all(_below(a, b) for _, _, a, b in values),
        higher=all(_below(b, a) for _, _, a, b in values),
        seeds=len(values),
    )


def conclude(
    rows: Sequence[Measurement],
    objectives: Mapping[str, str],
    *,
    headline: str,
    harms: Sequence[str],
    best: str,
    worst: str,
) -> list[str]:
    """Sentences about the run, the headline metric first.

    `objectives` maps model to objective; `harms` are metrics where lower is better (of a
    headline that is none of them, higher is better);
    `best` and `worst` are the modes of the two extreme bands.
    """
    plain = [m for m, o in objectives.items() if o == "mle"]
    treated = [m for m, o in objectives.items() if o == "conditional"]
    placebos = [m for m, o in objectives.items() if o == "placebo"]
    said: list[str] = []
    for model in treated:
        for other in plain:
            said += _sentence(compare(rows, headline, (model, best), (other, "none")))
        said += _sentence(compare(rows, headline, (model, worst), (model, best)))
        for placebo in placebos:
            for metric in [headline, *(m for m in harms if m != headline)]:
                comparison = compare(rows, metric, (model, best), (placebo, best))
                said += _feedback(comparison, lower_is_better=metric in harms)
        for other in plain:
            said += _sentence(
                compare(rows, "loss_per_text_token", (model, "labelled"), (other, "none"))
            )
    return said


def _below(low: Measurement, high: Measurement) -> bool:
    return low.high is not None and high.low is not None and low.high < high.low


def _sentence(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return []
    verdict = (
        "lower, with disjoint 95% intervals"
        if comparison.lower
        else "higher, with disjoint 95% intervals"
        if comparison.higher
        else "not shown to differ: the 95% intervals overlap"
    )
    return [f"{_numbers(comparison)}; {verdict}{_seeds(comparison)}."]


def _feedback(comparison: Comparison | None, *, lower_is_better: bool) -> list[str]:
    if comparison is None:
        return []
    beats = comparison.lower if lower_is_better else comparison.higher
    verdict = (
        "feedback, not the mere presence of control tokens, made the difference"
        if beats
        else "no effect of feedback is shown here: control tokens without feedback do as well"
    )
    return [f"{_numbers(comparison)}; {verdict}{_seeds(comparison)}."]


def _who(model: str, mode: str) -> str:
    return model if mode == "none" else f"{model} in {mode} mode"


def _numbers(comparison: Comparison) -> str:
    times = "" if comparison.ratio is None else f", {comparison.ratio:.2f} times as much"
    name = comparison.metric.replace("_per_kchar", " per 1,000 characters").replace("_", " ")
    return (
        f"{name.capitalize()}: {comparison.left} {comparison.left_value:.3g} against"
        f" {comparison.right} {comparison.right_value:.3g}{times}"
    )


def _seeds(comparison: Comparison) -> str:
    return f" (in each of {comparison.seeds} seeds)" if comparison.seeds > 1 else " (one seed)"
