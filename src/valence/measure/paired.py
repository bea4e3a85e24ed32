"""Models and modes against each other on the same items: documents, prompts, questions, units.

What makes a document hard for one model makes it hard for another, so that of the same items a
difference is far surer than two values apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from valence.data import LABELLED, Evidence, Items, Measurement, Ranking
from valence.measure.ranking import auroc_difference
from valence.measure.statistics import Estimate, paired_ratios
from valence.measure.words import named

Who = tuple[str, str]
"""Model and mode."""
Paired = Callable[[str, Who, Who, int], Estimate | None]
"""The difference of two in a metric with one training seed; None where they share no items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One less the other, and how many items one of them lacks."""

    estimate: Estimate
    left_out: int


def unpaired(metric: str, left: Who, right: Who, seed: int) -> Estimate | None:
    """Knows of no items: two values stand apart."""
    return None


def pairing(evidence: Iterable[Evidence], *, resamples: int) -> Paired:
    """Differences on the items that two have in common, computed when they are asked for."""
    known = {(e.items.metric, e.model, e.mode, e.seed): e.items for e in evidence}

    @cache
    def difference(metric: str, left: Who, right: Who, seed: int) -> Estimate | None:
        one, other = known.get((metric, *left, seed)), known.get((metric, *right, seed))
        if one is None or other is None:
            return None
        found = less(one, other, resamples=resamples, seed=seed)
        return None if found is None or found.estimate.value is None else found.estimate

    return difference


def less(
    one: Items | Ranking, other: Items | Ranking, *, resamples: int, seed: int
) -> Difference | None:
    """One less the other on the items of both; None where these are not the same items.

    Of items in clusters (answers to one prompt), clusters are left out that one side lacks, and
    else items that one side lacks. Of rankings all items have to be the same.
    """
    if isinstance(one, Ranking) and isinstance(other, Ranking):
        if (one.truth, one.clusters) != (other.truth, other.clusters):
            return None
        clusters = np.unique(one.clusters, return_inverse=True)[1]
        gap = auroc_difference(one.scores, other.scores, one.truth, clusters=clusters)
        return Difference(estimate=gap, left_out=0)
    if isinstance(one, Items) and isinstance(other, Items):
        return _of_items(one, other, resamples=resamples, seed=seed)
    return None


def _of_items(one: Items, other: Items, *, resamples: int, seed: int) -> Difference | None:
    owners = [dict(zip(i.names, i.clusters or i.names, strict=True)) for i in (one, other)]
    both = set(owners[0].values()) & set(owners[1].values())
    if not both:
        return None
    every = {**owners[0], **owners[1]}
    shared = {name: owner for name, owner in every.items() if owner in both}
    sides = [
        {n: (t, b) for n, t, b in zip(i.names, i.tops, i.bottoms, strict=True)}
        for i in (one, other)
    ]
    # An item that one side lacks adds nothing there; its cluster has others.
    tops, bottoms, other_tops, other_bottoms = (
        [side.get(name, (0.0, 0.0))[part] for name in shared] for side in sides for part in (0, 1)
    )
    clusters = np.unique(list(shared.values()), return_inverse=True)[1]
    estimate = paired_ratios(
        tops, bottoms, other_tops, other_bottoms, clusters=clusters, resamples=resamples, seed=seed
    )
    pairs = sum(name in sides[0] and name in sides[1] for name in shared)
    return Difference(estimate=replace(estimate, count=pairs), left_out=len(every) - pairs)


def differences(
    evidence: Sequence[Evidence], gaps: Iterable[Measurement] = (), *, resamples: int
) -> Iterator[Measurement]:
    """Each first mode of a model less that of the first model, and less its own other modes.

    A row is called METRIC minus OTHER; `count` are items of both, `failures` those that one
    lacks. What two modes of a model differ by in ability is in the rows `gaps` already.
    """
    told = {(row.model, row.mode, row.metric, row.seed) for row in gaps}
    for one, other in _pairs(evidence):
        modes = f"{one.mode}-{other.mode}"
        if one.model == other.model and (one.model, modes, one.items.metric, one.seed) in told:
            continue
        found = less(one.items, other.items, resamples=resamples, seed=one.seed)
        if found is not None:
            judged = isinstance(other.items, Ranking)
            who = (other.model, other.mode)
            against = f"{other.mode} of {other.model}" if judged else named(*who)
            yield found.estimate.measurement(
                model=one.model,
                mode=one.mode,
                metric=f"{one.items.metric} minus {against}",
                failures=found.left_out,
                seed=one.seed,
            )


def _pairs(evidence: Sequence[Evidence]) -> Iterator[tuple[Evidence, Evidence]]:
    groups: dict[tuple[str, int], list[Evidence]] = {}
    for each in evidence:
        if each.mode != LABELLED:
            groups.setdefault((each.items.metric, each.seed), []).append(each)
    for ours in groups.values():
        firsts: dict[str, Evidence] = {}
        for each in ours:
            first = firsts.setdefault(each.model, each)
            if first is not each:
                yield first, each
        baseline, *others = firsts.values()
        for each in others:
            yield each, baseline
