"""Models and modes against each other on the same prompts, one difference for each prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from valence.data import Measurement
from valence.measure.compare import named
from valence.measure.scenario import metric_at
from valence.measure.statistics import paired_difference

Who = tuple[str, str, int]
"""Model, mode and seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What one model wrote in one mode for the prompts of a scenario: each metric's values by
    the sample's index, of `count` samples, `per_prompt` of each prompt.
    """

    who: Who
    scenario: str
    count: int
    per_prompt: int
    values: Mapping[str, Mapping[int, float]]


def differences(scored: Sequence[Scored], *, resamples: int) -> Iterator[Measurement]:
    """Each first mode of a model less that of the first model, and less its own other modes.

    A row is called METRIC minus OTHER; `failures` are pairs that lack a value.
    """
    for one, other in _pairs(scored):
        for metric, values in one.values.items():
            numbers = range(min(one.count, other.count))
            found = paired_difference(
                [values.get(n) for n in numbers],
                [other.values[metric].get(n) for n in numbers],
                clusters=[n // one.per_prompt for n in numbers],
                resamples=resamples,
                seed=one.who[2],
            )
            against = named(other.who[0], other.who[1])
            yield found.estimate.measurement(
                model=one.who[0],
                mode=one.who[1],
                metric=f"{metric_at(metric, one.scenario)} minus {against}",
                failures=found.left_out,
                seed=one.who[2],
            )


def _pairs(scored: Sequence[Scored]) -> Iterator[tuple[Scored, Scored]]:
    for scenario in dict.fromkeys(each.scenario for each in scored):
        ours = [each for each in scored if each.scenario == scenario]
        for seed in dict.fromkeys(each.who[2] for each in ours):
            firsts: dict[str, Scored] = {}
            for each in ours:
                if each.who[2] == seed:
                    first = firsts.setdefault(each.who[0], each)
                    if first is not each:
                        yield first, each
            baseline, *others = firsts.values()
            for each in others:
                yield each, baseline
