"""Abilities item by item: what an interval is taken over, and what two modes are compared on.

The difference of abilities between the good and the bad mode of one model was never measured
by Korbak et al. 2023 (arXiv 2302.08582), as an author said afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valence.data import Findings, Measurement
from valence.measure.statistics import Estimate, ratio, share


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """One ability of a model in a mode, by document or task item: a ratio of sums.

    `names` [N] tell which items these are; `tops` [N] are for instance nats and `bottoms` [N]
    tokens. `failures` are items that could not be read. Plain data: `asdict` and `from_json`.
    """

    metric: str
    names: tuple[str, ...]
    tops: tuple[float, ...]
    bottoms: tuple[float, ...]
    failures: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Items:
        """What `asdict` made, after a journey through JSON."""
        return cls(
            metric=str(data["metric"]),
            names=tuple(data["names"]),
            tops=tuple(data["tops"]),
            bottoms=tuple(data["bottoms"]),
            failures=int(data["failures"]),
        )

    def estimate(self, *, resamples: int, seed: int) -> Estimate:
        """The ability with its interval over items; exact for items that are right or wrong."""
        right = sum(self.tops)
        if set(self.bottoms) == {1.0} and set(self.tops) <= {0.0, 1.0}:
            return share(int(right), len(self.tops))
        return ratio(self.tops, self.bottoms, resamples=resamples, seed=seed)


def findings(
    items: Iterable[Items], *, model_name: str, mode: str, seed: int, resamples: int
) -> Findings:
    """Abilities as rows of results."""
    rows = (
        each.estimate(resamples=resamples, seed=seed).measurement(
            model=model_name, mode=mode, metric=each.metric, failures=each.failures, seed=seed
        )
        for each in items
    )
    return Findings(rows=tuple(rows))


def ability_gap(
    good: Iterable[Items],
    bad: Iterable[Items],
    *,
    model_name: str,
    seed: int,
    resamples: int,
    modes: tuple[str, str] = ("good", "bad"),
) -> Findings:
    """What abilities differ by between two modes of one model: the first less the second.

    Rows of mode `good-bad`, one for each metric that both have. The difference is taken item
    by item, because both modes saw the same items, and the interval is over items. Of a loss a
    negative difference says that the good mode is the better one. Raises `ValueError` where
    the items of a metric are not the same.
    """
    others = {each.metric: each for each in bad}
    rows = []
    for one in good:
        other = others.get(one.metric)
        if other is None:
            continue
        if (one.names, one.bottoms) != (other.names, other.bottoms):
            raise ValueError(f"{one.metric}: the two modes were not measured on the same items")
        steps = [a - b for a, b in zip(one.tops, other.tops, strict=True)]
        rows.append(
            ratio(steps, one.bottoms, resamples=resamples, seed=seed).measurement(
                model=model_name,
                mode="-".join(modes),
                metric=one.metric,
                failures=max(one.failures, other.failures),
                seed=seed,
            )
        )
    return Findings(rows=tuple(rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class GapLine:
    """One ability of a model in its two modes, and the paired difference."""

    metric: str
    good: Measurement
    bad: Measurement
    gap: Measurement


def gap_table(
    rows: Sequence[Measurement], *, modes: tuple[str, str] = ("good", "bad")
) -> dict[tuple[str, int], list[GapLine]]:
    """By model and seed: its abilities in both modes, and their difference, in order of rows."""
    found = {(row.model, row.seed, row.metric, row.mode): row for row in rows}
    table: dict[tuple[str, int], list[GapLine]] = {}
    for row in rows:
        if row.mode != "-".join(modes):
            continue
        good, bad = (found.get((row.model, row.seed, row.metric, mode)) for mode in modes)
        if good is not None and bad is not None:
            line = GapLine(metric=row.metric, good=good, bad=bad, gap=row)
            table.setdefault((row.model, row.seed), []).append(line)
    return table
