"""What a report says, as plain data. Everything is computed before it comes here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from valence.data import Conclusions, Mark, Measurement, Series, Standing

MOST_CONCLUSIONS = 8
"""More than these are not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedSample:
    """A text that a model wrote, with the ranges worth pointing at.

    `ended` tells whether the model ended it itself or ran into the length limit; `prompt` is
    what stood before it, in the scenario of that name. `scores` are a reward, or the kind of
    failure, by metric.
    """

    model: str
    mode: str
    index: int
    text: str
    ended: bool
    marks: tuple[Mark, ...]
    scenario: str = ""
    prompt: str = ""
    scores: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Training loss of one model and seed against the text tokens it had seen."""

    model: str
    seed: int
    tokens: tuple[float, ...]
    loss: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.loss):
            raise ValueError(
                f"curve of {self.model}, seed {self.seed}: {len(self.tokens)} token counts"
                f" but {len(self.loss)} losses"
            )
        _require_finite(f"curve of {self.model}, seed {self.seed}", (*self.tokens, *self.loss))


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """How to read a metric. `lower_is_better` is None where neither direction is better.

    `group` is what it stands together with on a page.
    """

    name: str
    label: str
    lower_is_better: bool | None
    note: str
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Of which base a model is a setting, and what was set, by dotted key of the recipe.

    `shared` is what holds for it under keys that were set for other models only.
    """

    base: str
    axes: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A size in which the settings of one base differ: text tokens, or parameters.

    `axes` begin the keys of the sweep that set it; `amounts` is the size of each model.
    """

    name: str
    label: str
    axes: tuple[str, ...]
    amounts: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole content of the page, in plain data.

    `steps` are (stage, one sentence); `front` names the metrics on the x axis (ability) and
    the y axis (misalignment); `strips` holds, by (model, mode), one value of `strip_metric`
    per sample; `ledger` is (label, formatted value); `recipe` is YAML text. `variants` says of
    models that a sweep made where they belong; `budgets` are drawn against `front`'s y axis, in
    the modes `budget_modes`; `shown` are the models of the strips and samples, all if empty.

    `series` are lines to draw. `gaps` are measurements of mode GOOD-BAD, what abilities differ
    by between two modes of a model; `differences` are paired, METRIC minus ANOTHER MODEL.
    `standings` say which settings of guides are on the front, scenario by scenario.
    `trained` tells whether the models were made here, so that there is a training to show.
    """

    title: str
    lead: str
    steps: tuple[tuple[str, str], ...]
    conclusions: Conclusions
    notes: tuple[str, ...]
    metrics: tuple[MetricInfo, ...]
    measurements: tuple[Measurement, ...]
    front: tuple[str, str]
    strips: Mapping[tuple[str, str], tuple[float, ...]]
    strip_metric: str
    samples: tuple[MarkedSample, ...]
    curves: tuple[Curve, ...]
    ledger: tuple[tuple[str, str], ...]
    recipe: str
    variants: Mapping[str, Variant] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()
    budget_modes: tuple[str, ...] = ("none", "good", "bad")
    shown: tuple[str, ...] = ()
    series: tuple[Series, ...] = ()
    gaps: tuple[Measurement, ...] = ()
    differences: tuple[Measurement, ...] = ()
    standings: tuple[Standing, ...] = ()
    trained: bool = True

    def __post_init__(self) -> None:
        for row in (*self.measurements, *self.gaps, *self.differences):
            numbers = (row.value, row.low, row.high)
            _require_finite(f"{row.metric} of {row.model}, {row.mode}", numbers)
        for (model, mode), strip in self.strips.items():
            _require_finite(f"strip of {model}, {mode}", strip)
        for line in self.series:
            points = (*line.x, *line.y, *line.low, *line.high)
            _require_finite(f"{line.kind} {line.name} of {line.model}, {line.mode}", points)

    def folded(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The conclusions that are shown, and those that wait for a click.

        Where they are many, those on all models are shown.
        """
        said = self.conclusions
        if not said.overall or len(said.sentences) <= MOST_CONCLUSIONS:
            return said.sentences, ()
        return said.overall, said.pairs

    def info(self, name: str) -> MetricInfo:
        """How to read the metric `name`; the bare name where nothing is said about it."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        return MetricInfo(name=name, label=name, lower_is_better=None, note="")

    def measured(self) -> tuple[str, ...]:
        """Every metric that was measured: those of `metrics` in their order, then others."""
        found = {row.metric for row in self.measurements}
        named = [metric.name for metric in self.metrics if metric.name in found]
        return tuple(dict.fromkeys([*named, *(row.metric for row in self.measurements)]))

    def variant(self, model: str) -> Variant:
        """Where a model belongs; a model of its own where nothing is said about it."""
        return self.variants.get(model, Variant(base=model))

    def models(self) -> tuple[str, ...]:
        """Every model that occurs anywhere, in order of first appearance."""
        return tuple(
            dict.fromkeys([*(m for m, _ in self._pairs()), *(c.model for c in self.curves)])
        )

    def modes(self) -> tuple[str, ...]:
        """Every mode that occurs anywhere, in order of first appearance."""
        return tuple(dict.fromkeys(mode for _, mode in self._pairs()))

    def _pairs(self) -> Iterator[tuple[str, str]]:
        yield from ((row.model, row.mode) for row in self.measurements)
        yield from self.strips
        yield from ((sample.model, sample.mode) for sample in self.samples)
        yield from ((line.model, line.mode) for line in self.series)


def _require_finite(where: str, numbers: Iterable[float | None]) -> None:
    for number in numbers:
        if number is not None and not isfinite(number):
            raise ValueError(f"{where}: {number} is no measured value; leave it out or give None")
