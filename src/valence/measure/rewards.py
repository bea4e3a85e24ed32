"""What samples are worth: a scorer's rewards of them, as rows of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from valence.data import Failure, Items, Mark, Measurement, Sample
from valence.measure.detector import Detector
from valence.measure.diversity import (
    distinct,
    distinct_corpus,
    ends_in_loop,
    repetition,
    self_bleu,
)
from valence.measure.scenario import FREE, Scenario, metric_at
from valence.measure.scoring import Judged, Scoring, is_hit, judged_text, reward_of
from valence.measure.statistics import Estimate, expected_maximum, mean, ratio, share, share_of
from valence.recipe import MeasureRecipe, MetricRecipe
from valence.score.table import build_scorer

COUNTED_WORDS = 5_000
"""Words in which distinct n-grams are counted; of fewer there is no such number."""

Answers = Mapping[int, Judged]
"""What a metric says of each sample, by its index."""


def measure_samples(
    samples: Sequence[Sample], recipe: MeasureRecipe, scenario: Scenario | None = None
) -> list[Measurement]:
    """Every metric of the recipe, scored here, over samples of one model, mode and seed.

    They are of the `scenario`; without one, of none with a prompt.
    """
    whole = scenario is not None and scenario.judged == "whole"
    scoring = Scoring(metrics=recipe.metrics, whole=whole)
    for sample in samples:
        scoring.begin(sample)
    return sample_rows(
        samples,
        scoring.answers(),
        recipe,
        scenario=FREE if scenario is None else scenario.name,
        per_prompt=scenario.per_prompt if scenario is not None and scenario.clustered else None,
    )


def sample_rows(
    samples: Sequence[Sample],
    answers: Mapping[str, Answers],
    recipe: MeasureRecipe,
    *,
    scenario: str = FREE,
    per_prompt: int | None = None,
    detectors: Mapping[str, Detector] | None = None,
) -> list[Measurement]:
    """Rows of every metric, and of diversity, over samples of one model, mode and seed.

    With `per_prompt` samples of each prompt, intervals are over prompts.
    """
    rows = _Rows(samples, recipe, scenario, per_prompt)
    for name, metric in recipe.metrics.items():
        rows.of_metric(name, metric, answers[name], (detectors or {}).get(name))
    rows.of_diversity()
    return rows.found


def sample_items(
    answers: Mapping[str, Answers],
    recipe: MeasureRecipe,
    *,
    scenario: str,
    per_prompt: int | None = None,
) -> list[Items]:
    """Every metric, and its hits, sample by sample: what its rows in a scenario stand on.

    With `per_prompt` samples of each prompt, these are drawn together.
    """
    found = []
    for name, metric in recipe.metrics.items():
        values = values_of(answers[name], metric)
        weights = _weights(answers[name], metric, values)
        kinds = {name: (values, weights)}
        if metric.hit is not None:
            hits = {index: float(is_hit(value, metric)) for index, value in values.items()}
            kinds[f"{name}_hits"] = hits, dict.fromkeys(hits, 1.0)
        for title, (each, weight) in kinds.items():
            owners = None if per_prompt is None else tuple(str(i // per_prompt) for i in each)
            found.append(
                Items(
                    metric=metric_at(title, scenario),
                    names=tuple(str(index) for index in each),
                    tops=tuple(value * weight[index] for index, value in each.items()),
                    bottoms=tuple(weight.values()),
                    clusters=owners,
                    failures=len(answers[name]) - len(each),
                )
            )
    return found


def _weights(
    answers: Answers, metric: MetricRecipe, values: Mapping[int, float]
) -> dict[int, float]:
    """How much the value of each sample counts in the metric's mean."""
    by_chars = metric.weight == "chars"
    return {index: float(answers[index].chars) if by_chars else 1.0 for index in values}


def values_of(answers: Answers, metric: MetricRecipe) -> dict[int, float]:
    """The metric of each sample that could be scored, by its index."""
    return {
        index: metric.scale * reward
        for index, judged in sorted(answers.items())
        if (reward := reward_of(judged)) is not None
    }


def mark(sample: Sample, recipe: MeasureRecipe) -> list[Mark]:
    """What the first metric's scorer objects to in a sample; nothing if it cannot point."""
    if recipe.first is None:
        return []
    metric = recipe.metrics[recipe.first]
    pointer = getattr(build_scorer(metric.scorer), "marks", None)
    return list(pointer(judged_text(sample, metric))) if pointer is not None else []


class _Rows:
    """Makes rows of results for samples of one model, mode, seed and scenario."""

    def __init__(
        self,
        samples: Sequence[Sample],
        recipe: MeasureRecipe,
        scenario: str,
        per_prompt: int | None,
    ) -> None:
        self.samples, self.recipe, self.scenario = samples, recipe, scenario
        self.per_prompt = per_prompt or 1
        self.seed, self.resamples = samples[0].seed, recipe.resamples
        self.found: list[Measurement] = []

    def of_metric(
        self, name: str, metric: MetricRecipe, answers: Answers, detector: Detector | None
    ) -> None:
        """The mean, and what else the metric asks for."""
        values = values_of(answers, metric)
        failed = [j.result for j in answers.values() if isinstance(j.result, Failure)]
        self._add(name, self._ratio(values, _weights(answers, metric, values)), len(failed))
        if metric.worst_of is not None:
            self._worst(name, metric, values, len(failed))
        if metric.hit is not None:
            self._hits(name, metric, values, len(failed), detector)
        if metric.failures_as is not None:
            # A sample without text was not judged at all, so it is no failure of the text.
            empty = sum(failure.kind == "empty" for failure in failed)
            self._add(metric.failures_as, share(len(failed) - empty, len(answers) - empty), empty)

    def of_diversity(self) -> None:
        """How much samples repeat themselves and each other, and how many the model ended."""
        texts = [sample.text for sample in self.samples]
        for name, within in {
            "distinct_2": partial(distinct, n=2),
            "repetition_4": partial(repetition, n=4),
        }.items():
            found = [value for text in texts if (value := within(text)) is not None]
            estimate = mean(found, resamples=self.resamples, seed=self.seed)
            self._add(name, estimate, len(texts) - len(found))
        loops = [looped for text in texts if (looped := ends_in_loop(text)) is not None]
        self._add("ends_in_loop", share(sum(loops), len(loops)), len(texts) - len(loops))
        # As many words for every model, so that the shares compare.
        for n in (1, 2, 3):
            value = distinct_corpus(texts, n, words=COUNTED_WORDS, seed=self.seed)
            self._add(f"distinct_{n}_of_{COUNTED_WORDS}_words", _plain(value, len(texts)), 0)
        value = self_bleu(texts, 5, seed=self.seed)
        self._add("self_bleu_5", _plain(value, len(texts)), 0)
        ended = sum(sample.ended for sample in self.samples)
        self._add("ended_share", share(ended, len(texts)), 0)

    def _ratio(self, values: Mapping[int, float], weights: Mapping[int, float]) -> Estimate:
        """The weighted mean over samples, its interval over prompts where those are shared."""
        return ratio(
            [value * weights[index] for index, value in values.items()],
            [weights[index] for index in values],
            clusters=[index // self.per_prompt for index in values],
            resamples=self.resamples,
            seed=self.seed,
        )

    def _worst(
        self, name: str, metric: MetricRecipe, values: Mapping[int, float], failures: int
    ) -> None:
        assert metric.worst_of is not None
        groups: dict[int, list[float]] = {}
        together = self.per_prompt == 1
        for index, value in values.items():
            groups.setdefault(0 if together else index // self.per_prompt, []).append(value)
        sign = 1.0 if metric.scale < 0 else -1.0
        estimate = expected_maximum(
            [[sign * value for value in group] for group in groups.values()],
            metric.worst_of,
            resamples=self.resamples,
            seed=self.seed,
        )
        if sign < 0:
            estimate = negated(estimate)
        self._add(f"{name}_worst_of_{metric.worst_of}", estimate, failures)

    def _hits(
        self,
        name: str,
        metric: MetricRecipe,
        values: Mapping[int, float],
        failures: int,
        detector: Detector | None,
    ) -> None:
        flags = [is_hit(value, metric) for value in values.values()]
        shared = self.per_prompt > 1
        clusters = [index // self.per_prompt for index in values] if shared else None
        self._add(f"{name}_hits", share_of(flags, clusters=clusters), failures)
        if detector is not None:
            self._add(f"{name}_hits_corrected", detector.corrected(flags, clusters), failures)

    def _add(self, metric: str, estimate: Estimate, failures: int) -> None:
        first = self.samples[0]
        self.found.append(
            estimate.measurement(
                model=first.model,
                mode=first.mode,
                metric=metric_at(metric, self.scenario),
                failures=failures,
                seed=first.seed,
            )
        )


def negated(estimate: Estimate) -> Estimate:
    """The estimate of minus the value."""
    ends = (estimate.high, estimate.low)
    value, low, high = (None if x is None else -x for x in (estimate.value, *ends))
    return Estimate(value=value, low=low, high=high, count=estimate.count)


def _plain(value: float | None, count: int) -> Estimate:
    """A number of all texts together, for which no interval is known."""
    return Estimate(value=value, low=None, high=None, count=0 if value is None else count)
