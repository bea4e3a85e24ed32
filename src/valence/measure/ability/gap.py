"""Abilities from their items: rows with intervals, and what two modes of a model differ by.

The difference of abilities between the good and the bad mode of one model was never measured
by Korbak et al. 2023 (arXiv 2302.08582), as an author said afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from valence.data import Evidence, Findings, Items, Measurement
from valence.measure.statistics import Estimate, ratio, share_of


def estimate_of(items: Items, *, resamples: int, seed: int) -> Estimate:
    """The metric with its interval over items or their clusters; of a share it is binomial."""
    clusters = _numbers(items)
    if items.share:
        return share_of(items.tops, clusters=clusters)
    return ratio(items.tops, items.bottoms, clusters=clusters, resamples=resamples, seed=seed)


def _numbers(items: Items) -> npt.NDArray[np.int64] | None:
    """The clusters as numbers."""
    if items.clusters is None:
        return None
    return np.unique(items.clusters, return_inverse=True)[1].astype(np.int64)


def findings(
    items: Iterable[Items], *, model_name: str, mode: str, seed: int, resamples: int
) -> Findings:
    """Abilities as rows of results, and the items as their evidence."""
    found = tuple(items)
    rows = (
        estimate_of(each, resamples=resamples, seed=seed).measurement(
            model=model_name, mode=mode, metric=each.metric, failures=each.failures, seed=seed
        )
        for each in found
    )
    return Findings(rows=tuple(rows), evidence=evidence_of(found, model_name, mode, seed))


def evidence_of(
    items: Iterable[Items], model_name: str, mode: str, seed: int
) -> tuple[Evidence, ...]:
    """Items of one model and mode as evidence."""
    return tuple(Evidence(model=model_name, mode=mode, seed=seed, items=each) for each in items)


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
            ratio(
                steps, one.bottoms, clusters=_numbers(one), resamples=resamples, seed=seed
            ).measurement(
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
