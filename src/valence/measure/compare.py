"""One metric of one model and mode against another, and in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from valence.data import Measurement
from valence.report.seeds import mean_interval, standard_deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of one model and mode against another, over the seeds that both have.

    `ratio` is the mean over seeds divided by the other's mean, None if one of them is negative or
    the other's is 0: a reward below 0 is no amount.
    `difference` is the 95% interval of the mean of the paired differences over seeds (left
    less right), None for one seed or where all differences are equal; then the intervals
    over samples decide, in every seed. `lower` and `higher` tell what is shown; `known` whether
    all of those intervals are.
    """

    metric: str
    left: str
    right: str
    left_value: float
    right_value: float
    ratio: float | None
    difference: tuple[float, float] | None
    lower: bool
    higher: bool
    seeds: int
    known: bool = True

    @property
    def basis(self) -> str:
        """What the answer rests on."""
        if self.difference is not None:
            return f"{self.seeds} seeds, paired"
        return "one seed" if self.seeds == 1 else f"in each of {self.seeds} seeds"


def compare(
    rows: Iterable[Measurement], metric: str, left: tuple[str, str], right: tuple[str, str]
) -> Comparison | None:
    """Compare (model, mode) with (model, mode); None where one of them was not measured."""
    found: dict[tuple[tuple[str, str], int], Measurement] = {}
    for row in rows:
        if row.metric == metric and (row.model, row.mode) in (left, right):
            found[(row.model, row.mode), row.seed] = row
    pairs = []
    for seed in sorted({seed for _, seed in found}):
        one, other = found.get((left, seed)), found.get((right, seed))
        if one is not None and other is not None and None not in (one.value, other.value):
            pairs.append((one, other))
    if not pairs:
        return None
    lefts, rights = ([row.value or 0.0 for row in side] for side in zip(*pairs, strict=True))
    left_mean, right_mean = sum(lefts) / len(pairs), sum(rights) / len(pairs)
    differences = [a - b for a, b in zip(lefts, rights, strict=True)]
    # Without any spread between seeds (two shares of 0, say) nothing is known of it.
    spread = len(pairs) > 1 and standard_deviation(differences) > 0
    interval = mean_interval(differences) if spread else None
    return Comparison(
        metric=metric,
        left=named(*left),
        right=named(*right),
        left_value=left_mean,
        right_value=right_mean,
        ratio=left_mean / right_mean if right_mean > 0 and left_mean >= 0 else None,
        difference=interval,
        lower=interval[1] < 0 if interval else all(_below(a, b) for a, b in pairs),
        higher=interval[0] > 0 if interval else all(_below(b, a) for a, b in pairs),
        seeds=len(pairs),
        known=all(row.low is not None for pair in pairs for row in pair),
    )


def named(model: str, mode: str) -> str:
    """A model in a mode, in words."""
    alone, guided, guide = mode.partition("+")
    if alone == "none":
        return f"{model} with {guide}" if guided else model
    return f"{model} in {mode} mode"


def subject(metric: str) -> str:
    """A metric's name at the head of a sentence; of METRIC@PLACE the place comes last."""
    name, at, place = metric.partition("@")
    words = name.replace("_per_kchar", " per 1,000 characters").replace("_", " ").capitalize()
    words = words.replace("auroc", "AUROC").replace("Kl", "KL")
    return f"{words} on {place}" if at else words


def numbers(comparison: Comparison) -> str:
    """Both values and their ratio."""
    times = "" if comparison.ratio is None else f", {comparison.ratio:.2f} times as much"
    return (
        f"{subject(comparison.metric)}: {comparison.left} {comparison.left_value:.3g} against"
        f" {comparison.right} {comparison.right_value:.3g}{times}"
    )


def verdict(comparison: Comparison) -> str:
    """What is shown, and on what that rests."""
    way = "lower" if comparison.lower else "higher" if comparison.higher else None
    if comparison.difference is not None:
        low, high = comparison.difference
        between = f"of the differences between paired seeds, [{low:.3g}, {high:.3g}],"
        shown = f"{way}: the 95% interval {between} leaves out 0"
        return f"{shown if way else f'not shown to differ: the 95% interval {between} holds 0'}" + (
            f" ({comparison.seeds} seeds)"
        )
    shown = f"{way}, with disjoint 95% intervals"
    why = "the 95% intervals overlap" if comparison.known else "one has no 95% interval"
    overlap = f"not shown to differ: {why}"
    return f"{shown if way else overlap} ({comparison.basis})"


def _below(low: Measurement, high: Measurement) -> bool:
    return low.high is not None and high.low is not None and low.high < high.low
