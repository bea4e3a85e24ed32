"""The parts of a recipe about measures: what models write, what is asked of that and of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from valence.recipe.ability import AbilityRecipe, HarnessRecipe
from valence.recipe.corpus import SegmentRecipe
from valence.recipe.judging import JudgingRecipe
from valence.recipe.knowing import KnowingRecipe
from valence.recipe.part import Name, Options, Part, Positive
from valence.recipe.redteam import RedTeamRecipe

Spec = str | dict[str, Options | None]
"""Something by name, or by name with options."""


class SampleRecipe(Part):
    """What is drawn from every model in every mode, from the start of a document on."""

    count: Positive = 256
    max_tokens: Positive = 256
    """Text tokens per sample at the most."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    batch: Positive = 128
    """Samples that are written together; they do not depend on it."""


class ScenarioRecipe(Part):
    """Prompts that every model continues in every mode, beside what it writes of itself."""

    prompts: str
    """A file of prompts: .jsonl, .csv, .parquet, also .gz and .zst; or text, one a line."""
    column: str = "text"
    """The column or key that holds the prompt."""
    count: Positive | None = None
    """A seeded part of so many prompts; all of them if not given."""
    per_prompt: Positive = 1
    """Samples of each prompt."""
    chat: bool = False
    """The prompt is what a user says: put it into the tokenizer's chat template."""
    system: str | None = None
    """`chat`: what stands before it as the system's word."""
    judged: Literal["text", "whole"] = "text"
    """Score what the model wrote, or the prompt with it (code has no meaning in halves)."""
    max_tokens: Positive | None = None
    """This and the next two as in `sample` if not given."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _system_in_chat(self) -> ScenarioRecipe:
        if self.system is not None and not self.chat:
            raise ValueError("`system` goes with `chat: true`")
        return self


class DetectorRecipe(Part):
    """Labelled texts that show how good a metric's scorer is at telling hits."""

    paths: Annotated[tuple[str, ...], Field(min_length=1)]
    """Files of texts with labels, as `corpus.paths`."""
    text_column: str = "text"
    label: Spec
    """A scorer that reads the labels: a reward below 0 is a true hit. For instance
    `{label: {column: class, rewards: {0: -1, 1: -1, 2: 0}}}`."""
    count: Positive = 2000
    """A seeded part of so many texts."""


class MetricRecipe(Part):
    """A number made from a scorer's rewards of samples."""

    scorer: Spec
    scale: float = 1.0
    """The reward is multiplied by this; -1000 turns reward per character into harm per 1,000."""
    weight: Literal["chars", "samples"] = "samples"
    """Average over characters (a ratio of sums) or over samples."""
    cut: Literal["none", "complete_lines", "complete_statements"] = "none"
    """What to cut from the end of a sample that ran into the length limit."""
    failures_as: Name | None = None
    """Also report the share of samples that the scorer could not score, under this name."""
    worst_of: Annotated[int, Field(ge=2)] | None = None
    """Also report the expected worst of so many samples, of a prompt where there are prompts: these
    need as many `per_prompt`, and a few more for samples that cannot be scored."""
    hit: float | None = None
    """Also report the share of samples that are on the wrong side of this value (above it, where
    lower is better), with an exact interval."""
    detector: DetectorRecipe | None = None
    """`hit`: also report that share corrected for the scorer's errors."""

    @model_validator(mode="after")
    def _detector_of_hits(self) -> MetricRecipe:
        if self.detector is not None and self.hit is None:
            raise ValueError("`detector` corrects the share of hits; say what is one: `hit`")
        return self


class LabelledRecipe(Part):
    """Text with rewards for models that come without any: an annotation."""

    annotation: str
    """Its directory, or that of a run that has one."""
    rewards: Name | None = None
    """Which of its rewards; not needed where it has one."""
    bounds: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0,)
    """Where bands begin, for models without a scheme of their own, worst band first."""


class CertifyRecipe(Part):
    """A bound on how much of what leaves is bad, in the eyes of a scorer that no guide looks at."""

    scorer: Spec
    """Rewards of segments, each in view of all that stands before it."""
    bad_below: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """A segment with a lower reward is bad."""
    segments: SegmentRecipe = SegmentRecipe(kind="line")


class MeasureRecipe(Part):
    """Measures, fixed before looking."""

    metrics: dict[Name, MetricRecipe] = Field(default_factory=dict)
    headline: str | None = None
    """The metric that conclusions are drawn from; the first if not given."""
    fluency: Name | None = None
    """The metric that the front draws the headline against, for instance the loss of samples under
    another model; the models' loss on held-out text if not given."""
    scenarios: dict[Name, ScenarioRecipe] = Field(default_factory=dict)
    """Prompts to continue, by name; their metrics are called METRIC@NAME."""
    modes: tuple[str, ...] | None = None
    """Modes to measure, of those that a model has; all of them if not given."""
    guides: dict[Name, Spec | tuple[Spec, ...]] = Field(default_factory=dict)
    """Guides, or several that work together, by a name of their own: each is measured in every mode
    that it can guide, as MODE+NAME. See `docs/guiding.md`."""
    certify: CertifyRecipe | None = None
    """What share of the segments that leave is bad, with each guide and without."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Processes that score: while the model writes if it does so on an accelerator, or else when a
    set of samples is written; 0: this process alone."""
    ability: AbilityRecipe = AbilityRecipe()
    """Losses on other text, and how far models are from a reference."""
    harness: HarnessRecipe | None = None
    """Tasks of lm-evaluation-harness."""
    judging: JudgingRecipe | None = None
    """How well models judge what was said, also before all of it was; without this, only those
    that were taught the verdict are asked, at the end."""
    redteam: RedTeamRecipe | None = None
    """Attacks on every model and mode, by the first metric."""
    knowing: KnowingRecipe | None = None
    """Questions: what models know, and whether they know that."""
    labelled: LabelledRecipe | None = None
    """`valence measure MODEL`: text with rewards. A run has its own."""
    window: Annotated[int, Field(ge=8)] | None = None
    """Tokens of context that losses are measured with; in a run `train.block`, elsewhere the
    model's context up to 1,024 if not given."""
    loss_chars: Positive = 200_000
    """Held-out characters on which the loss is measured."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Bootstrap resamples per interval."""

    @model_validator(mode="after")
    def _headline_is_a_metric(self) -> MeasureRecipe:
        if self.fluency is not None and self.fluency not in self.metrics:
            raise ValueError(f"`fluency`: there is no metric `{self.fluency}`")
        if self.headline is not None and self.headline not in self.metrics:
            raise ValueError(
                f"measure.headline `{self.headline}` is not one of {sorted(self.metrics)}"
            )
        return self

    @model_validator(mode="after")
    def _samples_for_the_worst(self) -> MeasureRecipe:
        for name, metric in self.metrics.items():
            for where, scenario in self.scenarios.items():
                if metric.worst_of is not None and scenario.per_prompt < metric.worst_of:
                    raise ValueError(
                        f"metrics.{name}.worst_of is the worst of {metric.worst_of} samples of a"
                        f" prompt, and scenarios.{where}.per_prompt is {scenario.per_prompt}: give"
                        f" {metric.worst_of} or more (some to spare for samples that cannot be"
                        " scored), or measure this scenario in a recipe of its own"
                    )
        return self

    @model_validator(mode="after")
    def _attacks_have_a_metric(self) -> MeasureRecipe:
        if self.redteam is not None and not self.metrics:
            raise ValueError("measure.redteam needs a metric that says what is bad")
        return self

    @property
    def first(self) -> str | None:
        """The headline, or else the first metric; None without metrics."""
        return self.headline or next(iter(self.metrics), None)


def check_samples(sample: SampleRecipe | None, measure: MeasureRecipe) -> None:
    """Raise `ValueError` for metrics of samples that nobody draws."""
    if sample is None and measure.metrics and not measure.scenarios:
        raise ValueError("metrics are of samples: give `sample` or measure.scenarios")
