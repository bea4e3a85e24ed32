"""One metric of one model and mode against another, and in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from valence.data import Measurement
from valence.measure.paired import Paired, unpaired
from valence.measure.statistics import independent_difference
from valence.measure.words import named, of_interval, subject
from valence.report.seeds import over_seeds, standard_deviation

SAME = "the difference on the same items"
APART = "the difference"
OVER_SEEDS = "the differences between paired seeds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of one model and mode against another, over the seeds that both have.

    `ratio` is the mean over seeds divided by the other's mean, None if one of them is negative or
    the other's is 0: a reward below 0 is no amount.
    `difference` is the 95% interval that decides, left less right, and `what` says of which
    difference: with several seeds of the mean of the paired differences over them (Student's t, and
    never narrower than over samples); with one
    of that on the same items, where both have such, or else of two values that stand apart. None
    where there is none, and where several seeds have no spread: then `within` decides.
    `within` are the intervals of each seed, over its samples. `lower` and `higher` tell what is
    shown; `known` whether both sides have intervals.
    """

    metric: str
    left: str
    right: str
    left_value: float
    right_value: float
    ratio: float | None
    difference: tuple[float, float] | None
    what: str
    within: tuple[tuple[float, float] | None, ...]
    known: bool = True

    @property
    def lower(self) -> bool:
        """Whether the left is shown to be lower."""
        return self._all_below((self.difference,) if self.difference else self.within)

    @property
    def higher(self) -> bool:
        """Whether the left is shown to be higher."""
        decides = (self.difference,) if self.difference else self.within
        return self._all_below([each and (-each[1], -each[0]) for each in decides])

    @property
    def seeds(self) -> int:
        """How many seeds both have."""
        return len(self.within)

    @property
    def basis(self) -> str:
        """What the answer rests on."""
        if self.seeds == 1:
            return "one seed"
        return f"{self.seeds} seeds" if self.difference else f"in each of {self.seeds} seeds"

    @property
    def within_each(self) -> str:
        """`lower` or `higher` where the samples of every seed show that by themselves."""
        if self._all_below(self.within):
            return "lower"
        turned = [each and (-each[1], -each[0]) for each in self.within]
        return "higher" if self._all_below(turned) else ""

    @staticmethod
    def _all_below(intervals: Iterable[tuple[float, float] | None]) -> bool:
        return all(each is not None and each[1] < 0 for each in intervals)


def compare(
    rows: Iterable[Measurement],
    metric: str,
    left: tuple[str, str],
    right: tuple[str, str],
    *,
    paired: Paired = unpaired,
) -> Comparison | None:
    """Compare (model, mode) with (model, mode); None where one of them was not measured.

    `paired` knows differences on the same items.
    """
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
    on_items = [paired(metric, left, right, one.seed) for one, _ in pairs]
    within = [
        same if same is not None and same.low is not None else independent_difference(*two)
        for same, two in zip(on_items, pairs, strict=True)
    ]
    ends = tuple(
        None if each.low is None or each.high is None else (each.low, each.high) for each in within
    )
    if len(pairs) == 1:
        decides = ends[0]
        what = SAME if on_items[0] is within[0] else APART
    else:
        gaps = [a - b for a, b in zip(lefts, rights, strict=True)]
        # Without any spread between seeds (two shares of 0, say) nothing is known of it.
        both = [each or (None, None) for each in ends]
        decides = over_seeds(gaps, both) if standard_deviation(gaps) > 0 else None
        what = OVER_SEEDS
    return Comparison(
        metric=metric,
        left=named(*left),
        right=named(*right),
        left_value=left_mean,
        right_value=right_mean,
        ratio=left_mean / right_mean if right_mean > 0 and left_mean >= 0 else None,
        difference=decides,
        what=what,
        within=ends,
        known=all(row.low is not None for pair in pairs for row in pair),
    )


def numbers(comparison: Comparison) -> str:
    """Both values and their ratio."""
    times = "" if comparison.ratio is None else f", {comparison.ratio:.2f} times as much"
    return (
        f"{subject(comparison.metric)}: {comparison.left} {comparison.left_value:.3g} against"
        f" {comparison.right} {comparison.right_value:.3g}{times}"
    )


def verdict(comparison: Comparison) -> str:
    """What is shown, and on what that rests."""
    basis = f" ({comparison.basis})"
    if comparison.difference is None and comparison.seeds > 1:
        shown = comparison.within_each
        why = "the seeds have no spread" if comparison.known else "one has no 95% interval"
        return (shown or f"not shown to differ: {why}") + basis
    low, high = comparison.difference or (None, None)
    told = of_interval(low, high, comparison.what) + basis
    if comparison.seeds > 1 and not (comparison.lower or comparison.higher):
        # So few seeds leave much open between trainings; of these trainings more is known.
        each = comparison.within_each
        told += f", but {each} within each of the {comparison.seeds} seeds" if each else ""
    return told
