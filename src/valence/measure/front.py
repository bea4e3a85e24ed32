"""Which settings are on the front: which nothing beats in the headline, fluency, variety and cost.

A setting is a model in a mode, with a guide or without. One beats another if it is at least as
good in all and better in one: by the values, and *shown* where the intervals of all differences
say so too (an intersection-union test, so at the level of each comparison: Berger 1982,
Technometrics 24). That takes much text. So it is also said which settings are outdone: another
one is shown to be better in something, and worse in nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, log

from valence.data import Measurement, Standing
from valence.measure.compare import Comparison, compare
from valence.measure.guided import COST
from valence.measure.paired import Paired, unpaired
from valence.measure.scenario import metric_at
from valence.recipe import MeasureRecipe
from valence.report.pareto import beats
from valence.report.seeds import Summary, by_seed, summarise

VARIETY = "distinct_2"
MARGIN = 0.05
"""Costs are counts of all texts together and have no interval: closer than this they are alike."""

Who = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A model in a mode: its metrics in the order of the front."""

    who: Who
    metrics: tuple[Summary, ...]
    signs: tuple[int, ...]

    @property
    def point(self) -> tuple[float, ...]:
        """The metrics' values as numbers of which lower is better."""
        return tuple(
            sign * metric.value
            for sign, metric in zip(self.signs, self.metrics, strict=True)
            if metric.value is not None
        )


def axes(measure: MeasureRecipe, scenario: str) -> dict[str, int]:
    """The metrics of the front, the headline first and the cost last: 1 where lower is better,
    -1 where higher is. None without a headline."""
    if measure.first is None:
        return {}
    wanted = dict.fromkeys([measure.first, measure.fluency or measure.first])
    signs = {name: 1 if measure.metrics[name].scale < 0 else -1 for name in wanted}
    return {metric_at(m, scenario): s for m, s in {**signs, VARIETY: -1, COST: 1}.items()}


def fronts(
    rows: Sequence[Measurement], measure: MeasureRecipe
) -> Iterator[tuple[dict[str, int], list[Setting]]]:
    """For each scenario whose cost was counted its axes, and all settings that have every value."""
    found = {key: summarise(seeds) for key, seeds in by_seed(rows).items()}
    scenarios = dict.fromkeys(
        m.partition("@")[2] for _, _, m in found if m.partition("@")[0] == COST
    )
    for scenario in scenarios:
        signs = axes(measure, scenario)
        settings = [
            Setting(
                who=(model, mode),
                metrics=tuple(found[model, mode, m] for m in signs),
                signs=tuple(signs.values()),
            )
            for model, mode in dict.fromkeys((model, mode) for model, mode, _ in found)
            if all((s := found.get((model, mode, m))) and s.value is not None for m in signs)
        ]
        if signs and len(settings) > 1:
            yield signs, settings


def standings(
    rows: Sequence[Measurement], measure: MeasureRecipe, paired: Paired = unpaired
) -> list[Standing]:
    """Where each setting stands, scenario by scenario; nothing where no cost was counted."""
    return [
        standing
        for signs, settings in fronts(rows, measure)
        for standing in _Front(rows, signs, settings, paired).standings()
    ]


class _Front:
    """All settings of one scenario against each other."""

    def __init__(
        self,
        rows: Sequence[Measurement],
        signs: Mapping[str, int],
        settings: Sequence[Setting],
        paired: Paired,
    ) -> None:
        self.signs, self.settings, self.paired = signs, settings, paired
        self.rows: dict[str, list[Measurement]] = {}
        for row in rows:
            self.rows.setdefault(row.metric, []).append(row)

    def standings(self) -> Iterator[Standing]:
        plain = {each.who: each for each in self.settings if "+" not in each.who[1]}
        for own in self.settings:
            others = [each for each in self.settings if each is not own]
            beaten = [each for each in others if beats(each.point, own.point)]
            unsure = [each for each in others if not self._may_be_better(own, each)]
            outdone = [each for each in unsure if self._better(each, own)]
            base = plain.get((own.who[0], own.who[1].partition("+")[0]))
            value, low, high = (None, None, None) if base is None else self._reduction(base, own)
            yield Standing(
                model=own.who[0],
                mode=own.who[1],
                metrics=tuple(self.signs),
                beaten_by=tuple(each.who for each in beaten),
                shown_by=tuple(each.who for each in beaten if self._shown(each, own)),
                outdone_by=tuple(each.who for each in outdone),
                alike=tuple(each.who for each in unsure if each not in outdone),
                reduction=value,
                low=low,
                high=high,
            )

    def _shown(self, one: Setting, other: Setting) -> bool:
        """Whether of each difference that there is the intervals show that one is better."""
        better = self._better(one, other)
        apart = zip(self.signs, one.point, other.point, strict=True)
        unsure = [m for m, a, b in apart if a != b and m not in better]
        return bool(better) and all(m.partition("@")[0] == COST for m in unsure)

    def _better(self, one: Setting, other: Setting) -> list[str]:
        """The metrics in which one is shown to be better than the other."""
        return [m for m in self.signs if self._is_better(m, one, other)]

    def _may_be_better(self, one: Setting, other: Setting) -> bool:
        """Whether one is shown to be better in something, or its value is and nothing is known.

        Nobody is outdone for want of an interval.
        """
        return bool(self._better(one, other)) or any(
            a < b and self._unknown(metric, one, other)
            for metric, a, b in zip(self.signs, one.point, other.point, strict=True)
        )

    def _unknown(self, metric: str, one: Setting, other: Setting) -> bool:
        if metric.partition("@")[0] == COST:
            return False
        found, shares = self._compared(metric, one, other), self._shares(metric, one, other)
        return found is not None and not found.known and shares is None

    def _is_better(self, metric: str, one: Setting, other: Setting) -> bool:
        if metric.partition("@")[0] == COST:
            return cheaper(one.point[-1], other.point[-1])
        found = self._compared(metric, one, other)
        if found is None or found.known:
            return found is not None and (found.lower if self.signs[metric] > 0 else found.higher)
        # A mean of equal values, all 0 say, has no interval; the share of hits has an exact one.
        shares = self._shares(metric, one, other)
        return shares is not None and shares.lower

    def _compared(self, metric: str, one: Setting, other: Setting) -> Comparison | None:
        rows = self.rows.get(metric, ())
        return compare(rows, metric, one.who, other.who, paired=self.paired)

    def _shares(self, metric: str, one: Setting, other: Setting) -> Comparison | None:
        return self._compared(hits_of(metric), one, other)

    def _reduction(self, base: Setting, own: Setting) -> tuple[float | None, ...]:
        if self.settings[0].signs[0] < 0 or not cheaper(base.point[-1], own.point[-1]):
            return None, None, None
        return reduction(base.metrics[0], own.metrics[0], own.point[-1] - base.point[-1])


def hits_of(metric: str) -> str:
    """The share of samples that a metric calls hits, of the same scenario."""
    name, _, scenario = metric.partition("@")
    return metric_at(f"{name}_hits", scenario)


def cheaper(one: float, other: float) -> bool:
    """Whether one cost is lower than another by more than the margin."""
    return one * (1 + MARGIN) < other


def reduction(
    base: Summary, own: Summary, added: float
) -> tuple[float | None, float | None, float | None]:
    """By how much each of `added` tokens takes the logarithm of the headline down, and its 95%
    interval, from those of both values.

    None where one of them is not positive: a logarithm of 0 is no number. An end is None where
    an interval it needs is missing or reaches 0.

    Source: Zou and Donner 2008, Statistics in Medicine 27 (MOVER), on logarithms.
    """
    if not base.value or not own.value or min(base.value, own.value) < 0:
        return None, None, None
    gap = log(base.value / own.value)
    down = _reach(base.value, base.low), _reach(own.value, own.high)
    up = _reach(base.value, base.high), _reach(own.value, own.low)
    low = None if None in down else (gap - hypot(*(x or 0.0 for x in down))) / added
    high = None if None in up else (gap + hypot(*(x or 0.0 for x in up))) / added
    return gap / added, low, high


def _reach(value: float, end: float | None) -> float | None:
    """How far an end of an interval is from its value, in logarithms."""
    return abs(log(end / value)) if end is not None and end > 0 else None
