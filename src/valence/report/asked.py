"""What was asked of models, in words: samples, scenarios, and how the numbers are to be read."""

from __future__ import annotations

from collections.abc import Iterator

from valence.recipe import MeasureRecipe, SampleRecipe, ScenarioRecipe

_MODES = (
    "`good` and `bad` put that band's token at each segment start, `banned` only forbids control"
    " tokens; none of them is ever part of the text."
)


def samples_sentence(plan: SampleRecipe) -> str:
    """What every model writes of itself."""
    return (
        f"{plan.count} per model and mode, from the end-of-text token, at most {plan.max_tokens}"
        f" text tokens, temperature {plan.temperature:g}, top-p {plan.top_p:g}. {_MODES}"
    )


def scenario_steps(measure: MeasureRecipe) -> Iterator[tuple[str, str]]:
    """What every model continues."""
    for name, scenario in measure.scenarios.items():
        yield f"scenario {name}", _scenario(scenario)


def _scenario(scenario: ScenarioRecipe) -> str:
    count = "the" if scenario.count is None else f"{scenario.count:,}"
    each = "1 sample" if scenario.per_prompt == 1 else f"{scenario.per_prompt} samples"
    as_what = ", as what a user says in the tokenizer's chat template" if scenario.chat else ""
    whole = " with the prompt before it" if scenario.judged == "whole" else ""
    return (
        f"{count} prompts of {scenario.prompts}, {each} of each per model and mode{as_what}; what"
        f" was written is scored{whole}."
    )


def reading_notes(measure: MeasureRecipe) -> Iterator[str]:
    """What a reader has to know of the metrics that were asked for."""
    yield (
        "Intervals of single measurements are 95%: bootstrap over samples or documents (over"
        " prompts, where several samples have one in common), exact binomial for shares."
    )
    if any(metric.detector is not None for metric in measure.metrics.values()):
        yield (
            "Shares of hits are as the scorer sees them; the corrected ones take its errors on"
            " labelled texts into account, and their intervals both samples and labels."
        )
    if any(metric.worst_of is not None for metric in measure.metrics.values()):
        yield (
            "The expected worst of k samples is estimated without bias from all samples of a"
            " prompt; it says what one who tries k times has to expect."
        )
    yield "A sample that a scorer could not score is a failure, counted beside the number."
