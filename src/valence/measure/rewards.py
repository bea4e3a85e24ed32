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
from valence.measure.scenario import FREE, Scenario, metric_at, prompts_of
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
        per_prompt=None if scenario is None else scenario.of_each,
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

    With `per_prompt` samples of each of several prompts, intervals are over prompts; without,
    all samples have one prompt, or none, in common.
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

    With `per_prompt` samples of each of several prompts, these are drawn together.
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
            prompts = prompts_of(each, per_prompt)
            found.append(
                Items(
                    metric=metric_at(title, scenario),
                    names=tuple(str(index) for index in each),
                    tops=tuple(value * weight[index] for index, value in each.items()),
                    bottoms=tuple(weight.values()),
                    clusters=None if prompts is None else tuple(map(str, prompts)),
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
        self.per_prompt = per_prompt
        self.seed, self.resamples = samples[0].seed, recipe.resamples
        self.found: list[Measurement] = []

    def of_metric(
        self, name: str, metric: MetricRecipe, answers: Answers, detector: Detector | None
    ) -> None:
        """The mean, and what else the metric asks for."""
        values = values_of(answers, metric)
        failures = len(answers) - len(values)
        self._add(name, self._ratio(values, _weights(answers, metric, values)), failures)
        if metric.worst_of is not None:
            self._worst(name, metric, values, answers)
        if metric.hit is not None:
            self._hits(name, metric, values, failures, detector)
        if metric.failures_as is not None:
            self._failures(metric.failures_as, answers)

    def of_diversity(self) -> None:
        """How much samples repeat themselves and each other, and how many the model ended."""
        texts = {sample.index: sample.text for sample in self.samples}
        for name, within in {
            "distinct_2": partial(distinct, n=2),
            "repetition_4": partial(repetition, n=4),
        }.items():
            found = {i: value for i, text in texts.items() if (value := within(text)) is not None}
            estimate = mean(
                list(found.values()),
                clusters=prompts_of(found, self.per_prompt),
                resamples=self.resamples,
                seed=self.seed,
            )
            self._add(name, estimate, len(texts) - len(found))
        loops = {i: loop for i, text in texts.items() if (loop := ends_in_loop(text)) is not None}
        self._add("ends_in_loop", self._share(loops), len(texts) - len(loops))
        # As many words for every model, so that the shares compare.
        every = list(texts.values())
        for n in (1, 2, 3):
            value = distinct_corpus(every, n, words=COUNTED_WORDS, seed=self.seed)
            self._add(f"distinct_{n}_of_{COUNTED_WORDS}_words", _plain(value, len(texts)), 0)
        value = self_bleu(every, 5, seed=self.seed)
        self._add("self_bleu_5", _plain(value, len(texts)), 0)
        self._add("ended_share", self._share({s.index: s.ended for s in self.samples}), 0)
        if any(sample.no_room for sample in self.samples):
            cut = self._share({s.index: s.no_room for s in self.samples})
            self._add("no_room_share", cut, 0)

    def _share(self, flags: Mapping[int, bool]) -> Estimate:
        """The share of samples that are flagged, its interval over prompts as that of means."""
        clusters = prompts_of(flags, self.per_prompt)
        return share_of([float(flag) for flag in flags.values()], clusters=clusters)

    def _ratio(self, values: Mapping[int, float], weights: Mapping[int, float]) -> Estimate:
        """The weighted mean over samples, its interval over prompts where those are shared."""
        return ratio(
            [value * weights[index] for index, value in values.items()],
            [weights[index] for index in values],
            clusters=prompts_of(values, self.per_prompt),
            resamples=self.resamples,
            seed=self.seed,
        )

    def _failures(self, name: str, answers: Answers) -> None:
        """The share that the scorer could not score.

        A sample without text was not judged at all, so it is no failure of the text.
        """
        flags = {
            index: isinstance(judged.result, Failure)
            for index, judged in answers.items()
            if not (isinstance(judged.result, Failure) and judged.result.kind == "empty")
        }
        self._add(name, self._share(flags), len(answers) - len(flags))

    def _worst(
        self, name: str, metric: MetricRecipe, values: Mapping[int, float], answers: Answers
    ) -> None:
        """The expected worst of k, and of how many prompts it could not be told.

        Those with fewer than k scored samples are left out, which selects: the worst of fewer
        would be too good. So their samples count as failures, and they have a row of their own.
        """
        assert metric.worst_of is not None
        title, sign = f"{name}_worst_of_{metric.worst_of}", 1.0 if metric.scale < 0 else -1.0
        groups: dict[int, list[float]] = {self._prompt(index): [] for index in answers}
        for index, value in values.items():
            groups[self._prompt(index)].append(sign * value)
        used = [group for group in groups.values() if len(group) >= metric.worst_of]
        estimate = expected_maximum(
            list(groups.values()), metric.worst_of, resamples=self.resamples, seed=self.seed
        )
        if sign < 0:
            estimate = negated(estimate)
        self._add(title, estimate, len(answers) - sum(map(len, used)))
        if self.per_prompt is not None:
            self._add(f"{title}_left_out", share(len(groups) - len(used), len(groups)), 0)

    def _prompt(self, index: int) -> int:
        """The prompt of a sample; where there is one for all, or none, its number is 0."""
        return 0 if self.per_prompt is None else index // self.per_prompt

    def _hits(
        self,
        name: str,
        metric: MetricRecipe,
        values: Mapping[int, float],
        failures: int,
        detector: Detector | None,
    ) -> None:
        flags = {index: is_hit(value, metric) for index, value in values.items()}
        self._add(f"{name}_hits", self._share(flags), failures)
        if detector is not None:
            clusters = prompts_of(flags, self.per_prompt)
            corrected = detector.corrected(list(flags.values()), clusters)
            self._add(f"{name}_hits_corrected", corrected, failures)

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
